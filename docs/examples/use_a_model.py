"""Use the model of a finished run: probabilities, thresholds, and a file for other tools.

python docs/examples/use_a_model.py runs/demo/digits-b0c2/er/seed0 photos model.onnx
"""

import sys

import clsim

run_dir, photos, exported = sys.argv[1:]
model = clsim.load_model(run_dir)
print(model)
print("input:", model.preprocess)

probabilities = model.predict(photos)  # a folder; a frame with one row per image, one column per class
print(probabilities.round(2).to_string())

thresholds = model.thresholds
print(f"thresholds, chosen on {thresholds.images} {thresholds.chosen_on}:")
for image, row in thresholds.present(probabilities).iterrows():
    print(f"  {image}: {', '.join(row.index[row]) or 'no class'}")

difference = model.export(exported, "onnx")
print(f"written: {exported}, logits differ by at most {difference:.0e}")

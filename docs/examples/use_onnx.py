"""Score images with an exported model and without clsim: numpy, Pillow and onnxruntime do.

python docs/examples/use_onnx.py model.onnx photos/*.png
"""

import json
import sys

import numpy as np
import onnxruntime
from PIL import Image

file, *photos = sys.argv[1:]
session = onnxruntime.InferenceSession(file)
model = json.loads(session.get_modelmeta().custom_metadata_map["clsim"])
look = model["preprocess"]


def prepared(path):
    """Return an image as the model takes it, float32 [3, size, size]."""
    image = Image.open(path).convert("RGB")
    width, height = image.size
    side = min(width, height)
    centre = ((width - side) / 2, (height - side) / 2, (width + side) / 2, (height + side) / 2)
    box = centre if look["resize"] == "crop" else (0, 0, width, height)
    scaled = image.resize((look["size"], look["size"]), Image.Resampling.BILINEAR, box)
    x = (np.asarray(scaled, dtype=np.float32) / 255 - look["mean"]) / look["std"]
    return x.transpose(2, 0, 1).astype(np.float32)


(logits,) = session.run(["logits"], {"x": np.stack([prepared(path) for path in photos])})
if model["activation"] == "sigmoid":
    probabilities = 1 / (1 + np.exp(-logits))
else:
    probabilities = np.exp(logits - logits.max(axis=1, keepdims=True))
    probabilities /= probabilities.sum(axis=1, keepdims=True)
threshold_of = model["thresholds"]["of_class"]
for path, row in zip(photos, probabilities, strict=True):
    found = [name for name, p in zip(model["classes"], row, strict=True) if p > threshold_of[name]]
    print(f"{path}: {', '.join(found) or 'no class'}")

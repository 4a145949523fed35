"""A data set of Hugging Face's `datasets` (pip install clsim[huggingface]) that `save_to_disk` has written.

clsim compare digits-b0c2 --strategies finetune,er \\
    --set 'dataset={name: docs/examples/hugging_face_data.py:Table, options: {root: cifar10, image: img}}'

`datasets.load_dataset("cifar10").save_to_disk("cifar10")` writes one. For several labels per image let `label` name a
column of lists of classes.
"""

import datasets
from torch.utils.data import Dataset


class Table(Dataset):
    """One split of a saved DatasetDict."""

    def __init__(self, root, split, image="image", label="label"):
        self.table, self.image, self.label = datasets.load_from_disk(root)[split], image, label
        feature = self.table.features[label]
        self.many = not hasattr(feature, "names")
        self.classes = feature.feature.names if self.many else feature.names

    def __len__(self):
        return len(self.table)

    def __getitem__(self, i):
        row = self.table[i]
        return row[self.image], self.named(row[self.label])

    def named(self, label):
        return [self.classes[one] for one in label] if self.many else label

    def labels(self):  # one column, no image
        return [self.named(label) for label in self.table[self.label]]

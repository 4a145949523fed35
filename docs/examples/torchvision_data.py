"""A data set of torchvision as a stream: two digits on each image, made of any data set with `classes` and `targets`.

One of torchvision's own classes needs no file, only its name, and single labels become a stream of single classes:
    clsim plan digits-b0c2 --set 'dataset={name: torchvision/MNIST, options: {root: data, download: true}}'

This file makes multi-label images of it:
    clsim compare digits-b0c2 --strategies finetune,er \\
        --set 'dataset={name: docs/examples/torchvision_data.py:Pairs, options: {root: data, download: true}}'
"""

import numpy as np
from PIL import Image
from torch.utils.data import Dataset
from torchvision.datasets import MNIST


class Pairs(Dataset):
    """Image 2i beside image 2i + 1."""

    def __init__(self, root, train, download=False):
        self.digits = MNIST(root, train=train, download=download)
        self.classes = self.digits.classes

    def __len__(self):
        return len(self.digits) // 2

    def __getitem__(self, i):
        left, right = (np.asarray(self.digits[2 * i + side][0]) for side in (0, 1))
        return Image.fromarray(np.concatenate([left, right], axis=1)), self.names(i)

    def names(self, i):
        return [self.classes[digit] for digit in self.digits.targets[2 * i : 2 * i + 2]]

    def labels(self):
        return [self.names(i) for i in range(len(self))]

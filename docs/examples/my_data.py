"""A data set of your own by its class: any map-style data set of (image, labels) with `classes`.

clsim plan digits-b0c2 --set 'dataset={name: docs/examples/my_data.py:Squares, options: {train: 300}}'
clsim compare digits-b0c2 --strategies finetune,er --set 'dataset={name: docs/examples/my_data.py:Squares}'
"""

import numpy as np
from PIL import Image
from pydantic import BaseModel, Field
from torch.utils.data import Dataset


class Squares(Dataset):
    """Coloured squares, each in its own corner: an image shows one to three of six colours."""

    classes = ("red", "green", "blue", "yellow", "cyan", "white")

    class Options(BaseModel, extra="forbid"):
        train: int = Field(200, ge=1, description="training images")
        test: int = Field(100, ge=1, description="test images")

    def __init__(self, options, split):  # made once for "train" and once for "test"
        random = np.random.default_rng(split == "test")
        self.shown = [random.permutation(6)[: 1 + i % 3] for i in range(getattr(options, split))]

    def __len__(self):
        return len(self.shown)

    def __getitem__(self, i):  # images as they are: clsim resizes, normalises and augments
        pixels = np.zeros((32, 32, 3), dtype=np.uint8)
        for corner, colour in enumerate(self.shown[i]):
            top, left = divmod(corner, 2)
            shade = [(colour + 1) >> channel & 1 for channel in range(3)]
            pixels[16 * top + 2 : 16 * top + 14, 16 * left + 2 : 16 * left + 14] = np.multiply(shade, 255)
        return Image.fromarray(pixels), self.names(i)

    def names(self, i):
        return [self.classes[colour] for colour in self.shown[i]]

    def labels(self):  # optional: labels without an image, so that a plan decodes none
        return [self.names(i) for i in range(len(self))]

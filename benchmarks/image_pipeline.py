"""Images a second of clsim's cache and batched augmentation, against decoding and changing each image every epoch."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch.utils.data import DataLoader, Dataset
from torchvision.io import decode_jpeg, read_file
from torchvision.transforms import v2

from benchmarks.timing import side_by_side
from benchmarks.workload import RandomSource, scenario
from clsim.data.image_cache import cached_images, decode
from clsim.scenario.stream.rows import MultiLabelDataset, RowStore
from clsim.scenario.training_schema import TrainingSection
from clsim.training.augmentation.pipeline import Augmentation
from clsim.training.batches import EpochLoader

IMAGES = 64
SOME = 32
BATCH = 64
ROUNDS = 3
SIZES = (64, 144, 224)
MEAN, STD = [0.485, 0.456, 0.406], [0.229, 0.224, 0.225]

RECIPES: dict[str, dict[str, Any]] = {
    "crop, flip, colour": {
        "random_resized_crop": {"scale": [0.7, 1.0]},
        "flip": 0.5,
        "colour": {"brightness": 0.4, "contrast": 0.4, "saturation": 0.4},
    },
    "Cutout, RandAugment": {"cutout": 0.5, "randaugment": {"operations": 2, "magnitude": 9}},
}


def write_jpegs(folder: Path) -> list[Path]:
    """Images of the size of VOC's, 500 x 375, about as detailed, so that a file has about as many bytes (90 kB)."""
    rng = np.random.default_rng(0)
    files = []
    for number in range(IMAGES):
        layers = [(4, 3, 60), (32, 24, 40), (250, 188, 24)]
        pixels = np.full((375, 500, 3), 128.0)
        for width, height, strength in layers:
            noise = (128 + strength * rng.standard_normal((height, width, 3))).clip(0, 255).astype(np.uint8)
            pixels += np.asarray(Image.fromarray(noise).resize((500, 375), Image.Resampling.BICUBIC), dtype=float) - 128
        files.append(folder / f"{number:06d}.jpg")
        Image.fromarray(pixels.clip(0, 255).astype(np.uint8)).save(files[-1], quality=90)
    return files


class Decoding(Dataset[torch.Tensor]):
    """What most published code does: open, convert, transform, item by item."""

    def __init__(self, files: list[Path], transform: v2.Transform) -> None:
        self.files = files
        self.transform = transform

    def __len__(self) -> int:
        return len(self.files)

    def __getitem__(self, index: int) -> torch.Tensor:
        with Image.open(self.files[index]) as image:
            changed: torch.Tensor = self.transform(image.convert("RGB"))
        return changed


class DecodingToTensors(Decoding):
    """torchvision's newer way: decoded to a tensor, resized and changed as 8-bit tensors."""

    def __getitem__(self, index: int) -> torch.Tensor:
        changed: torch.Tensor = self.transform(decode_jpeg(read_file(str(self.files[index]))))
        return changed


def decoding_way(kind: type[Decoding], files: list[Path], size: int, recipe: str) -> Callable[[], None]:
    """An epoch of a DataLoader without workers over JPEG files."""
    to_tensor = [v2.ToImage(), v2.ToDtype(torch.float32, scale=True), v2.Normalize(MEAN, STD)]
    if recipe == "Cutout, RandAugment":
        square = v2.RandomErasing(p=1.0, scale=(0.25, 0.25), ratio=(1.0, 1.0))
        steps = [v2.Resize((size, size)), v2.RandAugment(2, 9), *to_tensor, square]
    else:
        crop = v2.RandomResizedCrop(size, scale=(0.7, 1.0), ratio=(0.75, 1.333))
        steps = [crop, v2.RandomHorizontalFlip(0.5), v2.ColorJitter(0.4, 0.4, 0.4), *to_tensor]
    loader = DataLoader(kind(files, v2.Compose(steps)), batch_size=BATCH, shuffle=True)

    def epoch() -> None:
        for x in loader:
            assert x.shape[1:] == (3, size, size)

    return epoch


def clsim_way(files: list[Path], size: int, recipe: str) -> Callable[[], None]:
    """An epoch of clsim's loader over the image cache, with its augmentation."""
    pixels: NDArray[np.uint8] = cached_images(files, size)
    rows = np.arange(len(files))
    store = RowStore(pixels, rows, np.zeros((len(files), 1), np.int8), 0, mean=MEAN, std=STD)
    loader = EpochLoader(MultiLabelDataset.from_rows(store, rows), BATCH, seed=0, task=0)
    augmentation = Augmentation(_training(size, recipe), 0)

    def epoch() -> None:
        loader.start(loader.epoch + 1, 0)
        for step, (x, *_) in enumerate(loader):
            assert augmentation(x, "new", 0, loader.epoch, step).shape[1:] == (3, size, size)

    return epoch


def _training(size: int, recipe: str) -> TrainingSection:
    keys: dict[str, Any] = {"training__model": {"image_size": size, "mean": MEAN, "std": STD}}
    return scenario(RandomSource(2, 2, 2), training__augmentation=RECIPES[recipe], **keys).config.training


WAYS: dict[str, Callable[[list[Path], int, str], Callable[[], None]]] = {
    "clsim": clsim_way,
    "Pillow": partial(decoding_way, Decoding),
    "tensors": partial(decoding_way, DecodingToTensors),
}


def measure() -> list[tuple[str, ...]]:
    """Rows (transforms, px, images/s of clsim and of both torchvision pipelines, clsim's ratio to both, ms to decode an
    image into the cache once, MB of the cache for 1000 images).
    """
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        os.environ["CLSIM_CACHE"] = f"{folder}/cache"
        files = write_jpegs(Path(folder))
        for recipe in RECIPES:
            for size in SIZES:
                ways = {name: way(files, size, recipe) for name, way in WAYS.items()}
                ways["once"] = partial(_decode_some, files, size)
                times = side_by_side(ways, ROUNDS, time.process_time)
                per_second = [f"{IMAGES / times[name].seconds:.0f}" for name in WAYS]
                ratios = [f"{times[name].ratio:.1f}" for name in ("Pillow", "tensors")]
                once = f"{1000 * times['once'].seconds / SOME:.1f}"
                rows.append((recipe, str(size), *per_second, *ratios, once, f"{3 * size * size / 1000:.0f}"))
    return rows


def _decode_some(files: list[Path], size: int) -> None:
    for file in files[:SOME]:
        decode(file, size, "squash")


def measure_memory() -> list[tuple[str, ...]]:
    """Rows (way, MB of a process of its own before it prepares two epochs of 224 px, its peak while it does)."""
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        environment = os.environ | {"CLSIM_CACHE": f"{folder}/cache"}
        write_jpegs(Path(folder))
        for way in WAYS:
            command = [sys.executable, "-m", "benchmarks.image_pipeline", folder, way]
            output = subprocess.run(command, check=True, capture_output=True, text=True, env=environment).stdout
            rows.append((way, *json.loads(output.splitlines()[-1])))
    return rows


def _peak(folder: Path, way: str) -> tuple[str, str]:
    torch.set_num_threads(1)
    files = sorted(folder.glob("*.jpg"))
    epoch = WAYS[way](files, SIZES[-1], "Cutout, RandAugment")
    Path("/proc/self/clear_refs").write_text("5")  # forget the peak of the imports
    before = _memory("VmRSS")
    epoch()
    epoch()
    return before, _memory("VmHWM")


def _memory(key: str) -> str:
    """An entry of the kernel's account of this process, in MB."""
    status = Path("/proc/self/status").read_text()
    (line,) = (line for line in status.splitlines() if line.startswith(key))
    return f"{int(line.split()[1]) / 1024:.0f}"


if __name__ == "__main__":
    print(json.dumps(_peak(Path(sys.argv[1]), sys.argv[2])))

"""Benchmark and network of a run; with `training.model.cache_features`, over features computed once.

A frozen backbone says the same of an image in every epoch, task and strategy. With the key set, each image goes through
it once, and what is trained, replayed, stored and distilled is its feature vector. It is worth it whenever only heads
are compared, the more so the larger the backbone:

    training:
      model:
        name: resnet101
        weights: {file: resnet101.pth, trained_on: [imagenet-1k], source: torchvision IMAGENET1K_V2}
        image_size: 224
        freeze: backbone
        cache_features: true

    clsim compare scenario.yaml --strategies er,lwf+er,rebll,joint --seeds 0,1,2

Here 12 runs share one pass over the images. Without weights from a file a backbone is drawn from the run's seed, and
only the strategies of one seed share it.

What differs from the same run without the key:

* DECIDED: features are those of eval mode. A backbone with dropout or stochastic depth (vgg, mobilenet, efficientnet)
  trains its head on noisy features when it is only frozen, and on clean ones here: last mAP of `er` and `lwf` on two
  tasks of digits with an ImageNet mobilenet_v2 moved by +0.3 and +0.7 points. ResNets have neither.
* Kernels may sum in another order for another batch size, so features may differ in their last bits from those of the
  training batches. On x86 CPUs ResNets in batches of two or more do not (measured with one thread; with and without
  AVX2, AVX-512 and bfloat16), and metrics are then equal to the last bit; mobilenet_v2 differs by 1e-6 of a feature.
* `cache_features: maps` keeps in place of features what the backbone makes them from, its map (`clsim.models.maps`),
  for heads that read maps; all other heads read its mean, or a transformer's class token. DECIDED: in float16, because
  a map is 49 times as large at 224 px: 125 kB an image for a MobileNet, 200 kB for a ResNet-50. So features differ from
  those of `true` by up to 1/2048 of themselves. run.log says how large the maps of a split are before they are made.
* Memory bytes are those of features, or of maps; times of a task do not contain the pass over the images, which
  run.log reports.
"""

from __future__ import annotations

import hashlib
import json
import logging
import math
import re
import time
from collections.abc import Callable
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from clsim.data.cache import cache_folder
from clsim.data.checked_files import map_checked, write_checked, written_private
from clsim.data.source import FeatureSource, ImageSource, Split
from clsim.errors import RunError
from clsim.models.build import build_model, with_head
from clsim.models.maps import MapPlace, StoredMaps
from clsim.models.network import MultiLabelNet
from clsim.models.stand_in import GivenFeatures, StandIn, weights_sha256
from clsim.parts import code_of, is_file, library_of
from clsim.preparation import tell
from clsim.running.gpu import kernels
from clsim.running.hardware import device_kind
from clsim.scenario import Scenario, StreamPlan
from clsim.scenario.stream.benchmark import MultiLabelBenchmark
from clsim.scenario.stream.rows import RowStore
from clsim.scenario.training_schema import ModelSection, TrainingSection
from clsim.training.precision import laid_out, run_network

FEATURES_FORMAT = 2
"""Part of every address in the cache; a change of `compute_features` raises it."""

BATCH = 64
"""Most images in a pass. A constant, because features may depend on it in their last bits."""

ROWS_PER_CHECKSUM = 1024
MAP_TYPE = np.float16

Features = dict[Split, NDArray[np.floating[Any]]]
"""Features or maps by split, in the source's order."""

log = logging.getLogger("clsim")


def benchmark_and_model(
    scenario: Scenario, plan: StreamPlan, seed: int, device: str
) -> tuple[MultiLabelBenchmark, Callable[[], MultiLabelNet]]:
    """Return the benchmark of a plan, and a function that makes the run's network with a head of no classes.

    Data that are features need no backbone. With `training.model.cache_features` the benchmark's x are features, too,
    and the network is what stands on the backbone, drawn as the whole network's.

    Raises:
        RunError: see `build_model`.
    """
    config = scenario.config.training
    splits: set[Split] = {"train", plan.test_split}
    if isinstance(scenario.source, FeatureSource):
        given: Features = {split: scenario.source.features(split) for split in splits}
        return _over_features(scenario, plan, given, seed, GivenFeatures(given["train"].shape[1]))
    if not config.model.cache_features:
        new_model = partial(build_model, config.model, seed, plan.class_names)
        return scenario.benchmark(plan, for_run=True), new_model
    network = build_model(config.model, seed)
    backbone, place = network.backbone, network.map_place if config.model.cache_features == "maps" else None
    with scenario.located():
        features: Features = {
            split: cached_features(backbone, scenario.source, split, config, device, place) for split in sorted(splits)
        }
    stand_in = StandIn(weights_sha256(backbone), place and place.of_stored)
    return _over_features(scenario, plan, features, seed, stand_in)


def _over_features(
    scenario: Scenario, plan: StreamPlan, features: Features, seed: int, backbone: StandIn | GivenFeatures
) -> tuple[MultiLabelBenchmark, Callable[[], MultiLabelNet]]:
    place = backbone.place if isinstance(backbone, StandIn) else None
    width = features["train"].shape[1] if place is None else place.width
    new_model = partial(with_head, backbone, width, scenario.config.training.model, seed, plan.class_names)
    return scenario.benchmark(plan, features, for_run=True), new_model


def cached_features(
    backbone: nn.Module,
    source: ImageSource,
    split: Split,
    config: TrainingSection,
    device: str,
    place: MapPlace | None = None,
) -> NDArray[np.floating[Any]]:
    """Return the features of `compute_features` from the cache; compute and store them if they are not there.

    The cache is the folder `features` in `CLSIM_CACHE`, by default in `~/.cache/clsim`; it can be deleted at any time.
    Two processes that miss the same file both compute it, which on cores of their own takes no longer than waiting. A
    cache that cannot be written is a warning in the log, not the end of a run.
    """
    address = _address(backbone, source, split, config, device, place)
    path = cache_folder() / "features" / f"{_short(config.model)}-{split}-{address}.npy"
    n_images, what = len(source.labels(split)), "features" if place is None else "maps"
    size = "" if place is None else f", {_size(n_images, place)}"
    if (cached := _read(path, n_images, place)) is not None:
        log.info("%s of %s: from %s%s", what, split, path, size)
        return cached
    log.info("%s of %s: %s scores the images%s", what, split, config.model.name, size)
    began = time.perf_counter()
    features = compute_features(backbone, source, split, config, device, place)
    log.info("%s of %s: %d in %.1f s", what, split, len(features), time.perf_counter() - began)
    try:
        with written_private(path) as file:
            write_checked(file, features, ROWS_PER_CHECKSUM)
    except OSError as error:
        log.warning("%s of %s: not cached, CLSIM_CACHE %s: %s", what, split, path.parent.parent, error)
    return features


def _size(n_images: int, place: MapPlace) -> str:
    """Return the shape of the maps of a split with their size."""
    megabytes = n_images * math.prod(place.stored) * np.dtype(MAP_TYPE).itemsize / 1e6
    return f"{n_images} x {list(place.stored)} {MAP_TYPE.__name__}, {megabytes:.1f} MB"


@torch.no_grad()
def compute_features(
    backbone: nn.Module,
    source: ImageSource,
    split: Split,
    config: TrainingSection,
    device: str,
    place: MapPlace | None = None,
) -> NDArray[np.floating[Any]]:
    """Run a backbone in eval mode on every image of a split, in the source's order.

    Args:
        place: of its maps, for those; None: for features.

    Returns:
        Features float32 [N, d]; or float16 [N, *place.stored].

    Raises:
        RunError: a map that float16 cannot hold.
    """
    look = config.model
    images = source.images(split, look.image_size)
    everything = np.arange(len(images))
    store = RowStore(images, everything, np.empty((len(images), 0), np.int8), 0, mean=look.mean, std=look.std)
    at = torch.device(device)
    store.place(at, "host")
    backbone = laid_out(backbone, config, at).eval()
    network = backbone if place is None else StoredMaps(backbone, place)
    batches = np.array_split(everything, -(-len(images) // BATCH))  # of even size, so that no row is alone
    parts: list[NDArray[np.floating[Any]]] = []
    tell("features", 0, len(everything))
    for rows, coming in zip(batches, [*batches[1:], everything[:0]], strict=True):
        x = store.images(rows, at)
        store.prefetch(coming)
        found = run_network(network, x, config).cpu().numpy()
        parts.append(found if place is None else _narrowed(found))
        tell("features", int(rows[-1]) + 1, len(everything))
    return np.concatenate(parts)


def _narrowed(maps: NDArray[np.float32]) -> NDArray[np.float16]:
    if float(np.abs(maps).max(initial=0)) > np.finfo(MAP_TYPE).max:
        raise RunError("training.model.cache_features: maps are kept in float16, which cannot hold this backbone's")
    return maps.astype(MAP_TYPE, order="C")  # as a file of the cache has them, on which last bits of sums depend


def _read(path: Path, n_images: int, place: MapPlace | None) -> NDArray[np.floating[Any]] | None:
    """Return the features of a file as a read-only map that the runs of a machine share; None: none, or damaged."""
    if place is not None:
        return map_checked(path, (n_images, *place.stored), MAP_TYPE, ROWS_PER_CHECKSUM)
    return map_checked(path, (n_images, None), np.float32, ROWS_PER_CHECKSUM)


def _address(
    backbone: nn.Module,
    source: ImageSource,
    split: Split,
    config: TrainingSection,
    device: str,
    place: MapPlace | None,
) -> str:
    """Return the SHA-256 of all that fixes the features to the last bit; of the weights by their content."""
    model = config.model
    facts: dict[str, Any] = {
        "format": FEATURES_FORMAT,
        "batch": BATCH,
        "images": [source.fingerprint(), split, model.image_size, model.mean, model.std],
        "backbone": [*_code(model), weights_sha256(backbone)],
        "arithmetic": [config.precision, model.channels_last, torch.get_num_threads()],
        "machine": [device_kind(device), _processor(device), torch.__version__, version("torchvision")],
    }
    if place is not None:
        facts["map"] = [place.module, place.taken, place.layout, MAP_TYPE.__name__]
    if device_kind(device) == "cuda":
        facts["gpu"] = [kernels(device), config.tf32]
    return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()


def _code(model: ModelSection) -> list[Any]:
    """What says how a backbone computes: its name and options; of a user's its code, of a library's the version."""
    name = model.name.rpartition(":")[2] if is_file(model.name) else model.name
    library = library_of("backbone", model.name)
    facts = [model.options, code_of("backbone", model.name), library and version(library.package)]
    return [name, *facts] if any(facts) else [name]


def _short(model: ModelSection) -> str:
    """The name of a backbone as part of a file's name."""
    return re.sub(r"[^A-Za-z0-9._+-]", "_", re.split("[:/]", model.name)[-1])


def _processor(device: str) -> str:
    """Return what selects the kernels: the name of the GPU, or the vector instructions of the CPU."""
    if device.startswith("cuda"):
        return torch.cuda.get_device_name(device)
    return str(torch.backends.cpu.get_cpu_capability())

"""Training speed on a GPU against a hand-written loop: `python -m benchmarks.gpu` writes gpu.md beside this file.

Both train the same network on batches of the same images, 8-bit, that a data set of digits gives; the hand-written loop
has them in the GPU's memory. Without a GPU nothing is measured and nothing is written.
"""

from __future__ import annotations

import argparse
import datetime
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torchvision
from avalanche.core import SupervisedPlugin
from avalanche.logging import BaseLogger
from torch.nn.functional import binary_cross_entropy_with_logits

from benchmarks.__main__ import table
from clsim.evaluation.history import History
from clsim.files import write_atomically
from clsim.running.assembly import build_template
from clsim.running.environment import environment
from clsim.running.gpu import set_arithmetic
from clsim.scenario import Scenario, load_scenario
from clsim.training.composition import Composition

RESULT = Path(__file__).with_name("gpu.md")
NETWORKS = ("resnet50", "resnet101")
WARM = 10
"""Steps before the clock runs."""
WAYS: dict[str, dict[str, Any]] = {
    "float32": {},
    "tf32": {"training.tf32": True},
    "bfloat16": {"training.precision": "bfloat16"},
    "bfloat16, compiled": {"training.precision": "bfloat16", "training.compile": "backbone"},
}


def scenario_of(network: str, size: int, batch: int, steps: int, more: dict[str, Any]) -> Scenario:
    """One task of ten classes, with as many images as the steps need."""
    overrides = {
        "dataset.train": batch * (WARM + steps),
        "dataset.test": 20,
        "stream.increment": 10,
        "training.epochs": 1,
        "training.batch_size": batch,
        "training.model": {"name": network, "image_size": size},
    }
    return load_scenario("digits-b0c2", overrides | more)


class Clock(SupervisedPlugin):
    """Seconds from the end of step `WARM` to the end of the last step, once the device has computed them."""

    def __init__(self, device: str) -> None:
        super().__init__()
        self.device = device
        self.began = self.seconds = 0.0

    def after_training_iteration(self, strategy: Any, **kwargs: Any) -> None:
        if strategy.position.step in (WARM, strategy.steps_per_epoch):
            now = ended(self.device)
            self.began, self.seconds = (now, 0.0) if strategy.position.step == WARM else (self.began, now - self.began)


class Silent(BaseLogger):
    """Logs nothing."""


def ended(device: str) -> float:
    """Wait for a device and return the time."""
    if device.startswith("cuda"):
        torch.cuda.synchronize()
    return time.perf_counter()


def of_clsim(scenario: Scenario, device: str, steps: int) -> float:
    """Return the images per second of `finetune`."""
    set_arithmetic(scenario.config.training, device)
    plan, clock = scenario.plan(), Clock(device)
    template = build_template(
        scenario,
        Composition("finetune"),
        plan,
        seed=0,
        device=device,
        history=History(plan),
        loggers=[Silent()],
    )
    template.plugins.append(clock)
    for experience in template.benchmark.train_stream[:1]:
        template.train(experience, eval_streams=[])
    return scenario.config.training.batch_size * steps / clock.seconds


def by_hand(scenario: Scenario, device: str, steps: int) -> float:
    """Return the images per second of a loop in plain PyTorch, with the same arithmetic."""
    config = scenario.config.training
    batch = config.batch_size
    network = torchvision.models.get_model(config.model.name, num_classes=10)
    network = network.to(device, memory_format=torch.channels_last).train()
    if config.compile == "backbone" and device.startswith("cuda"):
        network.compile()
    optimizer = torch.optim.AdamW(network.parameters(), lr=1e-3, fused=True)
    images = torch.from_numpy(np.asarray(scenario.source.images("train", config.model.image_size))).to(device)
    labels = torch.rand(len(images), 10, device=device).round()
    order, began = torch.randperm(len(images), device=device), 0.0
    for step in range(WARM + steps):
        if step == WARM:
            began = ended(device)
        rows = order[step * batch : (step + 1) * batch]
        x = images[rows].float().div_(127.5).sub_(1).contiguous(memory_format=torch.channels_last)
        optimizer.zero_grad()
        with torch.autocast(device.partition(":")[0], torch.bfloat16, enabled=config.precision == "bfloat16"):
            logits = network(x)
        binary_cross_entropy_with_logits(logits.float(), labels[rows]).backward()
        optimizer.step()
    return batch * steps / (ended(device) - began)


def measured(device: str, size: int, batch: int, steps: int, networks: tuple[str, ...] = NETWORKS) -> str:
    """Return the table of all networks and ways."""
    rows = []
    for network in networks:
        for name, way in WAYS.items():
            speeds = [
                of_clsim(scenario_of(network, size, batch, steps, way | {"training.data": data}), device, steps)
                for data in ("device", "host")
            ]
            plain = by_hand(scenario_of(network, size, batch, steps, way), device, steps)
            ratios = [f"{speed:.0f} ({speed / plain:.2f})" for speed in speeds]
            rows.append((network, name, f"{plain:.0f}", *ratios))
    return table(("network", "arithmetic", "by hand", "clsim, images on the GPU", "clsim, images sent"), rows)


def main() -> None:
    """Measure and write `gpu.md`."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--size", type=int, default=224)
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--steps", type=int, default=40)
    options = parser.parse_args()
    if not torch.cuda.is_available():
        print("no CUDA device: nothing measured")
        return
    facts = environment("cuda", torch.get_num_threads())
    machine = ", ".join(str(facts[key]) for key in ("gpu", "gpu_driver", "cuda", "cudnn", "torch"))
    text = (
        f"# Speed on a GPU\n\n{datetime.date.today()}, {machine}. Images per second at {options.size} px in batches of "
        f"{options.batch}, `finetune`; in brackets the ratio to the loop by hand, whose kernels need not repeat.\n\n"
        f"{measured('cuda', options.size, options.batch, options.steps)}\n"
    )
    write_atomically(RESULT, text)
    print(text)


if __name__ == "__main__":
    main()

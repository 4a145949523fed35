"""Whole runs on a GPU: no wait in a step, equal when repeated and when resumed, close to the CPU, bounded memory."""

from __future__ import annotations

import copy
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from avalanche.core import SupervisedPlugin

import clsim
from clsim.errors import OutOfMemoryError
from clsim.running.checkpoint_files import newest_checkpoint
from clsim.training.more.plugin import ModelRebalancing
from tests.fixtures.logged import logged

SPECS = ["finetune", "er", "rebll", "rebll+more", "ewc", "lwf+moments"]
OPTIONS: dict[str, dict[str, Any]] = {"lwf+moments": {"moments.features": "transport"}}
TINY = {
    "dataset.train": 60,
    "dataset.test": 40,
    "stream.increment": 5,
    "training.epochs": 1,
    "training.batch_size": 16,
    "training.model.image_size": 28,
    "memory.budget.per_class": 2,
    "threads": 1,
}


class NoWait(SupervisedPlugin):
    """Makes a wait of the host an error from the first step of an epoch to its last one."""

    def before_training_epoch(self, strategy: Any, **kwargs: Any) -> None:
        torch.cuda.set_sync_debug_mode("error")

    def after_training_iteration(self, strategy: Any, **kwargs: Any) -> None:
        if strategy.position.step == strategy.steps_per_epoch:
            torch.cuda.set_sync_debug_mode("default")

    def state_dict(self) -> dict[str, Any]:
        return {}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Nothing is kept."""


@pytest.mark.parametrize("spec", SPECS)
@pytest.mark.parametrize("where", ["device", "host"])
@pytest.mark.parametrize("augmentation", ["none", {"flip": 0.5, "cutout": 0.5, "randaugment": {"pool": "krt"}}])
def test_no_step_waits_for_the_gpu(on_gpu: Callable[..., Any], spec: str, where: str, augmentation: Any) -> None:
    overrides = {"training.data": where, "training.augmentation": augmentation}
    try:
        on_gpu(spec, options=OPTIONS.get(spec), overrides=overrides, last=[NoWait()])
    finally:
        torch.cuda.set_sync_debug_mode("default")


@pytest.mark.parametrize("spec", SPECS)
def test_a_repeated_run_has_equal_weights(on_gpu: Callable[..., Any], same_weights: Any, spec: str) -> None:
    options = OPTIONS.get(spec)
    assert same_weights(on_gpu(spec, options=options), on_gpu(spec, options=options))


@pytest.mark.parametrize("spec", ["er", "rebll+more", "ewc"])
def test_a_run_resumed_inside_an_epoch_has_equal_weights(
    on_gpu: Callable[..., Any], build: Any, learn: Any, same_weights: Any, spec: str
) -> None:
    whole, cut, found = on_gpu(spec), build(spec, device="cuda"), []

    def at_cut(template: Any) -> None:
        if template.position.place == (1, 0, 1) and not found:
            found.append(copy.deepcopy(template.state_dict()))

    cut.at_cut = at_cut
    learn(cut, tasks=2)
    rest = build(spec, device="cuda")
    rest.load_state_dict(found[0])
    assert same_weights(whole, learn(rest, tasks=2))


@pytest.mark.parametrize("channels_last", [False, True, "auto"])
def test_logits_are_those_of_the_cpu_without_tf32(build: Any, learn: Any, gpu: Any, channels_last: Any) -> None:
    template = learn(build(overrides={"training.model.channels_last": channels_last}), tasks=1)
    x = template.store.images(template.benchmark.train_stream[0].dataset.rows()[:16])
    here = template.logits(template.model.eval(), x)
    there = template.logits(copy.deepcopy(template.model).to(gpu), x.to(gpu)).cpu()
    torch.testing.assert_close(there, here, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(
    "overrides",
    [
        {"training.precision": "bfloat16"},
        {"training.precision": "bfloat16", "training.model.channels_last": True},
        {"training.tf32": True, "training.model.channels_last": True},
        pytest.param({"training.compile": "backbone"}, marks=pytest.mark.slow),
    ],
)
def test_other_arithmetic_stays_finite(on_gpu: Callable[..., Any], overrides: dict[str, Any]) -> None:
    on_gpu("rebll", overrides=overrides).refuse_not_finite()


def test_both_paths_of_more_drop_out_the_same_units(on_gpu: Callable[..., Any]) -> None:
    """With B = 0 both paths are the same network, so that the first step shows no gap."""
    gaps: list[float] = []

    class First(SupervisedPlugin):
        def after_backward(self, strategy: Any, **kwargs: Any) -> None:
            if strategy.position.step == strategy.position.epoch == 0:
                more = strategy.find_plugin(ModelRebalancing)
                gaps.append(float(more._gaps.max()))

    overrides = {"training.model": {"name": "mobilenet_v2", "image_size": 32}, "training.epochs": 1}
    on_gpu("finetune+more", overrides=overrides, last=[First()])
    assert max(gaps) < 1e-6


def test_memory_does_not_grow_with_tasks(build: Any) -> None:
    template, peaks = build("rebll", device="cuda", overrides={"stream.increment": 1}), []
    for experience in template.benchmark.train_stream[:6]:
        template.train(experience, eval_streams=[])
        peaks.append(torch.cuda.memory_allocated())
    assert max(peaks[2:]) - peaks[2] < 1_000_000


def test_a_run_out_of_gpu_memory_says_what_to_lower(tmp_path: Path) -> None:
    overrides = TINY | {"training.batch_size": 60, "training.model": {"name": "resnet50", "image_size": 448}}
    total = torch.cuda.get_device_properties(0).total_memory
    torch.cuda.set_per_process_memory_fraction(min(1.0, 1_500_000_000 / total))
    try:
        with pytest.raises(OutOfMemoryError, match=r"out of memory of cuda .*smaller training.batch_size \(now 60\)"):
            clsim.run("digits-b0c2", "finetune", overrides=overrides, out=tmp_path, device="cuda")
    finally:
        torch.cuda.set_per_process_memory_fraction(1.0)
        torch.cuda.empty_cache()


def test_forked_runs_of_a_comparison_are_those_of_single_processes(tmp_path: Path) -> None:
    """Two runs at a time on each GPU; where there are several, each run has seen one of them."""
    comparison = clsim.compare(
        "digits-b0c2", ["finetune", "er"], seeds=[0, 1], overrides=TINY, out=tmp_path / "all", device="cuda", per_gpu=2
    )
    alone = clsim.run("digits-b0c2", "er", seed=1, overrides=TINY, out=tmp_path / "one", device="cuda")
    (same,) = comparison.folder.glob("er/seed1")
    assert logged(same) == logged(alone.folder)


def test_a_checkpoint_is_read_where_no_gpu_is_visible(tmp_path: Path) -> None:
    overrides = TINY | {"checkpoint.steps": 1}
    folder = clsim.run("digits-b0c2", "rebll+more", overrides=overrides, out=tmp_path, device="cuda").folder
    assert newest_checkpoint(folder) is not None
    read = (
        "import sys; from pathlib import Path; from clsim.running.checkpoint_files import newest_checkpoint; "
        "newest_checkpoint(Path(sys.argv[1])).state()"
    )
    subprocess.run([sys.executable, "-c", read, str(folder)], check=True, env=os.environ | {"CUDA_VISIBLE_DEVICES": ""})

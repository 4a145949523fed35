"""The GPU of a run in its environment and identity, with no GPU here: torch is told that there is one."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from clsim.errors import RunError
from clsim.running import gpu
from clsim.running.environment import environment
from clsim.running.run_identity import OtherRun, identity_of, other_versions, refuse_other_run, without_versions
from clsim.running.run_spec import RunSpec
from clsim.scenario import load_scenario
from clsim.scenario.training_schema import TrainingSection
from clsim.strict_json import read_object

H100 = {"gpu": "NVIDIA H100", "gpu_driver": "595.1", "cuda": "13.2", "cudnn": "92600"}
A100 = H100 | {"gpu": "NVIDIA A100"}


@pytest.fixture
def there(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Puts a GPU with these facts into the machine."""

    def put(facts: dict[str, str]) -> None:
        monkeypatch.setattr(gpu, "_facts", lambda name: facts)
        monkeypatch.setattr(torch.cuda, "is_available", lambda: bool(facts))
        monkeypatch.setattr(torch.cuda, "device_count", lambda: len(facts) and 1)

    return put


@pytest.fixture
def config() -> TrainingSection:
    return load_scenario("digits-b0c2").config.training


def on_cuda(**more: Any) -> dict[str, Any]:
    return identity_of(load_scenario("digits-b0c2", more), RunSpec("finetune", "finetune", 0, "cuda"), 1)


def test_gpu_driver_and_versions_are_in_the_environment_of_a_run_on_cuda_only(there: Any) -> None:
    there(H100)
    assert H100.items() <= environment("cuda:0", 1).items()
    assert not H100.keys() & environment("cpu", 1).keys()


def test_what_selects_kernels_is_in_the_identity_of_runs_on_cuda_only(there: Any) -> None:
    there(H100)
    identity = on_cuda()
    assert identity["gpu"] == "NVIDIA H100"
    assert identity["cuda"] == "13.2, cuDNN 92600"
    assert identity["training.tf32"] is False
    assert on_cuda(**{"training.tf32": True})["training.tf32"] is True
    on_cpu = identity_of(
        load_scenario("digits-b0c2", {"training.tf32": True}), RunSpec("finetune", "finetune", 0, "cpu"), 1
    )
    assert not {"gpu", "cuda", "training.tf32"} & on_cpu.keys()


def test_another_gpu_makes_another_run_and_a_resumed_one_is_warned(there: Any, tmp_path: Path) -> None:
    there(H100)
    prepared = on_cuda()
    (tmp_path / "identity.json").write_text(json.dumps(prepared))
    there(A100)
    assert other_versions(prepared) == ['gpu: was "NVIDIA H100", now "NVIDIA A100"']
    with pytest.raises(OtherRun, match="gpu: was"):
        refuse_other_run(tmp_path, on_cuda(), as_prepared=True)
    assert without_versions(prepared) == without_versions(on_cuda())


def test_a_run_prepared_where_no_gpu_is_takes_that_of_the_machine_that_begins_it(there: Any, tmp_path: Path) -> None:
    there({})
    (tmp_path / "identity.json").write_text(json.dumps(on_cuda()))
    there(H100)
    refuse_other_run(tmp_path, on_cuda(), as_prepared=True)
    assert other_versions(read_object(tmp_path / "identity.json")) == []


@pytest.fixture
def arithmetic(monkeypatch: pytest.MonkeyPatch) -> Iterator[pytest.MonkeyPatch]:
    """What a run sets of torch is put back."""
    settings = (
        (torch.backends.cudnn, "benchmark"),
        (torch.backends.cudnn, "deterministic"),
        (torch.backends.cudnn, "allow_tf32"),
        (torch.backends.cuda.matmul, "allow_tf32"),
        (torch.utils.deterministic, "fill_uninitialized_memory"),
    )
    before = [getattr(owner, name) for owner, name in settings]
    monkeypatch.setenv(gpu.WORKSPACE, ":16:8")
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation=True: including_emulation)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda device=None: "Tesla T4")
    yield monkeypatch
    for (owner, name), value in zip(settings, before, strict=True):
        setattr(owner, name, value)


@pytest.mark.parametrize("tf32", [False, True])
def test_a_gpu_computes_by_kernels_that_repeat_and_with_tf32_only_if_asked(
    tf32: bool, arithmetic: pytest.MonkeyPatch, config: TrainingSection
) -> None:
    asked: list[Any] = []
    arithmetic.setattr(torch, "use_deterministic_algorithms", lambda *mode, **how: asked.append((mode, how)))
    gpu.set_arithmetic(config.model_copy(update={"tf32": tf32}), "cpu")
    assert not asked
    gpu.set_arithmetic(config.model_copy(update={"tf32": tf32}), "cuda:1")
    assert asked == [((True,), {"warn_only": True})]
    assert torch.backends.cudnn.deterministic
    assert torch.backends.cudnn.allow_tf32 is torch.backends.cuda.matmul.allow_tf32 is tf32
    assert not torch.utils.deterministic.fill_uninitialized_memory


def test_bfloat16_is_refused_where_it_is_emulated(arithmetic: pytest.MonkeyPatch, config: TrainingSection) -> None:
    arithmetic.setattr(torch, "use_deterministic_algorithms", lambda *mode, **how: None)
    with pytest.raises(RunError, match="given 'bfloat16', which Tesla T4 only emulates"):
        gpu.set_arithmetic(config.model_copy(update={"precision": "bfloat16"}), "cuda")


@pytest.mark.parametrize(
    ("told", "expected"),
    [("NVIDIA H200, 595.1\n", ("NVIDIA H200", "595.1")), ("A, 1\nB, 1\n", None), ("", None)],
)
def test_nvidia_smi_is_asked_so_that_no_memory_is_taken(
    told: str, expected: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    program = tmp_path / "nvidia-smi"
    program.write_text(f"#!/bin/sh\nprintf '{told}'\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    assert gpu._of_nvidia_smi("0") == expected

"""GPUs by their names, with no GPU here: torch is told that there are some."""

from __future__ import annotations

import pytest
import torch

from clsim.errors import RunError
from clsim.launch import slots as slots_module
from clsim.launch.slots import Division, Hardware, check_hardware, divide


@pytest.fixture
def gpus(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """Three GPUs and eight cores."""
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 3)
    monkeypatch.setattr(slots_module, "usable_cores", lambda: 8)
    monkeypatch.setattr("clsim.running.hardware.usable_cores", lambda: 8)
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    return monkeypatch


@pytest.mark.parametrize(
    ("inherited", "asked", "chosen"),
    [
        (None, None, ("0", "1", "2")),
        (None, "all", ("0", "1", "2")),
        (None, "0, 2", ("0", "2")),
        (None, [2, 2, 0], ("2", "0")),
        (None, 1, ("1",)),
        (None, "GPU-8932f937", ("GPU-8932f937",)),
        ("7,GPU-ab,MIG-cd", "all", ("7", "GPU-ab", "MIG-cd")),
        ("7,GPU-ab,MIG-cd", "MIG-cd,7", ("MIG-cd", "7")),
        ("5, 3,-1,4", None, ("5", "3")),
    ],
)
def test_gpus_are_a_subset_of_the_inherited_ones_as_text(inherited, asked, chosen, gpus: pytest.MonkeyPatch) -> None:
    if inherited is not None:
        gpus.setenv("CUDA_VISIBLE_DEVICES", inherited)
    assert check_hardware("auto", asked, None, None) == Hardware("cuda", chosen)


def test_one_gpu_by_its_number_is_the_one_that_cuda_counts_so(gpus: pytest.MonkeyPatch) -> None:
    gpus.setenv("CUDA_VISIBLE_DEVICES", "5,3,GPU-x")
    hardware = check_hardware("cuda:1", None, None, 4)
    assert (hardware.gpus, hardware.slots) == (("3",), ("3",) * 4)


def test_each_share_of_a_gpu_is_a_slot_and_the_cores_are_divided_among_them(gpus: pytest.MonkeyPatch) -> None:
    two = check_hardware("cuda", "0,2", 2, None)
    assert divide(two, "auto", 60, []) == Division(2, 4, ("0", "2", "0", "2"))
    assert divide(check_hardware("cuda", None, None, None), "auto", 60, []) == Division(2, 3, ("0", "1", "2"))
    assert divide(check_hardware("cuda", None, None, 4), "auto", 60, []) == Division(2, 4, ("0", "1", "2") * 2)
    assert divide(check_hardware("cuda", "all", 2, 5), "auto", 2, []) == Division(4, 5, ("0", "1", "2") * 2)
    assert divide(check_hardware("cpu", None, None, None), "auto", 60, []) == Division(1, 8)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("cpu", "all", None, None), "gpus: given all, but the device is cpu"),
        (("cuda:1", [0], None, None), "the device is cuda:1"),
        (("cpu", None, 2, None), "per_gpu: given 2, but the device is cpu"),
        (("auto", "0,9", None, None), "gpus: given '9', allowed: all, 0, 1, 2"),
        (("auto", [], None, None), "gpus: none are given"),
        (("auto", "0,1", 2, 5), "workers: given 5, but there are 2 GPUs with 2 runs on each; at most 4"),
        (("auto", "0", 0, None), "per_gpu: given 0, must be at least 1"),
        (("cuda:3", None, None, None), "--device cuda:3: no such CUDA device; allowed here: auto, cpu, cuda, cuda:0"),
        (("cuda:01", None, None, None), "device: given 'cuda:01', allowed"),
    ],
)
def test_what_cannot_be_is_refused_with_what_is_allowed(arguments, message: str, gpus: pytest.MonkeyPatch) -> None:
    with pytest.raises(RunError, match=message):
        check_hardware(*arguments)


def test_a_name_outside_the_inherited_ones_is_refused(gpus: pytest.MonkeyPatch) -> None:
    gpus.setenv("CUDA_VISIBLE_DEVICES", "GPU-ab,GPU-cd")
    with pytest.raises(RunError, match="gpus: given 'GPU-ac', allowed: all, GPU-ab, GPU-cd, did you mean 'GPU-"):
        check_hardware("auto", "GPU-ac", None, None)
    gpus.setenv("CUDA_VISIBLE_DEVICES", "NoDevFiles")
    with pytest.raises(RunError, match="CUDA_VISIBLE_DEVICES names no GPU"):
        check_hardware("cuda", None, None, None)


def test_without_a_gpu_none_can_be_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(RunError, match="--device cuda: no CUDA device is available; allowed here: auto, cpu"):
        check_hardware("auto", "all", None, None)

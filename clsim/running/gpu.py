"""The GPU of a run: what it is, and how it computes."""

from __future__ import annotations

import os
import shutil
import subprocess
from functools import cache

from clsim.errors import RunError
from clsim.running.hardware import device_kind, visible_gpus
from clsim.scenario.training_schema import TrainingSection

IDENTIFYING = ("gpu", "cuda")
"""Keys of an identity that only runs on CUDA have: kernels, and so the last bits of all numbers, follow from them."""

WORKSPACE = "CUBLAS_WORKSPACE_CONFIG"
"""Without this variable cuBLAS may add in another order each time."""


def kernels(device: str) -> dict[str, str]:
    """Return what selects the kernels of a GPU, by the keys `IDENTIFYING`; empty for other devices and without one."""
    if device_kind(device) != "cuda" or not (facts := _facts(_place(device))):
        return {}
    return {"gpu": facts["gpu"], "cuda": f"{facts['cuda']}, cuDNN {facts['cudnn']}"}


def described(device: str) -> dict[str, str]:
    """Return name, driver, versions of CUDA and cuDNN of a GPU for `environment.json`; empty for other devices."""
    return dict(_facts(_place(device))) if device_kind(device) == "cuda" else {}


def _place(device: str) -> str:
    """Return the name of a GPU as it stands in CUDA_VISIBLE_DEVICES; "" if it cannot be told."""
    names = visible_gpus()
    number = int(device.partition(":")[2] or 0)
    return names[number] if number < len(names) else ""


@cache
def _facts(name: str) -> dict[str, str]:
    """Describe a GPU; empty without one. nvidia-smi is asked first: torch would take memory of the GPU to answer."""
    import torch

    if not torch.cuda.is_available():
        return {}
    gpu, driver = _of_nvidia_smi(name) or (torch.cuda.get_device_name(), "unknown")
    cuda = torch.version.cuda or torch.version.hip
    return {"gpu": gpu, "gpu_driver": driver, "cuda": str(cuda), "cudnn": str(torch.backends.cudnn.version())}


def _of_nvidia_smi(name: str) -> tuple[str, str] | None:
    program = shutil.which("nvidia-smi")
    if program is None or not name:
        return None
    command = [program, f"--id={name}", "--query-gpu=name,driver_version", "--format=csv,noheader"]
    try:
        told = subprocess.run(command, check=True, capture_output=True, text=True, timeout=20).stdout
    except (OSError, subprocess.SubprocessError):
        return None
    found, _, driver = told.strip().rpartition(", ")
    return (found, driver) if found and "\n" not in told.strip() else None


def set_arithmetic(config: TrainingSection, device: str) -> None:
    """Have a GPU compute as the scenario says: by kernels that repeat, and with or without TF32. Others are left alone.

    Where an operation has no kernel that repeats, torch warns once and takes the other one: such a run is not
    bit-identical when it is repeated.

    Raises:
        RunError: bfloat16 on a GPU that only emulates it.
    """
    if device_kind(device) != "cuda":
        return
    import torch

    os.environ.setdefault(WORKSPACE, ":4096:8")
    torch.backends.cudnn.benchmark = False
    torch.backends.cudnn.deterministic = True
    torch.use_deterministic_algorithms(True, warn_only=True)
    torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]
    torch.backends.cuda.matmul.allow_tf32 = config.tf32
    torch.backends.cudnn.allow_tf32 = config.tf32
    if config.precision == "bfloat16" and not torch.cuda.is_bf16_supported(including_emulation=False):
        raise RunError(
            f"training.precision: given 'bfloat16', which {torch.cuda.get_device_name(device)} only emulates, slower "
            "than float32; allowed on it: float32"
        )

from __future__ import annotations

import pytest
import torch

import clsim
from clsim.errors import OUT_OF_MEMORY, OutOfMemoryError, RunError
from clsim.running import execution
from clsim.running.memory_shortage import shortage_named
from clsim.running.run_folder import RunFolder
from clsim.scenario.schema import ScenarioConfig

CUDA = "CUDA out of memory. Tried to allocate 2.50 GiB. GPU 0 has a total capacity of 139 GiB of which"
HOST = "[enforce fail at alloc_cpu.cpp:124] DefaultCPUAllocator: can't allocate memory: you tried to allocate 400 bytes"


@pytest.mark.parametrize(
    ("error", "text"),
    [
        (torch.OutOfMemoryError(CUDA), "out of memory of cuda before training, at an allocation of 2.50 GiB; it needs"),
        (RuntimeError(HOST), "out of memory of the machine before training, at an allocation of 400 bytes"),
        (MemoryError(), "out of memory of the machine before training; it needs less with fewer"),
    ],
)
def test_a_shortage_is_named_also_inside_of_what_failed_for_it(error: Exception, text: str, tiny) -> None:
    config: ScenarioConfig = tiny.config
    with pytest.raises(OutOfMemoryError, match=text), shortage_named(config, "cuda"):
        raise error
    with pytest.raises(OutOfMemoryError, match=text), shortage_named(config, "cuda"):
        raise RunError("plugin Mine failed") from error


def test_other_errors_stay_as_they_are(tiny) -> None:
    with pytest.raises(ZeroDivisionError), shortage_named(tiny.config, "cuda"):
        raise ZeroDivisionError


def test_a_run_says_where_it_was_and_what_to_change(
    tmp_path, tiny_overrides, monkeypatch: pytest.MonkeyPatch, capsys
) -> None:
    def fail(*_: object) -> None:
        raise torch.OutOfMemoryError(CUDA)

    monkeypatch.setattr("clsim.training.template.MultiLabelTemplate.criterion", fail)
    with pytest.raises(OutOfMemoryError):
        clsim.run("digits-b0c2", "finetune", overrides=tiny_overrides, out=tmp_path, device="cpu")
    (folder,) = tmp_path.glob("*/*/seed0")
    assert execution.main([str(folder)]) == OUT_OF_MEMORY
    text = RunFolder(folder).error.read_text()
    assert text.startswith("OutOfMemoryError: out of memory of cpu ")
    assert "training.batch_size (now " in text
    assert "--per-gpu" in text
    assert "at an allocation of 2.50 GiB" in text
    assert text.count("\n") == 1
    assert text.removeprefix("OutOfMemoryError: ").strip() in capsys.readouterr().err

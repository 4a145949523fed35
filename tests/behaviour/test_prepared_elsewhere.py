"""A run is prepared by one process and carried out by another, which may be another machine: it stays the same run."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

import clsim
from clsim.errors import RunError
from clsim.files import write_json
from clsim.running import execution
from clsim.running.prepared_run import prepare
from clsim.running.run_folder import RunFolder
from clsim.running.run_identity import OTHER_RUN, read_identity
from clsim.running.run_spec import RunSpec
from clsim.scenario import Scenario

OTHER = {"torch": "2.6.0", "data_fingerprint": "0" * 64, "code.clsim": "1" * 64, "threads": 3}


@pytest.fixture
def folder(tiny: Scenario, tmp_path: Path) -> Path:
    prepare(tmp_path / "run", tiny, RunSpec("finetune", "finetune", 0, "cpu"), 1)
    return tmp_path / "run"


def change(folder: Path, **values: Any) -> dict[str, Any]:
    """Make it a run that was prepared where these values hold."""
    changed = read_identity(folder) | values
    write_json(RunFolder(folder).identity, changed)
    return changed


def test_a_worker_refuses_what_would_be_another_run_key_by_key(folder: Path, capsys) -> None:
    prepared = change(folder, **OTHER)
    assert execution.main([str(folder)]) == OTHER_RUN
    said = capsys.readouterr().err
    assert f"{folder}: not begun, because here it would be another run than the one that was prepared:" in said
    assert [line.split(":")[0].strip() for line in said.splitlines()[1:]] == [key for key in prepared if key in OTHER]
    assert '  torch: was "2.6.0", now "' in said
    assert '  data_fingerprint: was "000000000000", now "' in said
    assert read_identity(folder) == prepared
    assert not RunFolder(folder).metrics.exists()
    assert not RunFolder(folder).error.exists(), "elsewhere it may be carried out"


def test_a_run_on_another_kind_of_device_is_refused(tiny: Scenario, tmp_path: Path, capsys) -> None:
    prepare(tmp_path / "run", tiny, RunSpec("finetune", "finetune", 0, "cuda"), 1)
    assert read_identity(tmp_path / "run")["device"] == "cuda"
    assert execution.main([str(tmp_path / "run")]) == 2
    assert "--device cuda: no CUDA device is available" in capsys.readouterr().err


def test_a_person_may_begin_it_with_other_versions_but_not_with_other_data(folder: Path) -> None:
    now = read_identity(folder)
    change(folder, data_fingerprint="0" * 64)
    with pytest.raises(RunError, match=r"not begun, .*\n  data_fingerprint: was"):
        clsim.resume(folder)
    change(folder, data_fingerprint=now["data_fingerprint"], torch="2.6.0")
    clsim.resume(folder)
    assert read_identity(folder) == now
    assert (
        'other code or versions than it was prepared with: torch: was "2.6.0"' in RunFolder(folder).run_log.read_text()
    )


def test_a_machine_without_a_gpu_prepares_runs_for_one(tiny_overrides: dict[str, Any], tmp_path: Path) -> None:
    arguments: dict[str, Any] = {"overrides": tiny_overrides | {"threads": 64}, "out": tmp_path, "prepare_only": True}
    with pytest.raises(RunError, match="device: given 'auto', but the runs are prepared for other machines"):
        clsim.compare("digits-b0c2", "er", **arguments)
    with pytest.raises(RunError, match="threads: auto, but the runs are prepared for other machines"):
        clsim.compare(
            "digits-b0c2", "er", device="cuda", **arguments | {"overrides": tiny_overrides | {"threads": "auto"}}
        )
    with pytest.raises(RunError, match="workers: given 2, but the runs are only prepared here"):
        clsim.compare("digits-b0c2", "er", device="cuda", workers=2, **arguments)
    assert list(tmp_path.iterdir()) == []
    comparison = clsim.compare("digits-b0c2", "er,lwf", device="cuda", **arguments)
    assert len(comparison.interrupted) == 2
    for folder in comparison.interrupted:
        identity, spec = read_identity(folder), json.loads(RunFolder(folder).run.read_text())
        assert (identity["device"], identity["threads"], spec["device"]) == ("cuda", 64, "cuda")
        assert not RunFolder(folder).run_log.exists()

"""A finished run whose files have changed since is found, left out and named; damaged files are one line."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from clsim.errors import ClsimError, RunError
from clsim.report.results import load_results
from clsim.report.run_result import read_run
from clsim.report.writing import write_report
from clsim.running.checkpoint_files import newest_checkpoint
from clsim.running.checksums import changed_since, write_checksums
from clsim.running.environment import record_environment
from clsim.running.run_folder import RunFolder
from clsim.running.run_identity import read_identity

DEEP = "[" * 100_000


def seal(folder: Path) -> RunFolder:
    """Give a run folder that was written by hand its checksums."""
    files = RunFolder(folder)
    write_checksums(files, files.result.read_text())
    return files


def test_a_run_that_stays_as_it_was_is_read(runs: Path) -> None:
    files = seal(runs / "er" / "seed0")
    assert changed_since(files) is None
    assert RunFolder.result in json.loads(files.checksums.read_text())
    assert RunFolder.timing in json.loads(files.checksums.read_text())
    assert changed_since(RunFolder(runs / "er" / "seed1")) is None, "a run of an earlier version"


@pytest.mark.parametrize("name", ["result.json", "timing.jsonl", "class_values.f64"])
def test_a_flipped_bit_leaves_the_run_out_by_name(runs: Path, name: str) -> None:
    RunFolder(runs / "er" / "seed0").class_values.write_bytes(bytes(16))
    files = seal(runs / "er" / "seed0")
    content = bytearray((files.path / name).read_bytes())
    content[-4] ^= 1
    (files.path / name).write_bytes(content)
    reason = f"{name}: not as the run wrote it, by checksums.json"
    assert changed_since(files) == reason
    with pytest.raises(RunError, match=name):
        read_run(files.path)
    results = load_results(runs)
    assert "er/seed0" not in [run.name for run in results.runs]
    assert (files.path, f"left out: {reason}") in [(run.folder, run.reason) for run in results.unfinished]
    write_report(runs)
    assert reason in (runs / "results.md").read_text()
    assert reason in (runs / "report.html").read_text()


def test_a_file_that_is_gone_and_damaged_checksums_are_told(runs: Path) -> None:
    files = seal(runs / "er" / "seed0")
    files.timing.unlink()
    assert changed_since(files) == f"{files.timing} is missing, which the run wrote"
    files.checksums.write_text("{")
    assert str(changed_since(files)).startswith(f"{files.checksums}: not readable as JSON")


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("result.json", ""),
        ("result.json", DEEP),
        ("result.json", '{"format": 2, "strategy": "er", "seed": 0, "tasks": [{"a": DEEP}]}'.replace("DEEP", DEEP)),
        ("environment.json", DEEP),
        ("environment.json", "{"),
        ("timing.jsonl", "[]\n"),
        ("timing.jsonl", '{"task": 0, "train_seconds": "long", "samples_per_second": 1, "eval_seconds": [1]}\n'),
        (
            "config.yaml",
            "a: &a [1,1,1,1,1,1,1,1,1]\n"
            + "".join(f"{chr(98 + n)}: &{chr(98 + n)} [{','.join(['*' + chr(97 + n)] * 9)}]\n" for n in range(12)),
        ),
    ],
    ids=["empty", "deep", "deep inside", "environment", "half", "a list", "texts", "aliases"],
)
def test_damaged_files_of_a_run_are_one_line(runs: Path, name: str, content: str) -> None:
    folder = runs / "er" / "seed0"
    (folder / name).write_text(content)
    with pytest.raises(ClsimError, match=name) as caught:
        read_run(folder)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("content", ["", DEEP, "[]", '{"format": []}', '{"format": 5, "sha256": 1}'])
def test_a_damaged_header_is_passed_over(tmp_path: Path, content: str) -> None:
    RunFolder(tmp_path).checkpoint.mkdir()
    (RunFolder(tmp_path).checkpoint / "000001.json").write_text(content)
    (RunFolder(tmp_path).checkpoint / "000001.pt").write_bytes(b"")
    if content == '{"format": []}':
        with pytest.raises(RunError, match=r"checkpoint format is \[\]"):
            newest_checkpoint(tmp_path)
    else:
        assert newest_checkpoint(tmp_path) is None


@pytest.mark.parametrize("content", ["", DEEP, "[]", '{"resumed": 1}'])
def test_a_run_goes_on_over_no_damaged_environment(tmp_path: Path, content: str) -> None:
    path = RunFolder(tmp_path).environment
    path.write_text(content)
    with pytest.raises(RunError, match=r"environment\.json"):
        record_environment(path, {"started": "now"})
    RunFolder(tmp_path).identity.write_text(content)
    if content != '{"resumed": 1}':
        with pytest.raises(RunError, match=r"identity\.json"):
            read_identity(tmp_path)

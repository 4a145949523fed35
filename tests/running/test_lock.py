"""Locks between real processes."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from clsim.errors import RunError
from clsim.running.lock import locked

HOLD = """
    import sys, time
    from pathlib import Path
    from clsim.running.lock import locked

    with locked(Path(sys.argv[1])):
        print("held", flush=True)
        time.sleep(60)
"""
CONTEND = """
    import sys
    from pathlib import Path
    from clsim.errors import RunError
    from clsim.running.lock import locked

    folder = Path(sys.argv[1])
    for _ in range(400):
        try:
            with locked(folder):
                (folder / "inside").touch(exist_ok=False)
                (folder / "inside").unlink()
        except RunError:
            pass
"""


def start(code: str, folder: Path) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", textwrap.dedent(code), str(folder)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


@contextmanager
def holder(folder: Path) -> Iterator[subprocess.Popen[str]]:
    """Another process that holds the folder."""
    process = start(HOLD, folder)
    try:
        assert process.stdout is not None
        assert process.stdout.readline() == "held\n"
        yield process
    finally:
        process.kill()
        process.communicate()


def test_a_folder_in_use_is_refused_by_the_number_of_its_process(tmp_path: Path) -> None:
    with holder(tmp_path) as process:
        with pytest.raises(RunError, match=f"in use by process {process.pid}$"), locked(tmp_path):
            pass
        assert process.poll() is None


def test_the_lock_of_a_killed_process_is_taken_over(tmp_path: Path) -> None:
    with holder(tmp_path) as process:
        process.send_signal(signal.SIGKILL)
        process.wait()
        assert (tmp_path / "lock").is_file()
        with locked(tmp_path):
            assert json.loads((tmp_path / "lock").read_text())["pid"] == os.getpid()
    assert not (tmp_path / "lock").exists()


@pytest.mark.parametrize("content", ['{"pid": %d, "host": "%s", "boot": "another"}', "", "[1]", '{"pid"'])
def test_a_lock_nobody_holds_is_taken_over_whatever_it_says(content: str, tmp_path: Path) -> None:
    """A living process may have the number of the dead one, and the machine may have been started anew."""
    if "%" in content:
        content %= (os.getppid(), os.uname().nodename)
    (tmp_path / "lock").write_text(content)
    with locked(tmp_path):
        pass


def test_a_lock_of_another_machine_is_not_taken_over_and_the_error_says_what_to_do(tmp_path: Path) -> None:
    text = '{"pid": 7, "host": "elsewhere", "boot": "another"}'
    (tmp_path / "lock").write_text(text)
    message = f"in use by process 7 on elsewhere, or left by it; if it runs no more, remove {tmp_path / 'lock'}"
    with pytest.raises(RunError, match=message), locked(tmp_path):
        pass
    assert (tmp_path / "lock").read_text() == text


def test_a_container_of_another_name_that_shares_the_kernel_is_this_machine(tmp_path: Path) -> None:
    boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    (tmp_path / "lock").write_text(json.dumps({"pid": 7, "host": "elsewhere", "boot": boot}))
    with locked(tmp_path):
        pass


def test_two_processes_are_never_inside_at_once(tmp_path: Path) -> None:
    processes = [start(CONTEND, tmp_path) for _ in range(3)]
    for process in processes:
        _, errors = process.communicate(timeout=60)
        assert process.returncode == 0, errors


def test_a_folder_that_cannot_be_locked_is_a_clear_error(tmp_path: Path) -> None:
    with pytest.raises(RunError, match=r"nowhere/lock: No such file"), locked(tmp_path / "nowhere"):
        pass

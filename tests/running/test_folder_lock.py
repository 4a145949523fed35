"""Locks between real processes."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from clsim.errors import RunError
from clsim.running import folder_lock
from clsim.running.folder_lock import STALE, FolderInUse, LockLost, in_use, locked

HOLD = """
    import sys, time
    from pathlib import Path
    from clsim.running.folder_lock import locked

    with locked(Path(sys.argv[1]), *sys.argv[2:]):
        print("held", flush=True)
        time.sleep(60)
"""
CONTEND = """
    import sys
    from pathlib import Path
    from clsim.errors import RunError
    from clsim.running.folder_lock import locked

    folder = Path(sys.argv[1])
    for _ in range(400):
        try:
            with locked(folder):
                (folder / "inside").touch(exist_ok=False)
                (folder / "inside").unlink()
        except RunError:
            pass
"""


def start(code: str, folder: Path, *order: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", textwrap.dedent(code), str(folder), *order]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


@contextmanager
def holder(folder: Path, *order: str) -> Iterator[subprocess.Popen[str]]:
    """Another process that holds the folder."""
    process = start(HOLD, folder, *order)
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


def test_a_lock_of_another_machine_and_an_older_version_is_not_taken_over_and_the_error_says_what_to_do(
    tmp_path: Path,
) -> None:
    text = '{"pid": 7, "host": "elsewhere", "boot": "another"}'
    (tmp_path / "lock").write_text(text)
    message = f"in use by process 7 on elsewhere, or left by it; if it runs no more, remove {tmp_path / 'lock'}"
    with pytest.raises(RunError, match=message), locked(tmp_path):
        pass
    assert (tmp_path / "lock").read_text() == text


def forge(folder: Path, silent: float = 0.0, **content: object) -> str:
    """Leave the lock of a process on another machine, whose last sign of life is so many seconds old."""
    text = json.dumps({"pid": 7, "host": "elsewhere", "boot": "another", "token": "its own", **content})
    (folder / "lock").write_text(text)
    os.utime(folder / "lock", (time.time() - silent,) * 2)
    return text


def test_another_machine_that_gives_signs_of_life_keeps_its_folder(tmp_path: Path) -> None:
    text = forge(tmp_path, silent=STALE - 60)
    message = (
        r"in use by process 7 on elsewhere, or left by it; its last sign of life is 5\d\d s old, after 600 s it is"
    )
    with pytest.raises(FolderInUse, match=message), locked(tmp_path):
        pass
    assert in_use(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["lock"]
    assert (tmp_path / "lock").read_text() == text


def test_a_machine_that_gives_none_for_ten_minutes_is_lost(tmp_path: Path) -> None:
    text = forge(tmp_path, silent=STALE + 1)
    assert not in_use(tmp_path)
    assert (tmp_path / "lock").read_text() == text
    with locked(tmp_path) as hold:
        hold.check()
        assert in_use(tmp_path)
        assert json.loads((tmp_path / "lock").read_text())["token"] == hold.token
    assert not (tmp_path / "lock").exists()


def test_the_next_attempt_at_an_order_takes_the_lock_of_a_lost_machine_over_at_once(tmp_path: Path) -> None:
    forge(tmp_path, order="mine")
    for order in (None, "another"):
        with pytest.raises(FolderInUse, match="in use by process 7 on elsewhere"), locked(tmp_path, order):
            pass
    with locked(tmp_path, "mine") as hold:
        hold.check()
        assert json.loads((tmp_path / "lock").read_text())["order"] == "mine"
    forge(tmp_path)
    with pytest.raises(FolderInUse), locked(tmp_path, "mine"):
        pass


def test_an_attempt_waits_for_an_earlier_one_of_its_order_that_lives_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with holder(tmp_path, "mine") as process:
        threading.Timer(1, process.kill).start()
        with pytest.raises(FolderInUse), locked(tmp_path, "another"):
            pass
        with locked(tmp_path, "mine"):
            assert process.wait() == -signal.SIGKILL
    monkeypatch.setattr(folder_lock, "LAST_SAVE", 0.3)
    with holder(tmp_path, "mine"), pytest.raises(FolderInUse, match="in use by process"), locked(tmp_path, "mine"):
        pass


def test_a_holder_that_was_taken_for_lost_finds_the_other_token(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(folder_lock, "BEAT", 0.05)
    with locked(tmp_path) as hold:
        os.utime(tmp_path / "lock", (0, 0))
        wait_for(lambda: (tmp_path / "lock").stat().st_mtime > 0)
        assert not hold.lost
        text = forge(tmp_path)
        wait_for(lambda: hold.lost)
        with pytest.raises(LockLost, match="taken over by process 7 on elsewhere while this process was at work on it"):
            hold.check()
    assert (tmp_path / "lock").read_text() == text
    (tmp_path / "lock").unlink()
    with locked(tmp_path) as hold:
        (tmp_path / "lock").unlink()
        with pytest.raises(LockLost, match="unlocked while this process was at work on it"):
            hold.check()


def wait_for(condition: Callable[[], bool]) -> None:
    for _ in range(200):
        if condition():
            return
        time.sleep(0.05)
    raise AssertionError


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

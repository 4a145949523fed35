"""`clsim tensorboard`: a real process, asked over HTTP and ended as by Ctrl-C."""

from __future__ import annotations

import json
import re
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path
from urllib.parse import parse_qs, unquote, urlsplit

import pytest

from clsim.errors import RunError
from clsim.report import tensorboard_server

pytestmark = pytest.mark.usefixtures("as_in_a_terminal")


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


def command(*arguments: object) -> subprocess.Popen[str]:
    texts = [str(argument) for argument in arguments]
    return subprocess.Popen(
        [sys.executable, "-m", "clsim", "tensorboard", *texts],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def runs_at(address: str, expected: int, patience: float = 60) -> list[str]:
    """What the server lists, once it has read as many runs."""
    end = time.monotonic() + patience
    while True:
        try:
            with urllib.request.urlopen(f"{address}data/runs", timeout=10) as answer:
                runs = json.loads(answer.read())
        except urllib.error.URLError:
            runs = []
        if len(runs) >= expected or time.monotonic() > end:
            return sorted(runs)
        time.sleep(0.2)


def test_it_serves_the_runs_by_name_until_it_is_interrupted(finished_run: Path) -> None:
    port = free_port()
    process = command(finished_run.parents[2], "--port", port)
    try:
        assert process.stdout is not None
        said = process.stdout.readline()
        assert f"TensorBoard on 1 runs in {finished_run.parents[2]}: http://localhost:{port}/ " in said
        assert process.stdout.readline().startswith(f"curves: http://localhost:{port}/?")
        assert runs_at(f"http://127.0.0.1:{port}/", 1) == ["digits-b0c2/lwf+er/seed3"]
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate(timeout=30)
    finally:
        process.kill()
    assert process.returncode == 0
    assert errors == "ended\n"


def test_a_run_folder_itself_is_not_called_a_dot(finished_run: Path) -> None:
    address = tensorboard_server.start(finished_run, port=free_port())
    assert runs_at(address, 1) == ["lwf+er/seed3/."]


def test_without_a_port_the_next_free_one_is_taken(finished_run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket() as taken:
        taken.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            taken.bind(("127.0.0.1", tensorboard_server.FIRST_PORT))
            taken.listen()
        except OSError:
            pass  # somebody else holds it: just as good
        found = tensorboard_server.port_of(tensorboard_server.start(finished_run))
    assert found is not None
    assert tensorboard_server.FIRST_PORT < found < tensorboard_server.FIRST_PORT + 100


def test_a_chosen_port_in_use_is_an_error(finished_run: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(RunError, match=rf"--port {port}: in use; name another"):
            tensorboard_server.start(finished_run, port=port)


def test_an_address_that_is_not_of_this_machine_is_an_error(finished_run: Path) -> None:
    with pytest.raises(RunError, match=r"TensorBoard at 192\.0\.2\.1, port \d+: "):
        tensorboard_server.start(finished_run, host="192.0.2.1", port=free_port())


def test_without_event_files_it_says_what_is_there_and_what_makes_some(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "notes.txt").touch()
    with pytest.raises(RunError) as error:
        tensorboard_server.runs_below(tmp_path)
    assert str(error.value) == (
        f"{tmp_path}: no event file below it; there is data/, notes.txt\n"
        "make some: clsim compare digits-b0c2 --strategies finetune,er,lwf+er --out runs"
    )
    for path, text in ((tmp_path / "none", "no such folder"), (tmp_path / "notes.txt", "is a file")):
        with pytest.raises(RunError, match=re.escape(f"{path}: {text}")):
            tensorboard_server.runs_below(path)


def test_the_command_ends_with_code_2_where_there_is_nothing(tmp_path: Path) -> None:
    process = command(tmp_path)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 2
    assert errors.startswith(f"{tmp_path}: no event file below it; there is nothing\n")


def test_links_open_the_means_and_the_runs_that_have_none(tmp_path: Path) -> None:
    runs = [tmp_path / name for name in ("er/mean", "er/seed0", "er/seed1", "lwf+er/seed0")]
    found = tensorboard_server.links("http://localhost:6006/", tmp_path, runs)
    query = parse_qs(urlsplit(found["curves"]).query)
    assert query["runFilter"] == [r"/mean$|^lwf\+er/seed0$"]
    assert query["smoothing"] == ["0"]
    assert json.loads(query["pinnedCards"][0]) == [{"plugin": "scalars", "tag": "mAP/seen"}]
    assert urlsplit(found["curves"]).fragment == "timeseries"
    assert unquote(found["spread"]).endswith("#custom_scalars&regexInput=" + query["runFilter"][0])
    single = tensorboard_server.links("http://localhost:6006/", tmp_path, runs[1:2])
    assert set(single) == {"curves", "hparams"}
    assert "runFilter" not in single["curves"]

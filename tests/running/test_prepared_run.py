"""What a run needs before it is prepared."""

from __future__ import annotations

from pathlib import Path

import pytest

from clsim.errors import RunError
from clsim.running.prepared_run import check_home


@pytest.mark.parametrize(("home", "why"), [("/proc", "HOME: /proc cannot be written"), ("~", "HOME: not set")])
def test_a_home_folder_that_cannot_be_written_is_one_clear_line(
    home: str, why: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", home)
    with pytest.raises(RunError, match=why):
        check_home()


def test_a_home_folder_of_ones_own_will_do(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    check_home()

"""The cache folder: this user's alone, and no file in it that somebody else may have written is read."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from stat import S_IMODE

import numpy as np
import pytest
from PIL import Image

from clsim.data.cache import cache_folder
from clsim.data.image_cache import cached_images
from clsim.data.label_cache import cached_labels
from clsim.errors import ClsimError, ScenarioError

OTHER = 12345


@pytest.fixture
def given_away(monkeypatch: pytest.MonkeyPatch) -> Callable[[Path], None]:
    """Gives a file to another user, or, where that is not allowed, this process the number of another one."""

    def give(path: Path) -> None:
        if os.geteuid() == 0:
            os.chown(path, OTHER, OTHER)
        else:
            monkeypatch.setattr(os, "geteuid", lambda: OTHER)

    return give


@pytest.fixture
def labels(tmp_path: Path) -> Callable[[], int]:
    """Reads labels through the cache, and returns how often they have been parsed so far."""
    source = tmp_path / "labels.txt"
    source.write_text("cat")
    parsed = []

    def parse() -> dict[str, np.ndarray]:
        parsed.append(1)
        return {"rows": np.arange(3)}

    def read() -> int:
        cached_labels("cat", [source], parse)
        return len(parsed)

    return read


def test_folders_and_files_are_for_this_user_alone(labels: Callable[[], int]) -> None:
    folder = cache_folder() / "labels"
    folder.mkdir(parents=True)
    folder.chmod(0o777)
    assert labels() == labels() == 1
    (entry,) = folder.iterdir()
    assert S_IMODE(folder.stat().st_mode) == 0o700
    assert S_IMODE(entry.stat().st_mode) == 0o600


@pytest.mark.parametrize("how", ["owner", "mode"])
def test_a_file_that_another_user_may_have_written_is_made_again(
    how: str, labels: Callable[[], int], given_away: Callable[[Path], None], caplog: pytest.LogCaptureFixture
) -> None:
    labels()
    (entry,) = (cache_folder() / "labels").iterdir()
    entry.chmod(0o666) if how == "mode" else given_away(entry)
    assert labels() == 2
    reason = "can be written by other users (mode 0666)" if how == "mode" else "belongs to user"
    assert f"not trusted, made again: {entry} {reason}" in caplog.text or how == "owner"
    assert reason in caplog.text


def test_a_folder_of_another_user_is_not_used(
    labels: Callable[[], int],
    given_away: Callable[[Path], None],
    caplog: pytest.LogCaptureFixture,
    tmp_path: Path,
) -> None:
    Image.new("RGB", (4, 4)).save(tmp_path / "image.png")
    for kind in ("labels", "images"):
        (cache_folder() / kind).mkdir(parents=True)
        given_away(cache_folder() / kind)
    assert labels() == 1
    assert labels() == 2
    assert f"labels are not cached: {cache_folder() / 'labels'}: belongs to user" in caplog.text
    with pytest.raises(ScenarioError, match="images: the image cache cannot be written: belongs to user"):
        cached_images([tmp_path / "image.png"], 4)


def test_a_half_decoded_cache_of_another_user_is_not_continued(
    tmp_path: Path, given_away: Callable[[Path], None]
) -> None:
    Image.new("RGB", (4, 4), (9, 9, 9)).save(tmp_path / "image.png")
    pixels = cached_images([tmp_path / "image.png"], 4)
    (made,) = (cache_folder() / "images").glob("*.npy")
    planted = made.with_suffix(".part")
    made.rename(planted)
    given_away(planted)
    if os.geteuid() != OTHER:
        number = planted.stat().st_ino
        np.testing.assert_array_equal(cached_images([tmp_path / "image.png"], 4), pixels)
        assert made.stat().st_ino != number or made.stat().st_uid != OTHER


def test_no_home_folder_is_one_clear_line(monkeypatch: pytest.MonkeyPatch) -> None:
    def no_home() -> Path:
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.delenv("CLSIM_CACHE", raising=False)
    monkeypatch.setattr(Path, "home", no_home)
    with pytest.raises(ClsimError, match="CLSIM_CACHE: not set, and no home folder is known"):
        cache_folder()

"""Images in one folder per class: what is an image, what is a class, what is refused."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from clsim.data import folder
from clsim.data.folder import Folder, FolderConfig
from clsim.errors import Unplannable


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CLSIM_CACHE", str(tmp_path / "cache"))


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """train: cat/1, cat/2, dog/1 (another image), dog/both and cat/both; test: dog/3, cat/4."""
    home = tmp_path / "photos"
    for file, content in {
        "train/cat/1.jpg": b"one",
        "train/cat/sub/2.PNG": b"two",
        "train/dog/1.jpg": b"uno",
        "train/cat/both.jpg": b"same",
        "train/dog/both.jpg": b"same",
        "train/dog/notes.txt": b"",
        "train/.thumbs/x.jpg": b"",
        "test/dog/3.jpg": b"three",
        "test/cat/1.jpg": b"eno",
    }.items():
        write(home / file, content)
    return home


def write(file: Path, content: bytes) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(content)


def source(root: Path | None, **options: Any) -> Folder:
    return Folder(FolderConfig(name="folder", root=None if root is None else str(root), **options))


def problem(data: Folder, key: str) -> str:
    with pytest.raises(Unplannable) as caught:
        data.labels("train")
    assert caught.value.path == ("dataset", key)
    return caught.value.text


def test_folders_are_classes_and_files_are_images(root: Path) -> None:
    data = source(root)
    assert data.class_names == ("cat", "dog")
    assert data.image_names("train") == [
        f"train/{name}" for name in ("cat/1.jpg", "cat/both.jpg", "cat/sub/2.PNG", "dog/1.jpg")
    ]
    expected = np.array([[1, 0], [1, 1], [1, 0], [0, 1]], dtype=np.int8)
    np.testing.assert_array_equal(data.labels("train"), expected, strict=True)
    assert data.image_names("test") == ["test/cat/1.jpg", "test/dog/3.jpg"]
    assert data.labels("test").tolist() == [[1, 0], [0, 1]]


def test_only_files_that_could_be_one_are_read(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    read: list[str] = []
    digests = folder._digests
    monkeypatch.setattr(folder, "_digests", lambda paths: read.extend(paths) or digests(paths))
    source(root).labels("train")
    names = sorted({os.path.relpath(path, root) for path in read})
    assert names == ["test/cat/1.jpg", *(f"train/{c}/{n}.jpg" for c in ("cat", "dog") for n in ("1", "both"))]
    read.clear()
    source(root).labels("train")
    assert not read, "they are read once"
    write(root / "train/dog/both.jpg", b"emas")
    assert source(root).labels("train").tolist() == [[1, 0], [1, 0], [1, 0], [0, 1], [0, 1]]


def test_an_image_trained_and_tested_on_is_refused(root: Path) -> None:
    write(root / "test/dog/1.jpg", b"uno")
    assert problem(source(root), "test") == (
        f"{root}/test/dog/1.jpg: the same image as {root}/train/dog/1.jpg (1 test images are trained on)"
    )


def test_a_share_for_testing_needs_one_folder_only(root: Path) -> None:
    for number in range(20):
        write(root / f"train/dog/{number + 10}.jpg", str(number).encode())
    whole = source(root / "train", test={"share": 0.25})
    below = source(root, train="train", test={"share": 0.25})
    for split in ("train", "test"):
        np.testing.assert_array_equal(whole.labels(split), below.labels(split))
        assert [f"train/{name}" for name in whole.image_names(split)] == below.image_names(split)
    assert (len(whole.labels("train")), len(whole.labels("test"))) == (18, 6)


def test_a_folder_of_images_without_any_class(root: Path) -> None:
    write(root / "train/normal/7.jpg", b"7")
    write(root / "test/normal/8.jpg", b"8")
    data = source(root, no_finding="normal")
    assert data.class_names == ("cat", "dog")
    assert (data.labels("train").tolist()[-1], data.labels("test").tolist()[-1]) == ([0, 0], [0, 0])
    write(root / "train/normal/both.jpg", b"same")
    assert problem(data=source(root, no_finding="normal"), key="no_finding").endswith(
        "train/cat/both.jpg: in 'normal' and in another class folder"
    )
    assert "did you mean 'normal'" in problem(source(root, no_finding="nromal"), "no_finding")


def test_what_is_wrong_is_told_with_the_folder(root: Path, tmp_path: Path) -> None:
    assert problem(source(None), "root").startswith("not set")
    assert problem(source(tmp_path / "nope"), "root") == f"{tmp_path}/nope: no such folder"
    assert problem(source(root / "train"), "train") == (
        f"{root}/train/train: no such folder; folders there: cat, dog; if these are the classes, give "
        "--set dataset.test={share: 0.2}"
    )
    assert "did you mean 'test'?" in problem(source(root, test="tets"), "test")
    assert problem(source(root / "train", train="cat/sub", test={"share": 0.5}), "train").endswith(
        "no class folder in it"
    )
    write(root / "test/bird/5.jpg", b"5")
    assert problem(source(root), "test") == f"{root}/test/bird: a class without training images"
    (root / "train" / "cow").mkdir()
    assert problem(source(root), "train").startswith(f"{root}/train/cow: no image in it; read are .jpg, .jpeg")


def test_images_are_aligned_with_labels(tmp_path: Path) -> None:
    for number in range(30):
        file = tmp_path / "photos" / "abc"[number % 3] / f"{number}.png"
        file.parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (9, 7), (number, 200 * (number % 3 == 0), 0)).save(file)
    data = source(tmp_path / "photos", test={"share": 0.3})
    for split in ("train", "test"):
        images = data.images(split, 8)
        assert (images[:, 1, 0, 0] > 100).tolist() == (data.labels(split)[:, 0] == 1).tolist()
        assert [f"{red}.png" for red in images[:, 0, 0, 0]] == [file.name for file in data.files(split)]


def test_every_option_is_described() -> None:
    assert all(field.description for field in FolderConfig.model_fields.values())

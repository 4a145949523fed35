"""Spoiled annotations, tables and images: each is read or refused by name, at once, and nothing beside it changes."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable
from pathlib import Path
from random import Random
from typing import Any

import pytest

from clsim.data.coco import Coco, CocoConfig
from clsim.data.digits import Digits, DigitsConfig
from clsim.data.export import write_coco, write_manifest, write_voc
from clsim.data.image_cache import decode_row
from clsim.data.image_files import SPLITS, ImageFiles
from clsim.data.manifest import Manifest
from clsim.data.manifest_config import ManifestConfig
from clsim.data.voc import Voc, VocConfig
from tests.fuzz.bounds import Fuzzed, outcome, tree
from tests.fuzz.byte_mutations import JPEG, JSON, PARQUET, TABLE, XML, spoilt

CASES = 1000
SCENES = Digits(DigitsConfig(name="digits", train=8, test=6))


def withstands(file: Path, tokens: tuple[bytes, ...], read: Callable[[], object], home: Path, *named: str) -> None:
    """Spoil `file` in a thousand ways and `read` each time.

    Args:
        home: nothing below it may change but the file itself.
        named: an error must name one of these.
    """
    whole = file.read_bytes()
    failed, accepted = [], 0
    before = {name: state for name, state in tree(home).items() if name != str(file.relative_to(home))}
    for case in range(CASES):
        file.write_bytes(spoilt(whole, tokens, Random(f"{file.name} {case}")))
        try:
            problems = outcome(read)
            if unnamed := [problem for problem in problems if not any(name in problem for name in named)]:
                raise Fuzzed(f"names no file: {unnamed[0][:300]}")
            accepted += not problems
        except Fuzzed as error:
            failed.append(f"case {case}: {error}")
    after = {name: state for name, state in tree(home).items() if name != str(file.relative_to(home))}
    assert not failed, "\n".join([f"{len(failed)} cases", *failed[:20]])
    assert after == before
    assert 0 < accepted < CASES


def labels(source: ImageFiles) -> None:
    for split in SPLITS:
        source.labels(split)
        source.files(split)
        source.image_names(split)
    source.check_size(32)


@pytest.fixture(autouse=True)
def own_cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CLSIM_CACHE", str(tmp_path_factory.mktemp("cache")))


def voc_reader(root: Path, **options: Any) -> Callable[[], None]:
    config = VocConfig(name="voc", root=str(root), class_names=list(SCENES.class_names), **options)
    return lambda: labels(Voc(config))


@pytest.mark.slow
def test_voc_annotations(tmp_path: Path) -> None:
    write_voc(SCENES, tmp_path / "VOCdevkit", 28)
    file = tmp_path / "VOCdevkit" / "VOC2007" / "Annotations" / "000003.xml"
    withstands(file, XML, voc_reader(tmp_path / "VOCdevkit"), tmp_path, str(file))


@pytest.mark.parametrize("name", ["trainval.txt", "3_trainval.txt"])
def test_voc_lists(tmp_path: Path, name: str) -> None:
    write_voc(SCENES, tmp_path / "VOCdevkit", 28)
    file = tmp_path / "VOCdevkit" / "VOC2007" / "ImageSets" / "Main" / name
    withstands(file, TABLE, voc_reader(tmp_path / "VOCdevkit", labels="class-files"), tmp_path, str(file.parents[2]))


@pytest.mark.slow
def test_coco_annotations(tmp_path: Path) -> None:
    write_coco(SCENES, tmp_path / "coco", 28)
    file = tmp_path / "coco" / "annotations" / "instances_train2014.json"
    config = CocoConfig(name="coco", root=str(tmp_path / "coco"))
    withstands(file, JSON, lambda: labels(Coco(config)), tmp_path, str(tmp_path / "coco"))


@pytest.fixture
def manifest(tmp_path: Path) -> list[dict[str, str]]:
    """Rows of the scenes' manifest, whose images lie in tmp_path."""
    with write_manifest(SCENES, tmp_path / "own", 28).open(newline="") as text:
        return list(csv.DictReader(text))


@pytest.mark.slow
@pytest.mark.parametrize("suffix", ["csv", "tsv", "jsonl", "parquet"])
def test_tables_of_columns(tmp_path: Path, manifest: list[dict[str, str]], suffix: str) -> None:
    file = tmp_path / "own" / f"table.{suffix}"
    if suffix == "parquet":
        import pyarrow
        from pyarrow import parquet

        numbers = [{key: int(cell) if len(key) == 1 else cell for key, cell in row.items()} for row in manifest]
        parquet.write_table(pyarrow.Table.from_pylist(numbers), file)
    elif suffix == "jsonl":
        file.write_text("".join(json.dumps(row) + "\n" for row in manifest))
    else:
        with file.open("w", newline="") as text:
            writer = csv.DictWriter(text, list(manifest[0]), delimiter="," if suffix == "csv" else "\t")
            writer.writeheader()
            writer.writerows(manifest)
    config = ManifestConfig(name="manifest", file=str(file), label_columns="rest")
    tokens = {"parquet": PARQUET, "jsonl": JSON}.get(suffix, TABLE)
    withstands(file, tokens, lambda: labels(Manifest(config)), tmp_path, str(tmp_path))


@pytest.mark.parametrize("suffix", ["csv", "jsonl"])
def test_tables_of_lists(tmp_path: Path, manifest: list[dict[str, str]], suffix: str) -> None:
    file = tmp_path / "own" / f"table.{suffix}"
    shown = [(row["path"], row["split"], [name for name in SCENES.class_names if row[name] == "1"]) for row in manifest]
    if suffix == "csv":
        lines = ["path,split,tags", *(f"{path},{split},{'|'.join(names)}" for path, split, names in shown)]
    else:
        lines = [json.dumps({"path": path, "split": split, "tags": names}) for path, split, names in shown]
    file.write_text("".join(f"{line}\n" for line in lines))
    config = ManifestConfig(name="manifest", file=str(file), label_list="tags", vocabulary=list(SCENES.class_names))
    tokens = TABLE if suffix == "csv" else JSON
    withstands(file, tokens, lambda: labels(Manifest(config)), tmp_path, str(tmp_path), "dataset.label_list")


@pytest.mark.slow
@pytest.mark.parametrize("progressive", [False, True])
def test_images(tmp_path: Path, progressive: bool) -> None:
    from PIL import Image

    file = tmp_path / "photo.jpg"
    picture = Image.fromarray(SCENES.images("train", 64)[0].transpose(1, 2, 0))
    picture.save(file, "JPEG", progressive=progressive, comment=b"x" * 50)
    withstands(file, JPEG, lambda: decode_row([file], 0, 32, "squash", ()), tmp_path, str(file))

"""Files of others: nothing that never ends is waited for, and nothing that floods is unpacked."""

from __future__ import annotations

import gzip
import io
import os
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from clsim.data.coco import Coco, CocoConfig
from clsim.data.features import Features, FeaturesConfig
from clsim.data.recognise import recognise
from clsim.data.tables import open_table
from clsim.data.voc_annotations import read_annotation
from clsim.errors import ClsimError
from clsim.models.build import build_model
from clsim.opening import read_regular
from clsim.report.results import load_results
from clsim.running.checkpoint_files import Checkpoint
from clsim.scenario.document import read_document
from clsim.scenario.plan.stream_plan import StreamPlan
from clsim.scenario.training_schema import ModelSection


def test_a_folder_and_a_pipe_are_no_files_and_a_file_is_one(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "file").write_bytes(b"x")
    assert read_regular(tmp_path / "file") == b"x"
    with pytest.raises(IsADirectoryError):
        read_regular(tmp_path)
    for name in ("pipe", "/dev/zero"):
        with pytest.raises(OSError, match="not a regular file"):
            read_regular(tmp_path / name)


READERS: dict[str, Callable[[Path], object]] = {
    "labels.csv": lambda path: open_table(path).__enter__(),
    "labels.jsonl": lambda path: open_table(path).__enter__(),
    "labels.parquet": lambda path: open_table(path).__enter__(),
    "image.xml": lambda path: read_annotation(str(path)),
    "scenario.yaml": read_document,
    "instances.json": lambda path: Coco(CocoConfig(name="coco", train_file=str(path), test={"share": 0.5})).class_names,
    "labels/data.csv": lambda path: recognise(path.parent),
    "labels/a.json": lambda path: recognise(path.parent),
    "VOC/ImageSets/Main/train.txt": lambda path: recognise(path.parents[2]),
    "runs/er/seed0/result.json": lambda path: load_results(path.parents[2]),
    "runs/er/seed0/config.yaml": lambda path: load_results(path.parents[2]),
    "runs/er/seed0/timing.jsonl": lambda path: load_results(path.parents[2]),
    "runs/er/seed0/checksums.json": lambda path: load_results(path.parents[2]),
    "runs/er/seed0/error.txt": lambda path: load_results(path.parents[2]),
}


@pytest.mark.parametrize("name", READERS)
def test_a_pipe_in_the_place_of_a_file_is_one_clear_line(
    name: str, make_run: Callable[..., Path], tmp_path: Path
) -> None:
    path = tmp_path / name
    if name.startswith("runs"):
        make_run(tmp_path / "runs", "er")
        make_run(tmp_path / "runs", "lwf")
        if path.name == "error.txt":
            (path.parent / "result.json").unlink()
    path.parent.mkdir(parents=True, exist_ok=True)
    path.unlink(missing_ok=True)
    os.mkfifo(path)
    if path.name in ("error.txt", "checksums.json"):  # the other run is reported
        assert len(READERS[name](path).runs) == 1
        return
    with pytest.raises(ClsimError) as error:
        READERS[name](path)
    assert "\n" not in str(error.value)
    assert str(tmp_path) in str(error.value)


@pytest.mark.parametrize("encoding", ["utf-8", "utf-16"])
def test_entities_of_an_annotation_are_not_expanded(tmp_path: Path, encoding: str) -> None:
    entities = "".join(f'<!ENTITY e{n} "{f"&e{n - 1};" * 10}">' for n in range(1, 10))
    text = f'<!DOCTYPE a [<!ENTITY e0 "lol">{entities}]><annotation><object><name>&e9;</name></object></annotation>'
    (tmp_path / "a.xml").write_text(f'<?xml version="1.0" encoding="{encoding}"?>{text}', encoding=encoding)
    with pytest.raises(ClsimError, match=r"a\.xml: defines XML entities"):
        read_annotation(str(tmp_path / "a.xml"))


def test_deep_nesting_is_an_error_of_one_line(tmp_path: Path) -> None:
    deep = "[" * 100_000
    for name, text in (("instances.json", deep), ("labels.jsonl", deep)):
        (tmp_path / name).write_text(text)
        with pytest.raises(ClsimError, match="not valid JSON"):
            READERS[name](tmp_path / name)
    with pytest.raises(ValueError, match="not a plan"):
        StreamPlan.from_bytes(gzip.compress(deep.encode()))


def bomb(path: Path, name: str = "archive/data.pkl") -> None:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(name, bytes(10_000_000))


def test_weights_that_unpack_to_more_than_their_file_are_refused(tmp_path: Path) -> None:
    bomb(tmp_path / "bomb.pt")
    weights = {"file": str(tmp_path / "bomb.pt"), "trained_on": [], "source": "x"}
    with pytest.raises(ClsimError, match="bytes that unpack to 10000000"):
        build_model(ModelSection(name="tiny-resnet", weights=weights), 0)
    with pytest.raises(ClsimError, match="bytes that unpack to 10000000"):
        Checkpoint(tmp_path / "bomb.pt", {}).state()


def test_arrays_and_plans_larger_than_memory_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    np.savez_compressed(tmp_path / "x.npz", x=np.zeros((1000, 100)), y=np.zeros((1000, 3), np.int8))
    monkeypatch.setattr("os.sysconf", lambda name: 4096 if name == "SC_PAGE_SIZE" else 100)
    with pytest.raises(ClsimError, match=r"x\.npz: .*this machine has 0\.0 GB of memory"):
        _ = Features(FeaturesConfig(name="features", file=str(tmp_path / "x.npz"), test={"share": 0.5})).class_names
    monkeypatch.setattr("clsim.scenario.plan.stream_plan.MOST_BYTES", 1000)
    content = io.BytesIO(gzip.compress(bytes(100_000))).getvalue()
    with pytest.raises(ValueError, match="or of more than 1000 bytes"):
        StreamPlan.from_bytes(content)

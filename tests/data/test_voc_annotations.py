"""Annotations of VOC: which elements are objects, and what is refused with its file and line."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from clsim.data.voc import VOC_CLASSES, Voc
from clsim.data.voc_annotations import read_annotation, read_annotations
from clsim.errors import Unplannable


def write_annotation(path: Path, *objects: tuple[str, str]) -> Path:
    body = "".join(f"<object><name>{name}</name>{flag}</object>" for name, flag in objects)
    path.write_text(f"<annotation>{body}</annotation>")
    return path


def test_an_annotation_is_its_top_level_objects(tmp_path: Path) -> None:
    yes, no = "<difficult>1</difficult>", "<difficult>0</difficult>"
    path = write_annotation(
        tmp_path / "a.xml",
        ("dog", yes),
        ("dog", no),
        ("cat", yes),
        ("cat", yes),
        ("person", f"{no}<part><name>head</name></part>"),
        ("sofa", ""),
        ("sofa", yes),
    )
    assert read_annotation(str(path)) == {"dog": True, "cat": False, "person": True, "sofa": True}


@pytest.mark.parametrize(
    "body",
    [
        "<Object><Name>cat</Name><Difficult>1</Difficult></Object><object><name>dog</name></object>",
        "<objects><object><name>dog</name></object><object><name>cat</name><difficult>1</difficult></object></objects>",
    ],
)
@pytest.mark.parametrize("root", ["annotation", "Annotation xmlns='http://example.org'"])
def test_objects_in_other_letters_or_in_a_list_are_read(tmp_path: Path, body: str, root: str) -> None:
    path = tmp_path / "a.xml"
    path.write_text(f"<{root}>{body}</{root.partition(' ')[0]}>")
    assert read_annotation(str(path)) == {"dog": True, "cat": False}


@pytest.mark.parametrize(
    ("flag", "difficult"),
    [
        ("", False),
        ("Unspecified", False),
        ("0.0", False),
        ("false", False),
        ("True", True),
        ("1.0", True),
        (" 1\n", True),
    ],
)
def test_what_difficult_says(tmp_path: Path, flag: str, difficult: bool) -> None:
    path = write_annotation(tmp_path / "a.xml", ("dog", f"<difficult>{flag}</difficult>"))
    assert read_annotation(str(path)) == {"dog": not difficult}


@pytest.mark.parametrize("encoding", ["GBK", "big5", "shift_jis", "cp1251", "utf-16", "utf-8"])
@pytest.mark.parametrize("before", ["", "\n \n", "This file was made by a tool.\n"])
def test_encodings_that_python_knows_and_text_before_the_declaration(
    tmp_path: Path, encoding: str, before: str
) -> None:
    if encoding == "utf-16" and before:
        return
    name = "\u043a\u043e\u0442"  # in all of these encodings
    path = tmp_path / "a.xml"
    body = f"<annotation>\n<object><name>{name}</name></object>\n</annotation>"
    path.write_bytes(f'{before}<?xml version="1.0" encoding="{encoding}"?>\n{body}'.encode(encoding))
    assert read_annotation(str(path)) == {name: True}
    path.write_bytes(path.read_bytes().replace("</object>".encode(encoding).removeprefix(b"\xff\xfe"), b""))
    with pytest.raises(Unplannable, match=r"a\.xml(:\d+)?: not valid XML"):
        read_annotation(str(path))


def test_lines_are_those_of_the_file_where_text_stands_before_the_declaration(tmp_path: Path) -> None:
    path = tmp_path / "a.xml"
    path.write_text(
        'made by a tool\n<?xml version="1.0"?>\n<annotation>\n<item><name>a</name><bndbox/></item></annotation>'
    )
    with pytest.raises(Unplannable, match=r"a\.xml:4: <item> looks like an object"):
        read_annotation(str(path))
    path.write_text('<b/>\n<?xml version="1.0"?>\n<annotation/>')
    with pytest.raises(Unplannable, match=r"a\.xml:2: not valid XML"):
        read_annotation(str(path))
    path.write_bytes('<?xml version="1.0" encoding="gbk"?><annotation>\u732b</annotation>'.encode("utf-8"))
    with pytest.raises(Unplannable, match=r"a\.xml: not valid XML"):
        read_annotation(str(path))


@pytest.mark.parametrize("workers", [1, 2])
def test_problems_of_all_annotations_are_counted(tmp_path: Path, workers: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: {0, 1}, raising=False)
    paths = [str(write_annotation(tmp_path / f"{n:02d}.xml", ("", ""), ("", ""))) for n in range(9)]
    with pytest.raises(Unplannable) as caught:
        read_annotations(paths, workers)
    lines = caught.value.text.split("\n")
    assert lines[0] == "18 problems, the first 10:"
    assert lines[1:] == [f"{tmp_path}/{n:02d}.xml: object {k} has no <name>" for n in range(5) for k in (1, 2)]


@pytest.mark.parametrize(
    ("element", "tag"),
    [
        ("<item><name>dog</name><bndbox/></item>", "item"),
        ("<item><name>dog</name><difficult>0</difficult></item>", "item"),
        ("<layer><object><name>dog</name></object></layer>", "object"),
        ("<objects>\n<item><name>dog</name></item></objects>", "objects"),
        ("<object><name>cat</name>\n<object><name>dog</name></object></object>", "object"),
    ],
)
def test_what_looks_like_an_object_and_is_not_read_is_an_error(tmp_path: Path, element: str, tag: str) -> None:
    path = tmp_path / "a.xml"
    path.write_text(f"<annotation>\n<owner><name>me</name></owner>\n{element}</annotation>")
    with pytest.raises(Unplannable) as caught:
        read_annotation(str(path))
    line = 4 if element.startswith("<object>") else 3
    assert caught.value.text.startswith(f"{path}:{line}: <{tag}> looks like an object and would not be read")


def test_a_second_name_is_an_error(tmp_path: Path) -> None:
    path = write_annotation(tmp_path / "a.xml", ("dog", "<name>cat</name>"))
    with pytest.raises(Unplannable, match="object 1 has 2 <name>, allowed: 1"):
        read_annotation(str(path))


def test_many_annotations_are_parsed_by_several_processes_as_by_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    paths = [str(write_annotation(tmp_path / f"{n}.xml", (VOC_CLASSES[n % 20], ""))) for n in range(41)]
    expected = [{VOC_CLASSES[n % 20]: True} for n in range(41)]
    started: list[Any] = []
    popen = subprocess.Popen

    def counted(*arguments: Any, **options: Any) -> Any:
        started.append(arguments)
        return popen(*arguments, **options)

    monkeypatch.setattr(subprocess, "Popen", counted)
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: {0, 1}, raising=False)
    assert read_annotations(paths) == expected
    assert not started, "a small folder is not worth a process"
    assert read_annotations(paths, workers=9) == expected
    assert len(started) == 2, "more workers than cores"
    Path(paths[30]).write_text("<annotation>")
    with pytest.raises(Unplannable, match=r"30\.xml:1: not valid XML: no element found"):
        read_annotations(paths, workers=2)


def _entities(levels: int) -> str:
    """Entities that multiply by ten at each level ("billion laughs")."""
    nested = "".join(f'<!ENTITY a{level} "{f"&a{level - 1};" * 10}">' for level in range(1, levels + 1))
    return f'<!DOCTYPE annotation [<!ENTITY a0 "lol">{nested}]>'


@pytest.mark.parametrize("levels", [6, 11])
def test_entities_that_multiply_are_an_error_of_one_line(devkit: Path, voc: Callable[..., Voc], levels: int) -> None:
    file = devkit / "VOC2007" / "Annotations" / "000001.xml"
    name = f"<annotation><object><name>&a{levels};</name></object></annotation>"
    file.write_text(_entities(levels) + name)
    with pytest.raises(Unplannable, match=r"000001\.xml") as caught:
        voc(devkit).labels("train")
    assert len(str(caught.value)) < 2500


def test_an_external_entity_is_not_read(devkit: Path, voc: Callable[..., Voc], tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("7")
    file = devkit / "VOC2007" / "Annotations" / "000001.xml"
    doctype = f'<!DOCTYPE a [<!ENTITY e SYSTEM "file://{tmp_path}/secret">]>'
    file.write_text(f"{doctype}<annotation><object><name>&e;</name></object></annotation>")
    with pytest.raises(Unplannable, match="defines XML entities, which no annotation needs"):
        voc(devkit).labels("train")

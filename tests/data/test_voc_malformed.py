"""PASCAL VOC: malformed lists of ids, class files and annotations."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from ruamel.yaml import YAML

from clsim.errors import Unplannable
from tests.data.test_voc_annotations import write_annotation
from tests.fixtures.voc_folders import MAIN, Make, problem


@pytest.mark.parametrize(
    ("file", "content", "text"),
    [
        ("trainval.txt", "000001\n000002 1\n", ":2: given '000002 1', expected one image id"),
        ("trainval.txt", "../etc/passwd\n", ":1: given '../etc/passwd', expected one image id"),
        ("trainval.txt", "\n\n", ": names no image"),
        ("trainval.txt", "000001\n000002\n000001\n", ": image 000001 is listed more than once"),
        ("trainval.txt", b"\xff\xfe", ": cannot be read: "),
    ],
)
@pytest.mark.parametrize("of", ["split", "ids"])
def test_a_malformed_list_of_ids(
    devkit: Path, tmp_path: Path, voc: Make, of: str, file: str, content: str | bytes, text: str
) -> None:
    path = devkit / MAIN / file if of == "split" else tmp_path / "ids.txt"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    error = problem(voc(devkit, ids=None if of == "split" else str(path)))
    assert error.path == ("dataset", "root" if of == "split" else "ids")
    assert error.text.startswith(f"{path}{text}")


def test_ids_beyond_the_splits_are_refused(written: Path, tmp_path: Path, voc: Make) -> None:
    path = tmp_path / "ids.txt"
    path.write_text("000003\n000030\n000031\n")  # the last two are test images
    error = problem(voc(written, ids=str(path)))
    assert error.text == f"{path}: 2 ids are not in 2007 trainval, the first is 000030"


@pytest.mark.parametrize(
    ("change", "text"),
    [
        (lambda lines: [*lines[:4], "000005 2\n", *lines[5:]], ":5: given '000005 2', expected an image id and 1, -1"),
        (lambda lines: [*lines[:4], "000005\n", *lines[5:]], ":5: given '000005', expected an image id and 1, -1 or 0"),
        (lambda lines: [*lines[:4], "000005 1 1\n", *lines[5:]], ":5: given '000005 1 1', expected"),
        (lambda lines: [*lines, lines[3]], ":25: image 000004 is listed more than once"),
        (lambda lines: [*lines[:3], *lines[5:]], ": lacks image 000004 (1 more like it)"),
        (lambda lines: [*lines, "000099 1\n"], ": has image 000099, which is not in the split"),
    ],
)
def test_a_malformed_class_file(devkit: Path, voc: Make, change: Callable[[list[str]], list[str]], text: str) -> None:
    path = devkit / MAIN / "6_trainval.txt"
    path.write_text("".join(change(path.read_text().splitlines(keepends=True))))
    assert problem(voc(devkit, labels="class-files")).text.startswith(f"{path}{text}")


@pytest.mark.parametrize(
    ("content", "text"),
    [
        ("<annotation>\n<object>", ":2: not valid XML: no element found"),
        ("", ":1: not valid XML: no element found"),
        ("<annotation>\n<object></annotation>", ":2: not valid XML: mismatched tag"),
        ("<html/>", ": is no VOC annotation: its first element is <html>, not <annotation>"),
        ("<annotation><object/></annotation>", ": object 1 has no <name>"),
        (
            "<annotation><object><name>3</name><difficult>yes</difficult></object></annotation>",
            ": object 1 <difficult> is 'yes', allowed: 0, 1",
        ),
        ('<?xml version="1.0" encoding="klingon"?><annotation/>', ": not valid XML: unknown encoding"),
    ],
)
def test_a_malformed_annotation(devkit: Path, voc: Make, content: str, text: str) -> None:
    path = devkit / "VOC2007" / "Annotations" / "000007.xml"
    path.write_text(content)
    assert problem(voc(devkit)).text.startswith(f"{path}{text}")


def test_all_unknown_classes_are_listed_with_counts_and_the_line_to_paste(devkit: Path, voc: Make) -> None:
    home = devkit / "VOC2007" / "Annotations"
    for image, name in ((7, "11"), (9, "bee"), (11, "bee"), (30, "wasp: red")):
        write_annotation(home / f"{image:06d}.xml", (name, ""), (name, ""))
    with pytest.raises(Unplannable) as caught:
        voc(devkit).labels("train")
    assert caught.value.path == ("dataset", "class_names")
    assert caught.value.text.split("\n") == [
        "the annotations name 3 unknown classes:",
        f"\"11\": images 1, the first {home}/000007.xml, did you mean '1'?",
        f'"bee": images 2, the first {home}/000009.xml',
        f'"wasp: red": images 1, the first {home}/000030.xml',
        "if they are meant, paste this below dataset:",
        'class_names: ["0", "1", "11", "2", "3", "4", "5", "6", "7", "8", "9", "bee", "wasp: red"]',
    ]
    with pytest.raises(Unplannable) as caught:
        voc(devkit, class_names="voc").labels("train")
    pasted = YAML(typ="safe").load(caught.value.text.partition("dataset:\n")[2])
    source = voc(devkit, **pasted)
    assert source.labels("train")[:, source.class_names.index("bee")].sum() == 2

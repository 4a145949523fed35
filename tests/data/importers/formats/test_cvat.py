"""CVAT for images: subsets are splits, objects of every shape and tags count, and nothing is passed over in silence."""

from __future__ import annotations

from typing import Any

import pytest

from clsim.errors import ClsimError

HEAD = """<?xml version="1.0" encoding="utf-8"?>
<annotations>
  <version>1.1</version>
  <meta><task><labels>
    <label><name>cat</name></label><label><name>dog</name></label><label><name>unused</name></label>
    <label><name>arm</name><type>skeleton</type></label>
    <label><name>elbow</name><type>points</type><parent>arm</parent></label>
  </labels></task></meta>
"""
IMAGES = {f"images/{part}/{number}.jpg": None for part in ("a", "b") for number in range(3)}


def xml(*images: tuple[str, str, str]) -> str:
    """Return a file of CVAT: name, subset and content of each image."""
    lines = [f'<image id="0" name="{name}" subset="{subset}">{content}</image>' for name, subset, content in images]
    return f"{HEAD}{''.join(lines)}</annotations>"


def box(label: str, tag: str = "box") -> str:
    return f'<{tag} label="{label}" occluded="0"><attribute name="age">3</attribute></{tag}>'


ALL = xml(
    ("a/0.jpg", "Train", box("cat") + box("cat")),
    ("a/1.jpg", "Train", box("dog", "polygon") + box("cat", "tag")),
    ("a/2.jpg", "Train", '<skeleton label="arm"><points label="elbow"/></skeleton>'),
    ("b/0.jpg", "Test", box("arm", "mask") + box("dog", "polyline")),
    ("b/1.jpg", "Test", ""),
    ("b/2.jpg", "Validation", box("cat")),
)


def test_shapes_tags_subsets_and_empty_images(importing: Any) -> None:
    found = importing("cvat", {"annotations.xml": ALL, **IMAGES})
    assert found.shown("train") == {
        "images/a/0.jpg": "cat",
        "images/a/1.jpg": "cat dog",
        "images/a/2.jpg": "arm",
    }
    assert found.shown("test") == {"images/b/0.jpg": "arm dog", "images/b/1.jpg": ""}
    assert "splits that are left out, see other_splits in the scenario: 'Validation'" in found.report
    assert "keeps them): 'unused'\n" in found.report
    assert "1 annotated images without an object show no class" in found.report
    assert "  dog: Train 1, Test 1, Validation 0\n" in found.report
    assert "images/b/1.jpg" not in importing("cvat", {}, empty="left-out").shown("test")
    assert importing("cvat", {}, empty="unknown").labels("test")["images/b/1.jpg"] == {"arm": "", "cat": "", "dog": ""}


@pytest.mark.parametrize(
    ("image", "message"),
    [
        (box("catt"), r"image 'a/0.jpg': label 'catt' is not declared in <meta>, did you mean 'cat'\?$"),
        ("<sphere label='cat'/>", r"element <sphere> is not known; allowed: box, "),
        ("<box/>", r"<box> has no label$"),
    ],
)
def test_what_is_not_understood_is_an_error(importing: Any, image: str, message: str) -> None:
    with pytest.raises(ClsimError, match=message):
        importing("cvat", {"x.xml": xml(("a/0.jpg", "Train", image)), **IMAGES})


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (f"{HEAD}<track/></annotations>", r"x\.xml: has <track> elements, .* export as CVAT for images 1\.1$"),
        (f"{HEAD}<image>", r"x\.xml:\d+: not valid XML: no element found$"),
        ("<!DOCTYPE a [<!ENTITY b 'c'>]><annotations></annotations>", r"x\.xml: defines XML entities"),
        ("<annotation/>", r"no XML file whose first element is <annotations>"),
    ],
)
def test_other_files_are_refused(importing: Any, text: str, message: str) -> None:
    with pytest.raises(ClsimError, match=message):
        importing("cvat", {"x.xml": text})

"""Label Studio: addresses of images, several annotators, several controls."""

from __future__ import annotations

import json
from typing import Any

import pytest

from clsim.errors import ClsimError


def result(*names: str, kind: str = "rectanglelabels", control: str = "label") -> dict[str, Any]:
    return {"from_name": control, "to_name": "image", "type": kind, "value": {"x": 1, kind: list(names)}}


def task(number: int, address: str, *annotations: list[dict[str, Any]], **more: Any) -> dict[str, Any]:
    done = [{"id": 1, "was_cancelled": False, "result": results} for results in annotations]
    return {"id": number, "data": {"image": address}, "annotations": done, "predictions": [], **more}


IMAGES = {f"images/{name}": None for name in ("a.jpg", "b c.jpg", "d.jpg", "e.png", "f.jpg", "g.jpg", "h.jpg")}
TASKS = [
    task(1, "/data/upload/3/0a1b2c3d-a.jpg", [result("cat"), result("cat"), {"type": "textarea", "value": {}}]),
    task(2, "/data/local-files/?d=somewhere/b%20c.jpg", [result("cat", "dog", kind="choices")]),
    task(3, "s3://bucket/some/d.jpg", [result("dog", kind="polygonlabels")], [result("dog")]),
    task(4, "https://host/x/e.png?sig=1", [result("bird")]),
    task(5, "f.jpg", []),
    task(6, "g.jpg"),
    task(7, "h.jpg", [result("bird")]),
]


def test_addresses_types_and_tasks_without_an_annotation(importing: Any) -> None:
    found = importing("label-studio", {"project.json": json.dumps(TASKS), **IMAGES})
    expected = {
        "images/a.jpg": "cat",
        "images/b c.jpg": "cat dog",
        "images/d.jpg": "dog",
        "images/e.png": "bird",
        "images/f.jpg": "",
        "images/h.jpg": "bird",
    }
    assert found.shown("train") | found.shown("test") == expected
    assert "1 tasks that nobody has annotated, or that were skipped, are left out" in found.report
    assert "1 results of type textarea, which name no class" in found.report


def test_annotators_that_disagree(importing: Any) -> None:
    votes = [[result("cat"), result("dog")], [result("cat")], [result("cat", "bird")]]
    files = {"x.json": json.dumps([*TASKS[1:], task(1, "a.jpg", *votes)]), **IMAGES}
    with pytest.raises(
        ClsimError, match=r"task 1: 3 annotations disagree: cat, dog; cat; bird, cat; --set annotators="
    ):
        importing("label-studio", files)
    for annotators, expected in (("any", "bird cat dog"), ("majority", "cat")):
        found = importing("label-studio", {}, annotators=annotators)
        assert (found.shown("train") | found.shown("test"))["images/a.jpg"] == expected


def test_several_controls_need_a_word(importing: Any) -> None:
    tasks = [*TASKS[1:], task(1, "a.jpg", [result("cat"), result("blurred", kind="choices", control="quality")])]
    with pytest.raises(ClsimError, match="labels of several controls: label, quality; --set from_name=NAME"):
        importing("label-studio", {"x.json": json.dumps(tasks), **IMAGES})
    found = importing("label-studio", {}, from_name="label")
    assert found.scenario.source.class_names == ("bird", "cat", "dog")
    with pytest.raises(ClsimError, match=r"from_name: given 'lable', allowed: label, quality$"):
        importing("label-studio", {}, from_name="lable")


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"id": 9, "image": "a.jpg", "choice": "cat"}, 'no object "data"; export as JSON, not as JSON-MIN'),
        (task(9, "a.jpg", [result("x", kind="taxonomy")]), "task 9: a result of type 'taxonomy' is not understood"),
        (
            {**task(9, "a"), "data": {"x": "a.jpg", "y": "b.jpg"}},
            "no image under a known key: x, y; --set image_key=KEY",
        ),
        (task(9, "/other/a.jpg", [result("dog")]), r"image 'a\.jpg' is images/a\.jpg again, with other labels"),
        (task(9, "z.jpg", [result("dog")]), r"image 'z\.jpg': no such file in "),
    ],
)
def test_what_is_not_understood_is_an_error(importing: Any, wrong: dict[str, Any], message: str) -> None:
    with pytest.raises(ClsimError, match=message):
        importing("label-studio", {"x.json": json.dumps([*TASKS, wrong]), **IMAGES})

"""Reading a scenario file: what is not a scenario is refused with file and line; overrides lie over the file."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import pytest

from clsim.errors import ScenarioError
from clsim.scenario import load_scenario
from clsim.scenario.document import parse_assignment, read_document

A_MAPPING = "s.yaml:1: a scenario is a mapping of keys such as name, dataset, stream"


@pytest.mark.parametrize("text", ["", "# only a comment\n", "- a\n- b\n", "hello", "3"])
def test_top_level_must_be_a_mapping(problems: Any, text: str) -> None:
    assert problems(text) == [A_MAPPING]


def test_broken_yaml_is_refused_with_its_line(problems: Any) -> None:
    assert problems("name: x\ndataset: [1, 2\nstream: }\n") == [
        "s.yaml:3: not valid YAML: expected ',' or ']', but got ':'"
    ]


def test_a_key_given_twice_is_refused_with_its_line(problems: Any, digits_text: str) -> None:
    twice = digits_text + "name: other\n"
    (problem,) = problems(twice)
    line = len(twice.splitlines())
    assert problem.startswith(f's.yaml:{line}: not valid YAML: found duplicate key "name"')


def test_a_key_that_is_no_text_is_refused_with_its_line(problems: Any, digits_text: str) -> None:
    assert problems("1: x\n" + digits_text) == ["s.yaml:1: key 1 is not text; quote it"]


def test_a_file_that_is_not_utf8_is_refused_with_its_line(problems: Any) -> None:
    assert problems(b"a: 1\nname: \xff\xfe") == [
        "s.yaml:2: cannot be read: byte 0xff is not UTF-8; a scenario is a text in UTF-8"
    ]


def test_a_control_character_is_refused_with_its_line(problems: Any) -> None:
    assert problems("a: 1\nb: 2\nname: a\0b") == ["s.yaml:3: not valid YAML: unacceptable character U+0000"]


@pytest.mark.parametrize("value", ["!!bool foo", "!!int foo", "!!float foo", "!!binary foo", "!!set {a}", "!x foo"])
def test_what_the_yaml_parser_stumbles_over_is_an_error_of_the_file(
    problems: Any, digits_text: str, value: str
) -> None:
    (problem,) = problems(digits_text.replace("epochs: 10", f"epochs: {value}"))
    assert problem.startswith(f"s.yaml:{digits_text[: digits_text.index('epochs')].count(chr(10)) + 1}: not valid YAML")


def test_a_byte_order_mark_and_windows_line_ends_are_accepted(problems: Any, digits_text: str) -> None:
    assert problems("\ufeff" + digits_text.replace("\n", "\r\n")) == []


def test_a_missing_file_is_named() -> None:
    with pytest.raises(ScenarioError, match=r"^none\.yaml: cannot be read: No such file or directory$"):
        load_scenario("none.yaml")


def test_a_directory_is_refused(tmp_path: Path) -> None:
    (tmp_path / "folder.yaml").mkdir()
    with pytest.raises(ScenarioError, match=r"folder\.yaml: cannot be read: Is a directory$"):
        load_scenario(tmp_path / "folder.yaml")
    with pytest.raises(ScenarioError, match="no such file or shipped scenario"):
        load_scenario(tmp_path)


@pytest.mark.parametrize("name", ["x" * 5000, "x" * 5000 + ".yaml", "a\0b", "a\0b.yaml", ""])
def test_an_impossible_file_name_is_an_error_of_the_user(name: str) -> None:
    with pytest.raises(ScenarioError):
        load_scenario(name)


def test_a_misspelt_shipped_name_is_corrected() -> None:
    with pytest.raises(ScenarioError, match="did you mean 'digits-b0c2'"):
        load_scenario("digits-b0c")


def _aliases(first: str, again: str) -> str:
    """Each line doubles the one before: 2^20 values, enough to notice and too few to fill a machine."""
    return f"a0: &a0 {first}\n" + "".join(f"a{i}: &a{i} {again.format(i - 1)}\n" for i in range(1, 20))


@pytest.mark.parametrize(
    "text",
    [_aliases("[x, x]", "[*a{0}, *a{0}]"), _aliases("{x: 1}", "{{p: *a{0}, q: *a{0}}}")],
    ids=["lists", "mappings"],
)
def test_aliases_that_multiply_are_too_large(problems: Any, text: str) -> None:
    (problem,) = problems(text)
    assert problem.endswith("too large or too deeply nested for a scenario")


@pytest.mark.parametrize(
    "text",
    [_aliases("{x: 1}", "{{<<: [*a{0}, *a{0}], y: 1}}"), "a: &a [*a, *a]", "a: &a {x: *a, y: *a}"],
    ids=["merged", "list in itself", "mapping in itself"],
)
def test_aliases_that_merge_or_recur_end_quickly(problems: Any, text: str) -> None:
    start = time.perf_counter()
    assert problems(text)
    assert time.perf_counter() - start < 5


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("a: " + "[" * 50_000, 1),
        ("b: 1\na: " + "{a: " * 1000, 2),
        ("".join(" " * i + "a:\n" for i in range(400)), 51),
        ("".join(" " * i + "a:\n" for i in range(60)), 51),
    ],
)
def test_deep_nesting_is_said_to_be_too_deep_with_its_line(problems: Any, text: str, line: int) -> None:
    assert problems(text) == [f"s.yaml:{line}: too large or too deeply nested for a scenario"]


def test_merges_that_multiply_through_many_levels_end(problems: Any) -> None:
    """Round-trip parsers hash each merged mapping, which takes 2^39 steps here."""
    merges = "".join(f"a{i}: &a{i} {{<<: [*a{i - 1}, *a{i - 1}], k{i}: 1}}\n" for i in range(1, 40))
    (problem,) = problems("a0: &a0 {x: 1}\n" + merges)
    assert problem.endswith("too large or too deeply nested for a scenario")


def test_merged_keys_stand_behind_own_ones_and_keep_their_lines(tmp_path: Path) -> None:
    file = tmp_path / "s.yaml"
    file.write_text("a: &a\n  x: 1\n  y: 2\nb: &b\n  y: 3\n  z: 4\nc:\n  <<: [*a, *b]\n  x: 5\nd: {<<: *a}\n")
    document = read_document(file)
    assert document.data["c"] == {"x": 5, "y": 2, "z": 4}
    assert document.data["d"] == {"x": 1, "y": 2}
    assert [document.line(("c", key)) for key in "xyz"] == [9, 3, 6]


@pytest.mark.parametrize("value", ["3", "[3]", "[[{a: 1}]]"])
def test_what_is_merged_must_be_mappings(problems: Any, digits_text: str, value: str) -> None:
    assert problems(f"<<: {value}\n{digits_text}") == ["s.yaml:1: << takes a mapping, or a list of them"]


def test_a_file_larger_than_any_scenario_is_refused_unread(problems: Any) -> None:
    (problem,) = problems("a: " + "x" * 100_000)
    assert problem == "s.yaml:1: more than 100000 bytes, which is too large for a scenario"


def test_a_link_to_a_device_without_end_is_refused(tmp_path: Path) -> None:
    (tmp_path / "s.yaml").symlink_to("/dev/zero")
    with pytest.raises(ScenarioError, match="cannot be read: not a regular file"):
        load_scenario(tmp_path / "s.yaml")


def test_a_date_is_text(tmp_path: Path) -> None:
    (tmp_path / "s.yaml").write_text("source: 2024-01-01\n")
    assert read_document(tmp_path / "s.yaml").data == {"source": "2024-01-01"}


def test_a_number_too_long_to_print_is_refused(problems: Any, digits_text: str) -> None:
    huge = "0x" + "f" * 5000  # Python refuses to write it in decimals
    assert problems(digits_text.replace("lr: 3e-3", f"lr: {huge}")) == [
        "s.yaml:19: training.optimizer.lr: a whole number of more than 64 bits"
    ]


def test_lines_are_remembered_inside_sections(tmp_path: Path) -> None:
    file = tmp_path / "s.yaml"
    file.write_text("a:\n  b: 1\n  c: [1,\n    2]\nd: {e: 1}\n")
    document = read_document(file)
    origins = {path: document.origin(path) for path in [("a", "b"), ("a", "c", 1), ("d", "e"), ("d", "e", "unknown")]}
    assert list(origins.values()) == [f"{file}:{line}" for line in (2, 4, 5, 5)]


@pytest.mark.parametrize(
    ("text", "value"),
    [("a.b=2", 2), ("a.b=1e-3", 0.001), ("a.b=[x, 1]", ["x", 1]), ("a.b={c: true}", {"c": True}), ("a.b=", None)],
)
def test_a_set_value_is_yaml(text: str, value: object) -> None:
    assert parse_assignment(text) == ("a.b", value)


@pytest.mark.parametrize("text", ["a.b", "=3", ""])
def test_a_set_option_without_key_or_value_is_refused(text: str) -> None:
    with pytest.raises(ScenarioError, match=r"expected dotted\.key=value"):
        parse_assignment(text)


@pytest.mark.parametrize("text", ["a=[1", "a={b: 1, b: 2}", "a={1: 2}", "a=" + "[" * 1000, "a=!!bool x"])
def test_a_set_value_that_is_not_yaml_is_refused_without_a_line(text: str) -> None:
    with pytest.raises(ScenarioError) as caught:
        parse_assignment(text)
    assert caught.value.problems[0].startswith(f"--set {text}: ")


@pytest.mark.parametrize("key", ["training.", ".epochs", "training..epochs"])
def test_an_override_key_with_a_gap_is_refused(problems: Any, digits_text: str, key: str) -> None:
    assert problems(digits_text, [f"{key}=3"]) == [
        f"--set {key}=3: {key!r} is not a dotted key such as training.epochs"
    ]


def test_the_last_override_of_a_key_wins() -> None:
    scenario = load_scenario("digits-b0c2", ["training.epochs=3", "training.epochs=4"])
    assert scenario.config.training.epochs == 4


def test_an_override_replaces_a_whole_section(problems: Any, digits_text: str) -> None:
    assert problems(digits_text, ["training.optimizer={name: sgd}"]) == [
        "--set training.optimizer={name: sgd}: training.optimizer.lr: required key is missing"
    ]


def test_an_override_below_a_scalar_is_blamed_for_it(problems: Any, digits_text: str) -> None:
    assert problems(digits_text, ["threads.x=1"]) == [
        "--set threads.x=1: threads: given {'x': 1}, allowed: auto, a valid integer"
    ]


def test_a_python_override_is_named_as_the_origin(problems: Any, digits_text: str) -> None:
    assert problems(digits_text, {"training.epochs": "2"}) == [
        "override training.epochs: training.epochs: given '2', should be a valid integer"
    ]


def test_overrides_leave_the_values_they_were_given_alone() -> None:
    optimizer = {"name": "sgd", "lr": 0.1}
    overrides = {"training.optimizer": optimizer, "training.optimizer.lr": 0.2}
    assert load_scenario("digits-b0c2", overrides).config.training.optimizer.lr == 0.2
    assert optimizer == {"name": "sgd", "lr": 0.1}

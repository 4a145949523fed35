"""Lists of class names in one cell of a table, in the forms that tools write.

cat|dog    ["cat", "dog"]    ['cat', 'dog']    ('cat', 'dog')    {cat,"dog"}    {"choices": ["cat", "dog"]}
"""

from __future__ import annotations

import json
import re
from collections.abc import Container
from typing import Any, NamedTuple

from clsim.data.class_names import composed

LABEL_STUDIO_KEYS = (
    *("rectanglelabels", "polygonlabels", "ellipselabels", "keypointlabels", "brushlabels", "bitmasklabels"),
    *("vectorlabels", "labels", "choices"),
)
"""Keys under which Label Studio lists the classes of a result."""

_QUOTED = r"""(?:'(?:[^'\\]|\\.)*+'|"(?:[^"\\]|\\.)*+")"""
_ITEM = rf"\s*+(?:{_QUOTED}|-?[0-9]++)\s*+"
_PYTHON = re.compile(
    rf"\[{_ITEM}(?:,{_ITEM})*+(?:,\s*+)?\]|\{{{_ITEM}(?:,{_ITEM})*+(?:,\s*+)?\}}"
    rf"|\({_ITEM}(?:,{_ITEM})++(?:,\s*+)?\)|\({_ITEM},\s*+\)"
)
"""A list, set or tuple of texts and whole numbers; NumPy's `['cat' 'dog']`, which drops the commas, is none."""
_OF_PYTHON = re.compile(rf"({_QUOTED})|(-?[0-9]+)")
_POSTGRES_ITEM = r'\s*+(?:"(?:[^"\\]|\\.)*+"|[^\s{}",:\'\\][^{}",:\\]*+)\s*+'
_POSTGRES = re.compile(rf"\{{{_POSTGRES_ITEM}(?:,{_POSTGRES_ITEM})*+\}}")
_OF_POSTGRES = re.compile(r'"((?:[^"\\]|\\.)*)"|([^\s{}",][^{}",]*)')
_EMPTY = ("[]", "()", "{}", "set()")
_ESCAPED = re.compile(r"\\(.)", re.DOTALL)


class ListCell(NamedTuple):
    """The names in a cell, or what is wrong with it.

    Attributes:
        names: in their composed form, without space around them.
        by_form: the cell says itself where each name begins and ends; no separator is involved.
        problem: an empty text if there is none.
    """

    names: tuple[str, ...] = ()
    by_form: bool = True
    problem: str = ""


def read_list(cell: Any, separator: str, vocabulary: Container[str] = ()) -> ListCell:
    """Return the names in a cell.

    Args:
        cell: None or a blank text for an empty list.
        separator: between names where nothing else says where they end; one at the end counts for nothing, and where
            it is a blank, several blanks count as one.
        vocabulary: names that are taken as they stand, whatever marks they hold.
    """
    if not isinstance(cell, str):
        return _of_value(cell, cell)
    text = cell.strip()
    if not text:
        return ListCell()
    split = tuple(composed(name.strip()) for name in (text.split() if separator == " " else text.split(separator)))
    split = split[:-1] if len(split) > 1 and not split[-1] else split
    if text[0] not in "[{(" and text != "set()":
        return ListCell(split, by_form=False)
    if all(name in vocabulary for name in split):
        return ListCell(split)
    if text in _EMPTY:
        return ListCell()
    names = _listed(text)
    if names is not None:
        return names
    if text[0] == "[":
        return ListCell(problem=f'given {cell!r}, allowed: a JSON list such as ["cat", "dog"]')
    return ListCell(split, by_form=False)


def _listed(text: str) -> ListCell | None:
    """Return the names in a list that is one by its form; None: it is none."""
    if text[0] in "[{":
        try:
            return _of_value(json.loads(text), text)
        except (ValueError, RecursionError):
            pass
    if _PYTHON.fullmatch(text):
        found = _OF_PYTHON.findall(text)
        if any("\\" in quoted and not _plain_escapes(quoted) for quoted, _ in found):
            return ListCell(problem=f"given {text!r}, in which a back-slash escapes something else than a quote")
        return _named(_ESCAPED.sub(r"\1", quoted[1:-1]) if quoted else number for quoted, number in found)
    if _POSTGRES.fullmatch(text):
        found = [(_ESCAPED.sub(r"\1", quoted), plain.strip()) for quoted, plain in _OF_POSTGRES.findall(text)]
        if any(plain.upper() == "NULL" for _, plain in found):
            return ListCell(problem=f"given {text!r}, in which one class is NULL")
        return _named(quoted or plain for quoted, plain in found)
    return None


def _plain_escapes(quoted: str) -> bool:
    return all(one in "'\"\\" for one in _ESCAPED.findall(quoted))


def _of_value(value: Any, cell: Any) -> ListCell:
    """Return the names in a list of names, or in results of Label Studio."""
    if value is None:
        return ListCell()
    results = [value] if isinstance(value, dict) else value
    if isinstance(results, list) and results and all(isinstance(one, dict) for one in results):
        values = [_of_result(one) for one in results]
        if any(names is None for names in values):
            keys = ", ".join(LABEL_STUDIO_KEYS)
            return ListCell(problem=f"given {cell!r}, allowed: a list of class names, or one under a key of {keys}")
        results = [name for names in values for name in names or ()]
    if not isinstance(results, list) or not all(type(name) in (str, int) for name in results):
        return ListCell(problem=f"given {cell!r}, allowed: a list of class names")
    return _named(map(str, results))


def _of_result(result: dict[str, Any]) -> list[str] | None:
    listed = [value for key, value in result.items() if key in LABEL_STUDIO_KEYS]
    names = listed[0] if len(listed) == 1 else None
    return names if isinstance(names, list) and all(isinstance(name, str) for name in names) else None


def _named(names: Any) -> ListCell:
    return ListCell(tuple(composed(name.strip()) for name in names))

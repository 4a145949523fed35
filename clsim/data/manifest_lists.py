"""Labels of a manifest as names of classes: one column of lists, or one row for each image and label."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from clsim.data.class_names import alike, composed, folded
from clsim.data.label_values import NoFinding
from clsim.data.list_cells import read_list
from clsim.data.manifest_config import ManifestConfig
from clsim.data.manifest_labels import Coded, WrongRow
from clsim.data.manifest_rows import Images, ListedRows
from clsim.data.problems import Problems
from clsim.data.source import Split
from clsim.data.table_form import Table
from clsim.errors import did_you_mean
from clsim.vocabulary import UNKNOWN

_BRACKETS_AND_QUOTES = re.compile(
    "[][(){}<>\"`\u201c\u201d\u201e\xab\xbb]|(?<!\\w)['\u2018\u2019]|['\u2018\u2019](?!\\w)"
)
"""An apostrophe within a word is none of them."""
_BETWEEN = ",;|\t"
"""Characters that may stand between the names of a list."""
_OPENING = "[{('\"<`\u201c\u201e\u2018\xab"
"""A name that begins so may be a list."""


def no_finding_rule(no_finding: str | NoFinding) -> NoFinding:
    """Return what `dataset.no_finding` says, with its names in their composed form."""
    rule = NoFinding(name=no_finding) if isinstance(no_finding, str) else no_finding
    return NoFinding(name=composed(rule.name), beside=list(map(composed, rule.beside)))


class LabelLists:
    """One column that lists the classes an image shows. A row's labels are the numbers of their names.

    Attributes:
        ids: the number of each name found so far.
    """

    key = "label_list"
    rows_add_up = False

    def __init__(self, config: ManifestConfig) -> None:
        self.column = config.label_list or config.label_column or ""
        self.separator = config.separator
        self.empty = UNKNOWN if config.empty_list == "unknown" else 0
        self.joins = config.spellings == "join"
        nothing = () if config.no_finding is None else (no_finding_rule(config.no_finding).name,)
        self.always = frozenset(nothing)
        self.vocabulary = frozenset(map(composed, (*config.vocabulary, *nothing))) if config.vocabulary else frozenset()
        self.ids: dict[str, int] = {}

    def columns(self) -> list[str]:
        return [self.column]

    def reader(self, file: Path, table: Table) -> Callable[[Sequence[Any]], tuple[int, ...]]:
        position = table.columns.index(self.column)
        separator = None if self.separator == " " else self.separator
        known: dict[str, int] = {}  # text between separators that is a name for sure
        id_of = known.__getitem__

        def labels_of(cells: Sequence[Any]) -> tuple[int, ...]:
            cell = cells[position]
            try:
                return tuple(map(id_of, cell.split(separator)))
            except (KeyError, AttributeError):
                pass
            found = read_list(cell, self.separator, self.vocabulary)
            if found.problem:
                raise WrongRow(f"column {self.column!r}: {found.problem}")
            for name in found.names:
                if self._is_wrong(name, found.by_form):
                    raise WrongRow(partial(self._wrong, name, cell))
            ids = self._numbers(found.names)
            if not found.by_form and "" not in found.names:
                known.update(zip(found.names, ids, strict=True))
            return ids

        return labels_of

    def rows(self) -> ListedRows:
        return ListedRows()

    def class_names(self, images: dict[Split, Images]) -> list[str]:
        if self.vocabulary:
            return sorted(self.vocabulary)
        first: dict[Split, dict[str, str]] = {"train": {}, "test": {}}
        for split, found in images.items():
            rows, ids = found.labels.pairs()
            entry_of = np.full(len(self.ids), len(ids), dtype=np.int64)
            entry_of[ids[::-1]] = np.arange(len(ids))[::-1]  # of several, the last one written stays: the first
            names = list(self.ids)
            for id_ in np.argsort(entry_of, kind="stable")[: (entry_of < len(ids)).sum()].tolist():
                first[split][names[id_]] = found.where(int(rows[entry_of[id_]]))
        problems = Problems()
        for where, text in self._untrained_problems(first["train"], first["test"]):
            problems.add(where, text)
        for where, text in self._spelling_problems({**first["test"], **first["train"]}):
            problems.add(where, text)
        problems.refuse(self.key)
        of_test = first["test"].keys() if self.joins else self.always & first["test"].keys()
        return sorted({*first["train"], *of_test})

    def matrix(self, labels: ListedRows, names: Sequence[str]) -> Coded:
        column = {name: position for position, name in enumerate(names)}
        column_of = np.array([column.get(name, -1) for name in self.ids], dtype=np.int64)
        matrix = np.zeros((len(labels), len(names)), dtype=np.int8)
        rows, ids = labels.pairs()
        matrix[rows, column_of[ids]] = 1
        if self.empty:
            matrix[np.bincount(rows, minlength=len(labels)) == 0] = self.empty
        return Coded(matrix, np.empty(0, dtype=np.float32))

    def _numbers(self, names: Iterable[str]) -> tuple[int, ...]:
        return tuple(self.ids.setdefault(name, len(self.ids)) for name in names)

    def _is_wrong(self, name: str, by_form: bool) -> bool:
        if not name or self.vocabulary:
            return name not in self.vocabulary
        return not by_form and (_BRACKETS_AND_QUOTES.search(name) is not None or any(one in name for one in _BETWEEN))

    def _wrong(self, name: str, cell: Any) -> str:
        return f"column {self.column!r}: {self._problem(name, cell)}"

    def _problem(self, name: str, cell: Any) -> str:
        if not name:
            return f"given {cell!r}, a list with an empty name"
        if self.vocabulary:
            return f"given {name!r}, which is not in dataset.vocabulary{did_you_mean(name, sorted(self.vocabulary))}"
        if marks := _BRACKETS_AND_QUOTES.findall(name):
            allowed = f'allowed: a JSON list such as ["cat", "dog"], or names joined with {self.separator!r}'
            yes = f"if {marks[0]} belongs to a name, list the classes under dataset.vocabulary"
            return f"given {cell!r}, in which {name!r} would be a class; {allowed}; {yes}"
        other = next(other for other in _BETWEEN if other in name)
        between = f"if {other!r} stands between classes, set dataset.separator"
        return f"given {name!r} as one class; {between}; if not, list the classes under dataset.vocabulary"

    def _untrained_problems(self, train: dict[str, str], test: dict[str, str]) -> Iterable[tuple[str, str]]:
        known = {folded(name) for name in train} if self.joins else train.keys()
        for name in sorted(test.keys() - self.always):
            if (folded(name) if self.joins else name) not in known:
                hint = f"{did_you_mean(name, train)}; dataset.vocabulary may list it"
                yield test[name], f"column {self.column!r}: given {name!r}, which no training image shows{hint}"

    def _spelling_problems(self, where: dict[str, str]) -> Iterable[tuple[str, str]]:
        for other, name in () if self.joins else alike(sorted(where)):
            advice = "dataset.spellings: join makes them one class; if they are two, list them under dataset.vocabulary"
            yield where[name], f"column {self.column!r}: given {name!r}, elsewhere {other!r}; {advice}"


class LabelRows(LabelLists):
    """One row for each image and label, perhaps with a confidence. A row's labels are one name or none."""

    key = "label_column"
    rows_add_up = True

    def __init__(self, config: ManifestConfig) -> None:
        super().__init__(config)
        self.confidence_column = config.confidence_column
        self.threshold = config.threshold

    def columns(self) -> list[str]:
        return [self.column, *([self.confidence_column] if self.confidence_column else [])]

    def reader(self, file: Path, table: Table) -> Callable[[Sequence[Any]], tuple[int, ...]]:
        at = table.columns.index(self.column)
        confidence_at = None if self.confidence_column is None else table.columns.index(self.confidence_column)

        def labels_of(cells: Sequence[Any]) -> tuple[int, ...]:
            cell = cells[at]
            if cell is not None and type(cell) not in (str, int):
                raise WrongRow(f"column {self.column!r}: given {cell!r}, allowed: the name of a class")
            name = "" if cell is None else composed(str(cell).strip())
            if not name:
                return ()
            if confidence_at is not None and not self._is_sure(cells[confidence_at]):
                return ()
            if self._is_wrong(name, by_form=False):
                raise WrongRow(partial(self._wrong, name, cell))
            return self._numbers([name])

        return labels_of

    def _is_sure(self, cell: Any) -> bool:
        try:
            value = -1.0 if isinstance(cell, bool) else float(cell)
        except (TypeError, ValueError, OverflowError):
            value = -1.0
        if not 0 <= value <= 1:
            raise WrongRow(f"column {self.confidence_column!r}: given {cell!r}, allowed: 0 to 1")
        assert self.threshold is not None
        return value >= self.threshold

    def _is_wrong(self, name: str, by_form: bool) -> bool:
        if self.vocabulary:
            return name not in self.vocabulary
        return name[0] in _OPENING and _BRACKETS_AND_QUOTES.search(name) is not None

    def _problem(self, name: str, cell: Any) -> str:
        if self.vocabulary:
            return super()._problem(name, cell)
        yes = "if this is one class, list the classes under dataset.vocabulary"
        return f"given {cell!r}, allowed: the name of one class; {yes}; dataset.label_list takes lists"

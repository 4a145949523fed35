"""Reading a scenario file: YAML 1.2 that remembers where each key stands, and overrides laid over it."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.comments import CommentedBase, CommentedMap, CommentedSeq
from ruamel.yaml.error import MarkedYAMLError

from clsim.errors import ScenarioError

KeyPath = tuple[str | int, ...]
_MOST_VALUES = 100_000
"""More than any scenario needs; a file whose aliases multiply beyond it is refused before it fills the memory."""


@dataclass
class Document:
    """Plain data of a scenario and, for each key path, where it was written ("file:line" or "--set key=value")."""

    name: str
    data: dict[str, Any]
    origins: dict[KeyPath, str] = field(default_factory=dict)

    def origin(self, path: KeyPath) -> str:
        """Where the key at `path`, or its nearest parent that was written down, stands."""
        for end in range(len(path), -1, -1):
            if path[:end] in self.origins:
                return self.origins[path[:end]]
        return self.name

    def problem(self, path: KeyPath, text: str) -> str:
        """One line about the key at `path`: `file:line: key.path: text`."""
        where = self.origin(path)
        key = ".".join(str(part) for part in path)
        shown = key if key.isprintable() and key else repr(key)
        return f"{where}: {shown}: {text}" if path else f"{where}: {text}"

    def line(self, path: KeyPath) -> int:
        """Line of the file that is to blame for the key at `path`; 0 if an override is."""
        name, _, line = self.origin(path).rpartition(":")
        return int(line) if name == self.name and line.isdigit() else 0

    def override(self, dotted: str, value: Any, origin: str) -> None:
        """Set the key `dotted` ("training.epochs") to `value`; missing sections on the way are made."""
        path = tuple(str(dotted).split("."))
        if not all(path):
            raise ScenarioError([f"{origin}: {dotted!r} is not a dotted key such as training.epochs"])
        section = self.data
        for end, part in enumerate(path[:-1], start=1):
            if not isinstance(section.get(part), dict):
                section[part] = {}
                self.origins[path[:end]] = origin
            section = section[part]
        section[path[-1]] = copy.deepcopy(value)  # a later override may reach into it
        self.origins = {known: at for known, at in self.origins.items() if known[: len(path)] != path}
        self.origins[path] = origin


def read_document(path: Path) -> Document:
    """Read the YAML file at `path`.

    Raises:
        ScenarioError: the file cannot be read, is not YAML, or its top level is no mapping; with file and line.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, ValueError) as error:
        raise ScenarioError([f"{path}: cannot be read: {getattr(error, 'strerror', None) or error}"]) from None
    document = Document(str(path), {}, {(): f"{path}:1"})
    content = _parse(text, str(path))
    if not isinstance(content, CommentedMap):
        raise ScenarioError([f"{path}:1: a scenario is a mapping of keys such as name, dataset, stream"])
    document.data = _Plain(document).convert(content, ())
    return document


def parse_assignment(text: str) -> tuple[str, Any]:
    """`"training.epochs=2"` -> `("training.epochs", 2)`; the value is read as YAML.

    Raises:
        ScenarioError: there is no "=" or the value is not YAML.
    """
    key, equals, value = text.partition("=")
    if not equals or not key.strip():
        raise ScenarioError([f"--set {text}: expected dotted.key=value, for example --set training.epochs=2"])
    content = _parse(value, f"--set {text}")
    return key.strip(), _Plain(Document(f"--set {text}", {})).convert(content, ())


def _parse(text: str, name: str) -> Any:
    reader = YAML(typ="rt", pure=True)
    try:
        return reader.load(text)
    except MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        where = _where(name, mark.line + 1) if mark is not None else name
        raise ScenarioError([f"{where}: not valid YAML: {error.problem or error.context}"]) from None
    except RecursionError:
        raise ScenarioError([f"{name}: too deeply nested for a scenario"]) from None
    except Exception as error:  # the parser's constructors raise almost anything, KeyError for "!!bool x"
        reason, _, _ = str(error).partition("\n")
        raise ScenarioError([f"{name}: not valid YAML: {reason}"]) from None


def _where(name: str, line: int) -> str:
    return name if name.startswith("--set ") else f"{name}:{line}"


class _Plain:
    """Turns ruamel's annotated tree into dict, list and scalars, noting the line of each key."""

    def __init__(self, document: Document) -> None:
        self.document = document
        self.values = 0

    def convert(self, node: Any, path: KeyPath) -> Any:
        self.values += 1
        if self.values > _MOST_VALUES or len(path) > 50:
            raise ScenarioError([self.document.problem(path[:1], "too large or too deeply nested for a scenario")])
        if isinstance(node, Mapping):
            for key in node:
                if not isinstance(key, str):
                    raise ScenarioError([self._at(node, key, path, f"key {key!r} is not text; quote it")])
                self._note(node, key, (*path, key))
            return {str(key): self.convert(value, (*path, str(key))) for key, value in node.items()}
        if isinstance(node, Sequence) and not isinstance(node, str | bytes):
            for index in range(len(node)):
                self._note(node, index, (*path, index))
            return [self.convert(value, (*path, index)) for index, value in enumerate(node)]
        if isinstance(node, int) and node.bit_length() > 64:
            raise ScenarioError([self.document.problem(path, "a whole number of more than 64 bits")])
        for plain in (bool, int, float, str):
            if isinstance(node, plain):
                return plain(node)
        return node

    def _line(self, node: Any, key: Any) -> int | None:
        if isinstance(node, CommentedBase) and isinstance(node, CommentedMap | CommentedSeq):
            try:
                return int(node.lc.data[key][0]) + 1
            except (KeyError, TypeError, AttributeError):
                return None
        return None

    def _note(self, node: Any, key: Any, path: KeyPath) -> None:
        line = self._line(node, key)
        if line is not None:
            self.document.origins[path] = _where(self.document.name, line)

    def _at(self, node: Any, key: Any, path: KeyPath, text: str) -> str:
        line = self._line(node, key)
        return f"{_where(self.document.name, line)}: {text}" if line else self.document.problem(path, text)

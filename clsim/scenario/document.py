"""Reading a scenario file: YAML 1.2 that remembers where each key stands, and overrides laid over it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path, PurePath
from typing import Any

import numpy as np
from ruamel.yaml import YAML
from ruamel.yaml.composer import Composer
from ruamel.yaml.error import MarkedYAMLError
from ruamel.yaml.nodes import MappingNode, Node, ScalarNode, SequenceNode
from ruamel.yaml.reader import ReaderError

from clsim.errors import ScenarioError
from clsim.opening import regular

KeyPath = tuple[str | int, ...]
_MOST_BYTES, _MOST_VALUES, _DEEPEST = 100_000, 100_000, 50
"""More than any scenario needs; a file whose aliases multiply beyond it is refused before it fills the memory."""
_TOO_LARGE = "too large or too deeply nested for a scenario"
_TAG = "tag:yaml.org,2002:"
_SCALARS = {f"{_TAG}{name}" for name in ("null", "bool", "int", "float", "str")}


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
        section[path[-1]] = plain(value, origin)
        self.origins = {known: at for known, at in self.origins.items() if known[: len(path)] != path}
        self.origins[path] = origin


def read_document(path: Path) -> Document:
    """Read the YAML file at `path`.

    Raises:
        ScenarioError: the file cannot be read, is not YAML, or its top level is no mapping; with file and line.
    """
    document = Document(str(path), {}, {(): f"{path}:1"})
    content = _Plain(document).convert(_parse(_text(path), str(path)), ())
    if not isinstance(content, dict):
        raise ScenarioError([f"{path}:1: a scenario is a mapping of keys such as name, dataset, stream"])
    document.data = content
    return document


def plain(value: Any, origin: str, levels: int = _DEEPEST) -> Any:
    """Return a Python value as YAML would give it, in containers of its own, which a later override may reach into.

    A mapping becomes a dict, a tuple or a NumPy array a list, a number of NumPy Python's, a path a text. Anything else
    is left to the schema.

    Raises:
        ScenarioError: a key is not text, or `levels` of nesting are not enough; with `origin`.
    """
    if levels < 0:
        raise ScenarioError([f"{origin}: {_TOO_LARGE}"])
    if isinstance(value, np.ndarray | np.generic):
        value = value.tolist()
    if isinstance(value, Mapping):
        for key in value:
            if not isinstance(key, str):
                raise ScenarioError([f"{origin}: key {key!r} is not text"])
        return {str(key): plain(below, origin, levels - 1) for key, below in value.items()}
    if isinstance(value, list | tuple):
        return [plain(below, origin, levels - 1) for below in value]
    return str(value) if isinstance(value, PurePath) else value


def parse_assignment(text: str) -> tuple[str, Any]:
    """`"training.epochs=2"` -> `("training.epochs", 2)`; the value is read as YAML.

    Raises:
        ScenarioError: there is no "=" or the value is not YAML.
    """
    key, equals, value = text.partition("=") if isinstance(text, str) else (str(text), "", "")
    if not equals or not key.strip():
        raise ScenarioError([f"--set {text}: expected dotted.key=value, for example --set training.epochs=2"])
    return key.strip(), parse_value(value, f"--set {text}")


def parse_value(text: str, name: str) -> Any:
    """Return the value that a text is in YAML.

    Args:
        name: stands before errors: "--set key=value", or "strategy ...".

    Raises:
        ScenarioError: the text is not YAML.
    """
    return _Plain(Document(name, {})).convert(_parse(text, name), ())


def _text(path: Path) -> str:
    try:
        from_shell = str(path).startswith(("/dev/fd/", "/proc/self/fd/"))  # `clsim plan <(command)` gives a pipe
        with open(path, "rb", opener=None if from_shell else regular) as file:
            content = file.read(_MOST_BYTES + 1)
    except (OSError, ValueError) as error:
        raise ScenarioError([f"{path}: cannot be read: {getattr(error, 'strerror', None) or error}"]) from None
    if len(content) > _MOST_BYTES:
        raise ScenarioError([f"{path}:1: more than {_MOST_BYTES} bytes, which is too large for a scenario"])
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        given = f"byte 0x{content[error.start]:02x} is not UTF-8"
        raise ScenarioError([f"{path}:{line}: cannot be read: {given}; a scenario is a text in UTF-8"]) from None


def _parse(text: str, name: str) -> Node | None:
    """The tree of nodes that the text is; None: an empty text. Nothing is made of them yet."""
    try:
        return _composed(text)
    except MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        raise _not_yaml(name, mark.line + 1 if mark else 1, error.problem or error.context) from None
    except ReaderError as error:
        reason = f"unacceptable character U+{error.character:04X}"
        raise _not_yaml(name, text.count("\n", 0, error.position) + 1, reason) from None
    except _TooDeep as error:
        raise ScenarioError([f"{_where(name, error.line)}: {_TOO_LARGE}"]) from None
    except Exception as error:  # the scanner stumbles over a few texts, such as a tag with a broken escape
        raise _not_yaml(name, 1, str(error).partition("\n")[0]) from None


@lru_cache(maxsize=16)
def _composed(text: str) -> Node | None:
    """Return the tree of nodes, which nobody changes; the runs of a comparison have the same text, 10 ms each."""
    node: Node | None = _yaml().compose(text)
    return node


class _TooDeep(Exception):
    """Nested more deeply than any scenario, at this line."""

    def __init__(self, line: int) -> None:
        self.line = line


class _Composer(Composer):
    """Stops at the first node that is nested too deeply: the scanner takes a time that grows with depth squared."""

    level = 0  # not `depth`, which newer releases of the base class count too

    def compose_node(self, parent: Any, index: Any) -> Any:
        self.level += 1
        if self.level > _DEEPEST + 1:
            raise _TooDeep(self.parser.peek_event().start_mark.line + 1)
        node = super().compose_node(parent, index)
        self.level -= 1
        return node


def _yaml() -> YAML:
    reader = YAML(typ="safe", pure=True)
    reader.Composer = _Composer
    reader.composer.warn_double_anchors = False
    return reader


def _not_yaml(name: str, line: int, reason: object) -> ScenarioError:
    return ScenarioError([f"{_where(name, line)}: not valid YAML: {reason}"])


def _where(name: str, line: int) -> str:
    return name if name.startswith(("--set ", "strategy ")) else f"{name}:{line}"


class _Plain:
    """Turns YAML's nodes into dict, list and scalars, noting the line of each key."""

    def __init__(self, document: Document) -> None:
        self.document = document
        self.values = 0
        self.constructor = _yaml().constructor

    def convert(self, node: Node | None, path: KeyPath) -> Any:
        self._count(node, path)
        if isinstance(node, MappingNode) and node.tag == f"{_TAG}map":
            pairs = self._pairs(node, path)
            for name, (key, _) in pairs.items():
                self.document.origins[(*path, name)] = self._at(key)
            return {name: self.convert(value, (*path, name)) for name, (_, value) in pairs.items()}
        if isinstance(node, SequenceNode) and node.tag == f"{_TAG}seq":
            for index, item in enumerate(node.value):
                self.document.origins[(*path, index)] = self._at(item)
            return [self.convert(item, (*path, index)) for index, item in enumerate(node.value)]
        return None if node is None else self._scalar(node, path)

    def _count(self, node: Node | None, path: KeyPath) -> None:
        self.values += 1
        if self.values > _MOST_VALUES or len(path) > _DEEPEST:
            where = self._at(node) if node else self.document.name
            raise ScenarioError([f"{where}: {_TOO_LARGE}"])

    def _pairs(self, node: MappingNode, path: KeyPath) -> dict[str, tuple[Node, Node]]:
        """Nodes of key and value by name. What `<<` merges stands behind the mapping's own keys."""
        own: dict[str, tuple[Node, Node]] = {}
        merged: dict[str, tuple[Node, Node]] = {}
        for key, value in node.value:
            if key.tag == f"{_TAG}merge":
                for source in self._merged(value, path):
                    merged = {**self._pairs(source, (*path, "<<")), **merged}
                continue
            name = self._scalar(key, path) if isinstance(key, ScalarNode) else None
            if not isinstance(name, str):
                shown = (
                    "that is a list or a mapping" if name is None and not isinstance(key, ScalarNode) else repr(name)
                )
                raise ScenarioError([f"{self._at(key)}: key {shown} is not text; quote it"])
            if name in own:
                raise _not_yaml(self.document.name, key.start_mark.line + 1, f'found duplicate key "{name}"')
            own[name] = key, value
        return {**own, **{name: pair for name, pair in merged.items() if name not in own}}

    def _merged(self, value: Node, path: KeyPath) -> Iterator[MappingNode]:
        for source in value.value if isinstance(value, SequenceNode) else [value]:
            self._count(source, path)
            if not isinstance(source, MappingNode):
                raise ScenarioError([f"{self._at(source)}: << takes a mapping, or a list of them"])
            self.values += len(source.value)
            yield source

    def _scalar(self, node: Node, path: KeyPath) -> Any:
        """DECIDED: a date is text, as in YAML 1.2's core schema; no setting of a scenario is one."""
        if node.tag == f"{_TAG}timestamp":
            return node.value
        if not isinstance(node, ScalarNode) or node.tag not in _SCALARS:
            raise _not_yaml(self.document.name, node.start_mark.line + 1, f"a value with the tag {str(node.tag)!r}")
        try:
            value = self.constructor.construct_object(node)
        except Exception:  # the constructors raise almost anything, KeyError for "!!bool x"
            reason = f"given {node.value[:60]!r}, which is no {str(node.tag).removeprefix(_TAG)}"
            raise _not_yaml(self.document.name, node.start_mark.line + 1, reason) from None
        if isinstance(value, int) and value.bit_length() > 64:
            raise ScenarioError([self.document.problem(path, "a whole number of more than 64 bits")])
        return value

    def _at(self, node: Node) -> str:
        return _where(self.document.name, node.start_mark.line + 1)

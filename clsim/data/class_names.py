"""Names of classes: one spelling of each, and none that a file, a table or a terminal cannot show."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable, Sequence

UNFIT = ("Cc", "Cs", "Zl", "Zp")
"""Unicode categories of control characters, halves of characters and line breaks."""


def composed(name: str) -> str:
    """Return a name in normal form C, in which a letter and its accent are one character."""
    return name if name.isascii() else unicodedata.normalize("NFC", name)


def unfit_names(names: Iterable[str]) -> list[str]:
    """Return the names that hold a line break or another control character."""
    return [name for name in names if any(unicodedata.category(one) in UNFIT for one in name)]


def alike(names: Sequence[str]) -> list[tuple[str, str]]:
    """Return pairs of names that differ in capitals, blanks, invisible characters or compatible forms alone."""
    first: dict[str, str] = {}
    return [(other, name) for name in names if (other := first.setdefault(folded(name), name)) != name]


def folded(name: str) -> str:
    """Return a name without what `alike` names differ in."""
    visible = "".join(one for one in unicodedata.normalize("NFKC", name) if unicodedata.category(one) != "Cf")
    return " ".join(unicodedata.normalize("NFKC", visible.casefold()).split())


def groups(names: Iterable[str]) -> list[list[str]]:
    """Return names that are alike together, each once; groups and names in the order in which they are found."""
    found: dict[str, list[str]] = {}
    for name in dict.fromkeys(names):
        found.setdefault(folded(name), []).append(name)
    return list(found.values())


def shown(name: str) -> str:
    """Return a name in quotation marks, in which blanks that look like a space and invisible characters are escaped."""
    return repr(name) if unicodedata.is_normalized("NFC", name) else ascii(name)

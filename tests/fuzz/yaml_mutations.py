"""Scenario files spoiled at random: as text, and as the tree of keys that the text means."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable, Sequence
from random import Random
from typing import Any

from ruamel.yaml import YAML

Path = tuple[str | int, ...]

NUMBERS = (
    *(0, -1, 1, 2, 3, 7, 16, 100, 1000, 50_000, 200_001, 10**6, 10**9, 10**12, 10**18, -(10**18)),
    *(2**31 - 1, 2**31, 2**63 - 1, 2**63, 2**64, 10**30, -(10**30), 10**400),
    *(0.0, -0.0, 0.1, 0.5, 0.999999, 1.0, 1.5, 1e-300, 5e-324, 1e18, 1e300, -1e300, float("inf"), float("nan")),
)
WORDS = (
    *("", " ", "none", "all", "auto", "null", "true", "rest", "task", "full", "seed", "frequency", "validation"),
    *("digits", "voc", "coco", "manifest", "overlap", "counts", "terciles", "skip", "stream", "adam", "asl", "oracle"),
    *(
        "\0",
        "\t",
        "\n",
        "a\nb: c",
        "\r\n",
        "\x7f",
        "\x1b[31m",
        "\u2028",
        "\x85",
        "\ufeff",
        "\ufffe",
        "\ud800",
        "\U0010ffff",
    ),
    *(
        "é",
        "e\u0301",
        "ﬁ",
        "١٢",
        "Ω" * 50,
        "🙂",
        "\u202eabc",
        "x" * 300,
        "x" * 100_000,
        "a.b.c",
        "--set",
        "%s%n",
        "{}",
        "{0}",
    ),
    *("/", ".", "..", "~", "~nobody/x", "/dev/zero", "/dev/stdin", "/proc/self/mem", "/etc/passwd", "/nowhere/at/all"),
    *("2007 trainval", "2007 test", "2012 val", "train2014", "2024-01-01", "0x10", "1_000", "1:30:00", "1e3", ".inf"),
)
SCALARS = (*NUMBERS, *WORDS, None, True, False)

TOKENS = (
    *(
        "[",
        "]",
        "{",
        "}",
        ":",
        ": ",
        ",",
        "- ",
        "? ",
        "|",
        ">",
        "|2-",
        "&a ",
        "*a",
        "*b",
        "!",
        "!!",
        "!x ",
        "%",
        "@",
        "`",
    ),
    *("'", '"', "#", "\t", "\n", "\n\n", "---\n", "...\n", "--- ", "\\", "\0", "\x07", "\x85", "\u2028", "\ufeff"),
    *(
        "!!python/object/apply:os.system ['true'] ",
        "!!binary ",
        "!!set ",
        "!!omap ",
        "!!pairs ",
        "!!timestamp ",
        "!!float ",
    ),
    *(
        "!!int ",
        "!!bool ",
        "!!null ",
        "!!str ",
        "!!seq ",
        "!!map ",
        "!!merge ",
        "!<tag:yaml.org,2002:int> ",
        "!foo!bar ",
    ),
    *(
        "<<: ",
        "<<: *a",
        "<<: [*a, *a]",
        "&a [*a]",
        "&a {x: *a}",
        "%YAML 1.1\n---\n",
        "%YAML 9.9\n",
        "%TAG ! x\n",
        "~",
        "=",
        "<<",
    ),
    *(
        "2024-01-01",
        "2001-12-14t21:59:43.10-05:00",
        "0o17",
        "0b101",
        "190:20:30",
        "yes",
        "no",
        "on",
        ".nan",
        "-.inf",
        "0.1e-999",
    ),
)
RAW = (
    b"\xff",
    b"\xfe\xff",
    b"\xed\xa0\x80",
    b"\xc0\x80",
    b"\x80",
    b"\xf4\x90\x80\x80",
    b"\xef\xbb\xbf",
    b"\0",
    b"\r",
    b"\x1a",
)


def mutated(text: str, others: Sequence[str], random: Random) -> bytes:
    """The bytes of a spoiled scenario.

    Args:
        text: of the scenario.
        others: texts of further scenarios, to be mixed in.
        random: all that varies.
    """
    if random.random() < 0.5:
        return _as_bytes(_spoilt_tree(text, others, random), random)
    for _ in range(random.choice((1, 1, 1, 2, 4))):
        text = random.choice(TEXT_MUTATIONS)(text, others, random)
    return _as_bytes(text, random)


def _as_bytes(text: str, random: Random) -> bytes:
    content = text.encode("utf-8", errors="surrogatepass")
    if random.random() < 0.03:
        at = random.randrange(len(content) + 1)
        return content[:at] + random.choice(RAW) + content[at:]
    if random.random() < 0.01:
        return text.encode(random.choice(("utf-16", "utf-32", "utf-8-sig", "utf-16-le")), errors="surrogatepass")
    return content


# --- of the text


def _insert(text: str, others: Sequence[str], random: Random) -> str:
    at = random.randrange(len(text) + 1)
    return text[:at] + random.choice(TOKENS) + text[at:]


def _delete(text: str, others: Sequence[str], random: Random) -> str:
    at = random.randrange(len(text) + 1)
    return text[:at] + text[at + random.choice((1, 1, 2, 5, 40)) :]


def _change(text: str, others: Sequence[str], random: Random) -> str:
    at = random.randrange(len(text) + 1)
    return text[:at] + chr(random.choice((random.randrange(32, 127), random.randrange(0x110000)))) + text[at + 1 :]


def _truncate(text: str, others: Sequence[str], random: Random) -> str:
    return text[: random.randrange(len(text) + 1)]


def _lines(text: str, others: Sequence[str], random: Random) -> str:
    lines = text.splitlines(keepends=True) or [""]
    here, there = (random.randrange(len(lines)) for _ in range(2))
    other = random.choice(others).splitlines(keepends=True)
    kind = random.randrange(7)
    if kind == 0:
        del lines[here]
    elif kind == 1:
        lines.insert(there, lines[here])
    elif kind == 2:
        lines[here], lines[there] = lines[there], lines[here]
    elif kind == 3:
        lines[here] = random.choice((" ", "  ", "\t", "      ")) + lines[here]
    elif kind == 4:
        lines[here] = lines[here].lstrip()
    elif kind == 5:
        lines[here : here + 1] = other[random.randrange(len(other)) :][:3]
    else:
        lines[here] = lines[here] * random.choice((2, 3, 500))
    return "".join(lines)


def _value(text: str, others: Sequence[str], random: Random) -> str:
    """The value behind a colon, as a token of YAML that JSON does not have."""
    colons = [at for at in range(len(text) - 1) if text[at : at + 2] == ": "]
    if not colons:
        return text
    at = random.choice(colons) + 2
    end = min([found for stop in ",}]\n#" if (found := text.find(stop, at)) >= 0] or [len(text)])
    return text[:at] + random.choice((random.choice(TOKENS), str(random.choice(NUMBERS)))) + text[end:]


def _bomb(text: str, others: Sequence[str], random: Random) -> str:
    """Aliases that multiply, recur or merge; nesting; a great many keys."""
    depth = random.choice((3, 10, 18, 40))
    lists = "".join(f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 9)}]\n" for i in range(1, depth))
    maps = "".join(f"a{i}: &a{i} {{p: *a{i - 1}, q: *a{i - 1}}}\n" for i in range(1, depth))
    merges = "".join(f"a{i}: &a{i} {{<<: [*a{i - 1}, *a{i - 1}], k{i}: 1}}\n" for i in range(1, depth))
    deep = random.choice((20, 60, 300, 3000))
    bomb = random.choice(
        (
            "a0: &a0 [x, x]\n" + lists,
            "a0: &a0 {x: 1}\n" + maps,
            "a0: &a0 {x: 1}\n" + merges,
            "a: &a [*a, *a]\n",
            "a: &a {<<: *a, b: *a}\n",
            "a: " + "[" * deep + "]" * deep + "\n",
            "a: " + "{a: " * deep + "1" + "}" * deep + "\n",
            "a:\n" + "".join(" " * i + "-\n" for i in range(1, min(deep, 300))),
            "? " * min(deep, 300) + "a\n",
            "".join(f"k{i}: {i}\n" for i in range(random.choice((10, 1000, 5000)))),
            "a: [" + "1, " * random.choice((10, 5000)) + "]\n",
            "a: " + random.choice(("9", "x", "é", "0x" + "f", "\\", "'", "1.")) * random.choice((5000, 100_000)) + "\n",
        )
    )
    where = random.choice(("before", "after", "instead of dataset"))
    if where == "instead of dataset":
        bomb = bomb.replace("a: ", "dataset: ", 1)
    return bomb + text if where == "before" else text + "\n" + bomb


TEXT_MUTATIONS: tuple[Callable[[str, Sequence[str], Random], str], ...] = (
    *(_insert, _insert, _delete, _change, _truncate, _lines, _lines, _value, _value, _value, _bomb),
)


# --- of the tree


def _spoilt_tree(text: str, others: Sequence[str], random: Random) -> str:
    tree, other = _tree(text), _tree(random.choice(others))
    for _ in range(random.choice((1, 1, 1, 2, 3, 6))):
        _spoil(tree, other, random)
    written = json.dumps(tree, indent=random.choice((None, 1)), ensure_ascii=random.random() < 0.5)
    return written.replace("NaN", ".nan").replace("-Infinity", "-.inf").replace("Infinity", ".inf") + "\n"


_TREES: dict[str, Any] = {}


def _tree(text: str) -> Any:
    if text not in _TREES:
        _TREES[text] = YAML(typ="safe", pure=True).load(text)
    return copy.deepcopy(_TREES[text])


def _paths(node: Any, path: Path = ()) -> list[Path]:
    keys = node.items() if isinstance(node, dict) else enumerate(node) if isinstance(node, list) else ()
    if len(path) > 80:
        return []
    below: list[Path] = [deeper for key, value in keys for deeper in _paths(value, (*path, key))]
    return [path, *below] if path else below


def _at(node: Any, path: Path) -> Any:
    for key in path:
        node = node[key]
    return node


def _spoil(tree: Any, other: Any, random: Random) -> None:
    paths = _paths(tree)
    if not paths:
        return
    # Deep keys are many; every depth is to have its turn.
    depth = random.choice(sorted({len(path) for path in paths}))
    *sections, key = random.choice([path for path in paths if len(path) == depth])
    section = _at(tree, tuple(sections))
    kind = random.randrange(10)
    if kind < 4:
        section[key] = random.choice(SCALARS)
    elif kind == 4:
        section[key] = _wrapped(section[key], random)
    elif kind == 5:
        del section[key]
    elif kind == 6 and isinstance(section, dict):
        section[_misspelt(str(key), random)] = section.pop(key)
    elif kind == 7:
        section[key] = copy.deepcopy(_at(other, random.choice(_paths(other))))
    elif kind == 8:
        section[key] = copy.deepcopy(_at(tree, random.choice(paths)))
    elif isinstance(section, dict):
        section[str(random.choice(SCALARS))[:1000]] = random.choice(SCALARS)
    else:
        section *= random.choice((0, 2, 300))


def _wrapped(value: Any, random: Random) -> Any:
    for _ in range(random.choice((1, 1, 2, 40, 60, 200))):
        value = [value] if random.random() < 0.5 else {random.choice(("a", "name", "keep", "disjoint", "0")): value}
    return value


def _misspelt(key: str, random: Random) -> str:
    at = random.randrange(len(key) + 1)
    return random.choice(
        (key[:at] + key[at + 1 :], key[:at] + "x" + key[at:], key.upper(), key + "\u200b", key + ".x", "")
    )

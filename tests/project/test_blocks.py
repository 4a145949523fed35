"""Every command and every piece of Python in the documentation is run, or says why it is not.

A page is read from top to bottom in an empty folder. A fence of `sh` or `python` is run, unless a comment above it says
otherwise: `<!-- not run: REASON -->`, `<!-- run by TEST FILE -->`, `<!-- dry run -->` (commands that train get
`--dry-run`), `<!-- file: NAME -->` (the text is written to that file). A comment `<!-- setup sh` or `<!-- setup python`
is run too, and seen by nobody else; $DOCS is the folder of the pages.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
FENCE = re.compile(
    r"^ *(?:<!-- (?P<mark>[^\n]*?) -->\n)? *```(?P<language>\w*)[^\n]*\n(?P<text>.*?)^ *```", re.MULTILINE | re.DOTALL
)
SETUP = re.compile(r"^<!-- setup (?P<language>sh|python)\n(?P<text>.*?)^-->", re.MULTILINE | re.DOTALL)
SHOWN = {"yaml", "pycon", "text", "console", "json", "csv", "bibtex", "toml"}
TRAINS = re.compile(r"^(clsim (?:run|compare|tune) .*?)( +#[^\n]*)?$", re.MULTILINE)


@dataclass(frozen=True)
class Block:
    """One fence of a page: its language, text, the comment above it and its line."""

    language: str
    text: str
    mark: str
    line: int

    @property
    def runs(self) -> bool:
        return self.writes or (self.language in ("sh", "python") and not self.mark.startswith(("not run: ", "run by ")))

    @property
    def writes(self) -> bool:
        return self.mark.startswith("file: ")


def blocks(page: Path) -> list[Block]:
    text = page.read_text(encoding="utf-8")
    found = sorted([*FENCE.finditer(text), *SETUP.finditer(text)], key=lambda match: match.start())
    return [
        Block(one["language"], one["text"], one.groupdict().get("mark") or "", text.count("\n", 0, one.start()) + 1)
        for one in found
    ]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_each_block_says_what_it_is(page: Path) -> None:
    for block in blocks(page):
        where = f"{page.name}:{block.line}"
        assert block.language in SHOWN | {"sh", "python"}, where
        assert re.fullmatch(r"|not run: .+|run by tests/\S+\.py|dry run|file: [\w.]+", block.mark), where
        if block.mark.startswith("run by "):
            assert (ROOT / block.mark.removeprefix("run by ")).is_file(), where


@pytest.mark.slow
@pytest.mark.parametrize("page", [page for page in PAGES if any(b.runs for b in blocks(page))], ids=lambda p: p.name)
def test_blocks_run(page: Path, tmp_path: Path) -> None:
    environment = {
        **os.environ,
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
        "PYTHONPATH": str(ROOT),
        "DOCS": str(ROOT / "docs"),
        "OMP_NUM_THREADS": "1",
    }
    script = []
    for block in blocks(page):
        if not block.runs:
            continue
        text = block.text
        if block.writes:
            (tmp_path / block.mark.removeprefix("file: ")).write_text(text, encoding="utf-8")
        elif block.language == "python":
            script.append(text)  # run with the blocks of Python before it, at once
        else:
            shell = "set -e\n" + (TRAINS.sub(r"\1 --dry-run", _joined(text)) if block.mark == "dry run" else text)
            _succeeds(["bash", "-c", shell], f"{page.name}:{block.line}", tmp_path, environment)
    if script:
        _succeeds([sys.executable, "-P", "-c", "\n".join(script)], page.name, tmp_path, environment)


def _joined(text: str) -> str:
    return re.sub(r" *\\\n *", " ", text)


def _succeeds(words: list[str], where: str, folder: Path, environment: dict[str, str]) -> None:
    done = subprocess.run(words, cwd=folder, env=environment, capture_output=True, text=True, timeout=900)
    assert done.returncode == 0, f"{where}\n{done.stdout[-2000:]}\n{done.stderr[-3000:]}"

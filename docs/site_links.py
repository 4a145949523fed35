"""Let pages of the site link to any file of the repository, as they do where the repository is read.

A hook of MkDocs. A file outside docs/ that a page links to becomes part of the site, below repository/; a link to a
folder stays as its text, because a site has no listing of it. A link that shows the name of a page shows its title.
Each notebook becomes a page, beside the file itself.
"""

from __future__ import annotations

import json
import os
import posixpath
import re
from pathlib import Path

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
ALWAYS = sorted([*ROOT.glob("benchmarks/*.md"), *ROOT.glob("[A-Z]*.md")])  # records; README is among them
LINK = re.compile(r"\[([^\]\[]*)\]\((?!\w+:|#)([^)#\s]+)(#[^)\s]*)?\)")


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the records outside docs/ and the files that pages link to, and those that these link to in turn."""
    waiting = [Path(str(file.abs_src_path)) for file in files.documentation_pages()] + ALWAYS
    while waiting:
        page = waiting.pop()
        linked = [(page.parent / target).resolve() for _, target, _ in LINK.findall(page.read_text(encoding="utf-8"))]
        for file in (page, *linked):
            where = _in_site(file)
            if file.is_file() and file.is_relative_to(ROOT) and files.get_file_from_path(where) is None:
                files.append(File.generated(config, where, abs_src_path=str(file)))
                if file.suffix == ".md" and file != page:
                    waiting.append(file)
    for notebook in sorted(DOCS.glob("notebooks/*.ipynb")):
        where = notebook.relative_to(DOCS).with_suffix(".md").as_posix()
        files.append(File.generated(config, where, content=notebook_page(notebook)))
    return files


def notebook_page(notebook: Path) -> str:
    """Return the cells of a notebook as Markdown, with a link to the file below the title."""
    parts = []
    for cell in json.loads(notebook.read_text(encoding="utf-8"))["cells"]:
        text = "".join(cell["source"])
        parts.append(text.replace(".ipynb)", ".md)") if cell["cell_type"] == "markdown" else f"```python\n{text}\n```")
    title, _, rest = "\n\n".join(parts).partition("\n\n")
    return f"{title}\n\nThis page is a notebook without its outputs: [{notebook.name}]({notebook.name}).\n\n{rest}\n"


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Point links at where their files are in the site."""
    source = Path(page.file.abs_src_path or DOCS / page.file.src_uri)  # a generated page has no file
    here = posixpath.dirname(page.file.src_uri)

    def moved(match: re.Match[str]) -> str:
        text, target, anchor = match.groups()
        file = (source.parent / target).resolve()
        if file.is_dir():
            return str(text)
        if text == target and file.suffix == ".md":
            text = file.read_text(encoding="utf-8").partition("\n")[0].lstrip("# ")
        return f"[{text}]({posixpath.relpath(_in_site(file), here or '.')}{anchor or ''})"

    return LINK.sub(moved, markdown)


def _in_site(file: Path) -> str:
    """Return the path in the site, such as metrics.md or repository/SECURITY.md."""
    path = Path(os.path.relpath(file, ROOT)).as_posix()
    return path.removeprefix("docs/") if path.startswith("docs/") else f"repository/{path}"

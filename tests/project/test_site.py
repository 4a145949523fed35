"""The documentation site builds strictly, holds every public name, and needs no network."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import zlib
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest

import clsim
from clsim import kit

ROOT = Path(__file__).parents[2]
LOADED = re.compile(r"""<(?:script|img|iframe|source|video)\b[^>]*\bsrc=["']?(https?:[^"'\s>]+)""")
STYLES = re.compile(
    r"""<link\b[^>]*\brel=["']?(?:stylesheet|preconnect|icon|preload)[^>]*\bhref=["']?(https?:[^"'\s>]+)"""
)


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("site")
    words = [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "--site-dir", str(folder)]
    environment = {**os.environ, "NO_MKDOCS_2_WARNING": "1"}
    done = subprocess.run(words, cwd=ROOT, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    return folder


def test_every_public_name_is_in_the_reference(site: Path) -> None:
    packed = (site / "objects.inv").read_bytes().split(b"\n", 4)[4]
    shown = {line.split(" ")[0] for line in zlib.decompress(packed).decode().splitlines()}
    homes = {name: getattr(clsim, name).__module__ for name in clsim.__all__}
    homes |= {name: module for names in kit.SECTIONS.values() for name, module in names.items()}
    assert len(homes) > 60
    assert [name for name, module in homes.items() if f"{module}.{name}" not in shown] == []


def test_no_page_loads_anything_from_elsewhere(site: Path) -> None:
    pages = sorted(site.rglob("*.html"))
    assert len(pages) > 20
    for page in pages:
        text = page.read_text(encoding="utf-8")
        assert LOADED.findall(text) + STYLES.findall(text) == [], page.name
    for style in site.rglob("*.css"):
        assert re.findall(r"""(?:@import|url\()\s*["']?(https?:[^"')]+)""", style.read_text(encoding="utf-8")) == []


def test_links_out_of_the_docs_lead_to_pages_of_the_site(site: Path) -> None:
    text = (site / "design.html").read_text(encoding="utf-8")
    assert 'href="repository/SECURITY.html"' in text
    assert (site / "repository" / "SECURITY.html").is_file()


class Links(HTMLParser):
    """Collect the ids of a page, and the links in it, from the site's text of it."""

    def __init__(self, page: Path) -> None:
        super().__init__()
        self.ids: set[str] = set()
        self.links: list[str] = []
        self.feed(page.read_text(encoding="utf-8"))

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        for key, value in attrs:
            if value and key in ("id", "name"):
                self.ids.add(value)
            elif value and key in ("href", "src") and value != "javascript:void(0)":
                self.links.append(value)


def test_each_link_within_the_site_leads_to_a_file_and_an_anchor(site: Path) -> None:
    pages = {page: Links(page) for page in sorted(site.rglob("*.html")) if page.name != "404.html"}
    external, broken = set(), []
    for page, parsed in pages.items():
        for link in parsed.links:
            parts = urlsplit(link)
            if parts.scheme or parts.netloc:
                external.add(link)
                continue
            file = (page.parent / unquote(parts.path)).resolve() if parts.path else page
            file = file / "index.html" if file.is_dir() else file
            anchor = unquote(parts.fragment)
            if not file.is_file() or (anchor and file in pages and anchor not in pages[file].ids | {"__top"}):
                broken.append(f"{page.relative_to(site)}: {link}")
    assert broken == []
    print("links to elsewhere, which are not followed:", *sorted(external), sep="\n")  # shown with -rP
    assert external


def test_notebooks_are_pages_and_files(site: Path) -> None:
    text = (site / "notebooks" / "comparison.html").read_text(encoding="utf-8")
    assert 'href="comparison.ipynb"' in text
    assert 'href="own_method.html"' in text
    assert (site / "notebooks" / "comparison.ipynb").is_file()

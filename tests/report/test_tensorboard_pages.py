"""What is changed in TensorBoard's pages: each place is there once in every use, and nothing else changes."""

from __future__ import annotations

import io
import re
import zipfile

from tensorboard import assets

from clsim.report.tensorboard_pages import CHANGES, CODE, changed_pages, with_changes


def test_the_installed_tensorboard_has_every_place() -> None:
    pages = assets.get_default_assets_zip_provider()
    with zipfile.ZipFile(pages()) as old, zipfile.ZipFile(changed_pages(pages)()) as new:
        assert new.namelist() == old.namelist()
        assert all(new.read(name) == old.read(name) for name in old.namelist() if name != CODE)
        before, after = (archive.read(CODE).decode() for archive in (old, new))
    assert [what for what, (pattern, _) in CHANGES.items() if not re.search(pattern, before)] == []
    assert {what for what, (pattern, _) in CHANGES.items() if re.search(pattern, after)} <= {"colours of Time Series"}


def test_another_tensorboard_is_left_as_it_is() -> None:
    assert with_changes("let palette=[1,2];") == "let palette=[1,2];"
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w") as file:
        file.writestr("index.html", b"\xff")
    content = archive.getvalue()
    with zipfile.ZipFile(changed_pages(lambda: io.BytesIO(content))()) as new:
        assert new.read("index.html") == b"\xff"

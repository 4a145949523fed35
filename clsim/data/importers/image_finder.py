"""Find the image files that an export names."""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from clsim.data.folder import SUFFIXES


class Found(NamedTuple):
    """The file of an image, relative to the folder, with / between folders; or None and why there is none."""

    file: str | None
    problem: str = ""


class ImageFinder:
    """The image files in a folder, at any depth; links to folders are not followed.

    An export may name an image with fewer folders than it lies in, or with more in front. Both are certain as long as
    one of the two paths ends with the other one and no second file does. Nothing outside the folder is found.

    Args:
        folder: of the images.
        bare_names: only the last part of a name counts.
    """

    def __init__(self, folder: Path, bare_names: bool = False) -> None:
        self.folder = folder
        self.bare_names = bare_names
        self.files: set[str] = set()
        self.of_name: dict[str, list[str]] = defaultdict(list)
        for home, folders, names in os.walk(folder):
            folders[:] = sorted(name for name in folders if not name.startswith("."))
            for name in sorted(names):
                if name.lower().endswith(SUFFIXES) and not name.startswith("."):
                    file = Path(home, name).relative_to(folder).as_posix()
                    self.files.add(file)
                    self.of_name[name.lower()].append(file)

    def find(self, name: str, other_names: Sequence[str] = ()) -> Found:
        """Return the file of an image by the first of its names that one has, or what is wrong."""
        answers = [self._find(one) for one in (name, *other_names)]
        return next((answer for answer in answers if answer.file is not None), answers[0])

    def _find(self, name: str) -> Found:
        name = name.replace("\\", "/").removeprefix("./")
        if name in self.files and not self.bare_names:
            return Found(name)
        last = name.rpartition("/")[2]
        near = self.of_name.get(last.lower(), [])
        exact = [file for file in near if file.rpartition("/")[2] == last]
        fitting = exact if self.bare_names else [file for file in exact if _ends_with(file, name)]
        if len(fitting) == 1:
            return Found(fitting[0])
        if fitting:
            return Found(None, f"image {name!r} may be {len(fitting)} files: {', '.join(fitting[:3])}")
        hint = f"; is it {near[0]!r}?" if near else ""
        return Found(None, f"image {name!r}: no such file in {self.folder}{hint}")


def _ends_with(file: str, name: str) -> bool:
    return f"/{file}".endswith(f"/{name.lstrip('/')}") or f"/{name}".endswith(f"/{file}")

"""Which classes a PASCAL VOC annotation file names.

Only the standard library is imported: workers that parse a large folder are processes of their own, and start fast.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
import xml.etree.ElementTree as ET
from collections import Counter
from collections.abc import Sequence
from xml.parsers import expat

from clsim.children import module_command
from clsim.cores import usable_cores
from clsim.data.class_names import composed
from clsim.data.problems import Problems
from clsim.errors import Unplannable
from clsim.opening import read_regular

FILES_A_WORKER = 10_000
"""Below two times this many files, starting a second process costs as much as it saves (0.1 ms a file)."""

Objects = dict[str, bool]
"""Class name -> is one of its objects not difficult."""

READER_VERSION = 3
"""Part of the identity of cached labels; raised by a change that reads other objects in a file."""

_DIFFICULT = {"0": False, "0.0": False, "false": False, "": False, "unspecified": False}
_DIFFICULT |= {"1": True, "1.0": True, "true": True}
"""What an element `difficult` says, in lower case."""
_DECLARATION = re.compile(rb"""[^<]*<\?xml\s(?:[^<>]*?\sencoding\s*=\s*["']([A-Za-z0-9._:-]+)["'])?[^<>]*\?>""")
_MOST_BEFORE = 4096
"""Bytes in which the declaration of a file ends."""
_SHAPES = ("bndbox", "bbox", "robndbox", "polygon")


def read_annotation(path: str) -> Objects:
    """Read the objects of one annotation file.

    They lie in the root, or in an element `objects` there. Upper and lower case and namespaces of tags do not matter.
    Parts inside an object are no objects; an object whose `difficult` element is not there, empty or "Unspecified" is
    not difficult.

    Raises:
        Unplannable: the file is missing, is not XML, is not an annotation, or holds an object in another place; with
            path and line.
    """
    problems = Problems()
    objects = _read(path, problems)
    problems.refuse("root")
    return objects


def _read(path: str, problems: Problems) -> Objects:
    try:
        root, text = root_of(path)
    except Unplannable as error:
        problems.add("", error.text)
        return {}
    objects: Objects = {}
    read = objects_in(root)
    for number, element in enumerate(read, start=1):
        names = [(child.text or "").strip() for child in element if tag_of(child) == "name"]
        flags = [(child.text or "").strip() for child in element if tag_of(child) == "difficult"] or [""]
        if len(names) != 1 or not names[0]:
            fault = f"has {len(names)} <name>, allowed: 1" if len(names) > 1 else "has no <name>"
        elif len(flags) != 1 or flags[0].lower() not in _DIFFICULT:
            fault = f"<difficult> is {', '.join(map(repr, flags))}, allowed: 0, 1"
        else:
            name = composed(names[0])
            objects[name] = objects.get(name, False) or not _DIFFICULT[flags[0].lower()]
            continue
        problems.add(path, f"object {number} {fault}")
    parts = {id(part) for element in read for part in element if tag_of(part) == "part"}
    known = {id(element) for element in read} | parts
    for position, element in enumerate(root.iter()):
        if position and id(element) not in known and _looks_like_object(element):
            told = f"<{element.tag}> looks like an object and would not be read; allowed: <object> in <annotation>"
            problems.add(f"{path}:{_line_of(text, position)}", f"{told} or in its <objects>")
    return objects


def ignored_elements(path: str) -> Counter[str]:
    """Count the elements of one annotation file that say nothing to clsim, by tag.

    They are parts of objects, and elements of the root that PASCAL VOC does not have.

    Raises:
        Unplannable: as `read_annotation`.
    """
    root, _ = root_of(path)
    inside = [tag_of(child) for element in objects_in(root) for child in element]
    beside = [tag_of(child) for child in root if tag_of(child) not in _OF_ROOT]
    return Counter([*beside, *(tag for tag in inside if tag not in _OF_OBJECT)])


_OF_ROOT = ("folder", "filename", "path", "source", "owner", "size", "segmented", "object", "objects")
_OF_OBJECT = ("name", "pose", "truncated", "difficult", "occluded", "bndbox", "point", "actions")


def root_of(path: str) -> tuple[ET.Element, str | bytes]:
    """Return the first element of an annotation, and the text that was parsed, with the lines of the file."""
    text: str | bytes = b""
    try:
        text = read_regular(path)
        if b"<!ENTITY" in text.replace(b"\0", b""):  # in UTF-16 too
            raise _problem(f"{path}: defines XML entities, which no annotation needs")
        try:
            root = ET.fromstring(text)
        except (ET.ParseError, ValueError, LookupError):
            decoded = _decoded(text)
            if decoded is None:
                raise
            text = decoded
            root = ET.fromstring(text)
    except OSError as error:
        raise _problem(f"{path}: cannot be read: {error.strerror}") from None
    except ET.ParseError as error:
        reason, line = str(error).partition(":")[0], error.position[0]
        raise _problem(f"{path}:{line}: not valid XML: {reason}") from None
    except (ValueError, LookupError) as error:  # an encoding that Python does not know
        raise _problem(f"{path}: not valid XML: {error}") from None
    if tag_of(root) != "annotation":
        raise _problem(f"{path}: is no VOC annotation: its first element is <{root.tag}>, not <annotation>")
    return root, text


def _decoded(content: bytes) -> str | None:
    """Return the text of a file whose declaration the parser does not take.

    The encoding is one that Python knows and the parser does not, such as GBK, or text stands before the declaration.
    The text begins after the declaration, and its lines have the numbers of the file. None: there is no declaration
    near the beginning, or the file is not in its encoding.
    """
    found = _DECLARATION.match(content, 0, _MOST_BEFORE)
    if found is None:
        return None
    try:
        text = content[found.end() :].decode((found[1] or b"utf-8").decode())
    except (ValueError, LookupError):
        return None
    return "\n" * content.count(b"\n", 0, found.end()) + text


def tag_of(element: ET.Element) -> str:
    """Return the tag without namespace, in lower case."""
    return element.tag.rpartition("}")[2].lower()


def objects_in(root: ET.Element) -> list[ET.Element]:
    """Return the objects of an annotation, in the order of the file."""
    homes = [root, *(child for child in root if tag_of(child) == "objects")]
    return [child for home in homes for child in home if tag_of(child) == "object"]


def _looks_like_object(element: ET.Element) -> bool:
    """Whether an element is called so, or has a name beside a shape or a flag, as objects do."""
    if tag_of(element) in ("object", "obj"):
        return True
    inside = {tag_of(child) for child in element}
    return (
        not inside.isdisjoint(_SHAPES)
        or {"name", "difficult"} <= inside
        or (tag_of(element) == "objects" and not inside <= {"object"})
    )


def _line_of(text: str | bytes, position: int) -> int:
    """Return the line of the element at a position in document order, counted from 0."""
    lines: list[int] = []
    parser = expat.ParserCreate()
    parser.StartElementHandler = lambda tag, attributes: lines.append(parser.CurrentLineNumber)
    parser.Parse(text, True)
    return lines[position]


def _problem(text: str) -> Unplannable:
    return Unplannable(("dataset", "root"), text)


def read_annotations(paths: Sequence[str], workers: int | None = None) -> list[Objects]:
    """`read_annotation` of many files, in their order; the problems of all are counted.

    Args:
        workers: processes that parse; default: one for each FILES_A_WORKER files, never more than there are cores.
    """
    cores = usable_cores()
    workers = max(1, min(workers or len(paths) // FILES_A_WORKER, cores))
    problems = Problems()
    if workers == 1:
        found = [_read(path, problems) for path in paths]
        problems.refuse("root")
        return found
    # Not multiprocessing, which would import the caller's script once more in every worker.
    share = -(-len(paths) // workers)
    command = module_command("clsim.data.voc_annotations")
    processes = []
    for start in range(0, len(paths), share):
        process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        processes.append((process, json.dumps(paths[start : start + share])))
    try:
        found = _collect(processes, problems)
    finally:
        for process, _ in processes:
            process.kill()
            process.wait()
    problems.refuse("root")
    return found


def _collect(processes: list[tuple[subprocess.Popen[str], str]], problems: Problems) -> list[Objects]:
    for process, task in processes:  # a worker answers only after it has read its whole task
        assert process.stdin is not None
        process.stdin.write(task)
        process.stdin.close()
    found: list[Objects] = []
    for process, _ in processes:
        assert process.stdout is not None
        with process.stdout:
            answer = json.loads(process.stdout.read() or _DIED)
        problems.extend(answer["count"], answer["first"])
        found += answer["found"]
    return found


_DIED = '{"found": [], "count": 1, "first": ["a worker died"]}'


def _work() -> None:
    """Read a JSON list of paths from stdin, write the objects of each to stdout, and the problems."""
    problems = Problems()
    found = [_read(path, problems) for path in json.load(sys.stdin)]
    json.dump({"found": found, "count": problems.count, "first": problems.first}, sys.stdout)


if __name__ == "__main__":
    _work()

"""Which classes a PASCAL VOC annotation file names.

Only the standard library is imported: workers that parse a large folder are processes of their own, and start fast.
"""

from __future__ import annotations

import json
import subprocess
import sys
import xml.etree.ElementTree as ET
from collections import Counter
from collections.abc import Sequence
from xml.parsers import expat

from clsim.children import module_command
from clsim.cores import usable_cores
from clsim.data.class_names import composed
from clsim.errors import ClsimError, Unplannable
from clsim.opening import read_regular

FILES_A_WORKER = 10_000
"""Below two times this many files, starting a second process costs as much as it saves (0.1 ms a file)."""

Objects = dict[str, bool]
"""Class name -> is one of its objects not difficult."""

READER_VERSION = 2
"""Part of the identity of cached labels; raised by a change that reads other objects in a file."""

_SHAPES = ("bndbox", "bbox", "robndbox", "polygon")


def read_annotation(path: str) -> Objects:
    """Read the objects of one annotation file.

    They lie in the root, or in an element `objects` there. Upper and lower case and namespaces of tags do not matter.
    Parts inside an object are no objects; an object without a `difficult` element is not difficult.

    Raises:
        Unplannable: the file is missing, is not XML, is not an annotation, or holds an object in another place; with
            path and line.
    """
    root = _root(path)
    objects: Objects = {}
    read = _objects(root)
    for number, element in enumerate(read, start=1):
        names = [(child.text or "").strip() for child in element if _tag(child) == "name"]
        flags = [(child.text or "").strip() for child in element if _tag(child) == "difficult"] or ["0"]
        if len(names) != 1 or not names[0]:
            fault = f"has {len(names)} <name>, allowed: 1" if len(names) > 1 else "has no <name>"
        elif len(flags) != 1 or flags[0] not in ("0", "1"):
            fault = f"<difficult> is {', '.join(map(repr, flags))}, allowed: 0, 1"
        else:
            name = composed(names[0])
            objects[name] = objects.get(name, False) or flags[0] == "0"
            continue
        raise _problem(f"{path}: object {number} {fault}")
    parts = {id(part) for element in read for part in element if _tag(part) == "part"}
    known = {id(element) for element in read} | parts
    for position, element in enumerate(root.iter()):
        if position and id(element) not in known and _looks_like_object(element):
            text = f"<{element.tag}> looks like an object and would not be read; allowed: <object> in <annotation>"
            raise _problem(f"{path}:{_line_of(path, position)}: {text} or in its <objects>")
    return objects


def ignored_elements(path: str) -> Counter[str]:
    """Count the elements of one annotation file that say nothing to clsim, by tag.

    They are parts of objects, and elements of the root that PASCAL VOC does not have.

    Raises:
        Unplannable: as `read_annotation`.
    """
    root = _root(path)
    inside = [_tag(child) for element in _objects(root) for child in element]
    beside = [_tag(child) for child in root if _tag(child) not in _OF_ROOT]
    return Counter([*beside, *(tag for tag in inside if tag not in _OF_OBJECT)])


_OF_ROOT = ("folder", "filename", "path", "source", "owner", "size", "segmented", "object", "objects")
_OF_OBJECT = ("name", "pose", "truncated", "difficult", "occluded", "bndbox", "point", "actions")


def _root(path: str) -> ET.Element:
    try:
        content = read_regular(path)
        if b"<!ENTITY" in content.replace(b"\0", b""):  # in UTF-16 too
            raise _problem(f"{path}: defines XML entities, which no annotation needs")
        root = ET.fromstring(content)
    except OSError as error:
        raise _problem(f"{path}: cannot be read: {error.strerror}") from None
    except ET.ParseError as error:
        reason, line = str(error).partition(":")[0], error.position[0]
        raise _problem(f"{path}:{line}: not valid XML: {reason}") from None
    except (ValueError, LookupError) as error:  # an encoding that Python does not know
        raise _problem(f"{path}: not valid XML: {error}") from None
    if _tag(root) != "annotation":
        raise _problem(f"{path}: is no VOC annotation: its first element is <{root.tag}>, not <annotation>")
    return root


def _tag(element: ET.Element) -> str:
    """Return the tag without namespace, in lower case."""
    return element.tag.rpartition("}")[2].lower()


def _objects(root: ET.Element) -> list[ET.Element]:
    homes = [root, *(child for child in root if _tag(child) == "objects")]
    return [child for home in homes for child in home if _tag(child) == "object"]


def _looks_like_object(element: ET.Element) -> bool:
    """Whether an element is called so, or has a name beside a shape or a flag, as objects do."""
    if _tag(element) in ("object", "obj"):
        return True
    inside = {_tag(child) for child in element}
    return (
        not inside.isdisjoint(_SHAPES)
        or {"name", "difficult"} <= inside
        or (_tag(element) == "objects" and not inside <= {"object"})
    )


def _line_of(path: str, position: int) -> int:
    """Return the line of the element at a position in document order, counted from 0."""
    lines: list[int] = []
    parser = expat.ParserCreate()
    parser.StartElementHandler = lambda tag, attributes: lines.append(parser.CurrentLineNumber)
    parser.Parse(read_regular(path), True)
    return lines[position]


def _problem(text: str) -> Unplannable:
    return Unplannable(("dataset", "root"), text)


def read_annotations(paths: Sequence[str], workers: int | None = None) -> list[Objects]:
    """`read_annotation` of many files, in their order.

    Args:
        workers: processes that parse; default: one for each FILES_A_WORKER files, never more than there are cores.
    """
    cores = usable_cores()
    workers = max(1, min(workers or len(paths) // FILES_A_WORKER, cores))
    if workers == 1:
        return [read_annotation(path) for path in paths]
    # Not multiprocessing, which would import the caller's script once more in every worker.
    share = -(-len(paths) // workers)
    command = module_command("clsim.data.voc_annotations")
    processes = []
    for start in range(0, len(paths), share):
        process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        processes.append((process, json.dumps(paths[start : start + share])))
    try:
        return _collect(processes)
    finally:
        for process, _ in processes:
            process.kill()
            process.wait()


def _collect(processes: list[tuple[subprocess.Popen[str], str]]) -> list[Objects]:
    for process, task in processes:  # a worker answers only after it has read its whole task
        assert process.stdin is not None
        process.stdin.write(task)
        process.stdin.close()
    found: list[Objects] = []
    for process, _ in processes:
        assert process.stdout is not None
        with process.stdout:
            answer = json.loads(process.stdout.read() or '{"problem": "a worker died"}')
        if isinstance(answer, dict):
            raise _problem(answer["problem"])
        found += answer
    return found


def _work() -> None:
    """Read a JSON list of paths from stdin, write the objects of each to stdout, or the first problem."""
    try:
        answer: object = [read_annotation(path) for path in json.load(sys.stdin)]
    except ClsimError as error:
        answer = {"problem": getattr(error, "text", str(error))}
    json.dump(answer, sys.stdout)


if __name__ == "__main__":
    _work()

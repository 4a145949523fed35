"""Which classes a PASCAL VOC annotation file names.

Only the standard library is imported: workers that parse a large folder are processes of their own, and start fast.
"""

from __future__ import annotations

import json
import subprocess
import sys
import xml.etree.ElementTree as ET
from collections.abc import Sequence

from clsim.children import module_command
from clsim.cores import usable_cores
from clsim.errors import ClsimError, Unplannable

FILES_A_WORKER = 10_000
"""Below two times this many files, starting a second process costs as much as it saves (0.1 ms a file)."""

Objects = dict[str, bool]
"""Class name -> is one of its objects not difficult."""


def read_annotation(path: str) -> Objects:
    """The top-level objects of one annotation file.

    Parts inside an object are no objects; an object without a `difficult` element is not difficult.

    Raises:
        Unplannable: the file is missing, is not XML, or is not an annotation; with path and line.
    """
    try:
        root = ET.parse(path).getroot()
    except OSError as error:
        raise Unplannable(("dataset", "root"), f"{path}: cannot be read: {error.strerror}") from None
    except ET.ParseError as error:
        reason, line = str(error).partition(":")[0], error.position[0]
        raise Unplannable(("dataset", "root"), f"{path}:{line}: not valid XML: {reason}") from None
    except (ValueError, LookupError) as error:  # an encoding that Python does not know
        raise Unplannable(("dataset", "root"), f"{path}: not valid XML: {error}") from None
    if root.tag != "annotation":
        text = f"{path}: is no VOC annotation: its first element is <{root.tag}>, not <annotation>"
        raise Unplannable(("dataset", "root"), text)
    objects: Objects = {}
    for number, element in enumerate(root.iterfind("object"), start=1):
        name = (element.findtext("name") or "").strip()
        difficult = element.findtext("difficult", "0").strip()
        if not name or difficult not in ("0", "1"):
            fault = f"<difficult> is {difficult!r}, allowed: 0, 1" if name else "has no <name>"
            raise Unplannable(("dataset", "root"), f"{path}: object {number} {fault}")
        objects[name] = objects.get(name, False) or difficult == "0"
    return objects


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
            raise Unplannable(("dataset", "root"), answer["problem"])
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

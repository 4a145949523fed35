"""Prepared runs as processes, a few at a time."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path
from typing import IO

from clsim.experiment.progress import Progress, read_state
from clsim.files import write_atomically

THREAD_VARIABLES = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")


class Pool:
    """Runs prepared folders as processes, a few at a time."""

    def __init__(self, workers: int, threads: int) -> None:
        self.workers = workers
        self.environment = os.environ | dict.fromkeys(THREAD_VARIABLES, str(threads))
        self.running: dict[Path, tuple[subprocess.Popen[bytes], IO[bytes]]] = {}
        self.failed: dict[Path, str] = {}

    def run(self, folders: list[Path], epochs: int, progress: Progress | None) -> dict[Path, str]:
        """Folder -> reason of those that failed; `epochs` is the length of each run."""
        waiting = list(folders)
        try:
            while waiting or self.running:
                while waiting and len(self.running) < self.workers:
                    self._start(waiting.pop(0))
                time.sleep(0.2)
                for folder in list(self.running):
                    if progress is not None:
                        progress.update(folder, read_state(folder, epochs))
                    if self.running[folder][0].poll() is not None:
                        self._finish(folder, progress)
        finally:
            for process, _ in self.running.values():
                process.terminate()
            for folder in list(self.running):
                self._finish(folder, progress)
            if progress is not None:
                progress.close()
        return self.failed

    def _start(self, folder: Path) -> None:
        output = (folder / "output.txt").open("wb")
        command = [sys.executable, "-m", "clsim.experiment.execution", str(folder)]
        process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=output, stderr=output, env=self.environment
        )
        self.running[folder] = (process, output)

    def _finish(self, folder: Path, progress: Progress | None) -> None:
        process, output = self.running.pop(folder)
        code = process.wait()
        output.close()
        if code:
            self.failed[folder] = _reason(folder, code)
        if progress is not None:
            progress.finish(folder, self.failed.get(folder))


def _reason(folder: Path, code: int) -> str:
    """Why a process ended with `code`: its own last word, else the signal or exit code."""
    path = folder / "error.txt"
    if not path.is_file():
        how = f"killed by signal {-code}" if code < 0 else f"ended with exit code {code}"
        write_atomically(path, f"{how}; see {folder / 'output.txt'}\n")
    return path.read_text(encoding="utf-8").splitlines()[0]

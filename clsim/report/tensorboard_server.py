"""TensorBoard on the runs of a folder, served by this process through TensorBoard's own Python API."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from contextlib import redirect_stderr
from io import StringIO
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlencode, urlsplit

from clsim.errors import RunError
from clsim.report.mean_curves import FOLDER as MEAN
from clsim.report.tensorboard_pages import STRATEGY_OF_RUN, changed_pages
from clsim.vocabulary import SEEN_MAP

EVENT_FILES = "*tfevents*"
FIRST_PORT = 6006
"""TensorBoard's usual port; without a port of the user's choice, it and the 99 after it are tried."""
KEPT = {"scalars": 10_000, "images": 200, "pr_curves": 200}
"""Points of a curve that reach the browser. TensorBoard's own limit of ten pictures would thin out longer streams."""
MOST_SHOWN = 5
MOST_NAMED = 50
"""Runs that a link can name beside the mean curves; an address has no room for more."""


def runs_below(folder: Path) -> list[Path]:
    """Folders with an event file, sorted; TensorBoard makes a run of each.

    Raises:
        RunError: there is none; says what is there and which command makes some.
    """
    found = sorted({path.parent for path in folder.rglob(EVENT_FILES)}) if folder.is_dir() else []
    if found:
        return found
    if not folder.exists():
        text = "no such folder"
    elif not folder.is_dir():
        text = "is a file; expected the folder of runs"
    else:
        inside = sorted(path.name + "/" * path.is_dir() for path in folder.iterdir())
        more = f" and {len(inside) - MOST_SHOWN} more" if len(inside) > MOST_SHOWN else ""
        text = f"no event file below it; there is {', '.join(inside[:MOST_SHOWN]) or 'nothing'}{more}"
    raise RunError(f"{folder}: {text}\nmake some: clsim compare digits-b0c2 --strategies finetune,er,lwf+er --out runs")


def start(folder: Path, host: str = "localhost", port: int | None = None) -> str:
    """Serve the runs below a folder from threads of this process, for as long as it lives; returns the address.

    Runs are named by their path below the folder, `digits-b0c2/er/seed0`; a run folder itself is `er/seed0/.`.

    Args:
        host: who may connect: localhost, or 0.0.0.0 for every machine that reaches this one.
        port: None: the first free one from FIRST_PORT on.

    Raises:
        RunError: the port is in use, or there is no such address.
    """
    from tensorboard import assets, default, program

    pages = assets.get_default_assets_zip_provider()
    server: Any = program.TensorBoard(default.get_plugins(), None if pages is None else changed_pages(pages))
    try:
        # Without this, TensorBoard advises an option of its own command, whichever reader it has chosen.
        with redirect_stderr(StringIO()):
            server.configure(**_source(folder), host=host, port=port, samples_per_plugin=KEPT)
            return str(server.launch())
    except program.TensorBoardPortInUseError:
        raise RunError(f"--port {port}: in use; name another, or none for the next free one") from None
    except program.TensorBoardServerException as error:
        raise RunError(f"TensorBoard at {host}, port {port or FIRST_PORT}: {error.msg}") from None
    except SystemExit:  # the web server's way to say that it cannot bind
        raise RunError(f"TensorBoard at {host}, port {port or FIRST_PORT}: no address to serve from") from None
    except OSError as error:
        raise RunError(f"TensorBoard at {host}, port {port or FIRST_PORT}: {error.strerror or error}") from None


def links(address: str, folder: Path, runs: Sequence[Path]) -> dict[str, str]:
    """Return the addresses of TensorBoard's pages on the runs, by what they show.

    curves: one curve per strategy, the mean where there are several seeds, each in a colour of its own, without
    smoothing and mAP first; spread: the same between the lowest and the highest seed, if there are means; hparams: the
    settings of all runs.

    Args:
        address: that `start` returned.
        folder: whose runs are served.
        runs: from `runs_below`.
    """
    shown = _one_per_strategy(folder, runs)
    filters = {"runFilter": shown} if shown else {}
    query = urlencode(
        {
            "pinnedCards": json.dumps([{"plugin": "scalars", "tag": SEEN_MAP}], separators=(",", ":")),
            "smoothing": 0,
            "runColorGroup": f"regex:{STRATEGY_OF_RUN}",
            **filters,
        },
        quote_via=quote,
    )
    found = {"curves": f"{address}?{query}#timeseries"}
    if shown:
        found["spread"] = f"{address}#custom_scalars&regexInput={quote(shown)}"
    return found | {"hparams": f"{address}#hparams"}


def _one_per_strategy(folder: Path, runs: Sequence[Path]) -> str:
    """Return a pattern of the mean curves and of the runs of strategies without; "": all runs are to be shown."""
    averaged = {run.parent for run in runs if run.name == MEAN}
    others = [run.relative_to(folder).as_posix() for run in runs if run.parent not in averaged]
    if not averaged or len(others) > MOST_NAMED:
        return ""
    return "|".join([f"/{MEAN}$", *(f"^{re.escape(name)}$" for name in others)])


def port_of(address: str) -> int | None:
    """The port of the address that `start` returns."""
    return urlsplit(address).port


def _source(folder: Path) -> dict[str, str]:
    """DECIDED: a single run is given with its name, because TensorBoard would call it `.` alone; its reader for that is
    slower, and paths with its two separators cannot be given so."""
    folder = folder.resolve()
    if any(folder.glob(EVENT_FILES)) and not re.search("[,:]", str(folder)):
        return {"logdir_spec": f"{folder.parent.name}/{folder.name}:{folder}"}
    return {"logdir": str(folder)}

"""Curves in MLflow: on a server, or in the folder `mlruns` beside the runs, which `mlflow ui` shows."""

from __future__ import annotations

import os
import re
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from pydantic import Field

from clsim.evaluation.loggers import LineLogger
from clsim.evaluation.outside_loggers import LoggedRun
from clsim.file_lock import open_locked
from clsim.training import strategy

STORE = "mlruns"
_MOST_METRICS, _MOST_PARAMETERS, _LONGEST_PARAMETER = 1000, 100, 500
"""What MLflow takes in one call, and as a value."""


class MlflowLogger(LineLogger):
    """Sends every value of a run to one run of MLflow; a resumed run goes on with the same."""

    class Options(strategy.Options):
        """Where the values go."""

        tracking_uri: str | None = Field(
            None, description="default: MLFLOW_TRACKING_URI, else the folder mlruns beside the runs"
        )
        experiment: str | None = Field(None, description="default: MLFLOW_EXPERIMENT_NAME, else the scenario's name")

    def __init__(self, options: Options) -> None:
        super().__init__()
        self.options = options

    def begin(self, run: LoggedRun) -> str:
        """Begin the run, or go on with it; return its id."""
        os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
        address = self.options.tracking_uri or os.environ.get("MLFLOW_TRACKING_URI")
        if address is None:
            os.environ.setdefault("MLFLOW_ALLOW_FILE_STORE", "true")  # which newer releases ask for
            store = (run.folder.resolve().parents[1] / STORE).resolve()
            address = store.as_uri()
            with _alone(store):
                return self._begin(address, run)
        return self._begin(address, run)

    def _begin(self, address: str, run: LoggedRun) -> str:
        from mlflow import MlflowClient

        self.client = MlflowClient(tracking_uri=address)
        if run.id is not None:
            self.id = run.id
            self.client.update_run(self.id, status="RUNNING")
            return self.id
        name = self.options.experiment or os.environ.get("MLFLOW_EXPERIMENT_NAME", run.scenario)
        known = self.client.get_experiment_by_name(name)
        experiment = known.experiment_id if known is not None else self.client.create_experiment(name)
        self.id = str(self.client.create_run(experiment, run_name=run.name).info.run_id)
        self._describe(run.settings)
        return self.id

    def _describe(self, settings: Mapping[str, Any]) -> None:
        from mlflow.entities import Param

        parameters = [Param(_key(key), str(value)[:_LONGEST_PARAMETER]) for key, value in settings.items()]
        for batch in _batches(parameters, _MOST_PARAMETERS):
            self.client.log_batch(self.id, params=batch)

    def write(self, line: dict[str, Any]) -> None:
        """Send a line; its step is the number of tasks or epochs done, or of new images trained on."""
        from mlflow.entities import Metric

        now = int(1000 * time.time())
        values = [(tag, value) for tag, value in line["values"].items() if value is not None]
        metrics = [Metric(_key(tag), float(value), now, line["step"]) for tag, value in values]
        for batch in _batches(metrics, _MOST_METRICS):
            self.client.log_batch(self.id, metrics=batch)

    def end(self, result: Mapping[str, Any] | None) -> None:
        """Mark the run as finished, or as stopped."""
        self.client.set_terminated(self.id, "FINISHED" if result is not None else "KILLED")


def _key(name: str) -> str:
    """Return a name in the characters that MLflow allows."""
    return re.sub(r"[^\w\-. :/]", "_", name)


def _batches(values: list[Any], size: int) -> Iterator[list[Any]]:
    return (values[start : start + size] for start in range(0, len(values), size))


@contextmanager
def _alone(store: Path) -> Iterator[None]:
    """Inside it no other run of the comparison makes the experiment in the folder."""
    store.mkdir(parents=True, exist_ok=True)
    with open_locked(store / ".clsim.lock", before_waiting=lambda: None):
        yield

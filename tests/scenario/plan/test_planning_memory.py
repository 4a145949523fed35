"""A plan of many rows needs little memory beside the labels it is made of."""

from __future__ import annotations

import numpy as np

from clsim.data.label_values import read_codes
from clsim.data.manifest_config import ManifestConfig
from clsim.scenario import load_scenario
from clsim.scenario.plan.planning import build_plan, stream_data
from tests.fixtures.peak_memory import peak_bytes


def test_no_step_copies_all_labels() -> None:
    rng = np.random.default_rng(0)
    labels = np.zeros((100_000, 100), dtype=np.int8)
    labels[np.arange(len(labels)), rng.integers(0, 100, len(labels))] = 1
    test = labels[:1000].copy()
    options = ManifestConfig(name="manifest", file="none.csv", label_list="labels")
    config = load_scenario("digits-b0c2", {"stream.increment": 10}).config
    names = [f"c{column:02d}" for column in range(100)]

    def plan() -> None:
        codes, soft = read_codes(labels, np.zeros(0, dtype=np.float32), options, "train")
        assert build_plan(config, stream_data(config, names, codes, test, soft=soft)).n_train_rows == len(labels)

    peak = peak_bytes(plan)
    assert peak < 0.9 * labels.nbytes, f"{peak / labels.nbytes:.2f} times the labels"

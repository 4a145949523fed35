"""The sentence at the top: who is best, by how much, and whether that may be chance."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from clsim.report import headline as module
from clsim.report.headline import headline
from clsim.report.results import joined, load_results

BEST = [60.0, 61.0, 62.5]
VALUES = {"er": BEST, "same": BEST, "lwf": [50.0, 51.5, 52.0], "finetune": [49.9, 52.0, 51.0]}


@pytest.mark.parametrize(
    ("strategies", "seeds", "said"),
    [
        (["er"], 3, "er reaches 61.2 ± 1.3\u00a0% mAP after the last task."),
        (
            ["er", "lwf"],
            1,
            "10.0 points above lwf, the next; with 1 seed this may be chance (3 are needed for a",
        ),
        (["er", "lwf"], 2, "with 2 seeds in common this may be chance"),
        (["er", "lwf", "finetune"], 3, "lwf, the next; it is significantly better than every other method (3 seeds)."),
        (
            ["lwf", "finetune"],
            3,
            "51.2 ± 1.0\u00a0%, 0.2 points above finetune, the next; the difference to finetune",
        ),
        (
            ["er", "same"],
            3,
            "er and same have the same mAP after the last task, 61.2 ± 1.3\u00a0%, and none a",
        ),
        (["er", "lwf", "joint"], 1, "; joint, the upper reference, reaches 80.0\u00a0%."),
        (["joint"], 1, "No method has an mAP after the last task; joint, the upper reference, reaches 80.0\u00a0%."),
    ],
)
def test_the_sentence(
    make_run: Callable[..., Path], tmp_path: Path, strategies: list[str], seeds: int, said: str
) -> None:
    for name in strategies:
        for seed in range(seeds):
            make_run(tmp_path, name, seed=seed, last_mAP=VALUES[name][seed] if name in VALUES else 80.0)
    assert said in headline(load_results(tmp_path))


def test_all_pairs_of_methods_are_tested_once_and_not_per_method(
    make_run: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in VALUES:
        for seed in range(3):
            make_run(tmp_path, name, seed=seed, last_mAP=VALUES[name][seed] + (name == "er"))
    metrics: list[str] = []
    really = module.beaten
    monkeypatch.setattr(module, "beaten", lambda results, metric: (metrics.append(metric), really(results, metric))[1])
    assert "significant" in headline(load_results(tmp_path))
    assert metrics == ["last_mAP"]


def test_runs_of_several_class_orders_are_not_called_seeds(make_run: Callable[..., Path], tmp_path: Path) -> None:
    for order in range(2):
        for name in ("er", "lwf"):
            make_run(tmp_path / f"order{order}", name, order_seed=order, last_mAP=VALUES[name][order])
    parts = [load_results(tmp_path / f"order{order}") for order in range(2)]
    assert "with 2 runs in common this may be chance" in headline(joined(tmp_path, parts))

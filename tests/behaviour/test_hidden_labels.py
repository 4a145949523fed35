"""Rule 1: a learner never sees a hidden label. Trained weights must not depend on any truth that no row shows."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from avalanche.core import SupervisedPlugin
from numpy.typing import NDArray

from clsim.data.digits import Digits
from clsim.evaluation.history import History
from clsim.evaluation.kept_scores import kept_bytes
from clsim.evaluation.loggers import MetricsFile, ScoresFile
from clsim.part_kinds import KINDS
from clsim.running.assembly import build_template, training_plan
from clsim.scenario import Scenario, StreamPlan, load_scenario
from clsim.training.claims import name_of
from clsim.training.composition import Composition
from clsim.training.strategy_specs import classes_of, registered, strategy_class
from tests.fixtures.tiny_vit import TINY_VIT

EXEMPT = {"joint"}  # trains on a derived plan that shows the labels of all seen classes
METHODS = [
    ("finetune", {}),
    ("finetune", {"old_classes": "negative"}),
    ("er", {}),
    ("er", {"replay": "concat", "selection": "random", "current_classes": "ignore"}),
    ("er", {"other_classes": "negative"}),
    ("lwf", {}),
    ("lwf+er", {}),
    ("lwf+er", {"lwf.old_classes": "negative", "other_classes": "ignore"}),
    ("er", {"selection": "reservoir"}),
    ("ewc", {}),
    ("ewc+lwf+er", {"ewc.weight": 10.0}),
    ("akd", {}),
    ("akd+er", {"decay_on": "positive"}),
    ("er+or", {"threshold": 0.3}),
    ("er+or", {"threshold": "adaptive", "current_classes": "refresh"}),
    ("rebll", {"threshold": "prior", "current_classes": "ignore"}),
    ("er", {"selection": "herding"}),
    *[("er", {"selection": selection}) for selection in ("ocdm", "cbrs", "label-density")],
    ("er", {"selection": "rainbow", "selection_options": {"passes": 2}}),
    ("er", {"selection": "gss"}),
    ("er+derpp", {"selection": "prs", "beta": 0.5}),
    ("lwf+er+bic", {"selection": "random"}),
    ("er+identity", {}),
    ("rebll+more", {"kappa": 0.5, "init_b": 0.01}),
    ("moments", {"features": "first-task", "unknown": "prior"}),
    ("rebll+moments", {"moments.features": "anchor", "unknown": "soft"}),
    ("lwf+moments", {"features": "transport"}),
    ("er+moments", {"moments.features": "memory", "bytes": 9000}),
    ("agcn", {"width": 8}),
    ("csc+er", {"csc.width": 8}),
    ("class-embeddings+pseudo+cgc+er", {"width": 8, "rule": "uncertain", "pseudo.threshold": 0.45}),
    ("krt+er+or", {"width": 16, "heads": 2, "selection": "herding"}),
    ("l3a", {"features": "first-task", "expansion": 64, "threshold": 0.55}),
    ("ewc", {"mode": "online", "weight": 50.0}),
    ("si", {"weight": 50.0}),
    ("mas", {}),
    ("a-gem+lwf+wa", {}),
    ("gdumb", {}),
    ("er+podnet+slow-learners", {"stable_rate": 0.5}),
    ("pseudo+lwf", {"rule": "recall", "rest": "distil"}),
    ("lwf+max-entropy+relational", {"classes": "seen"}),
    ("cgc+pseudo+er+or", {"rule": "f1", "or.threshold": "f1", "rows": "all"}),
]
ON_FEATURES = [("lwf+feature-replay", {}), ("moments", {"unknown": "half"}), ("l3a", {"expansion": 64})]
ON_A_VIT = [("multi-lane+er+or", {"selectors": 3, "prompts": 2, "other_classes": "negative"})]
STREAMS: dict[str, dict[str, Any]] = {
    "sizes": {"stream.increment": None, "stream.sizes": [5, 2, 3], "labels.visible.keep": 0.7},
    "tasks": {
        "stream.increment": None,
        "stream.tasks": [["0", "1", "2"], ["3", "4", "0"], ["5", "6", "7", "8", "9", "1"]],
    },
    "repetition": {
        "stream.increment": None,
        "stream.sizes": [4, 0, 6],
        "stream.repetition": {"probability": 0.5, "images": 0.7},
        "labels.visible.keep": 0.7,
    },
    "blurry": {"stream.increment": None, "stream.blurry": {"tasks": 3, "disjoint": 0.5, "blurred": 0.3}},
    "domains": {"stream.increment": None, "stream.base": 0, "stream.domains": "crowding", "labels.visible.keep": 0.6},
    "per-class": {"labels.visible": {"per_class": {"1": 0.3, "7": 0.0}, "others": 0.8}},
    "smallest-box": {"labels.visible": {"smallest_box": 0.2, "unseen": "unknown"}},
    "disjoint": {"stream.assignment.disjoint": "random"},
    "keep": {"labels.visible.keep": 0.5},
    "single-positive": {"labels.visible": "single-positive"},
    "noise": {"labels.noise.false_negative": 0.2, "labels.noise.false_positive": 0.1},
    "validation": {"dataset.validation": 0.3, "evaluation.on": "validation"},
    "db": {"labels.visible.keep": 0.5, "training.loss.name": "db", "training.sampler": "class-aware"},
    "logit-adjusted": {"labels.visible.keep": 0.5, "training.loss.name": "logit-adjusted"},
    "class-balanced": {
        "labels.visible": "single-positive",
        "training.loss.name": "class-balanced",
        "training.sampler": "inverse-frequency",
    },
    "softmax": {"labels.visible.keep": 0.5, "training.loss.name": "logit-adjusted-ce"},
    "everything": {
        "stream.assignment.disjoint": "rarest",
        "labels.visible.keep": 0.6,
        "labels.noise.false_negative": 0.2,
        "dataset.validation": 0.2,
        "evaluation.on": "validation",
        "evaluation.every": "epoch",
        "training.loss.name": "asl",
        "training.precision": "bfloat16",
        "training.clip_norm": 1.0,
        "training.model.freeze": "batch-norm",
        "training.augmentation": {"random_resized_crop": {}, "flip": 0.5, "randaugment": {}},
    },
}


ONLINE = {"stream.online.batch": 10, "training.epochs": 1, "training.batch_size": 10, "labels.visible.keep": 0.6}
STREAMED = {"er.selection": "reservoir", "er.replay": "paired"}


class TamperedSource(Digits):
    """The same images with other labels, or with labels that must not be read."""

    def __init__(self, original: Digits, labels: Callable[[str], NDArray[np.int8]], readable: bool = True) -> None:
        super().__init__(original.config)
        self._tampered = labels
        self.readable = readable

    def labels(self, split: Any) -> NDArray[np.int8]:
        return self._tampered(split)


def train(
    scenario: Scenario, plan: StreamPlan, spec: str, options: dict[str, Any], tmp_path: Any, *extra: Any
) -> bytes:
    """Bytes of all weights after the whole stream; the memory's evaluator knows the scenario's truth, if readable.

    Scores are kept after each task, as a run keeps them.
    """
    history, scores = History(plan), tmp_path / "scores.f32"
    scores.unlink(missing_ok=True)
    readable = not isinstance(scenario.source, TamperedSource) or scenario.source.readable
    template = build_template(
        scenario,
        Composition(spec, options),
        plan,
        seed=0,
        device="cpu",
        history=history,
        loggers=[MetricsFile(tmp_path / "metrics.jsonl"), ScoresFile(scores, history, range(len(plan.tasks)))],
        row_truth=scenario.truth()[plan.row_samples] if readable else None,
    )
    template.plugins[:0] = list(extra)
    template.learn(template.benchmark.train_stream, template.benchmark.evaluation_stream)
    return b"".join(tensor.numpy().tobytes() for tensor in template.model.state_dict().values())


def flip_hidden(scenario: Scenario, plan: StreamPlan) -> Scenario:
    """The scenario with random bits in place of every training truth that no row shows, or shows wrongly."""
    truth = scenario.source.labels("train")
    shown = np.zeros(truth.shape, dtype=bool)
    for task in plan.tasks:  # the stream is alphabetical: columns of plan and data set agree
        at = task.samples[:, None], task.columns
        shown[at] |= task.values == truth[at]
    random = np.random.default_rng(7).integers(0, 2, truth.shape, dtype=np.int8)
    changed = np.where(shown, truth, random)
    assert (changed != truth).any()
    tampered = TamperedSource(
        scenario.source, lambda split: changed if split == "train" else scenario.source.labels(split)
    )
    return Scenario(scenario.config, tampered)


def forbid_reading(scenario: Scenario) -> Scenario:
    def refuse(split: str) -> NDArray[np.int8]:
        raise AssertionError(f"the truth of {split} was read")

    return Scenario(scenario.config, TamperedSource(scenario.source, refuse, readable=False))


def test_every_shipped_strategy_is_covered() -> None:
    names = {name_of(kind) for spec, _ in METHODS + ON_FEATURES + ON_A_VIT for kind in classes_of(spec)}
    own = {name for name in registered() if not strategy_class(name).made_of}  # the others are their parts
    assert own - EXEMPT == names
    given = {options.get("selection", "class-balanced") for _, options in METHODS}
    assert set(KINDS["selection"].shipped) == given


@pytest.mark.parametrize(("spec", "options"), METHODS, ids=lambda value: str(value))
def test_weights_do_not_depend_on_hidden_truth(tiny: Scenario, spec: str, options: dict, tmp_path: Any) -> None:
    plan = tiny.plan()
    honest = train(tiny, plan, spec, options, tmp_path)
    assert train(flip_hidden(tiny, plan), plan, spec, options, tmp_path) == honest
    assert train(forbid_reading(tiny), plan, spec, options, tmp_path) == honest


@pytest.mark.parametrize(("spec", "options"), ON_FEATURES, ids=lambda value: str(value))
def test_nor_do_they_over_cached_features(tiny_overrides: dict, spec: str, options: dict, tmp_path: Any) -> None:
    frozen = {"training.model.freeze": "backbone", "training.model.cache_features": True}
    scenario = load_scenario("digits-b0c2", tiny_overrides | frozen)
    plan = scenario.plan()
    honest = train(scenario, plan, spec, options, tmp_path)
    assert train(flip_hidden(scenario, plan), plan, spec, options, tmp_path) == honest


@pytest.mark.parametrize(("spec", "options"), ON_A_VIT, ids=lambda value: str(value))
def test_nor_do_they_on_a_frozen_vit(tiny_overrides: dict, spec: str, options: dict, tmp_path: Any) -> None:
    scenario = load_scenario("digits-b0c2", tiny_overrides | {"training.model": TINY_VIT})
    plan = scenario.plan()
    honest = train(scenario, plan, spec, options, tmp_path)
    assert train(flip_hidden(scenario, plan), plan, spec, options, tmp_path) == honest
    assert train(forbid_reading(scenario), plan, spec, options, tmp_path) == honest


@pytest.mark.parametrize("spec", ["ewc+lwf+er"])
@pytest.mark.parametrize("stream", STREAMS.values(), ids=list(STREAMS))
def test_nor_do_they_on_any_kind_of_stream(tiny_overrides: dict, stream: dict, spec: str, tmp_path: Any) -> None:
    scenario = load_scenario("digits-b0c2", tiny_overrides | stream)
    plan = scenario.plan()
    honest = train(scenario, plan, spec, {}, tmp_path)
    assert train(flip_hidden(scenario, plan), plan, spec, {}, tmp_path) == honest
    assert train(forbid_reading(scenario), plan, spec, {}, tmp_path) == honest


@pytest.mark.parametrize(
    ("spec", "options"),
    [
        ("finetune", {}),
        ("lwf+er", STREAMED),
        ("rebll", STREAMED),
        ("er+derpp", STREAMED | {"er.selection": "prs"}),
        ("a-gem+pseudo", {"rule": "fixed", "a-gem.selection": "ocdm"}),
    ],
)
def test_nor_do_they_on_an_online_stream(tiny_overrides: dict, spec: str, options: dict, tmp_path: Any) -> None:
    scenario = load_scenario("digits-b0c2", tiny_overrides | ONLINE)
    plan = scenario.plan()
    honest = train(scenario, plan, spec, options, tmp_path)
    assert train(flip_hidden(scenario, plan), plan, spec, options, tmp_path) == honest
    assert train(forbid_reading(scenario), plan, spec, options, tmp_path) == honest


def test_nor_do_they_where_lists_say_who_is_in_a_task_and_what_is_scored(tiny_overrides: dict, tmp_path: Path) -> None:
    tasks = [(image, task) for image in range(60) for task in {image % 3, image % 2}]
    (tmp_path / "tasks.csv").write_text("\n".join(["image,task", *(f"{image},{task}" for image, task in tasks)]))
    (tmp_path / "scored.csv").write_text("\n".join(["image,task", *(f"{image},{image % 3}" for image in range(40))]))
    lists = {
        "stream.assignment": {"given": str(tmp_path / "tasks.csv")},
        "evaluation.images": {"given": str(tmp_path / "scored.csv"), "lists": "per-task"},
    }
    scenario = load_scenario("digits-b0c2", tiny_overrides | lists)
    plan = scenario.plan()
    assert max(np.bincount(np.concatenate([task.samples for task in plan.tasks]))) > 1
    honest = train(scenario, plan, "lwf+er", {}, tmp_path)
    assert train(flip_hidden(scenario, plan), plan, "lwf+er", {}, tmp_path) == honest
    assert train(forbid_reading(scenario), plan, "lwf+er", {}, tmp_path) == honest


def test_nor_do_they_where_a_machine_annotates(tiny_overrides: dict, tmp_path: Path) -> None:
    random, file = np.random.default_rng(0), tmp_path / "machine.csv"
    rows = [f"{image},{name},{random.random():.3f}" for image in range(1200) for name in range(0, 10, 2)]
    file.write_text("\n".join(["image,class,confidence", *rows[: 5 * tiny_overrides["dataset.train"]]]))
    rule = {"labels.visible": {"confidences": str(file), "present": 0.7, "absent": 0.4}}
    scenario = load_scenario("digits-b0c2", tiny_overrides | rule)
    plan = scenario.plan()
    assert any((task.values == 1).any() and (task.values == 0).any() for task in plan.tasks)
    honest = train(scenario, plan, "lwf+er", {}, tmp_path)
    assert train(flip_hidden(scenario, plan), plan, "lwf+er", {}, tmp_path) == honest
    assert train(forbid_reading(scenario), plan, "lwf+er", {}, tmp_path) == honest


@pytest.mark.parametrize("stream", STREAMS.values(), ids=list(STREAMS))
def test_a_run_plans_on_the_truth_but_trains_on_what_is_shown(tiny_overrides: dict, stream: dict) -> None:
    scenario = load_scenario("digits-b0c2", tiny_overrides | stream)
    assert training_plan(scenario, Composition("ewc+lwf+er")).sha256 == scenario.plan().sha256


@pytest.mark.parametrize("spec", ["lwf+er", "ewc"])
def test_weights_do_not_depend_on_what_only_the_evaluator_may_know(tiny: Scenario, spec: str, tmp_path: Any) -> None:
    plan = tiny.plan()
    groups = replace(plan.groups, positives=plan.groups.positives[::-1].copy(), group=plan.groups.group[::-1].copy())
    other = replace(plan, test_truth=1 - plan.test_truth, groups=groups)
    honest = train(tiny, plan, spec, {}, tmp_path)
    scores = (tmp_path / "scores.f32").read_bytes()
    assert len(scores) == kept_bytes(plan, "all")
    assert train(tiny, other, spec, {}, tmp_path) == honest
    assert (tmp_path / "scores.f32").read_bytes() == scores, "kept scores hold no truth"


def test_oracle_memory_is_what_it_says_and_no_partial_label_protocol(tiny_overrides: dict, tmp_path: Any) -> None:
    scenario = load_scenario("digits-b0c2", tiny_overrides | {"memory.labels": "oracle"})
    composition, plan = Composition("er"), scenario.plan()
    oracle = training_plan(scenario, composition)
    told = training_plan(flip_hidden(scenario, plan), composition)
    assert train(scenario, oracle, "er", {}, tmp_path) != train(scenario, told, "er", {}, tmp_path)


class Leak(SupervisedPlugin):
    """What the tests above must catch: fills unknown entries from the truth."""

    def __init__(self, scenario: Scenario, plan: StreamPlan) -> None:
        super().__init__()
        self.truth = torch.from_numpy(scenario.truth()[plan.row_samples]).float()

    def before_forward(self, strategy: Any, *args: Any, **kwargs: Any) -> None:
        y = strategy.mb_y
        y[y < 0] = self.truth[strategy.rows][y < 0]


def test_a_leak_would_be_caught(tiny: Scenario, tmp_path: Any) -> None:
    plan = tiny.plan()
    flipped = flip_hidden(tiny, plan)
    honest = train(tiny, plan, "finetune", {}, tmp_path, Leak(tiny, plan))
    assert train(flipped, plan, "finetune", {}, tmp_path, Leak(flipped, plan)) != honest
    with pytest.raises(AssertionError, match="the truth of train was read"):
        Leak(forbid_reading(tiny), plan)


@pytest.mark.parametrize("stream", [{}, *STREAMS.values()], ids=["task", *STREAMS])
def test_no_training_batch_holds_a_label_that_its_row_does_not_show(tiny_overrides: dict, stream: dict) -> None:
    scenario = load_scenario("digits-b0c2", tiny_overrides | stream)
    plan = scenario.plan()
    for task, experience in zip(plan.tasks, scenario.benchmark().train_stream, strict=True):
        _, y, _ = experience.dataset.__getitems__(range(len(experience.dataset))).batch
        hidden = np.setdiff1d(np.arange(plan.n_classes), task.columns)
        assert (y[:, hidden] == -1).all()
        np.testing.assert_array_equal(y[:, task.columns.copy()].numpy(), task.values)


# --- soft labels


class SoftScenes(Digits):
    """Digit scenes of which every third label is soft; it counts as unknown."""

    def __init__(self, original: Digits, soft: NDArray[np.float32] | None = None, readable: bool = True) -> None:
        super().__init__(original.config)
        drawn = np.random.default_rng(3).uniform(0.05, 0.95, super().labels("train").shape).astype(np.float32)
        self.chosen = np.random.default_rng(4).random(drawn.shape) < 1 / 3
        self.soft = np.where(self.chosen, drawn, np.float32(0)) if soft is None else soft
        self.readable = readable

    def labels(self, split: Any) -> NDArray[np.int8]:
        labels = super().labels(split)
        return np.where(self.chosen, -1, labels).astype(np.int8) if split == "train" else labels

    def soft_labels(self, split: Any) -> NDArray[np.float32] | None:
        assert self.readable, "a soft label was read"
        return self.soft if split == "train" else None


@pytest.mark.parametrize("stream", [{}, *(STREAMS[name] for name in ("disjoint", "keep", "noise", "everything"))])
def test_weights_do_not_depend_on_hidden_soft_labels(tiny_overrides: dict, stream: dict, tmp_path: Any) -> None:
    config = load_scenario("digits-b0c2", tiny_overrides | stream)
    scenario = Scenario(config.config, source := SoftScenes(config.source))  # type: ignore[arg-type]
    plan = scenario.plan()
    shown = np.zeros(source.soft.shape, dtype=bool)
    for task in plan.tasks:
        if task.soft is not None:
            shown[task.samples[:, None], task.columns] |= task.soft > 0
    hidden = source.chosen & ~shown
    assert hidden.any()
    other = np.where(hidden, np.float32(1) - source.soft, source.soft)
    tampered = Scenario(scenario.config, SoftScenes(source, other))
    unreadable = Scenario(scenario.config, SoftScenes(source, readable=False))
    honest = train(scenario, plan, "lwf+er", {}, tmp_path)
    assert tampered.plan().sha256 == plan.sha256
    assert train(tampered, plan, "lwf+er", {}, tmp_path) == honest
    with pytest.raises(AssertionError, match="a soft label was read"):
        unreadable.plan()
    changed = Scenario(scenario.config, SoftScenes(source, np.where(shown, 1 - source.soft, source.soft)))
    assert changed.plan().sha256 != plan.sha256
    assert train(changed, changed.plan(), "lwf+er", {}, tmp_path) != honest, "the learner sees what is shown"


# --- data sets of the user's own


OWN = """
import numpy as np
from PIL import Image

class Mine:
    classes = tuple("abcdef")

    def __init__(self, split, labels):
        self.split, self.read = split, np.load(labels)[split]

    def __len__(self):
        return len(self.read)

    def __getitem__(self, i):
        seed = i if self.split == "train" else 1000 + i
        return Image.fromarray(np.random.default_rng(seed).integers(0, 256, (28, 28, 3), dtype=np.uint8)), self.read[i]
"""
SOURCE = """
import numpy as np

class Mine:
    class_names = tuple("abcdef")

    def __init__(self, labels):
        self.read = np.load(labels)

    def labels(self, split):
        return self.read[split]

    def images(self, split, size):
        return np.random.default_rng(split == "test").integers(0, 256, (len(self.read[split]), 3, size, size), np.uint8)

    def fingerprint(self):
        return "mine"
"""


@pytest.mark.parametrize("text", [OWN, SOURCE], ids=["items", "source"])
def test_weights_do_not_depend_on_hidden_labels_of_an_own_class(
    tiny_overrides: dict, tmp_path: Path, text: str
) -> None:
    (tmp_path / "mine.py").write_text(text)
    random = np.random.default_rng(0)
    truth = {split: random.integers(-1, 2, (40, 6)).astype(np.int8) for split in ("train", "test")}
    keys = {key: value for key, value in tiny_overrides.items() if not key.startswith("dataset")}
    keys["labels.visible.keep"] = 0.6

    def scenario_of(name: str, labels: dict[str, NDArray[np.int8]]) -> Scenario:
        np.savez(tmp_path / f"{name}.npz", **labels)
        options = {"labels": str(tmp_path / f"{name}.npz")}
        return load_scenario(
            "digits-b0c2", {**keys, "dataset": {"name": f"{tmp_path}/mine.py:Mine", "options": options}}
        )

    scenario = scenario_of("honest", truth)
    plan = scenario.plan()
    shown = np.zeros((40, 6), dtype=bool)
    for task in plan.tasks:
        shown[task.samples[:, None], task.columns] |= task.values != -1
    flipped = np.where(shown, truth["train"], random.integers(-1, 2, (40, 6))).astype(np.int8)
    tampered = scenario_of("tampered", {"train": flipped, "test": 1 - truth["test"].clip(0)})
    assert (tampered.truth() != scenario.truth()).any()
    honest = train(scenario, plan, "lwf+er", {}, tmp_path)
    assert train(tampered, plan, "lwf+er", {}, tmp_path) == honest

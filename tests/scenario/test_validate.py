"""Problems of a scenario: `file:line: key.path: given, allowed, did you mean`, all at once, in file order."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from ruamel.yaml import YAML

from clsim.errors import ScenarioError
from clsim.scenario import load_scenario
from clsim.scenario.schema import ScenarioConfig

SECTIONS = "name, source, dataset, stream, labels, memory, evaluation, training, threads, checkpoint, loggers, expected"


def _swap(text: str, old: str, new: str) -> str:
    assert text.count(old) == 1, f"{old!r} does not stand exactly once in the scenario"
    return text.replace(old, new)


def test_all_problems_come_at_once_in_file_order(problems: Any, digits_text: str) -> None:
    text = digits_text
    for old, new in [
        ("train: 1200", "train: '1200'"),
        ("order: alphabetical", "order: frequent"),
        ("increment: 2", "incremnt: 2"),
        ("epochs: 10", "epochs: true"),
        ("threads: auto", "thread: auto"),
    ]:
        text = _swap(text, old, new)
    assert problems(text) == [
        "s.yaml:4: dataset.train: given '1200', should be a valid integer",
        "s.yaml:7: stream.incremnt: unknown key, did you mean 'increment'?; "
        "allowed: base, increment, sizes, tasks, blurry, domains, order, repetition, online, order_seed, assignment, "
        "seed",
        "s.yaml:8: stream.order: given 'frequent', allowed: alphabetical, seed, frequency, a list, "
        "did you mean 'frequency'?",
        "s.yaml:17: training.epochs: given True, should be a valid integer",
        f"s.yaml:22: thread: unknown key, did you mean 'threads'?; allowed: {SECTIONS}",
    ]


def test_file_order_survives_a_colon_in_the_file_name(tmp_path: Path, digits_text: str) -> None:
    file = tmp_path / "a:3.yaml"
    file.write_text(_swap(_swap(digits_text, "threads: auto", "thread: auto"), "epochs: 10", "epochs: x"))
    with pytest.raises(ScenarioError) as caught:
        load_scenario(file)
    assert [line.removeprefix(f"{file}:").partition(":")[0] for line in caught.value.problems] == ["17", "22"]


@pytest.mark.parametrize(
    ("old", "new", "key", "meant"),
    [
        ("threads: auto", "thread: auto", "thread", "threads"),
        ("train: 1200", "trian: 1200", "dataset.trian", "train"),
        ("base: 0", "bas: 0", "stream.bas", "base"),
        ("visible: task", "visibl: task", "labels.visibl", "visible"),
        ("memory: {budget:", "memory: {budgt:", "memory.budgt", "budget"),
        ("thresholds: [", "treshold: [", "evaluation.treshold", "thresholds"),
        ("image_size: 32", "imagesize: 32", "training.model.imagesize", "image_size"),
        ("later_lr:", "latr_lr:", "training.optimizer.latr_lr", "later_lr"),
        (
            "expected: []",
            "expected: [{strategy: a, metric: b, value: 1, source: s, tolerence: 1}]",
            "expected.0.tolerence",
            "tolerance",
        ),
    ],
)
def test_an_unknown_key_is_named_with_the_nearest_valid_one(
    problems: Any, digits_text: str, old: str, new: str, key: str, meant: str
) -> None:
    (problem,) = problems(_swap(digits_text, old, new))
    assert f" {key}: unknown key, did you mean {meant!r}?; allowed: " in problem


@pytest.mark.parametrize(
    ("key", "value", "text"),
    [
        ("training.epochs", "'800'", "given '800', should be a valid integer"),
        ("training.epochs", "true", "given True, should be a valid integer"),
        ("training.epochs", "1.0", "given 1.0, should be a valid integer"),
        ("training.epochs", "-1", "given -1, should be greater than or equal to 0"),
        ("training.epochs", "", "given None, should be a valid integer"),
        ("training.optimizer.lr", "'1e-3'", "given '1e-3', should be a valid number"),
        ("training.optimizer.lr", "true", "given True, should be a valid number"),
        ("training.optimizer.lr", "-1", "given -1, should be greater than 0"),
        ("training.optimizer.lr", ".inf", "given inf, should be a finite number"),
        ("training.optimizer.lr", "1e400", "given inf, should be a finite number"),
        ("training.optimizer.weight_decay", ".nan", "given nan, should be a finite number"),
        (
            "training.schedule",
            "onecycle",
            "given 'onecycle', unknown schedule 'onecycle', did you mean 'one-cycle'?; ",
        ),
        ("training", "3", "given 3, should be a mapping of keys"),
        ("dataset", "digits", "given 'digits', should be a mapping of keys"),
        (
            "dataset.name",
            "digit",
            "features, path/to/file.py:Class, did you mean 'digits'?",
        ),
        ("dataset.name", "", "given None, allowed: digits, voc, coco, nuswide, openimages, manifest"),
        ("dataset.name", "[voc]", "given ['voc'], allowed: digits, voc, coco, nuswide, openimages, manifest"),
        ("training.loss", "3", "given 3, should be a mapping of keys"),
        ("stream", "{base: 2}", "stream: one of increment, sizes, tasks, blurry and domains is missing"),
        ("stream", "{increment: 2, sizes: [5, 5]}", "stream.sizes: given [5, 5], not together with increment"),
        ("stream", "{sizes: [5, 5], base: 2}", "stream.base: given 2, not together with sizes"),
        ("stream", "{tasks: [['1']], order: seed}", "stream.order: given 'seed', not together with tasks"),
        ("stream", "{sizes: []}", "stream.sizes: given []"),
        ("stream", "{tasks: [[]]}", "stream.tasks.0: given []"),
        ("training.loss", "{gamma: 2}", "training.loss.name: required key is missing"),
        (
            "training.loss",
            "{name: bec}",
            "training.loss.name: given 'bec', allowed: bce, focal, asl, db, logit-adjusted",
        ),
        ("training.loss", "{name: bec}", "logit-adjusted-ce, did you mean 'bce'?"),
        (
            "dataset",
            "{name: coco, test: train2014}",
            "dataset.test: given 'train2014', allowed: another split than train",
        ),
        ("dataset", "{name: coco, test: a/b}", "dataset.test: given 'a/b', allowed: letters, digits and . _ -"),
        ("dataset", "{name: manifest}", "no table is named; allowed: file, or train_file and test_file"),
        (
            "dataset",
            "{name: manifest, file: m.csv, label_columns: rest, separator: ','}",
            "dataset.separator: given ',', not together with label_columns",
        ),
        ("dataset.categories", "30", "given 30, allowed: 10, 20, 40, 80"),
        ("dataset.labels_per_scene", "[4, 1]", "given [4, 1], allowed is [min, max] with 1 <= min <= max <= 5"),
        ("evaluation.thresholds", "0.5", "given 0.5, should be a list"),
        ("evaluation.thresholds", "[]", "given [], should have at least 1 item after validation, not 0"),
        ("threads", "two", "given 'two', allowed: auto, a valid integer"),
        ("threads", "0", "given 0, allowed: auto, greater than or equal to 1"),
        ("name", "a/b", "given 'a/b', allowed: letters, digits and . _ -, a letter or digit first"),
        ("stream.order", "alphabet", "given 'alphabet', allowed: alphabetical, seed, frequency, a list, did you mean"),
        ("memory.budget", "5", "given 5, allowed: none | {per_class: 4} | {total: 1000} | {bytes: 1000000}"),
        (
            "memory.budget",
            "total",
            "given 'total', allowed: none | {per_class: 4} | {total: 1000} | {bytes: 1000000}, did you mean 'total'",
        ),
        (
            "memory.budget",
            "{totl: 9}",
            "given {'totl': 9}, allowed: none | {per_class: 4} | {total: 1000} | {bytes: 1000000}, did you mean",
        ),
        (
            "memory.budget",
            "{per_class: 1, total: 5}",
            "allowed: none | {per_class: 4} | {total: 1000} | {bytes: 1000000} (one of them, not several)",
        ),
        ("memory.budget", "{total: '5'}", "memory.budget.total: given '5', should be a valid integer"),
        ("stream.assignment", "{disjoint: randm}", "disjoint: given 'randm', allowed: random, first, rarest, did you"),
    ],
)
def test_a_wrong_value_says_given_and_allowed(problems: Any, digits_text: str, key: str, value: str, text: str) -> None:
    (problem,) = problems(digits_text, [f"{key}={value}"])
    assert f": {key}" in problem
    assert text in problem


@pytest.mark.parametrize(
    ("key", "value", "text"),
    [
        (
            "dataset",
            "{name: voc, rot: x}",
            "dataset.rot: unknown key, did you mean 'root'?; allowed: name, resize",
        ),
        (
            "dataset",
            "{name: coco, resise: crop}",
            "dataset.resise: unknown key, did you mean 'resize'?; allowed: name, resize",
        ),
        (
            "dataset",
            "{name: manifest, label_colums: rest}",
            "dataset.label_colums: unknown key, did you mean 'label_columns'?; allowed: name, resize",
        ),
        (
            "training.model.weights",
            "{fil: x, trained_on: [], source: y}",
            "weights.fil: unknown key, did you mean 'file'?; allowed: file, trained_on, source, allow_test_data",
        ),
        (
            "training.model",
            "{name: resnet18, weights: {torchvision: IMAGENET1K_V1, file: x}}",
            "weights.file: unknown key; allowed: torchvision",
        ),
        (
            "training.loss",
            "{name: asl, clipp: 0}",
            "clipp: unknown key, did you mean 'clip'?; allowed: name, gamma_neg",
        ),
    ],
)
def test_allowed_keys_are_those_of_the_named_form(
    problems: Any, digits_text: str, key: str, value: str, text: str
) -> None:
    assert any(text in problem for problem in problems(digits_text, [f"{key}={value}"]))


WEIGHTS = "none | {torchvision: IMAGENET1K_V1} | {pretrained: TAG} | {file: x, trained_on: [..], source: y}"


@pytest.mark.parametrize(
    ("model", "text"),
    [
        ("{name: resnet18, weights: imagenet}", f"weights: given 'imagenet', allowed: {WEIGHTS}"),
        ("{name: resnet18, weights: {}}", f"weights: given {{}}, allowed: {WEIGHTS}"),
        ("{name: resnet18, weights: {torchvison: V1}}", f"allowed: {WEIGHTS}, did you mean 'torchvision'?"),
        ("{name: resnet18, weights: {torchvision: V9}}", "weights.torchvision: given 'V9', allowed: IMAGENET1K_V1, "),
        (
            "{weights: {torchvision: IMAGENET1K_V1}}",
            "given {'torchvision': 'IMAGENET1K_V1'}, tiny-resnet is not torchvision's; allowed: none, or a file",
        ),
    ],
)
def test_wrong_weights_are_told_by_their_form(problems: Any, digits_text: str, model: str, text: str) -> None:
    (problem,) = problems(digits_text, [f"training.model={model}"])
    assert text in problem


@pytest.mark.parametrize(("given", "hint"), [("atuo", ", did you mean 'auto'?"), (1, "")])
def test_a_choice_that_may_also_be_yes_or_no(given: Any, hint: str) -> None:
    with pytest.raises(ScenarioError) as error:
        load_scenario("digits-b0c2", {"training.model.channels_last": given})
    assert f"training.model.channels_last: given {given!r}, allowed: auto, true or false{hint}" in str(error.value)


@pytest.mark.parametrize("known", ["[Digits]", "[imagenet-1k, uci-digits]", "[digits]"])
def test_weights_that_know_the_test_data_are_refused_unless_asked_for(
    problems: Any, digits_text: str, known: str
) -> None:
    model = f"training.model.weights={{file: x.pt, trained_on: {known}, source: y}}"
    (problem,) = problems(digits_text, [model])
    listed = YAML(typ="safe", pure=True).load(known)
    text = f"training.model.weights.trained_on: given {listed}, which names the tested data set digits; "
    assert problem == f"--set {model}: {text}if that is meant, add weights.allow_test_data: true"
    assert problems(digits_text, [model, "training.model.weights.allow_test_data=true"]) == []
    assert problems(digits_text, [model, "training.model.weights.trained_on=[imagenet-1k]"]) == []


def test_a_wrong_item_of_a_list_is_named_alone(problems: Any, digits_text: str) -> None:
    assert problems(_swap(digits_text, "order: alphabetical", "order: ['0', 1]")) == [
        "s.yaml:8: stream.order.1: given 1, should be a valid string"
    ]


@pytest.mark.parametrize(("text", "value"), [("1e-3", 1e-3), ("1e-4", 1e-4), ("1E3", 1e3), ("3", 3.0)])
def test_numbers_follow_yaml_1_2(digits_text: str, text: str, value: float) -> None:
    assert load_scenario("digits-b0c2", [f"training.optimizer.lr={text}"]).config.training.optimizer.lr == value


def test_a_key_that_cannot_be_printed_is_escaped(problems: Any, digits_text: str) -> None:
    (problem,) = problems(digits_text + '"a\\nb\\e[31m": 1\n')
    assert problem.startswith("s.yaml:24: 'a\\nb\\x1b[31m': unknown key")


def test_the_schema_explains_itself_as_json() -> None:
    schema = json.dumps(ScenarioConfig.model_json_schema())
    assert "which images a task has" in schema


def test_only_the_first_twenty_problems_are_told(problems: Any, digits_text: str) -> None:
    found = problems(digits_text + "".join(f"k{number}: 1\n" for number in range(50)))
    lines = len(digits_text.splitlines())
    assert [problem.split(":")[1] for problem in found] == [str(lines + number) for number in range(1, 22)]
    assert found[-1] == f"s.yaml:{lines + 21}: and 30 more problems from here on"

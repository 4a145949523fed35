"""Sample predictions in the event file of a run: they are there, change nothing, and tell no hidden label."""

from __future__ import annotations

import io
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from avalanche.core import SupervisedPlugin
from PIL import Image
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

import clsim
from clsim.data.image_files import few_images
from clsim.errors import ScenarioError
from clsim.evaluation import sample_pictures
from clsim.evaluation.event_file import EventFile
from clsim.evaluation.history import History
from clsim.evaluation.sample_pictures import SamplePictures, tiles
from clsim.evaluation.samples import evaluation_places, training_places
from clsim.running.assembly import build_template
from clsim.running.run_folder import RunFolder
from clsim.scenario import Scenario, StreamPlan, load_scenario
from clsim.training.composition import Composition


def pictures(folder: Path) -> dict[str, list[Any]]:
    events = EventAccumulator(str(folder), size_guidance={"images": 0}).Reload()
    return {tag: events.Images(tag) for tag in events.Tags()["images"] if tag.startswith("samples/")}


def trained(scenario: Scenario, folder: Path, *plugins: Any, n: int = 6, plan: StreamPlan | None = None) -> bytes:
    """Bytes of all weights after the stream of er, its pictures being in `folder`."""
    plan = plan or scenario.plan()
    history = History(plan)
    folder.mkdir(exist_ok=True)
    events = EventFile(folder / RunFolder.events)
    events.begin()
    logger = SamplePictures(events, history, partial(few_images, scenario.source, size=28), n)
    composition = Composition("er")
    template = build_template(scenario, composition, plan, seed=0, device="cpu", history=history, loggers=[logger])
    template.plugins += plugins
    template.learn(template.benchmark.train_stream, template.benchmark.evaluation_stream)
    return b"".join(tensor.numpy().tobytes() for tensor in template.model.state_dict().values())


def test_a_run_has_both_pictures_after_each_task_in_one_size(finished_run: Path) -> None:
    found = pictures(finished_run)
    assert set(found) == {"samples/evaluation", "samples/training"}
    for images in found.values():
        assert [image.step for image in images] == [1, 2, 3]
        assert len({image.encoded_image_string for image in images}) == 3
        for image in images:
            shown = Image.open(io.BytesIO(image.encoded_image_string))
            assert (shown.width, shown.height) == (image.width, image.height) == (738, 834)


@pytest.mark.parametrize(
    ("less", "steps"), [({"evaluation.samples": 0}, []), ({"evaluation.pictures": "last"}, [3])], ids=["none", "last"]
)
def test_a_run_with_fewer_is_the_same_run(
    less: dict, steps: list[int], finished_run: Path, tiny_overrides: dict, tmp_path: Path
) -> None:
    folder = clsim.run("digits-b0c2", "lwf+er", seed=3, overrides=tiny_overrides | less, out=tmp_path).folder
    assert [image.step for image in pictures(folder).get("samples/training", [])] == steps
    for name in ("metrics.jsonl", "class_values.f64", "memory.csv"):
        assert (folder / name).read_bytes() == (finished_run / name).read_bytes()


class Draws(SupervisedPlugin):
    """Notes the state of the global generator and the modes of the network before and after each evaluation."""

    def __init__(self) -> None:
        super().__init__()
        self.states: list[tuple[bytes, bytes]] = []

    def before_training_exp(self, strategy: Any, *args: Any, **kwargs: Any) -> None:
        modes = bytes(module.training for module in strategy.model.modules())
        self.states.append((torch.get_rng_state().numpy().tobytes(), modes))


def test_weights_generators_and_modes_are_those_of_a_run_without_pictures(tiny: Scenario, tmp_path: Path) -> None:
    with_pictures, without = Draws(), Draws()
    assert trained(tiny, tmp_path / "on", with_pictures) == trained(tiny, tmp_path / "off", without, n=0)
    assert with_pictures.states == without.states


def test_the_training_picture_tells_nothing_that_its_rows_do_not_show(tiny: Scenario, tmp_path: Path) -> None:
    """The plan is fixed; evaluation truth is turned round, and the true training labels are never asked for."""
    plan = tiny.plan()
    other = replace(plan, test_truth=1 - plan.test_truth)

    class Blind(type(tiny.source)):  # type: ignore[misc]
        def labels(self, split: Any) -> Any:
            raise AssertionError(f"the truth of {split} was read")

    trained(tiny, tmp_path / "honest", plan=plan)
    trained(Scenario(tiny.config, Blind(tiny.source.config)), tmp_path / "other", plan=other)
    honest, turned = pictures(tmp_path / "honest"), pictures(tmp_path / "other")
    shown = [[image.encoded_image_string for image in found["samples/training"]] for found in (honest, turned)]
    assert shown[0] == shown[1]
    assert len(shown[0]) == 3
    assert honest["samples/evaluation"] != turned["samples/evaluation"]


def test_tiles_of_training_rows_are_made_from_visible_labels(
    tiny: Scenario, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    given = []

    def watched(plan: StreamPlan, images: Any, labels: Any, *rest: Any) -> Any:
        given.append((images, labels))
        return tiles(plan, images, labels, *rest)

    monkeypatch.setattr(sample_pictures, "tiles", watched)
    trained(tiny, tmp_path)
    plan, source = tiny.plan(), tiny.source
    pixels, truth = {split: source.images(split, 28) for split in ("train", "test")}, tiny.truth()
    places = evaluation_places(plan, 6)
    for task, (evaluation, training) in enumerate(zip(given[::2], given[1::2], strict=True)):
        np.testing.assert_array_equal(evaluation[0], pixels["test"][plan.test_samples[places]])
        np.testing.assert_array_equal(evaluation[1], plan.test_truth[places])
        rows = plan.tasks[task].samples[training_places(plan, task, 6)]
        np.testing.assert_array_equal(training[0], pixels["train"][rows])
        start, stop = plan.tasks[task].classes
        np.testing.assert_array_equal(training[1][:, start:stop], truth[rows, start:stop])
        assert (np.delete(training[1], np.s_[start:stop], axis=1) == -1).all()


def test_images_that_cannot_be_had_are_a_warning(tiny: Scenario, tmp_path: Path, caplog: Any) -> None:
    def gone(split: str, images: Any) -> Any:
        raise ScenarioError([f"{split}/7.jpg: cannot be read: gone"])

    events = EventFile(tmp_path / RunFolder.events)
    events.begin()
    history = History(tiny.plan())
    logger = SamplePictures(events, history, gone, 6)
    template = build_template(
        tiny, Composition("finetune"), tiny.plan(), seed=0, device="cpu", history=history, loggers=[logger]
    )
    template.learn(template.benchmark.train_stream, template.benchmark.evaluation_stream)
    assert pictures(tmp_path) == {}
    assert caplog.messages[0] == "no sample predictions after task 0: test/7.jpg: cannot be read: gone"


def test_a_run_over_cached_features_shows_the_images_themselves(tiny_overrides: dict, tmp_path: Path) -> None:
    frozen = {"training.model.freeze": "backbone", "training.model.cache_features": True}
    trained(load_scenario("digits-b0c2", tiny_overrides | frozen), tmp_path)
    assert {tag: len(images) for tag, images in pictures(tmp_path).items()} == {
        "samples/evaluation": 3,
        "samples/training": 3,
    }


def test_a_few_images_of_files_are_decoded_without_the_others(
    voc_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from clsim.data import image_files
    from clsim.scenario import open_dataset

    source = open_dataset("voc", {"dataset.root": str(voc_folder / "VOCdevkit")})
    rows = np.array([5, 0, 5])
    expected = source.images("test", 40)[rows]
    decoded = []
    original = image_files.decode_row
    monkeypatch.setattr(image_files, "decode_row", lambda *given: decoded.append(given[1]) or original(*given))
    monkeypatch.setattr(type(source), "images", None)
    np.testing.assert_array_equal(few_images(source, "test", rows, 40), expected)
    assert decoded == [5, 0, 5]
    monkeypatch.setattr(type(source), "files", None)  # a list of all images, which is not made again
    assert few_images(source, "test", rows[:0], 40).shape == (0, 3, 40, 40)

"""Training batches are changed as the scenario says, each image by numbers that nothing else depends on."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from clsim.randomness import uniforms
from clsim.scenario import load_scenario
from clsim.scenario.stream import normalisation
from clsim.scenario.stream.normalisation import Normalisation
from clsim.scenario.stream.rows import RowStore
from clsim.scenario.training_schema import RandomResizedCropSection
from clsim.training.augmentation import pipeline
from clsim.training.augmentation.pipeline import Augmentation, Colour, Cutout, Flip, Step, crop_boxes, jitter

LOOK = {"training.model.mean": [0.485, 0.456, 0.406], "training.model.std": [0.229, 0.224, 0.225]}
EVERYTHING: dict[str, Any] = {
    "random_resized_crop": {},
    "flip": 0.5,
    "colour": {"brightness": 0.4, "contrast": 0.4, "saturation": 0.4, "hue": 0.1},
    "cutout": 0.5,
    "randaugment": {},
}
OPTIONS = {name: {name: value} for name, value in EVERYTHING.items()} | {"everything": EVERYTHING}
UNCHANGING: dict[str, Any] = {
    "random_resized_crop": {"scale": [1.0, 1.0], "ratio": [1.0, 1.0]},
    "flip": 0.0,
    "colour": {"brightness": 0.0, "contrast": 0.0, "saturation": 0.0, "hue": 0.0},
    "cutout": 0.0,
    "randaugment": {"probability": 0.0},
}
WEAKEST = {name: {name: value} for name, value in UNCHANGING.items()} | {"everything": UNCHANGING}


def build_augmentation(section: Any, seed: int = 0, **overrides: Any) -> Augmentation:
    scenario = load_scenario("digits-b0c2", {"training.augmentation": section, **LOOK, **overrides})
    return Augmentation(scenario.config.training, seed)


def change(augmentation: Augmentation, x: Tensor, own: int, task: int, epoch: int, step: int) -> Tensor:
    """A batch of which the first `own` rows are new and the others replayed."""
    at = (task, epoch, step)
    return torch.cat([augmentation(x[:own], "new", *at), augmentation(x[own:], "replayed", *at)])


def store(n: int, size: int = 32) -> RowStore:
    pixels = np.random.default_rng(3).integers(0, 256, (n, 3, size, size), dtype=np.uint8)
    look = {key.rpartition(".")[2]: value for key, value in LOOK.items()}
    return RowStore(pixels, np.arange(n), np.zeros((n, 1), np.int8), 0, **look)


def batch(n: int, size: int = 32) -> Tensor:
    """Normalised images."""
    return store(n, size).images(np.arange(n))


# nothing is changed that should not be


@pytest.mark.parametrize("mean", [0.0, 0.485, 0.999])
@pytest.mark.parametrize("std", [1e-3, 0.229, 1.0, 50.0])
def test_8_bit_values_come_back_exactly_and_go_again(mean: float, std: float) -> None:
    normalisation = Normalisation([mean] * 3, [std] * 3)
    values = torch.arange(256.0).expand(3, 1, 256)
    normalised = normalisation.apply_(values.clone())
    assert torch.equal(normalisation.undo_(normalised.clone()), values)


@pytest.mark.parametrize("own", [0, 7, 12])
@pytest.mark.parametrize("section", ["none", *WEAKEST.values()], ids=["none", *WEAKEST])
def test_at_identity_strength_a_batch_is_bit_identical(section: Any, own: int) -> None:
    assert torch.equal(change(build_augmentation(section), batch(12), own, 1, 2, 3), batch(12))


@pytest.mark.parametrize("section", ["none", *OPTIONS.values()], ids=["none", *OPTIONS])
def test_8_bit_images_become_what_normalised_ones_do_and_both_are_left_as_they_are(section: Any) -> None:
    pixels, x = store(12).stored(np.arange(12)), batch(12)
    augmentation = build_augmentation(section)
    assert torch.equal(change(augmentation, pixels, 7, 1, 2, 3), change(augmentation, x, 7, 1, 2, 3))
    assert torch.equal(pixels, store(12).stored(np.arange(12)))
    assert torch.equal(x, batch(12))


@pytest.mark.parametrize("section", OPTIONS.values(), ids=list(OPTIONS))
def test_else_new_and_replayed_images_are_changed_and_stay_in_range(section: Any) -> None:
    changed = change(build_augmentation(section), batch(64), 32, 0, 0, 0)
    differs = (changed != batch(64)).flatten(1).any(dim=1)
    assert differs[:32].any()
    assert differs[32:].any()
    black, white = Normalisation(*LOOK.values()).apply_(torch.tensor([0.0, 255.0]).expand(3, 1, 2).clone()).unbind(-1)
    assert (changed >= black[..., None] - 1e-5).all()
    assert (changed <= white[..., None] + 1e-5).all()


# what the numbers depend on


@pytest.mark.parametrize("section", OPTIONS.values(), ids=list(OPTIONS))
def test_a_batch_is_the_same_whatever_ran_before(section: Any) -> None:
    first = change(build_augmentation(section), batch(16), 8, 1, 2, 3)
    torch.manual_seed(9)
    again = build_augmentation(section)
    change(again, batch(5), 2, 0, 0, 0)
    assert torch.equal(change(again, batch(16), 8, 1, 2, 3), first)


@pytest.mark.parametrize("where", [{"seed": 1}, {"task": 0}, {"epoch": 0}, {"step": 0}], ids=str)
def test_seed_task_epoch_and_step_change_every_image(where: dict[str, int]) -> None:
    at = {"task": 1, "epoch": 2, "step": 3} | {key: value for key, value in where.items() if key != "seed"}
    x = change(build_augmentation(EVERYTHING), batch(16), 8, 1, 2, 3)
    other = change(build_augmentation(EVERYTHING, where.get("seed", 0)), batch(16), 8, **at)
    assert (x != other).flatten(1).any(dim=1).all()


def test_new_rows_do_not_depend_on_replayed_ones_nor_on_how_many_follow() -> None:
    alone = change(build_augmentation(EVERYTHING), batch(16), 16, 1, 2, 3)
    with_replay = change(build_augmentation(EVERYTHING), torch.cat([batch(16), batch(9)]), 16, 1, 2, 3)
    assert torch.equal(with_replay[:16], alone)
    fewer = change(build_augmentation(EVERYTHING), batch(16)[:10], 10, 1, 2, 3)
    torch.testing.assert_close(fewer, alone[:10], rtol=0, atol=1e-5)


def test_a_replayed_row_has_other_numbers_than_the_new_row_of_its_place() -> None:
    x = change(build_augmentation(EVERYTHING), torch.cat([batch(16), batch(16)]), 16, 1, 2, 3)
    assert (x[:16] != x[16:]).flatten(1).any(dim=1).all()


def test_rows_that_come_later_are_counted_on() -> None:
    augmentation = build_augmentation(EVERYTHING)
    whole = augmentation(batch(16), "replayed", 1, 2, 3)
    rest = augmentation(batch(16)[6:], "replayed", 1, 2, 3, before=6)
    torch.testing.assert_close(rest, whole[6:], rtol=0, atol=1e-5)


def test_an_option_does_not_shift_the_numbers_of_another() -> None:
    flip = {"flip": 1.0}
    cropped = change(build_augmentation({"random_resized_crop": {}}), batch(8), 8, 0, 0, 0)
    both = change(build_augmentation({"random_resized_crop": {}} | flip), batch(8), 8, 0, 0, 0)
    torch.testing.assert_close(both, cropped.flip(-1), rtol=0, atol=1e-5)


@pytest.mark.parametrize("bytes_", [1, 30_000])
def test_slices_are_only_a_matter_of_speed(bytes_: int, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = change(build_augmentation(EVERYTHING), batch(16), 9, 0, 0, 0)
    monkeypatch.setattr(normalisation, "SLICE_BYTES", bytes_)
    torch.testing.assert_close(change(build_augmentation(EVERYTHING), batch(16), 9, 0, 0, 0), whole, rtol=0, atol=1e-4)


# how the numbers are distributed


def drawn(rows: int, columns: int) -> np.ndarray:
    return uniforms(rows * columns, 0, "test of distributions").reshape(rows, columns)


def apply(step: Step, x: Tensor, u: np.ndarray) -> Tensor:
    return step(x.clone(), *step.parameters(u, x.shape[-1]))


def test_crops_have_areas_and_ratios_between_their_bounds() -> None:
    size = 200
    top, left, height, width = crop_boxes(drawn(4000, 22), size, RandomResizedCropSection(scale=[0.3, 0.6])).T
    assert min(top.min(), left.min(), (size - top - height).min(), (size - left - width).min()) == 0
    areas, ratios = height * width / size**2, width / height
    assert (areas.min(), areas.max()) == pytest.approx((0.3, 0.6), abs=0.01)
    assert areas.mean() == pytest.approx(0.45, abs=0.01)
    assert (ratios.min(), ratios.max()) == pytest.approx((0.75, 1.333), abs=0.02)
    assert np.log(ratios).mean() == pytest.approx(0, abs=0.02)
    assert (top / (size - height)).mean() == pytest.approx(0.5, abs=0.02)
    assert (left / (size - width)).mean() == pytest.approx(0.5, abs=0.02)


def test_crops_that_do_not_fit_are_drawn_again() -> None:
    """About one try in eleven fits, so six images in ten get a crop of their own and four the whole image."""
    section = RandomResizedCropSection(scale=[0.9, 1.0], ratio=[0.5, 2.0])
    boxes = crop_boxes(drawn(3000, 22), 100, section)
    assert (boxes[:, 2:] <= 100).all()
    first_try = crop_boxes(np.tile(drawn(3000, 22)[:, :2], 11), 100, section)
    whole = (boxes[:, 2:] == 100).all(axis=1), (first_try[:, 2:] == 100).all(axis=1)
    assert whole[0].mean() == pytest.approx(0.4, abs=0.1)
    assert whole[1].mean() == pytest.approx(10 / 11, abs=0.05)


@pytest.mark.parametrize(
    ("ratio", "box"),
    [([2.0, 4.0], [25, 0, 50, 100]), ([0.2, 0.25], [0, 37, 100, 25]), ([0.9, 1.1], [0, 0, 100, 100])],
)
def test_where_no_crop_fits_the_largest_in_the_middle_is_taken(ratio: list[float], box: list[int]) -> None:
    u = np.zeros((3, 22))  # of the smallest ratio each time
    section = RandomResizedCropSection(scale=[1.0, 1.0], ratio=ratio)
    assert crop_boxes(u, 100, section).tolist() == [box] * 3


def test_flips_are_as_frequent_as_asked_for() -> None:
    x = batch(400, 16)
    flipped = apply(Flip(0.3), x, drawn(400, 1))
    changed = (flipped != x).flatten(1).any(dim=1)
    assert changed.float().mean() == pytest.approx(0.3, abs=0.05)
    assert torch.equal(flipped[changed], x[changed].flip(-1))
    assert torch.equal(apply(Flip(1.0), x, drawn(400, 1)), x.flip(-1))


@pytest.mark.parametrize(("strength", "least", "most"), [(0.4, 0.6, 1.4), (0.0, 1.0, 1.0), (1.5, 0.0, 2.5)])
def test_factors_lie_evenly_around_one_and_not_below_zero(strength: float, least: float, most: float) -> None:
    factors = jitter(drawn(4000, 1)[:, 0], strength)
    assert (factors.min(), factors.max()) == pytest.approx((least, most), abs=0.01)
    assert factors.mean() == pytest.approx((least + most) / 2, abs=0.02)


def test_colours_are_changed_one_option_after_the_other() -> None:
    section = load_scenario("digits-b0c2", {"training.augmentation": EVERYTHING}).config.training.augmentation
    x, u = 255 * torch.rand(6, 3, 8, 8, generator=torch.Generator().manual_seed(0)), drawn(6, 4)
    expected = pipeline.image.brightness(x.clone(), jitter(u[:, 0], 0.4))
    expected = pipeline.image.contrast(expected, jitter(u[:, 1], 0.4))
    expected = pipeline.image.saturation(expected, jitter(u[:, 2], 0.4))
    expected = pipeline.image.hue(expected, 0.2 * u[:, 3] - 0.1)
    assert isinstance(section, pipeline.AugmentationSection)
    assert section.colour is not None
    torch.testing.assert_close(apply(Colour(section.colour), x, u), expected)


def test_squares_have_their_side_any_centre_and_any_colour() -> None:
    x = torch.full((3000, 3, 20, 20), -1.0)  # which is no colour
    filled = apply(Cutout(0.5), x, drawn(3000, 5))[:, 0] >= 0
    heights, widths = filled.any(dim=2).sum(dim=1), filled.any(dim=1).sum(dim=1)
    assert (int(heights.min()), int(heights.max())) == (5, 10)
    assert torch.equal(filled.sum(dim=(1, 2)), heights * widths)
    assert filled[:, 10, 10].float().mean() == pytest.approx(0.25, abs=0.03)
    assert filled[:, 0, 0].float().mean() == pytest.approx((6 / 20) ** 2, abs=0.02)
    colours = apply(Cutout(1.0), x, drawn(3000, 5))[:, :, 10, 10]
    colours = colours[colours >= 0]
    assert torch.equal(colours, colours.floor())
    assert (float(colours.min()), float(colours.max())) == (0, 255)
    assert colours.mean() == pytest.approx(127.5, abs=4)


# in a run

AUGMENTED = {"training.augmentation": EVERYTHING}


class Seen:
    """What a run shows its network: images of new and of replayed rows by position, with their row ids."""

    def __init__(self) -> None:
        self.new: dict[tuple[int, int, int], Tensor] = {}
        self.replayed: dict[tuple[int, int, int], Tensor] = {}
        self.rows: dict[tuple[int, int, int], Tensor] = {}
        self.evaluated: list[tuple[Tensor, Tensor]] = []

    def after_forward(self, strategy: Any, **kwargs: Any) -> None:
        at = strategy.position
        position = at.task, at.epoch, at.step
        self.new[position] = strategy.mb_x[~strategy.replayed].clone()
        self.replayed[position] = strategy.mb_x[strategy.replayed].clone()
        self.rows[position] = strategy.rows.clone()

    def after_eval_forward(self, strategy: Any, **kwargs: Any) -> None:
        self.evaluated.append((strategy.mb_x.clone(), strategy.rows.clone()))


def run(build: Any, learn: Any, spec: str, **settings: Any) -> tuple[Seen, Any]:
    seen = Seen()
    return seen, learn(build(spec, last=[seen], **settings))


def test_two_methods_meet_the_same_changed_new_rows(build: Any, learn: Any) -> None:
    plain, _ = run(build, learn, "finetune", overrides=AUGMENTED)
    replay, _ = run(build, learn, "lwf+er", options={"replay": "paired"}, overrides=AUGMENTED)
    assert plain.new.keys() == replay.new.keys()
    assert all(torch.equal(plain.new[at], replay.new[at]) for at in plain.new)


@pytest.mark.parametrize("options", [{}, {"replay": "concat"}], ids=str)
def test_every_row_of_training_is_changed_and_none_of_evaluation(build: Any, learn: Any, options: Any) -> None:
    seen, template = run(build, learn, "er", options=options, overrides=AUGMENTED)
    store, unchanged, total = template.benchmark.train_rows, 0, 0
    for at, rows in seen.rows.items():
        shown = torch.cat([seen.new[at], seen.replayed[at]])
        unchanged += int((shown == store.images(rows.numpy())).flatten(1).all(dim=1).sum())
        total += len(rows)
    assert sum(map(len, seen.replayed.values())) > 0
    assert unchanged < 0.01 * total
    evaluation = template.benchmark.evaluation_stream[0].dataset
    assert len(seen.evaluated) > 0
    for x, rows in seen.evaluated:
        assert torch.equal(x, evaluation.store.images(rows.numpy()))


@pytest.mark.parametrize("spec", ["er", "rebll"])
def test_scores_of_training_rows_are_of_images_as_they_are(
    build: Any, learn: Any, spec: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Herding and relabelling score; only training steps change anything."""
    calls: dict[tuple[int, ...], int] = {}
    change = Augmentation.__call__

    def counting(self: Augmentation, x: Tensor, origin: str, *where: int, before: int = 0) -> Tensor:
        assert before == 0
        calls[where] = calls.get(where, 0) + len(x)
        return change(self, x, origin, *where)

    monkeypatch.setattr(Augmentation, "__call__", counting)
    seen, _ = run(build, learn, spec, options={"selection": "herding"}, overrides=AUGMENTED)
    assert calls == {at: len(rows) for at, rows in seen.rows.items()}


def test_the_teacher_sees_what_the_student_sees(build: Any, learn: Any) -> None:
    template = build("lwf+er", overrides=AUGMENTED)
    shown: list[tuple[Any, tuple[int, int, int], Tensor]] = []
    logits: Callable[..., Tensor] = template.logits

    def recording(model: Any, x: Tensor) -> Tensor:
        if template.is_training and x is template.mb_x:
            at = template.position
            shown.append((model is template.model, (at.task, at.epoch, at.step), x))
        return logits(model, x)

    template.logits = recording
    learn(template)
    students = {at: x for is_student, at, x in shown if is_student}
    teachers = {at: x for is_student, at, x in shown if not is_student}
    assert teachers.keys() == {at for at in students if at[0] > 0}
    assert all(teachers[at] is students[at] for at in teachers)


def test_a_run_without_it_shows_images_as_they_are_stored(build: Any, learn: Any) -> None:
    seen, template = run(build, learn, "lwf+er")
    for at, rows in seen.rows.items():
        shown = torch.cat([seen.new[at], seen.replayed[at]])
        assert torch.equal(shown, template.benchmark.train_rows.images(rows.numpy()))


def test_a_run_at_identity_strength_ends_as_one_without_it(build: Any, learn: Any, same_weights: Any) -> None:
    plain = learn(build("lwf+er"))
    assert same_weights(learn(build("lwf+er", overrides={"training.augmentation": UNCHANGING})), plain)
    assert not same_weights(learn(build("lwf+er", overrides=AUGMENTED)), plain)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_a_gpu_makes_the_same_of_a_batch() -> None:
    scenario = load_scenario("digits-b0c2", AUGMENTED | LOOK)
    on_cpu = change(Augmentation(scenario.config.training, 0), batch(16), 9, 0, 0, 0)
    on_gpu = change(Augmentation(scenario.config.training, 0), batch(16).cuda(), 9, 0, 0, 0)
    assert ((on_gpu.cpu() - on_cpu).abs() > 1e-3).float().mean() < 0.01  # where rounding decides about a pixel

"""Derived randomness: equal paths give equal choices everywhere, different paths independent ones."""

from __future__ import annotations

import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from clsim import randomness
from clsim.randomness import derive_seed, permutation, raw_integers, raw_rows, uniform_rows, uniforms


@pytest.mark.parametrize("n", [0, 1, 3, 4, 5, 100])
def test_a_longer_draw_starts_with_the_shorter_one(n: int) -> None:
    np.testing.assert_array_equal(raw_integers(n, 7, "a"), raw_integers(101, 7, "a")[:n])
    np.testing.assert_array_equal(uniforms(n, 7, "a"), uniforms(101, 7, "a")[:n])


@pytest.mark.parametrize("jump", [1, 5, 40, 10_000])
@pytest.mark.parametrize("at_once", [1, 7, 10_000])
@pytest.mark.parametrize("rows", [[], [0], [2, 3, 50, 99], [*range(1, 100, 3)], [*range(100)]])
def test_rows_drawn_in_parts_are_those_of_the_whole(
    monkeypatch: pytest.MonkeyPatch, at_once: int, rows: list[int], jump: int
) -> None:
    monkeypatch.setattr(randomness, "_MOST_AT_ONCE", at_once)
    monkeypatch.setattr(randomness, "_WORTH_A_JUMP", jump)
    chosen = np.array(rows, dtype=np.int64)
    for draw, whole in ((raw_rows, raw_integers), (uniform_rows, uniforms)):
        found = np.zeros((len(rows), 3), dtype=np.float64 if draw is uniform_rows else np.uint64)
        for part, drawn in draw(chosen, 3, 7, "a"):
            found[part] = drawn
        np.testing.assert_array_equal(found, whole(300, 7, "a").reshape(100, 3)[chosen])


def test_rows_far_apart_are_drawn_without_what_lies_between() -> None:
    rows = np.array([3, 10**12, 10**12 + 1], dtype=np.int64)
    (one,) = [drawn for _, drawn in raw_rows(rows, 5, 7, "a")]
    assert one.shape == (3, 5)
    np.testing.assert_array_equal(one[0], raw_integers(20, 7, "a")[15:])


def test_golden_values_stay() -> None:
    assert raw_integers(3, 0, "golden").tolist() == [1704948706383669554, 3434561314530711067, 1020235482376429043]
    assert permutation(10, 0, "golden").tolist() == [2, 0, 1, 6, 9, 7, 3, 8, 4, 5]
    assert derive_seed(0, "golden") == 6790568129067196536


def test_threads_that_draw_at_once_get_the_draws_of_one() -> None:
    interval = sys.getswitchinterval()

    def draw(number: int) -> list[int]:
        found: list[int] = raw_integers(200, number, "thread").tolist()
        return found

    alone = [draw(number) for number in range(2000)]
    sys.setswitchinterval(1e-6)
    try:
        with ThreadPoolExecutor(8) as pool:
            assert list(pool.map(draw, range(2000))) == alone
    finally:
        sys.setswitchinterval(interval)


@pytest.mark.parametrize("n", [0, 1, 2, 1000])
def test_a_permutation_holds_every_number_once(n: int) -> None:
    order = permutation(n, 3, "order")
    assert order.dtype == np.int64
    assert sorted(order.tolist()) == list(range(n))


def test_a_permutation_is_uniform_over_places() -> None:
    firsts = np.array([permutation(5, seed, "first")[0] for seed in range(2000)])
    assert np.bincount(firsts, minlength=5).min() > 330  # 400 expected, standard deviation 18


def test_uniforms_are_in_range_and_even() -> None:
    u = uniforms(20_000, 0, "u")
    assert u.dtype == np.float64
    assert 0 <= u.min() < 0.001
    assert 0.999 < u.max() < 1
    assert abs(u.mean() - 0.5) < 0.01
    assert (u * 2**53 == np.floor(u * 2**53)).all()


PATHS = [
    (),
    ("a",),
    ("b",),
    ("a", 1),
    ("a", 2),
    ("a", "1"),
    ("a1",),
    ("a", 1, 1),
    (1,),
    (1, "a"),
    ("a, 1",),
    ("a', 1",),
]


def test_different_purposes_and_seeds_give_different_streams() -> None:
    seeds = [derive_seed(seed, *path) for seed in (0, 1, -1) for path in PATHS]
    starts = [int(raw_integers(1, seed, *path)[0]) for seed in (0, 1, -1) for path in PATHS]
    assert len(set(seeds)) == len(seeds)
    assert len(set(starts)) == len(starts)


def test_a_derived_seed_suits_every_generator() -> None:
    seeds = [derive_seed(0, "range", i) for i in range(1000)]
    assert all(0 <= seed < 2**63 for seed in seeds)
    assert max(seeds) > 2**62  # all 63 bits are used


def test_a_numpy_seed_is_the_same_seed() -> None:
    assert derive_seed(int(np.int64(5)), "a") == derive_seed(np.int64(5), "a")  # type: ignore[arg-type]


@pytest.mark.parametrize("part", [np.int64(3), 1.5, None, (1, 2), b"a"])
def test_a_purpose_whose_text_may_change_is_refused(part: object) -> None:
    with pytest.raises(TypeError, match="strings and Python integers"):
        derive_seed(0, "a", part)


def test_choices_leave_the_global_generator_alone() -> None:
    before = np.random.get_state()[1].copy()  # noqa: NPY002  it is the global state that must not move
    permutation(100, 0, "a")
    np.testing.assert_array_equal(np.random.get_state()[1], before)  # noqa: NPY002


def test_choices_do_not_depend_on_the_hash_seed() -> None:
    code = "from clsim.randomness import derive_seed, permutation; print(derive_seed(1, 'a'), permutation(9, 1, 'a'))"
    outputs = {
        subprocess.run(
            [sys.executable, "-c", code], env={**os.environ, "PYTHONHASHSEED": seed}, capture_output=True, check=True
        ).stdout
        for seed in ("1", "2")
    }
    assert outputs == {f"{derive_seed(1, 'a')} {permutation(9, 1, 'a')}\n".encode()}

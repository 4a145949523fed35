"""Data sets by a class from a file, from torchvision, or as objects: what is asked of them, and what is refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from clsim.data.own import object_source, open_object, open_own, remember
from clsim.data.own_class import OwnConfig
from clsim.data.own_items import row_of_labels
from clsim.data.source import FeatureSource, ImageSource, SoftSource
from clsim.errors import ScenarioError, Unplannable
from tests.fixtures import own_data_sets
from tests.fixtures.own_data_sets import ITEM, LABEL, problem

own = own_data_sets.own


ITEMS = """
import numpy as np
from PIL import Image
from pydantic import BaseModel

class Mine:
    classes = ["cat", "dog", "owl"]

    def __init__(self, split, n=6):
        self.n = n if split == "train" else 3

    def __len__(self):
        return self.n

    def __getitem__(self, i):
        return Image.new("RGB", (9, 7), (10 * i, 0, 0)), self.label(i)

    def label(self, i):
        return i % 3
"""


# --- map-style data sets


def test_items_become_labels_and_images(own: Any) -> None:
    source: ImageSource = own(ITEMS)
    assert source.class_names == ("cat", "dog", "owl")
    np.testing.assert_array_equal(source.labels("train"), np.tile(np.eye(3, dtype=np.int8), (2, 1)), strict=True)
    assert source.labels("test").tolist() == np.eye(3).tolist()
    images = source.images("train", 4)
    assert (images.shape, images[:][:, 0, 0, 0].tolist()) == ((6, 3, 4, 4), [0, 10, 20, 30, 40, 50])
    assert not isinstance(source, FeatureSource)
    assert isinstance(source, SoftSource)
    assert source.soft_labels("train") is None


@pytest.mark.parametrize(
    ("label", "row"),
    [
        ("1", [0, 1, 0]),
        ("np.int64(2)", [0, 0, 1]),
        ("['owl', 'cat']", [1, 0, 1]),
        ("[]", [0, 0, 0]),
        ("'dog'", [0, 1, 0]),
        ("[0, 1, 1]", [0, 1, 1]),
        ("np.array([1.0, -1, 0])", [1, -1, 0]),
        ("__import__('torch').tensor([1, 0, -1])", [1, 0, -1]),
        ("__import__('torch').tensor(1)", [0, 1, 0]),
        ("np.array([True, False, True])", [1, 0, 1]),
    ],
)
def test_labels_come_in_three_forms(own: Any, label: str, row: list[int]) -> None:
    source = own(ITEMS, add=f"{LABEL}{label} if i else 0")
    assert source.labels("train")[1].tolist() == row


@pytest.mark.parametrize(
    "picture",
    [
        "Image.fromarray(np.full((5, 4), 9, dtype=np.uint8))",
        "np.full((3, 5, 4), 9, dtype=np.uint8)",
        "np.full((5, 4), 9, dtype=np.uint8)",
        "__import__('torch').full((1, 5, 4), 9, dtype=__import__('torch').uint8)",
    ],
)
def test_images_come_from_pil_arrays_and_tensors(own: Any, picture: str) -> None:
    source = own(ITEMS, add=f"{ITEM}{picture}, 0")
    assert (source.images("train", 6) == 9).all()


@pytest.mark.parametrize("at_hand", ["self.targets = [0, 1, 2, 2]", "self.labels = lambda: [[1, 0, 0]] * 4"])
def test_labels_at_hand_are_read_without_decoding(own: Any, at_hand: str) -> None:
    add = f"""
    def __init__(self, split):
        self.n = 4
        {at_hand}

    def __getitem__(self, i):
        raise AssertionError("an item was read")
    """
    source = own(ITEMS, add=add)
    assert source.labels("train").sum() == 4
    assert problem(source, lambda source: source.images("train", 8)).endswith("an item was read (my_data.py:26)")


def test_targets_under_a_transform_are_not_what_items_give(own: Any) -> None:
    add = "targets = [0] * 6\ntarget_transform = staticmethod(lambda label: 1)\ndef label(self, i):\n    return 1"
    assert own(ITEMS, add=add).labels("train")[:, 1].all()


def test_a_class_that_takes_train_is_asked_for_both(own: Any) -> None:
    source = own(ITEMS, add="def __init__(self, train):\n    self.n = 5 if train else 2")
    assert (len(source.labels("train")), len(source.labels("test"))) == (5, 2)


def test_one_without_splits_gives_a_share(own: Any) -> None:
    single = "def __init__(self, n=30):\n    self.n = n"
    source = own(ITEMS, add=single, config={"test": {"share": 0.2}})
    assert (len(source.labels("train")), len(source.labels("test"))) == (24, 6)
    assert (source.images("test", 4)[:, 0, 0, 0] // 10 % 3 == source.labels("test").argmax(axis=1)).all()
    assert problem(lambda: own(ITEMS, add=single)).endswith(
        "my_data.py:Mine takes neither split nor train; give --set 'dataset.test={share: 0.2}'"
    )
    assert "has splits of its own (split)" in problem(lambda: own(ITEMS, config={"test": {"share": 0.2}}))


def test_a_function_will_do(own: Any) -> None:
    text = ITEMS + "\ndef make(split, n):\n    return Mine(split, n)\n"
    assert len(own(text, "make", n=4).labels("train")) == 4


def test_soft_labels_are_declared(own: Any) -> None:
    add = LABEL + "[1, 0.75, -1]"
    assert "item 0 of train: labels between 0 and 1; soft labels need dataset.soft_labels" in problem(
        own(ITEMS, add=add)
    )
    source = own(ITEMS, add=add, config={"soft_labels": {"threshold": 0.5}})
    assert source.labels("train")[0].tolist() == [1, 1, -1]
    assert source.labels("test")[0].tolist() == [1, 1, -1]
    assert source.soft_labels("train")[0].tolist() == [0, 0.75, 0]
    assert source.soft_labels("test") is None


def test_the_fingerprint_changes_with_pixels_labels_and_share(own: Any) -> None:
    prints = [
        own(ITEMS, **options, add=add).fingerprint()
        for options, add in (
            ({}, ""),
            ({}, LABEL + "0"),
            ({"n": 5}, ""),
            ({}, ITEM + "Image.new('RGB', (9, 7), (10 * i, 0, i == 4)), i % 3"),
            ({}, ITEM + "Image.new('RGB', (7, 9), (10 * i, 0, 0)), i % 3"),
            ({}, "def fingerprint(self):\n    return 'mine'"),
        )
    ]
    assert len(set(prints)) == len(prints)
    assert own(ITEMS).fingerprint() == prints[0]


# --- options


MODEL = """
    class Options(BaseModel, extra="forbid"):
        n: int = 6
        colour: str = "red"

    def __init__(self, options, split):
        self.n, self.colour = options.n, options.colour
"""


def test_options_are_checked_by_the_model_or_the_signature(own: Any) -> None:
    assert len(own(ITEMS, n=4).labels("train")) == 4
    assert len(own(ITEMS, add=MODEL, n=5).labels("train")) == 5
    for add, allowed in (("", "n"), (MODEL, "n, colour")):
        with pytest.raises(Unplannable) as caught:
            own(ITEMS, add=add, nn=4)
        assert caught.value.path == ("dataset", "options", "nn")
        assert caught.value.text == f"unknown option, did you mean 'n'?; allowed: {allowed}"
    with pytest.raises(Unplannable) as caught:
        own(ITEMS, add=MODEL, n="many")
    assert caught.value.path == ("dataset", "options", "n")
    assert caught.value.text.startswith("given 'many', Input should be a valid integer")
    with pytest.raises(Unplannable) as caught:
        own(ITEMS, add="def __init__(self, split, n):\n    pass")
    assert (caught.value.path, caught.value.text) == (("dataset", "options", "n"), "required option is missing")


def test_a_split_may_be_given_as_an_option(own: Any) -> None:
    add = "def __init__(self, split, train):\n    self.n = 5 if train else 2\n    assert split == 'letters'"
    assert len(own(ITEMS, add=add, split="letters").labels("train")) == 5


# --- what is wrong


@pytest.mark.parametrize(
    ("add", "text"),
    [
        (
            "def __init__(self, split):\n    raise OSError('disk gone')",
            "cannot be made: OSError: disk gone (my_data.py:21)",
        ),
        (ITEM + "[3][i], 0", "item 1 of train: IndexError: list index out of range (my"),
        (ITEM + "'image'", "item 0 of train: given str, allowed: (image, labels)"),
        ("def __len__(self):\n    return 0", "has no items"),
        ("def __len__(self):\n    return 1 / 0", "len(): ZeroDivisionError: division by zero (my_data.py:21)"),
        ("classes = None", "classes: given None, allowed: a list of texts"),
        ("classes = ['a', 'a', 'b']", "classes: 'a' is there twice"),
        ("classes = [('a', 'b')]", "classes: given [('a', 'b')], allowed: a list of texts"),
        (LABEL + "3", "item 0 of train: labels: given 3, allowed: an index from 0 to 2"),
        (LABEL + "-1", "item 0 of train: labels: given -1, allowed: an index from 0 to 2"),
        (
            LABEL + "['dgo']",
            "labels: given 'dgo', which is none of its classes, did you mean",
        ),
        (
            LABEL + "[0, 1]",
            "labels: given int64 [2], allowed: an index, a list of class names, or 3",
        ),
        (
            LABEL + "[0, 2, 1]",
            "labels: 'dog': given 2, allowed: 1 present, 0 absent, -1 unknown",
        ),
        (LABEL + "[0, float('nan'), 1]", "labels: 'dog': given nan, allowed"),
        (LABEL + "0.5", "labels: given 0.5, allowed: an index"),
        (LABEL + "{}", "labels: given dict, allowed: an index"),
        (LABEL + "None", "labels: given None, allowed: an index"),
        ("targets = [1]", "targets of train: 1 entries for 6 items"),
        ("targets = [0, 1, 2, 3, 1, 1]", "item 3 of train: labels: given 3, allowed: an index from 0 to 2"),
        ("def labels(self):\n    raise KeyError('y')", "labels(): KeyError: 'y' (my_data.py:21)"),
    ],
)
def test_bad_items_meet_one_clear_line(own: Any, add: str, text: str) -> None:
    assert text in problem(lambda: own(ITEMS, add=add))


@pytest.mark.parametrize(
    ("picture", "text"),
    [
        (
            "np.zeros((3, 4, 4), dtype=np.float32)",
            "float32 [3, 4, 4], allowed: a PIL image, or uint8 [3, H, W]",
        ),
        ("__import__('torch').zeros(3, 4, 4)", "; leave out a transform such as ToTensor: clsim normalises"),
        ("np.zeros((4, 4, 3), dtype=np.uint8)", "image ndarray uint8 [4, 4, 3], allowed"),
        ("np.zeros((3, 0, 4), dtype=np.uint8)", "image ndarray uint8 [3, 0, 4], allowed"),
        ("'a.jpg'", "image str, allowed"),
    ],
)
def test_bad_images_meet_one_clear_line(own: Any, picture: str, text: str) -> None:
    add = (
        f"targets = [0] * 6\ndef __getitem__(self, i):\n    return ({picture} if i == 2 else Image.new('L', (4, 4))), 0"
    )
    source = own(ITEMS, add=add + "\ndef labels(self):\n    return [0] * self.n")
    source.check_size(8)
    for ask in (lambda source: source.fingerprint(), lambda source: source.images("train", 8)):
        found = problem(source, ask)
        assert "item 2 of train: " in found
        assert text in found


def test_bad_names_meet_one_clear_line(own: Any, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"expected path/to/file.py:Name, and no file"):
        OwnConfig(name=f"{tmp_path}/nope.py:Mine")
    with pytest.raises(ValueError, match=r"defines no 'Mien', did you mean 'Mine'\?"):
        own(ITEMS, "Mien")
    assert "my_data.py:2: cannot be loaded: NameError: name 'x' is not defined" in problem(
        lambda: own("\nx\nclass Mine: pass\n")
    )
    assert "given list, allowed: a class or function" in problem(lambda: own("Mine = []\n"))
    for name in ("my_data.py:", "my_data.py", "torchvision/", "x.txt:Mine"):
        with pytest.raises(ValueError, match=r"path/to/file\.py:Name|or file\.py:Name"):
            OwnConfig(name=name)
    assert "torchvision has no 'CIFR10', did you mean 'CIFAR10'?" in problem(
        lambda: open_own(OwnConfig(name="torchvision/CIFR10"))
    )
    assert "has no __len__; needed: __len__, __getitem__ and classes" in problem(
        lambda: own("class Mine:\n    def __init__(self, split): pass\n")
    )
    assert "has no attribute classes" in problem(lambda: own(ITEMS.replace("    classes =", "    names =")))


# --- objects


class Tensors(torch.utils.data.Dataset):  # type: ignore[type-arg]
    """Data sets as people have them."""

    classes = ("a", "b")

    def __init__(self, n: int) -> None:
        self.targets = torch.arange(n) % 2

    def __len__(self) -> int:
        return len(self.targets)

    def __getitem__(self, i: int) -> tuple[Any, Any]:
        return Image.new("L", (4, 4), i), self.targets[i]


def test_objects_are_found_again_as_long_as_they_are_held() -> None:
    source, same_labels = object_source(Tensors(4), Tensors(2)), object_source(Tensors(4), Tensors(2))
    options = remember(source, "Tensors")
    assert remember(source, "Tensors") == options
    assert open_object(options) is source
    other = remember(same_labels, "Tensors")
    assert other != options
    assert open_object(other) is same_labels
    del source
    with pytest.raises(Unplannable, match="an object of another Python process"):
        open_object(options)


def test_one_object_must_be_a_source() -> None:
    with pytest.raises(ScenarioError, match="given one Tensors, expected two map-style data sets"):
        object_source(Tensors(3))


def test_every_option_is_described() -> None:
    assert all(field.description for field in OwnConfig.model_fields.values())


def test_an_empty_list_of_names_is_all_absent() -> None:
    assert row_of_labels([], {"a": 0, "b": 1}).tolist() == [0, 0]

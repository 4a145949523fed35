"""What a data set gives to the rest of clsim: class names, true labels, images."""

from __future__ import annotations

from typing import Any, Literal, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

Split = Literal["train", "test"]


class ImageArray(Protocol):
    """Images as RowStore indexes them: an array, a memory map, or what decodes an image when it is asked for."""

    @property
    def shape(self) -> tuple[int, ...]:
        """(N, 3, size, size)."""
        ...

    @property
    def itemsize(self) -> int:
        """Bytes of a value: 1."""
        ...

    def __len__(self) -> int: ...

    def __getitem__(self, rows: Any, /) -> Any:
        """Images uint8 [B, 3, size, size] of rows int64 [B], or [3, size, size] of one row."""
        ...


class ImageSource(Protocol):
    """Images and their true labels, by split. Columns follow the data set's own class order.

    `labels` and `class_names` are cheap: they need neither images nor torch, so that a plan costs little.
    """

    @property
    def class_names(self) -> tuple[str, ...]:
        """Names of the C classes, in the data set's own column order."""
        ...

    def labels(self, split: Split) -> NDArray[np.int8]:
        """True labels, int8 [N, C]: 1 present, 0 absent, -1 not annotated in the data set."""
        ...

    def images(self, split: Split, size: int) -> ImageArray:
        """All images at `size` x `size` pixels, uint8 [N, 3, size, size], RGB, 0..255, in the order of `labels`."""
        ...

    def check_size(self, size: int) -> None:
        """Raise ScenarioError if there are no images of `size` pixels; cheap, before anything is rendered or read."""
        ...

    def fingerprint(self) -> str:
        """Return a hash of what determines the images: generator and parameters, or the content of the files."""
        ...


@runtime_checkable
class BoxedSource(Protocol):
    """A source that also knows where in an image a class is."""

    def boxes(self, split: Split) -> NDArray[np.float64]:
        """Left, top, width and height in 0..1 of the one object of each class, float64 [N, C, 4]; NaN: not known."""
        ...


@runtime_checkable
class NamedSource(Protocol):
    """A source whose images have ids that a list in a file can name."""

    def image_names(self, split: Split) -> list[str]:
        """The id of each image, in the order of `labels`."""
        ...


@runtime_checkable
class ColumnSource(Protocol):
    """A source that knows more of its images than their labels, such as the domain that each is from."""

    def column(self, split: Split, name: str) -> list[str]:
        """The value of each image in a column, in the order of `labels`.

        Raises:
            Unplannable: no such column, or an image without a value.
        """
        ...


@runtime_checkable
class AreaSource(Protocol):
    """A source that knows how large in an image the objects of a class are."""

    def box_areas(self, split: Split) -> NDArray[np.float32]:
        """Area of the largest box of each class / that of the image, float32 [N, C] in 0..1; NaN: not known."""
        ...


@runtime_checkable
class SharedSource(Protocol):
    """A source that may list one image for training and for testing, so that lists of ids must choose."""

    def training_rows(self) -> NDArray[np.int64] | None:
        """Return the training row of each test image, int64 [M], -1 where it has none; None: no image has both."""
        ...


@runtime_checkable
class SoftSource(Protocol):
    """A source with soft labels: probabilities that a class is present."""

    def soft_labels(self, split: Split) -> NDArray[np.float32] | None:
        """Soft labels, float32 [N, C] in (0, 1), 0 where a label is not soft; None: no label is.

        Where a label is soft, `labels` says what it counts as where only 1, 0 or -1 can be said.
        """
        ...


@runtime_checkable
class NotingSource(Protocol):
    """A source that leaves something out, or takes it in a way that somebody should know."""

    def notes(self) -> list[str]:
        """Return what that is, a line each."""
        ...


@runtime_checkable
class FeatureSource(Protocol):
    """A source of feature vectors: it has no images, and `images` raises ScenarioError."""

    def features(self, split: Split) -> NDArray[np.float32]:
        """Features, float32 [N, d], in the order of `labels`."""
        ...

"""What is said of a model besides its weights, in Python and inside every exported file."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

from torch import Tensor

from clsim.errors import RunError
from clsim.inference.preprocess import Preprocess
from clsim.inference.thresholds import Thresholds

Activation = Literal["sigmoid", "softmax"]

FORMAT = 1
"""Raised by a change that a reader of the format before would misunderstand."""

KEY = "clsim"
"""Name of the entry of an exported file that holds the description as JSON; where it holds files, that of the file."""


@dataclass(frozen=True)
class Description:
    """All that is known of a model but its weights.

    Attributes:
        classes: names of its S outputs, in order.
        preprocess: from pictures to its input; None: the input are feature vectors.
        activation: from logits to probabilities.
        batch_size: images scored at a time.
        provenance: what trained it, on what, from which weights.
        architecture: what it is built from, the keys of `clsim.running.trained_model` besides weights and class names.
        thresholds: of each class; None: not chosen yet, or left out.
    """

    classes: tuple[str, ...]
    preprocess: Preprocess | None
    activation: Activation
    batch_size: int
    provenance: dict[str, Any]
    architecture: dict[str, Any]
    thresholds: Thresholds | None = None

    def with_thresholds(self, thresholds: Thresholds | None) -> Description:
        """Return the description with other thresholds."""
        return replace(self, thresholds=thresholds)

    @property
    def input_shape(self) -> tuple[int, ...]:
        """Shape of one input of the network: (3, size, size), or (d,) for features."""
        if self.preprocess is None:
            return (self.architecture["feature_width"],)
        return (3, self.preprocess.size, self.preprocess.size)

    def as_json(self) -> str:
        """Return the text that exported files hold."""
        content = {
            "format": FORMAT,
            "classes": list(self.classes),
            "input": ["batch", *self.input_shape],
            "output": "logits",
            "preprocess": None if self.preprocess is None else self.preprocess.content(),
            "activation": self.activation,
            "thresholds": None if self.thresholds is None else self.thresholds.content(),
            "batch_size": self.batch_size,
            "provenance": self.provenance,
            "architecture": self.architecture,
        }
        return json.dumps(content, allow_nan=False)

    @classmethod
    def of_json(cls, text: str, where: str) -> Description:
        """Read `as_json` back.

        Raises:
            RunError: another text; names `where`.
        """
        try:
            content = json.loads(text)
            if (found := content["format"]) != FORMAT:
                raise RunError(f"{where}: format is {found!r}, this version of clsim reads {FORMAT}")
            preprocess, thresholds = content["preprocess"], content["thresholds"]
            return cls(
                tuple(content["classes"]),
                None if preprocess is None else Preprocess.of(**preprocess),
                content["activation"],
                content["batch_size"],
                content["provenance"],
                content["architecture"],
                None if thresholds is None else Thresholds(**thresholds),
            )
        except (ValueError, KeyError, TypeError, RecursionError) as error:
            raise RunError(f"{where}: no description of a model of clsim: {type(error).__name__}: {error}") from None


def read_safetensors(path: Path) -> tuple[Description, dict[str, Tensor]]:
    """Read a file that was exported as safetensors.

    Raises:
        RunError: no such file, or one that clsim has not written.
    """
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="pt") as file:
            text = (file.metadata() or {}).get(KEY)
            state = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118  it is no mapping
    except (SafetensorError, OSError) as error:
        raise RunError(f"{path}: not a safetensors file, which is what can be loaded: {error}") from None
    if text is None:
        raise RunError(f"{path}: holds weights but no description; clsim export --format safetensors writes both")
    return Description.of_json(text, str(path)), state

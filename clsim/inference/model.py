"""A trained model that scores images: probabilities, thresholds, preprocessing, class names."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import cached_property
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from torch import Tensor

from clsim.errors import ClsimError
from clsim.inference.description import Activation, Description
from clsim.inference.inputs import Inputs, feature_batches
from clsim.inference.preprocess import Preprocess
from clsim.inference.thresholds import Thresholds
from clsim.models.network import MultiLabelNet
from clsim.scenario.training_schema import ModelSection, TrainingSection
from clsim.training.precision import run_network

Score = Callable[[Iterable[Tensor]], NDArray[np.float64]]
ChooseThresholds = Callable[[Score], Thresholds]


class Model:
    """A trained model; `clsim.load_model` makes it.

    Attributes:
        module: the network, a `torch.nn.Module` in eval mode: its input, as `preprocess` makes it -> logits [B, S].
        description: everything known about the model except its weights.

    Args:
        module: see the attributes.
        description: see the attributes.
        section: memory layout of its input.
        precision: float32 or bfloat16, in which its run scored, and it does.
        choose_thresholds: function of its scoring, which maps batches of the network's input to probabilities [N, S].
    """

    def __init__(
        self,
        module: MultiLabelNet,
        description: Description,
        section: ModelSection,
        precision: str,
        choose_thresholds: ChooseThresholds,
    ) -> None:
        self.module = module
        self.description = description
        used: dict[str, Any] = {"model": section, "precision": precision}  # by `run_network`
        self._training = TrainingSection.model_construct(**used)
        self._choose_thresholds = choose_thresholds

    def __repr__(self) -> str:
        made = self.provenance
        takes = "features" if self.preprocess is None else f"images of {self.preprocess.size} px"
        where = f"{made['strategy']}/seed{made['seed']} of {made['scenario']} after task {made['task']}"
        return f"<clsim.Model: {where}, {takes}, {len(self.classes)} classes>"

    @property
    def classes(self) -> tuple[str, ...]:
        """Names of the network's S outputs, in order."""
        return self.description.classes

    @property
    def preprocess(self) -> Preprocess | None:
        """From pictures to the network's input; None: the input are feature vectors."""
        return self.description.preprocess

    @property
    def activation(self) -> Activation:
        """From logits to probabilities: sigmoid, one class at a time; softmax after training with a softmax loss."""
        return self.description.activation

    @property
    def provenance(self) -> dict[str, Any]:
        """What trained it, on what data, from which weights; plain values."""
        return self.description.provenance

    @cached_property
    def thresholds(self) -> Thresholds:
        """Class -> threshold, chosen on validation images or visible training labels; see `Thresholds.chosen_on`.

        They are chosen when they are first asked for, which takes one pass over these images and needs the data set of
        the run, and are kept beside the model.

        Raises:
            ClsimError: the data set is not there or has changed, or the model was exported without thresholds.
        """
        return self._choose_thresholds(self._probabilities)

    def predict(self, inputs: Any, *, batch_size: int | None = None) -> pd.DataFrame:
        """Return the probability of each class: a frame of float64, one row per image, one column per class.

        Rows are named by path where images are given as paths, else numbered.

        Args:
            inputs: a path, a folder (all images below it), a PIL image, uint8 images [N, 3, H, W] or [N, H, W, 3],
                normalised images float32 [N, 3, size, size], a list of such, or a `torch.utils.data.DataLoader` whose
                batches are or begin with such. Features float [N, d] for a model without `preprocess`.
            batch_size: images scored at a time; default: as the run did.

        Raises:
            ClsimError: something else, or an image that cannot be read.
        """
        batches, names = self._read(inputs, batch_size)
        index = None if names is None else pd.Index(names, name="image")
        return pd.DataFrame(self._probabilities(batches), columns=list(self.classes), index=index)

    def logits(self, inputs: Any, *, batch_size: int | None = None) -> NDArray[np.float32]:
        """Return what the network gives, float32 [N, S]; arguments and errors as those of `predict`."""
        return self._logits(self._read(inputs, batch_size)[0])

    def export(self, path: str | Path, format: str, *, thresholds: bool = True) -> float:
        """Write the model as a file for other tools; see `clsim.inference.export.export_model`."""
        from clsim.inference.export import export_model

        return export_model(self, Path(path), format, thresholds=thresholds)

    def _read(self, inputs: Any, batch_size: int | None) -> tuple[Iterable[Tensor], list[str] | None]:
        if batch_size is not None and (type(batch_size) is not int or batch_size < 1):
            raise ClsimError(f"batch_size: given {batch_size!r}, allowed: whole numbers from 1")
        size = batch_size or self.description.batch_size
        if self.preprocess is None:
            (width,) = self.description.input_shape
            return feature_batches(inputs, width, size), None
        read = Inputs(inputs, self.preprocess, size)
        return read, read.names

    @torch.no_grad()
    def _logits(self, batches: Iterable[Tensor]) -> NDArray[np.float32]:
        network = self.module.eval()
        device = next(chain(network.parameters(), network.buffers())).device  # a head in closed form has buffers only
        parts = [run_network(network, x.to(device), self._training).cpu().numpy() for x in batches]
        return np.concatenate(parts) if parts else np.empty((0, len(self.classes)), dtype=np.float32)

    def _probabilities(self, batches: Iterable[Tensor]) -> NDArray[np.float64]:
        logits = torch.from_numpy(self._logits(batches)).double()
        found: NDArray[np.float64] = (logits.sigmoid() if self.activation == "sigmoid" else logits.softmax(1)).numpy()
        return found

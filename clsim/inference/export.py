"""A trained model as a file for other tools: safetensors, a graph of torch.export, or ONNX.

Each file holds the model's description as JSON: class names, preprocessing, thresholds and provenance. It is read back
and compared with the model as soon as it is written. A graph takes the normalised input, float32 [batch, 3, size, size]
or [batch, d], named `x`, and gives `logits`, float32 [batch, S]. DECIDED: graphs compute in float32; the logits of a
run in bfloat16 differ from theirs by what bfloat16 rounds.
"""

from __future__ import annotations

import copy
import io
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from clsim.errors import RunError, did_you_mean, storage_errors
from clsim.files import written_whole
from clsim.inference.description import KEY, read_safetensors
from clsim.inference.model import Model
from clsim.models.convolution import plain_convolutions
from clsim.models.network import MultiLabelNet
from clsim.running.run_folder import RunFolder
from clsim.running.trained_model import build_trained_model

FORMATS = {"safetensors": ".safetensors", "torch-export": ".pt2", "onnx": ".onnx"}
"""Format -> end of the file's name."""

GRAPH_DESCRIPTION = f"{KEY}.json"
"""Name of the file inside a graph of torch.export that holds the description, as `extra_files` reads it."""

TOLERANCE = 1e-3
"""DECIDED: largest difference of a logit, in parts of the largest one, from the model that was exported. What rounding
leaves is a thousand times smaller."""


def export_model(model: Model, path: Path, format: str, *, thresholds: bool = True) -> float:
    """Write a model as a file, atomically, and compare it with the model.

    Args:
        model: it stays as it is.
        path: of the file; its name ends as FORMATS says.
        format: safetensors (weights, which `clsim.load_model` reads), torch-export or onnx (graphs that need no clsim).
        thresholds: have the thresholds in it, which may have to be chosen first.

    Returns:
        The largest difference of a logit between the file, read back, and the model, over random input.

    Raises:
        ClsimError: another format or name, a missing package, a network that cannot be exported, thresholds that cannot
            be chosen, or a file whose logits differ.
    """
    if path.suffix != _suffix(format):
        raise RunError(f"{path}: a file of the format {format} must end in {_suffix(format)}")
    if format == "onnx":
        _require_onnx()
    description = model.description.with_thresholds(model.thresholds if thresholds else None).as_json()
    network = copy.deepcopy(model.module).cpu().eval()
    write, read = _WAYS[format]
    shape = model.description.input_shape
    content = write(network, shape, description)
    with storage_errors(path), written_whole(path) as file:
        file.write(content)
    x = torch.from_numpy(np.random.default_rng(0).standard_normal((3, *shape), dtype=np.float32))
    with torch.no_grad():
        expected = network(x).numpy()
    found = read(path)(x)
    difference = float(np.abs(found - expected).max(initial=0))
    if not difference <= TOLERANCE * max(1.0, float(np.abs(expected).max(initial=0))):
        path.unlink()
        raise RunError(f"{path}: not kept, because its logits differ by {difference:.2g} from those of the model")
    return difference


def exported_file(source: Path, model: Model, format: str) -> Path:
    """Return where a model is exported unless somebody says otherwise: beside the file that it was loaded from.

    Args:
        source: what it was loaded from, as in `clsim.load_model`.

    Raises:
        RunError: no such format.
    """
    files, task = RunFolder(source), model.provenance["task"]
    last = task == model.provenance["tasks"] - 1
    file = source if source.is_file() else files.trained_model if last else files.task_model(task)
    return file.with_suffix(_suffix(format))


def _suffix(format: str) -> str:
    if format not in FORMATS:
        hint = did_you_mean(format, FORMATS)
        raise RunError(f"format: given {format!r}{hint}; allowed: {', '.join(FORMATS)}")
    return FORMATS[format]


class _Graph(nn.Module):
    """A network as a graph can hold it: a head without checks, and convolutions without ways of their own."""

    def __init__(self, network: MultiLabelNet) -> None:
        super().__init__()
        self.trunk = plain_convolutions(network.trunk)
        self.head = network.head

    def forward(self, x: Tensor) -> Tensor:
        return self.head.logits(self.trunk(x).to(self.head._precision)).float()


def _graph(network: MultiLabelNet, shape: tuple[int, ...]) -> Any:
    """Return the graph of a network for batches of any size."""
    batch = torch.export.Dim("batch")
    try:
        with warnings.catch_warnings(action="ignore"):
            example = torch.zeros(2, *shape)
            return torch.export.export(_Graph(copy.deepcopy(network)), (example,), dynamic_shapes=({0: batch},))
    except Exception as error:  # of many kinds: for what a network computes and a graph cannot
        raise RunError(f"the network cannot be exported as a graph: {_first_line(error)}") from error


def _write_safetensors(network: MultiLabelNet, shape: tuple[int, ...], description: str) -> bytes:
    from safetensors.torch import save

    state = {name: value.detach().contiguous().clone() for name, value in network.state_dict().items()}
    return save(state, metadata={KEY: description})


def _read_safetensors(path: Path) -> Callable[[Tensor], NDArray[np.float32]]:
    description, state = read_safetensors(path)
    content = {**description.architecture, "class_names": description.classes, "state": state}
    return _scoring(build_trained_model(path, content).network)


def _write_graph(network: MultiLabelNet, shape: tuple[int, ...], description: str) -> bytes:
    target = io.BytesIO()
    torch.export.save(_graph(network, shape), target, extra_files={GRAPH_DESCRIPTION: description})
    return target.getvalue()


def _read_graph(path: Path) -> Callable[[Tensor], NDArray[np.float32]]:
    return _scoring(torch.export.load(path).module())


def _write_onnx(network: MultiLabelNet, shape: tuple[int, ...], description: str) -> bytes:
    graph = _graph(network, shape)
    try:
        with warnings.catch_warnings(action="ignore"):
            names: dict[str, Any] = {"input_names": ["x"], "output_names": ["logits"]}
            program = torch.onnx.export(graph, (), None, dynamo=True, verbose=False, **names)
            assert program is not None
            program.model.metadata_props[KEY] = description
            content: bytes = program.model_proto.SerializeToString()
    except Exception as error:
        raise RunError(f"the network cannot be exported as onnx: {_first_line(error)}") from error
    return content


def _read_onnx(path: Path) -> Callable[[Tensor], NDArray[np.float32]]:
    import onnxruntime

    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])

    def scored(x: Tensor) -> NDArray[np.float32]:
        logits: NDArray[np.float32] = session.run(["logits"], {"x": x.numpy()})[0]
        return logits

    return scored


def _scoring(network: nn.Module) -> Callable[[Tensor], NDArray[np.float32]]:
    @torch.no_grad()
    def scored(x: Tensor) -> NDArray[np.float32]:
        logits: NDArray[np.float32] = network(x).numpy()
        return logits

    return scored


_WAYS = {
    "safetensors": (_write_safetensors, _read_safetensors),
    "torch-export": (_write_graph, _read_graph),
    "onnx": (_write_onnx, _read_onnx),
}


def _require_onnx() -> None:
    try:
        import onnx  # noqa: F401
        import onnxruntime  # noqa: F401
        import onnxscript  # noqa: F401
    except ImportError as error:
        raise RunError(f"format: onnx needs the package {error.name}: pip install 'clsim[onnx]'") from None


def _first_line(error: Exception) -> str:
    return f"{type(error).__name__}: {str(error).strip().partition(chr(10))[0]}"

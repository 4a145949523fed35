"""Initial weights from a file: torchvision's key names, with or without its classifier, and nothing that runs code."""

from __future__ import annotations

import inspect
import urllib.error
from pathlib import Path
from typing import Any, get_args

import pytest
import torch
import torchvision
from torch import Tensor, nn

from clsim.errors import RunError
from clsim.model_names import TORCHVISION
from clsim.models.build import build_model
from clsim.models.network import MultiLabelNet
from clsim.scenario.training_schema import ModelSection, TorchvisionSection, WeightsSection

IMAGENET = Path(__file__).parents[2].parent / "shared" / "weights" / "mobilenet_v2_imagenet.pt"
CLASSIFIER = {"resnet18": "fc", "mobilenet_v2": "classifier", "vit_b_16": "heads", "googlenet": "fc"}


def original(name: str) -> nn.Module:
    """torchvision's own model with 1000 classes and random weights and statistics, in eval mode."""
    builder = torchvision.models.get_model_builder(name)
    options: dict[str, Any] = {"image_size": 32} if name.startswith("vit_") else {}
    if name == "googlenet":
        options = {"init_weights": True}
    torch.manual_seed(5)
    model: nn.Module = builder(weights=None, **options)
    for key, buffer in model.named_buffers():
        if "running" in key:
            buffer.uniform_(0.5, 1.5)
    return model.eval()


def saved(state: Any, folder: Path) -> Path:
    torch.save(state, folder / "weights.pt")
    return folder / "weights.pt"


def built(name: str, file: Path) -> MultiLabelNet:
    weights = WeightsSection(file=str(file), trained_on=["nothing"], source="this test")
    return build_model(ModelSection(name=name, image_size=32, weights=weights, channels_last=False), seed=0)


def features(model: nn.Module, name: str, x: Tensor) -> Tensor:
    """What torchvision's model feeds to its classifier."""
    setattr(model, CLASSIFIER[name], nn.Identity())
    with torch.no_grad():
        result: Tensor = model(x)
    return result


@pytest.mark.parametrize("with_classifier", [True, False])
@pytest.mark.parametrize("name", sorted(CLASSIFIER))
def test_a_backbone_computes_what_torchvisions_model_does(name: str, with_classifier: bool, tmp_path: Path) -> None:
    theirs = original(name)
    prefix = CLASSIFIER[name] + "."
    state = {k: v for k, v in theirs.state_dict().items() if with_classifier or not k.startswith(prefix)}
    mine = built(name, saved(state, tmp_path)).eval()
    x = torch.randn(2, 3, 32, 32, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        assert torch.equal(mine.backbone(x), features(theirs, name, x))


def test_the_head_is_ours_whatever_the_file_holds(tmp_path: Path) -> None:
    loaded, fresh = built("resnet18", saved(original("resnet18").state_dict(), tmp_path)), None
    fresh = build_model(ModelSection(name="resnet18"), seed=0)
    for model in (loaded, fresh):
        assert model.head.n_classes == 0
        model.head.grow(3)
    assert torch.equal(loaded.head.weight, fresh.head.weight)


def test_weights_in_half_precision_are_taken_as_float32(tmp_path: Path) -> None:
    state = {key: value.half() for key, value in original("resnet18").state_dict().items()}
    backbone = built("resnet18", saved(state, tmp_path)).backbone
    assert {parameter.dtype for parameter in backbone.parameters()} == {torch.float32}
    assert torch.equal(backbone.get_parameter("conv1.weight"), state["conv1.weight"].float())


def test_an_old_file_that_does_not_count_batches_is_taken(tmp_path: Path) -> None:
    state = original("resnet18").state_dict()
    old = {key: value for key, value in state.items() if not key.endswith("num_batches_tracked")}
    loaded = built("resnet18", saved(old, tmp_path)).backbone.state_dict()
    assert all(torch.equal(loaded[key], value) for key, value in old.items() if not key.startswith("fc."))


@pytest.mark.skipif(not IMAGENET.is_file(), reason=f"no {IMAGENET.name} beside the repository, in ../shared/weights")
def test_imagenet_weights_of_mobilenet_load() -> None:
    backbone = built("mobilenet_v2", IMAGENET).backbone
    state = torch.load(IMAGENET, weights_only=True)
    assert all(torch.equal(value, state[key]) for key, value in backbone.state_dict().items())


# --- files that are no weights


class Code:
    """Unpickling it makes a file."""

    def __init__(self, trace: Path) -> None:
        self.trace = trace

    def __reduce__(self) -> Any:
        return open, (str(self.trace), "w")


def broken(kind: str, folder: Path) -> Path:
    file = folder / f"{kind}.pt"
    state = original("resnet18").state_dict()
    contents: dict[str, Any] = {
        "code": {"conv1.weight": Code(folder / "trace")},
        "list": [1, 2],
        "wrapped": {"epoch": 3, "state_dict": state},
        "module": nn.Linear(2, 2),
        "numbers": state | {"conv1.weight": 3.0},
    }
    if kind == "truncated":
        torch.save(state, file)
        file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])
    elif kind == "text":
        file.write_text("not weights")
    elif kind == "empty":
        file.write_bytes(b"")
    else:
        torch.save(contents[kind], file)
    return file


@pytest.mark.parametrize("kind", ["code", "list", "wrapped", "module", "numbers", "truncated", "text", "empty"])
def test_a_file_that_is_no_plain_state_dict_is_one_clear_error(kind: str, tmp_path: Path) -> None:
    with pytest.raises(RunError, match=rf"^\S*{kind}\.pt: not a plain state dict: [^\n]+$"):
        built("resnet18", broken(kind, tmp_path))
    assert not (tmp_path / "trace").exists(), "the file's code was run"


@pytest.mark.parametrize("missing", ["gone.pt", "."])
def test_a_missing_file_is_one_clear_error(missing: str, tmp_path: Path) -> None:
    with pytest.raises(RunError, match=r"^training\.model\.weights\.file: no such file \S+$"):
        built("resnet18", tmp_path / missing)


@pytest.mark.parametrize(
    ("name", "change", "message"),
    [
        ("mobilenet_v2", {}, r"lacks features\.0\.0\.weight and \d+ more"),
        ("resnet18", {"layer9.weight": torch.zeros(1)}, r"has the unknown layer9\.weight"),
        ("resnet18", {"conv1.weight": torch.zeros(64, 1, 7, 7)}, r"has another shape of conv1\.weight"),
        ("tiny-resnet", {}, r"lacks \S+ and \d+ more"),
    ],
)
def test_weights_of_another_architecture_are_one_clear_error(
    name: str, change: dict[str, Tensor], message: str, tmp_path: Path
) -> None:
    file = saved(original("resnet18").state_dict() | change, tmp_path)
    with pytest.raises(RunError, match=rf"^\S*weights\.pt: weights of another architecture: {message}$"):
        built(name, file)


def test_the_class_count_that_marks_a_classifier_is_torchvisions_default() -> None:
    for builder in (torchvision.models.ResNet, torchvision.models.MobileNetV2, torchvision.models.VisionTransformer):
        assert inspect.signature(builder).parameters["num_classes"].default == 1000


# --- torchvision's own weights, by name


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder where torchvision keeps what it has downloaded, and no network."""

    def offline(url: str, *arguments: Any, **options: Any) -> None:
        raise urllib.error.URLError("Temporary failure in name resolution")

    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    monkeypatch.setattr(torch.hub, "download_url_to_file", offline)
    folder = tmp_path / "hub" / "checkpoints"
    folder.mkdir(parents=True)
    return folder


def named(weights: str, model: str = "resnet18") -> MultiLabelNet:
    config = ModelSection(name=model, image_size=32, weights=TorchvisionSection(torchvision=weights))
    return build_model(config, seed=0)


def test_weights_by_name_are_those_torchvision_keeps(hub: Path) -> None:
    state = original("resnet18").state_dict()
    torch.save(state, hub / "resnet18-f37072fd.pth")
    backbone = named("IMAGENET1K_V1").backbone
    assert all(torch.equal(value, state[key]) for key, value in backbone.state_dict().items())
    assert set(state) - set(backbone.state_dict()) == {"fc.weight", "fc.bias"}


def test_weights_that_cannot_be_downloaded_say_where_to_put_them(hub: Path) -> None:
    with pytest.raises(RunError) as caught:
        named("IMAGENET1K_V1")
    assert str(caught.value) == (
        "training.model.weights.torchvision: https://download.pytorch.org/models/resnet18-f37072fd.pth cannot be "
        f"downloaded: <urlopen error Temporary failure in name resolution>; put it into {hub}, "
        "or give weights: {file: PATH, trained_on: [imagenet-1k], source: torchvision}"
    )


def test_a_name_that_the_model_does_not_have_is_refused(hub: Path) -> None:
    with pytest.raises(RunError, match=r"given 'IMAGENET1K_V2', allowed for resnet18: IMAGENET1K_V1$"):
        named("IMAGENET1K_V2")


@pytest.mark.parametrize("content", ["text", "code"])
def test_a_damaged_download_is_named_and_not_run(hub: Path, tmp_path: Path, content: str) -> None:
    file = hub / "resnet18-f37072fd.pth"
    if content == "text":
        file.write_text("not weights")
    else:
        torch.save({"conv1.weight": Code(tmp_path / "trace")}, file)
    with pytest.raises(RunError, match=rf"^{file}: not a plain state dict: [^\n]+$"):
        named("IMAGENET1K_V1")
    assert not (tmp_path / "trace").exists(), "the file's code was run"


def test_every_name_in_the_schema_exists_for_some_backbone() -> None:
    (field,) = TorchvisionSection.model_fields.values()
    offered = {weights.name for name in TORCHVISION for weights in torchvision.models.get_model_weights(name)}
    assert set(get_args(field.annotation)) == offered - {"IMAGENET1K_FEATURES"}  # of VGG16, without its classifier

"""The zoo: golden sizes and work, other input sizes, starting weights."""

import itertools
import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

from pruning import models
from pruning.cost.model import CostModel
from pruning.errors import PruningError, WeightsError
from pruning.execution.network import Network
from pruning.frontend.trace import trace


@dataclass(frozen=True)
class Golden:
    """Published weights in bytes and multiply-accumulates; additions as counted by hand."""

    make: Callable[[], nn.Module]
    shape: tuple[int, ...]
    weights: int
    macs: int
    adds: int


GOLDEN = {
    "resnet8": Golden(
        models.resnet8, (3, 32, 32), 77_706, 12_534_400, 16 * 1024 + 32 * 256 + 64 * 64
    ),
    "resnet20": Golden(
        models.resnet20, (3, 32, 32), 271_690, 40_903_296, 3 * (16 * 1024 + 32 * 256 + 64 * 64)
    ),
    "resnet8-26": Golden(
        lambda: models.resnet8(filters=26),
        (3, 32, 32),
        203_746,
        32_615_440,
        26 * 1024 + 52 * 256 + 104 * 64,
    ),
    "ds_cnn": Golden(models.ds_cnn, (1, 49, 10), 22_604, 2_664_768, 0),
    "mobilenet_v1": Golden(models.mobilenet_v1, (3, 96, 96), 210_850, 7_491_968, 0),
    "vgg16": Golden(models.vgg16, (3, 32, 32), 14_719_818, 313_326_592, 0),
    "mobilenet_v2": Golden(
        models.mobilenet_v2,
        (3, 32, 32),
        2_219_626,
        88_067_584,
        # one add a repeated block: 24 at 32x32; 32 at 16x16; 64 and 96 at 8x8; 160 at 4x4
        24 * 1024 + 2 * 32 * 256 + (3 * 64 + 2 * 96) * 64 + 2 * 160 * 16,
    ),
}


class Additions(TorchDispatchMode):
    """Counts the outputs of every tensor addition that runs inside."""

    def __init__(self):
        super().__init__()
        self.outputs = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        out = func(*args, **(kwargs or {}))
        if func is torch.ops.aten.add.Tensor:
            self.outputs += out.numel()
        return out


@dataclass
class Work:
    """Multiply-accumulates of convolutions, linear layers and pooling, from hooks."""

    macs: int = 0

    def __call__(self, layer: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        match layer:
            case nn.Conv2d():
                self.macs += output.numel() * layer.weight[0].numel()
            case nn.Linear():
                self.macs += layer.weight.numel()
            case nn.MaxPool2d() | nn.AdaptiveAvgPool2d():
                self.macs += inputs[0].numel()  # windows that tile the input exactly


def measured(model: nn.Module, shape: tuple[int, ...]) -> tuple[int, int]:
    """Work without additions, and additions, of one forward pass."""
    work = Work()
    for layer in model.modules():
        layer.register_forward_hook(work)
    with torch.no_grad(), Additions() as additions:
        model.eval()(torch.zeros(1, *shape))
    return work.macs, additions.outputs


def folded_bytes(model: nn.Module) -> int:
    """One byte a weight, one a bias once batch norm is folded."""
    layers = [layer for layer in model.modules() if isinstance(layer, nn.Conv2d | nn.Linear)]
    return sum(layer.weight.numel() + layer.weight.shape[0] for layer in layers)


@pytest.mark.parametrize("name", GOLDEN)
def test_golden_weights_and_work(name):
    golden = GOLDEN[name]
    model = golden.make()
    macs, adds = measured(model, golden.shape)
    assert folded_bytes(model) == golden.weights
    assert adds == golden.adds
    assert macs + adds == golden.macs


@pytest.mark.parametrize("name", GOLDEN)
def test_every_convolution_is_followed_by_one_batch_norm(name):
    layers = [layer for layer in GOLDEN[name].make().modules() if not list(layer.children())]
    for conv, norm in itertools.pairwise(layers):
        if isinstance(conv, nn.Conv2d):
            assert conv.bias is None
            assert isinstance(norm, nn.BatchNorm2d)
            assert norm.num_features == conv.out_channels


@pytest.mark.parametrize(
    ("make", "shape"),
    [
        (lambda: models.resnet8(in_channels=1), (1, 8, 8)),
        (lambda: models.resnet20(in_channels=1), (1, 28, 28)),
        (lambda: models.ds_cnn(classes=11), (1, 49, 40)),
        (models.mobilenet_v1, (3, 64, 64)),
        (lambda: models.mobilenet_v2(width=0.35), (3, 24, 24)),
        (lambda: models.vgg16(in_channels=1, side=8, width=0.25), (1, 8, 8)),
        (lambda: models.vgg16(side=64, width=0.125), (3, 64, 64)),
    ],
)
def test_other_input_sizes(make, shape):
    model = make().train()
    logits = model(torch.randn(4, *shape))
    logits.logsumexp(1).mean().backward()
    assert logits.shape == (4, model.classifier.out_features)
    assert all(p.grad is not None and p.grad.isfinite().all() for p in model.parameters())


def test_digits_end_at_two_by_two():
    features = models.resnet8(in_channels=1).features
    assert features(torch.zeros(2, 1, 8, 8)).shape == (2, 64, 2, 2)


@pytest.mark.parametrize("name", ["resnet8", "mobilenet_v2", "vgg16", "ds_cnn"])
def test_signals_neither_vanish_nor_explode_at_the_start(name):
    torch.manual_seed(0)
    golden = GOLDEN[name]
    model = golden.make().train()
    with torch.no_grad():
        spread = model.features(torch.randn(8, *golden.shape)).std().item()
    assert 0.05 < spread < 20


@pytest.mark.parametrize("name", ["resnet8", "vgg16"])
def test_networks_export(name):
    golden = GOLDEN[name]
    exported = torch.export.export(golden.make().eval(), (torch.zeros(1, *golden.shape),))
    called = {str(n.target) for n in exported.graph.nodes if n.op == "call_function"}
    assert called <= {
        "aten.conv2d.default",
        "aten.batch_norm.default",
        "aten.relu.default",
        "aten.add.Tensor",
        "aten.max_pool2d.default",
        "aten.adaptive_avg_pool2d.default",
        "aten.flatten.using_ints",
        "aten.linear.default",
    }


@pytest.mark.parametrize(
    "make",
    [
        lambda: models.resnet8(classes=0),
        lambda: models.resnet8(filters=0),
        lambda: models.ds_cnn(in_channels=0),
        lambda: models.vgg16(side=0),
        lambda: models.mobilenet_v1(width=0.0),
    ],
)
def test_impossible_sizes_are_refused(make):
    with pytest.raises(PruningError, match=r" is 0(\.0)?;"):
        make()


def test_same_seed_same_weights():
    drawn = []
    for _ in range(2):
        torch.manual_seed(3)
        drawn.append(models.resnet8().state_dict())
    assert all(torch.equal(drawn[0][name], drawn[1][name]) for name in drawn[0])


def small(classes: int = 10) -> nn.Module:
    return models.resnet8(classes=classes, in_channels=1, filters=8)


def test_weights_come_back(tmp_path: Path):
    source = small().state_dict()
    save_file(source, path := tmp_path / "w.safetensors")
    model = small()
    assert models.load_weights(model, path) is model
    assert all(torch.equal(source[name], tensor) for name, tensor in model.state_dict().items())
    digest = models.weights_digest(path)
    save_file({**source, "x": torch.zeros(1)}, path)
    assert models.weights_digest(path) != digest


def test_batch_counters_may_be_absent(tmp_path: Path):
    source = {n: t for n, t in small().state_dict().items() if not n.endswith("tracked")}
    save_file(source, tmp_path / "w.safetensors")
    models.load_weights(small(), tmp_path / "w.safetensors")


def test_misfitting_weights_are_named_and_change_nothing(tmp_path: Path):
    source = small(classes=3).state_dict()
    source["extra"] = source.pop("features.stem.conv.weight")
    save_file(source, path := tmp_path / "w.safetensors")
    model = small()
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    with pytest.raises(WeightsError) as caught:
        models.load_weights(model, str(path))
    message = str(caught.value)
    assert "1 unknown: extra" in message
    assert "1 missing: features.stem.conv.weight" in message
    assert "2 of the wrong shape: classifier.weight [3, 32] instead of [10, 32]" in message
    assert all(torch.equal(before[name], tensor) for name, tensor in model.state_dict().items())


def test_every_wrong_shape_is_named(tmp_path: Path):
    narrow = models.resnet8(classes=10, in_channels=1, filters=4)
    save_file(narrow.state_dict(), path := tmp_path / "w.safetensors")
    with pytest.raises(WeightsError) as caught:
        models.load_weights(small(), path)
    ours, theirs = small().state_dict(), narrow.state_dict()
    for name, tensor in theirs.items():
        differs = tensor.shape != ours[name].shape
        assert differs == (f"{name} {list(tensor.shape)} instead of" in str(caught.value))


def test_a_head_for_other_classes_starts_anew_when_asked(tmp_path: Path):
    save_file(source := small(classes=3).state_dict(), path := tmp_path / "w.safetensors")
    model = small()
    head = {n: t.clone() for n, t in model.classifier.state_dict().items()}
    with pytest.raises(WeightsError, match=r"2 of the wrong shape.*reinit=\[LAYER\]"):
        models.load_weights(model, path)
    models.load_weights(model, path, reinit=["classifier"])
    assert all(torch.equal(head[n], t) for n, t in model.classifier.state_dict().items())
    rest = {n: t for n, t in model.state_dict().items() if not n.startswith("classifier.")}
    assert rest
    assert all(torch.equal(source[name], tensor) for name, tensor in rest.items())


def test_fresh_layers_may_be_absent_and_must_exist(tmp_path: Path):
    body = {n: t for n, t in small().state_dict().items() if not n.startswith("classifier.")}
    save_file(body, path := tmp_path / "w.safetensors")
    models.load_weights(small(), path, reinit=["classifier"])
    with pytest.raises(WeightsError, match=r"no layer is named 'class'; layers.*classifier"):
        models.load_weights(small(), path, reinit=["class"])


def test_weights_that_are_no_numbers_are_refused(tmp_path: Path):
    model = nn.Linear(2, 2)
    broken = {**model.state_dict(), "bias": torch.tensor([0.0, float("nan")])}
    save_file(broken, tmp_path / "w.safetensors")
    with pytest.raises(WeightsError, match=r"bias holds values that are not finite"):
        models.load_weights(model, tmp_path / "w.safetensors")
    assert model.bias.isfinite().all()


def test_a_long_list_is_cut(tmp_path: Path):
    save_file({"x": torch.zeros(1)}, path := tmp_path / "w.safetensors")
    with pytest.raises(WeightsError, match=r"and \d+ more"):
        models.load_weights(small(), path)


class Planted:
    """Would run code if it were ever unpickled."""

    def __reduce__(self):
        return (pytest.fail, ("stored code ran",))


@pytest.mark.parametrize("suffix", [".pt", ".pth", ".bin", ".ckpt", ".PT"])
def test_formats_that_can_run_code_are_not_opened(tmp_path: Path, suffix):
    torch.save(Planted(), path := tmp_path / f"w{suffix}")
    with pytest.raises(WeightsError, match=r"can run code.*safetensors\.torch\.save_file"):
        models.load_weights(small(), path)


@pytest.mark.parametrize(
    ("name", "write", "message"),
    [
        ("none.safetensors", lambda _: None, "no such file"),
        ("none.pt", lambda _: None, "no such file"),
        ("w.safetensors", lambda path: path.write_bytes(b"junk"), "not a readable safetensors"),
        ("w.safetensors", lambda path: torch.save(Planted(), path), "not a readable safetens"),
        ("w", lambda path: torch.save(Planted(), path), "not a readable safetensors"),
    ],
)
def test_unusable_files_are_refused(tmp_path: Path, name, write, message):
    write(tmp_path / name)
    with pytest.raises(WeightsError, match=message):
        models.load_weights(small(), tmp_path / name)


# --- autoencoders


def test_the_dense_autoencoder_is_that_of_mlperf_tiny():
    """269,992 numbers, of which 8 x 128 + 8 means and variances; 264,192 are weights."""
    model = models.dense_autoencoder()
    stored = [t for n, t in model.state_dict().items() if not n.endswith("tracked")]
    assert sum(tensor.numel() for tensor in stored) == 269_992
    layers = [layer for layer in model.modules() if isinstance(layer, nn.Linear)]
    sizes = [layers[0].in_features, *(layer.out_features for layer in layers)]
    assert sizes == [640, 128, 128, 128, 128, 8, 128, 128, 128, 128, 640]
    assert sum(layer.weight.numel() for layer in layers) == 264_192


@pytest.mark.parametrize(
    ("make", "shape"),
    [
        (models.dense_autoencoder, (640,)),
        (models.dense_autoencoder, (1, 8, 8)),
        (models.conv_autoencoder, (1, 8, 8)),
        (models.conv_autoencoder, (3, 9, 5)),
    ],
)
def test_autoencoders_are_traced_and_pruned(make, shape, device):
    torch.manual_seed(0)
    model = make(shape=shape).eval()
    batch = torch.randn(3, *shape)
    graph = trace(model, batch[0])
    outputs = Network(graph, model.state_dict()).eval()(batch)
    assert outputs.shape == (3, math.prod(shape))
    assert torch.allclose(outputs, model(batch), atol=1e-5)
    assert [group.prunable for group in graph.channels.groups].count(True) >= 3
    assert CostModel(graph, device).dense.sram_bytes >= math.prod(shape)

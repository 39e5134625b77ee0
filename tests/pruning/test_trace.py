"""From a torch module to a graph: what is understood, and what is refused and how."""

import json
import re

import pytest
import torch
from torch import nn
from torch.nn import functional

from pruning.errors import UnsupportedOperatorError
from pruning.execution.network import Network
from pruning.frontend.trace import trace
from pruning.graph.graph import Graph

SMALL = ["resnet8", "resnet20", "ds_cnn", "mobilenet_v1", "vgg16", "mobilenet_v2"]
ODD = [
    "excite", "excite-linear", "stacked", "grouped", "preactivation", "plain", "multiplier",
    "waves", "twice", "spread", "dense", "overwriting",
]  # fmt: skip


class Function(nn.Module):
    """A function of the input, with a convolution before it."""

    def __init__(self, function, channels=4):
        super().__init__()
        self.conv = nn.Conv2d(2, channels, 1)
        self.function = function

    def forward(self, x):
        return self.function(self.conv(x))


def agree(model: nn.Module, *shape: int) -> Graph:
    """Trace, run both on two batch sizes, compare, and check shapes and JSON on the way."""
    model = model.eval()
    graph = trace(model, torch.zeros(shape))
    network = Network(graph, model.state_dict()).eval()
    for batch in (1, 3):
        inputs = torch.randn(batch, *shape, generator=torch.Generator().manual_seed(batch))
        with torch.no_grad():
            wanted, found = model(inputs.clone()), network(inputs)
        torch.testing.assert_close(found, wanted, rtol=1e-5, atol=1e-5)
    assert Graph.from_json(json.loads(json.dumps(graph.to_json()))) == graph
    return graph


@pytest.mark.parametrize("name", SMALL)
def test_zoo_networks_compute_what_their_modules_do(small, name):
    graph, model = small(name)
    agree(model, *graph.input_shape)


@pytest.mark.parametrize("name", ODD)
def test_odd_networks_compute_what_their_modules_do(odd, name):
    graph, model = odd(name)
    agree(model, *graph.input_shape)


OPERATORS = {
    "relu": functional.relu,
    "relu6": functional.relu6,
    "hardtanh": functional.hardtanh,
    "hardtanh-6": lambda x: functional.hardtanh(x, 0.0, 6.0),
    "hardswish": functional.hardswish,
    "hardsigmoid": functional.hardsigmoid,
    "sigmoid": torch.sigmoid,
    "silu": functional.silu,
    "tanh": torch.tanh,
    "leaky_relu": lambda x: functional.leaky_relu(x, 0.3),
    "elu": lambda x: functional.elu(x, 0.7),
    "gelu": functional.gelu,
    "relu_": lambda x: x.relu_(),
    "relu6_": nn.ReLU6(inplace=True),
    "leaky_relu_": nn.LeakyReLU(0.1, inplace=True),
    "max_pool": lambda x: functional.max_pool2d(x, 3, 2, 1),
    "max_pool-ceil": lambda x: functional.max_pool2d(x, 2, 2, ceil_mode=True),
    "max_pool-default-stride": nn.MaxPool2d((2, 3)),
    "avg_pool": lambda x: functional.avg_pool2d(x, 3, 2, 1),
    "avg_pool-uncounted": nn.AvgPool2d(3, 2, 1, count_include_pad=False),
    "avg_pool-ceil": nn.AvgPool2d(2, 2, ceil_mode=True),
    "adaptive": nn.AdaptiveAvgPool2d((1, 7)),
    "adaptive-none": nn.AdaptiveAvgPool2d((None, 1)),
    "mean": lambda x: x.mean((2, 3)),
    "mean-keep": lambda x: x.mean((-1, -2), keepdim=True),
    "add": lambda x: x + x.relu(),
    "add-spatial": lambda x: x + x.mean((2, 3), keepdim=True),
    "add_": lambda x: functional.relu(x).add_(x),
    "mul": lambda x: torch.mul(x, x.sigmoid()),
    "concat": lambda x: torch.cat([x, x.relu(), x], 1),
    "concat-negative": lambda x: torch.cat([x, x.relu()], dim=-3),
    "flatten": lambda x: x.flatten(1),
    "flatten-spatial": lambda x: x.flatten(2),
    "view": lambda x: x.view(x.size(0), -1),
    "reshape": lambda x: x.reshape(len(x), 4 * 49),
    "view-same": lambda x: x.view(x.shape).relu(),
    "squeeze": lambda x: x.mean((2, 3), keepdim=True).squeeze(-1).squeeze(-1),
    "squeeze-all": lambda x: x.mean((2, 3), keepdim=True).squeeze((2, 3)),
    "unsqueeze": lambda x: x * x.mean((2, 3)).unsqueeze(-1).unsqueeze(-1),
    "index-none": lambda x: x * x.mean((2, 3))[:, :, None, None],
    "expand": lambda x: x + x.mean((2, 3), keepdim=True).expand(-1, -1, 7, 7),
    "contiguous": lambda x: x.contiguous().relu(),
    "detach": lambda x: x.detach().relu(),
    "softmax": lambda x: x.mean((2, 3)).softmax(1),
    "softmax-negative": lambda x: functional.softmax(x.flatten(1), dim=-1),
    "dropout": nn.Dropout(0.5),
    "dropout2d": nn.Dropout2d(0.5),
    "identity": nn.Identity(),
    "several": lambda x: (x.relu(), x.mean((2, 3))),
    "log_sigmoid": functional.logsigmoid,
    "mish": functional.mish,
    "celu": lambda x: functional.celu(x, 0.4),
    "selu": functional.selu,
    "gelu-tanh": nn.GELU("tanh"),
    "softplus": lambda x: functional.softplus(x, 2.0, 15.0),
    "softsign": functional.softsign,
    "softshrink": lambda x: functional.softshrink(x, 0.1),
    "hardshrink": lambda x: functional.hardshrink(x, 0.1),
    "tanhshrink": functional.tanhshrink,
    "threshold": lambda x: functional.threshold(x, 0.1, 0.3),
    "abs": torch.abs,
    "exp": torch.exp,
    "neg": torch.neg,
    "square": torch.square,
    "power": lambda x: x**3 + x.relu() ** 1.5,
    "clamp": lambda x: x.clamp(-0.1, 0.2),
    "clamp-below": lambda x: x.clamp(min=0.1),
    "clamp-above": lambda x: torch.clamp_max(x, 0.1),
    "clamp-relu": lambda x: x.clamp(min=0),
    "prelu": nn.PReLU(),
    "prelu-channels": nn.PReLU(4),
    "root": lambda x: (x.abs() + 0.1).sqrt() + (x.abs() + 0.1) ** 0.3,
    "reciprocal": lambda x: 1 / (x.exp() + 1) + torch.rsqrt(x.abs() + 1),
    "log": lambda x: torch.log(x.abs() + 1),
    "sum": lambda x: x.sum((2, 3)),
    "mean-of-channels": lambda x: x * x.mean(1, keepdim=True) + x.sum(1, True),
    "max-of-channels": lambda x: torch.cat([x.max(1, keepdim=True)[0], x.amax(1, True)], 1),
    "linear-over-rows": nn.Linear(7, 3),
    "layer_norm-rows": nn.LayerNorm(7),
    "pointwise": lambda x: nn.functional.layer_norm(x.movedim(1, -1), [4]).movedim(-1, 1),
    "to": lambda x: x.to(torch.float32).relu(),
    "add-number": lambda x: x + 1,
    "subtract-number": lambda x: x - 0.5,
    "from-number": lambda x: 1 - x,
    "times-number": lambda x: 2 * x * torch.tensor(0.5),
    "over-number": lambda x: x / 255,
    "add_-number": lambda x: x.relu().add_(1).mul_(0.5),
    "hardswish-by-hand": lambda x: x * functional.relu6(x + 3) / 6,
    "sub": lambda x: x - x.relu(),
    "div": lambda x: x / (x.abs() + 1),
    "maximum": lambda x: torch.maximum(x, -x) + torch.max(x, x.relu()),
    "minimum": lambda x: torch.minimum(x, x.mean((2, 3), keepdim=True)),
    "mean-one-axis": lambda x: x.mean(3),
    "mean-one-axis-keep": lambda x: x.mean(-2, keepdim=True),
    "amax": lambda x: x.amax((2, 3)),
    "max-one-axis": lambda x: x.max(3)[0],
    "adaptive-max": lambda x: functional.adaptive_max_pool2d(x, 1),
    "log_softmax": lambda x: x.mean((2, 3)).log_softmax(1),
    "concat-height": lambda x: torch.cat([x, x.relu()], 2),
    "split": lambda x: torch.cat(x.split([1, 3], 1)[::-1], 1),
    "chunk": lambda x: x.chunk(2, 1)[0] - x.chunk(2, 1)[1],
    "unbind": lambda x: x.unbind(3)[2],
    "slice": lambda x: x[:, 1:3, ::2, 1:],
    "select": lambda x: x[:, 2],
    "index-list": lambda x: x[:, [2, 0, 2]],
    "narrow": lambda x: x.narrow(1, 1, 2),
    "flip": lambda x: x.flip(1, 3),
    "roll": lambda x: x.roll(2, 3),
    "rot90": lambda x: x.rot90(1, (2, 3)),
    "permute": lambda x: x.permute(0, 2, 3, 1),
    "permute-round": lambda x: x.permute(0, 2, 3, 1).contiguous().permute(0, 3, 1, 2),
    "transpose": lambda x: x.transpose(2, 3),
    "channels-last-flatten": lambda x: x.permute(0, 2, 3, 1).flatten(1),
    "unflatten": lambda x: x.view(x.shape[0], 2, 2, -1),
    "shuffle": lambda x: (
        x.view(x.shape[0], 2, 2, 7, 7).transpose(1, 2).reshape(x.shape[0], 4, 7, 7)
    ),
    "channel_shuffle": nn.ChannelShuffle(2),
    "pixel_shuffle": nn.PixelShuffle(2),
    "pixel_unshuffle": lambda x: functional.pixel_unshuffle(x[:, :, :6, :6], 3),
    "repeat": lambda x: x.repeat(1, 2, 1, 1),
    "repeat-channels": lambda x: x.repeat_interleave(3, 1),
    "stack": lambda x: torch.stack([x, x.relu()], 2).flatten(1, 2),
    "expand-for-concat": lambda x: torch.cat([x, x.mean((2, 3), keepdim=True).expand_as(x)], 1),
    "upsample": nn.Upsample(scale_factor=2),
    "upsample-size": lambda x: functional.interpolate(x, size=(9, 11)),
    "upsample-exact": nn.Upsample(scale_factor=1.5, mode="nearest-exact"),
    "bilinear": nn.Upsample(scale_factor=2, mode="bilinear"),
    "bilinear-corners": nn.Upsample(size=(9, 13), mode="bilinear", align_corners=True),
    "pad": lambda x: functional.pad(x, (1, 2, 0, -1)),
    "pad-value": nn.ConstantPad2d(1, 0.5),
    "pad-twice": lambda x: functional.pad(functional.pad(x, (1, 0), value=2.0), (0, 1)),
    "pad-channels": lambda x: functional.pad(x[:, :, ::2, ::2], (0, 0, 0, 0, 2, 1)),
    "pad-reflect": nn.ReflectionPad2d(2),
    "pad-replicate": nn.ReplicationPad2d((1, 2, 0, 1)),
    "pad-circular": nn.CircularPad2d(1),
    "unfold": lambda x: functional.unfold(x, 3, padding=1),
    "group_norm": nn.GroupNorm(2, 4),
    "group_norm-plain": nn.GroupNorm(4, 4, affine=False),
    "layer_norm": nn.LayerNorm([4, 7, 7]),
    "layer_norm-vector": nn.Sequential(nn.Flatten(), nn.LayerNorm(196)),
    "instance_norm": nn.InstanceNorm2d(4, affine=True),
}  # fmt: skip


@pytest.mark.parametrize("name", OPERATORS)
def test_supported_operators(name):
    torch.manual_seed(0)
    agree(Function(OPERATORS[name]), 2, 7, 7)


LAYERS = {
    "conv": nn.Conv2d(2, 3, 3, stride=2, padding=1, dilation=2),
    "conv-uneven": nn.Conv2d(2, 3, (3, 1), stride=(1, 2), padding=(0, 1)),
    "conv-same": nn.Conv2d(2, 3, (3, 5), padding="same"),
    "conv-valid": nn.Conv2d(2, 3, 3, padding="valid"),
    "conv-groups": nn.Conv2d(2, 6, 3, groups=2, bias=False),
    "batch_norm": nn.BatchNorm2d(2, eps=1e-3, momentum=0.3),
    "conv_transpose": nn.ConvTranspose2d(2, 3, 3, stride=2, padding=1, output_padding=1),
    "transposed-groups": nn.ConvTranspose2d(2, 6, (2, 3), stride=2, groups=2, dilation=2),
}


@pytest.mark.parametrize("name", LAYERS)
def test_supported_layers(name):
    graph = agree(nn.Sequential(LAYERS[name]), 2, 9, 9)
    assert [o.name for o in graph.operators] == ["0"]


def test_layers_over_vectors_and_sequences():
    agree(nn.Sequential(nn.Linear(5, 4), nn.BatchNorm1d(4), nn.Linear(4, 3, bias=False)), 5)
    agree(nn.Sequential(nn.Conv1d(2, 4, 3, padding="same"), nn.AdaptiveAvgPool1d(1)), 2, 9)
    agree(nn.Sequential(nn.ConvTranspose1d(2, 4, 3, 2), nn.AdaptiveMaxPool1d(1)), 2, 9)
    agree(nn.Sequential(nn.Upsample(scale_factor=2, mode="linear"), nn.PReLU(2)), 2, 9)
    agree(nn.Sequential(nn.ReflectionPad1d(2), nn.InstanceNorm1d(2), nn.Conv1d(2, 3, 2)), 2, 9)


def test_training_mode_is_the_modules_own():
    """In training mode batch norm uses the batch, moves its statistics, and gradients agree."""
    torch.manual_seed(0)
    model = nn.Sequential(
        nn.Conv2d(2, 4, 3),
        nn.BatchNorm2d(4, momentum=0.3),
        nn.ReLU(),
        nn.Flatten(),
        nn.Linear(64, 2),
    )
    graph = trace(model.train(), torch.zeros(2, 6, 6))
    network = Network(graph, model.state_dict()).train()
    inputs = torch.randn(5, 2, 6, 6)
    for each in (model, network):
        each(inputs).square().sum().backward()
    found = network.tensors()
    for name, parameter in model.named_parameters():
        torch.testing.assert_close(found[name].grad, parameter.grad)
    for name in ("1.running_mean", "1.running_var"):
        torch.testing.assert_close(found[name], model.state_dict()[name])


def test_tracing_leaves_modes_as_they_were():
    model = nn.Sequential(nn.Conv2d(1, 2, 1), nn.BatchNorm2d(2), nn.Dropout())
    model.train()
    model[1].eval()
    trace(model, torch.zeros(1, 4, 4))
    assert [m.training for m in model] == [True, False, True]


def test_graph_of_a_residual_net_by_hand(small):
    graph, _ = small("resnet8")
    first = graph["features.block1.body.first.conv"]
    assert (first.kind, first.shape) == ("conv", (8, 16, 16))
    assert first.attributes["kernel"] == [3, 3]
    assert first.parameters == {"weight": "features.block1.body.first.conv.weight"}
    norm = graph["features.block1.body.first.norm"]
    assert norm.inputs == (first.name,)
    assert set(norm.parameters) == {"weight", "bias", "mean", "variance"}
    assert graph.outputs == ("classifier",)
    assert graph.shape("classifier") == (10,)


def test_a_reused_layer_is_two_operators_with_the_same_weights(odd):
    graph, _ = odd("twice")
    uses = [o for o in graph.operators if o.parameters.get("weight") == "shared.weight"]
    assert [o.name for o in uses] == ["shared", "shared:2"]
    assert uses[1].inputs != uses[0].inputs


def test_clone_keeps_the_value_that_is_overwritten():
    def function(x):
        before = x.clone()
        x.relu_()
        return before + x

    agree(Function(function), 2, 3, 3)


def test_what_an_in_place_operator_changes_is_seen_through_other_names():
    def function(x):
        other = x.contiguous()
        x += torch.sigmoid(x)
        return other * x

    agree(Function(function), 2, 3, 3)


def test_a_view_of_overwritten_memory_is_refused():
    def function(x):
        flat = x.flatten(1)
        x.relu_()
        return flat

    with pytest.raises(UnsupportedOperatorError, match=r"relu_.*in-place change of memory"):
        trace(Function(function), torch.zeros(2, 3, 3))


def test_dead_operators_are_left_out():
    def function(x):
        torch.sigmoid(x)
        return x.relu()

    graph = trace(Function(function), torch.zeros(2, 3, 3), ignored_layers=())
    assert [o.kind for o in graph.operators] == ["conv", "activation"]


class Inner(nn.Module):
    def forward(self, x):
        return torch.sin(x)


def test_an_unknown_operator_is_named_with_type_and_place():
    model = nn.Sequential()
    model.add_module("stem", nn.Conv2d(1, 2, 1))
    model.add_module("odd", Inner())
    with pytest.raises(UnsupportedOperatorError) as caught:
        trace(model, torch.zeros(1, 4, 4))
    message = str(caught.value)
    assert "operator sin of type aten.sin.default in odd" in message
    assert "conv2d" in message  # what is supported


class Constant(nn.Module):
    """A function of the input and of a parameter, of a buffer or of neither."""

    def __init__(self, *shape):
        super().__init__()
        self.gamma = nn.Parameter(torch.rand(shape) + 0.5)
        self.register_buffer("fixed", torch.rand(shape) + 0.5)
        self.loose = torch.rand(shape)


class Computed(Constant):
    def forward(self, x):
        return x * self.gamma.sigmoid()


class Scaled(Constant):
    def __init__(self):
        super().__init__(2, 4, 1, 1)

    def forward(self, x):
        return functional.conv2d(x, self.gamma * 2)


class Turned(Constant):
    def __init__(self):
        super().__init__(4, 2, 1, 1)

    def forward(self, x):
        return functional.conv2d(x, self.gamma.transpose(0, 1))


class Loose(Constant):
    def __init__(self):
        super().__init__(4, 1, 1)

    def forward(self, x):
        return x * self.loose


class Flipped(Constant):
    def __init__(self):
        super().__init__(4, 1, 1)

    def forward(self, x):
        return x * self.gamma.flip(0)


class Wider(Constant):
    def __init__(self):
        super().__init__(4, 1, 1)

    def forward(self, x):
        return x.amax((1, 2, 3)) if x is None else x[:, :1] * self.gamma


class Dividend(Constant):
    def __init__(self):
        super().__init__(4, 1, 1)

    def forward(self, x):
        return self.gamma / x


class Kept(Constant):
    """Constants in every form in which they meet a value."""

    def __init__(self):
        super().__init__(4)
        self.map = nn.Parameter(torch.rand(7, 7))
        self.whole = nn.Parameter(torch.rand(1, 4, 7, 7))
        self.number = nn.Parameter(torch.tensor(0.3))
        self.one = nn.Parameter(torch.ones(1))

    def forward(self, x):
        x = self.gamma.view(1, -1, 1, 1) * x + self.fixed[:, None, None]
        x = self.gamma.reshape(4, 1, 1).expand_as(x) - x.maximum(self.map)
        x = x / self.fixed.view(4, 1, 1) + self.whole - x * self.number
        return torch.minimum(x, self.whole) * self.one + torch.tensor(0.1)


def test_constants():
    model = nn.Sequential(nn.Conv2d(2, 4, 1), Kept(), nn.Conv2d(4, 2, 1)).eval()
    graph = agree(model, 2, 7, 7)
    network = Network(graph, model.state_dict())
    assert network.tensors().keys() - network.trained().keys() == {"1.fixed"}
    assert len(network.trained()) == 9
    assert {g.name: g.size for g in graph.channels.groups if g.prunable} == {"0": 4}


REFUSED = {
    "scaled-add": (lambda x: torch.add(x, x, alpha=2), "scaled by 2"),
    "mean-of-channels": (lambda x: x.mean(1), r"average over axes \[1\]"),
    "concat-batch": (lambda x: torch.cat([x, x], 0), "along the batch|begin with the batch"),
    "softmax-height": (lambda x: x.softmax(2), "only along channels"),
    "batch": (lambda x: x.flatten(0, 1), "begin with the batch"),
    "across-samples": (lambda x: x.flip(0), "begin with the batch"),
    "nothing": (lambda x: x[:, 4:].relu(), r"shaped \(2, 0, 3, 3\): nothing"),
    "one-sample": (lambda x: x[:1].relu(), "begin with the batch"),
    "uneven-adaptive": (nn.AdaptiveAvgPool2d(2), "adaptive pooling from"),
    "dilated-pool": (nn.MaxPool2d(2, dilation=2), "dilated"),
    "divisor": (nn.AvgPool2d(2, divisor_override=3), "divisor"),
    "no-affine": (nn.BatchNorm2d(4, affine=False), "without scale and shift"),
    "no-statistics": (nn.BatchNorm2d(4, track_running_stats=False), "without running"),
    "no-momentum": (nn.BatchNorm2d(4, momentum=None), "momentum"),
    "even-same": (nn.Conv2d(4, 4, 2, padding="same"), "asymmetric"),
    "rank": (lambda x: x + x.mean((2, 3)), "different rank|cannot be traced"),
    "returns-input-free-tensor": (lambda _: torch.zeros(2, 3), "constant operand|unknown"),
    "computed-constant": (Computed(), "constant that is computed"),
    "computed-weight": (Scaled(), "constant that is computed"),
    "turned-weight": (Turned(), "a weight that is computed|whose elements are moved"),
    "loose-constant": (lambda x: x * torch.arange(4.0).view(4, 1, 1), "computed|unknown"),
    "unregistered": (Loose(), "register it as a buffer"),
    "shuffled-constant": (Flipped(), "whose elements are moved"),
    "wider-constant": (Wider(), "does not fit into"),
    "divided-constant": (Dividend(), "a constant divided by a value"),
    "rounded-division": (
        lambda x: torch.div(x, 2, rounding_mode="floor"),
        "unknown operator|that rounds",
    ),
    "chosen-elements": (lambda x: x[:, x.relu().flatten(1).argmax(1)], "unknown operator"),
    "tensor-clamp": (lambda x: torch.clamp(x, min=x.relu()), "unknown operator|use maximum"),
    "layer-norm": (nn.LayerNorm([3, 3]), "only over the last axis or a sample"),
    "instance-statistics": (
        nn.InstanceNorm2d(4, track_running_stats=True),
        "instance norm with running statistics",
    ),
    "local-norm": (nn.LocalResponseNorm(3), "unknown operator"),
    "bicubic": (nn.Upsample(scale_factor=2, mode="bicubic"), "unknown operator"),
    "matmul": (lambda x: x @ x, "unknown operator"),
    "indices": (lambda x: functional.max_pool2d(x, 3, return_indices=True)[1], "constant op"),
    "volume": (nn.Sequential(nn.Unflatten(1, (2, 2)), nn.Conv3d(2, 1, 1)), "unknown operator"),
}  # fmt: skip


@pytest.mark.parametrize("name", REFUSED)
def test_refused_by_name_type_and_place(name):
    function, message = REFUSED[name]
    with pytest.raises(UnsupportedOperatorError, match=message) as caught:
        trace(Function(function), torch.zeros(2, 3, 3))
    named = r"operator \w+ of type (aten\.[\w.]+|output) in [\w. ]+: "
    assert re.match(f"{named}|Function cannot be traced", str(caught.value))


def test_data_dependent_control_flow_is_refused():
    def function(x):
        return x.relu() if x.sum() > 0 else x

    with pytest.raises(UnsupportedOperatorError, match="cannot be traced"):
        trace(Function(function), torch.zeros(2, 3, 3))


def test_a_wrong_input_is_refused_with_its_shape():
    with pytest.raises(UnsupportedOperatorError, match=r"\(2, 5, 3, 3\)"):
        trace(nn.Conv2d(2, 3, 1), torch.zeros(5, 3, 3))


@pytest.mark.parametrize(("shape", "told"), [((8, 1, 8), True), ((1, 8, 8), False)])
def test_channels_on_another_axis_have_a_cure_of_their_own(shape, told):
    """As `data.layout` is NHWC by default, and torch's arrays are not."""
    wanted = 1 if told else 3
    with pytest.raises(UnsupportedOperatorError, match=f"the network wants {wanted}") as caught:
        trace(nn.Conv2d(wanted, 2, 1), torch.zeros(shape))
    assert ("data.layout=NCHW" in str(caught.value)) is told


def test_keep_names_a_layer_or_a_prefix():
    model = nn.Sequential(nn.Sequential(nn.Conv2d(1, 4, 1), nn.ReLU()), nn.Conv2d(4, 6, 1))
    model.append(nn.Conv2d(6, 2, 1))
    example = torch.zeros(1, 3, 3)
    free = {g.name for g in trace(model, example).channels.groups if g.prunable}
    assert free == {"0.0", "1"}
    kept = trace(model, example, ignored_layers=("0",))
    assert {g.name for g in kept.channels.groups if g.prunable} == {"1"}
    exact = trace(model, example, ignored_layers=("1",))
    assert {g.name for g in exact.channels.groups if g.prunable} == {"0.0"}
    assert Graph.from_json(json.loads(json.dumps(kept.to_json()))) == kept


def test_keep_of_a_layer_that_does_not_exist_is_refused():
    with pytest.raises(UnsupportedOperatorError, match=r"'head'; layers: 0, 1"):
        trace(
            nn.Sequential(nn.Conv2d(1, 2, 1), nn.Conv2d(2, 1, 1)),
            torch.zeros(1, 3, 3),
            ("head",),
        )

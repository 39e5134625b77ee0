"""From a torch module to a graph: what is understood, and what is refused and how."""

import json

import pytest
import torch
from torch import nn
from torch.nn import functional

from pruning.errors import UnsupportedOperatorError
from pruning.graph import Graph
from pruning.network import Network
from pruning.trace import trace

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
    "multiply": lambda x: torch.mul(x, x.sigmoid()),
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
}


@pytest.mark.parametrize("name", LAYERS)
def test_supported_layers(name):
    graph = agree(nn.Sequential(LAYERS[name]), 2, 9, 9)
    assert [o.name for o in graph.operators] == ["0"]


def test_layers_over_vectors_and_sequences():
    agree(nn.Sequential(nn.Linear(5, 4), nn.BatchNorm1d(4), nn.Linear(4, 3, bias=False)), 5)
    agree(nn.Sequential(nn.Conv1d(2, 4, 3, padding="same"), nn.AdaptiveAvgPool1d(1)), 2, 9)


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

    graph = trace(Function(function), torch.zeros(2, 3, 3), keep=())
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


REFUSED = {
    "constant": (lambda x: x * 0.5, "constant operand"),
    "scaled-add": (lambda x: torch.add(x, x, alpha=2), "scaled by 2"),
    "sub": (lambda x: x - x.relu(), "unknown operator"),
    "split": (lambda x: x.chunk(2, 1)[0], "unknown operator"),
    "permute": (lambda x: x.permute(0, 2, 3, 1), "unknown operator"),
    "unflatten": (lambda x: x.view(x.shape[0], 2, 2, -1), "a reshape from"),
    "part": (lambda x: x[:, :2], "unknown operator"),
    "mean-one-axis": (lambda x: x.mean(3), "mean over axes"),
    "concat-height": (lambda x: torch.cat([x, x], 2), "only along channels"),
    "softmax-height": (lambda x: x.softmax(2), "only along channels"),
    "batch": (lambda x: x.flatten(0, 1), "begin with the batch|a reshape from"),
    "uneven-adaptive": (nn.AdaptiveAvgPool2d(2), "adaptive pooling from"),
    "dilated-pool": (nn.MaxPool2d(2, dilation=2), "dilated"),
    "divisor": (nn.AvgPool2d(2, divisor_override=3), "divisor"),
    "expand-for-concat": (
        lambda x: torch.cat([x, x.mean((2, 3), keepdim=True).expand_as(x)], 1),
        "unknown operator",
    ),
    "linear-over-rows": (nn.Linear(3, 2), "flatten its input first"),
    "no-affine": (nn.BatchNorm2d(4, affine=False), "without scale and shift"),
    "no-statistics": (nn.BatchNorm2d(4, track_running_stats=False), "without running"),
    "no-momentum": (nn.BatchNorm2d(4, momentum=None), "momentum"),
    "even-same": (nn.Conv2d(4, 4, 2, padding="same"), "asymmetric"),
    "rank": (lambda x: x + x.mean((2, 3)), "different rank|cannot be traced"),
    "returns-input-free-tensor": (lambda _: torch.zeros(2, 3), "constant operand|unknown"),
    "transposed": (nn.ConvTranspose2d(4, 2, 2), "unknown operator"),
    "layer-norm": (nn.LayerNorm(3), "unknown operator"),
}  # fmt: skip


@pytest.mark.parametrize("name", REFUSED)
def test_refused(name):
    function, message = REFUSED[name]
    with pytest.raises(UnsupportedOperatorError, match=message):
        trace(Function(function), torch.zeros(2, 3, 3))


def test_data_dependent_control_flow_is_refused():
    def function(x):
        return x.relu() if x.sum() > 0 else x

    with pytest.raises(UnsupportedOperatorError, match="cannot be traced"):
        trace(Function(function), torch.zeros(2, 3, 3))


def test_a_wrong_input_is_refused_with_its_shape():
    with pytest.raises(UnsupportedOperatorError, match=r"\(2, 5, 3, 3\)"):
        trace(nn.Conv2d(2, 3, 1), torch.zeros(5, 3, 3))


def test_keep_names_a_layer_or_a_prefix():
    model = nn.Sequential(nn.Sequential(nn.Conv2d(1, 4, 1), nn.ReLU()), nn.Conv2d(4, 6, 1))
    model.append(nn.Conv2d(6, 2, 1))
    example = torch.zeros(1, 3, 3)
    free = {g.name for g in trace(model, example).channels.groups if g.prunable}
    assert free == {"0.0", "1"}
    kept = trace(model, example, keep=("0",))
    assert {g.name for g in kept.channels.groups if g.prunable} == {"1"}
    exact = trace(model, example, keep=("1",))
    assert {g.name for g in exact.channels.groups if g.prunable} == {"0.0"}
    assert Graph.from_json(json.loads(json.dumps(kept.to_json()))) == kept


def test_keep_of_a_layer_that_does_not_exist_is_refused():
    with pytest.raises(UnsupportedOperatorError, match=r"'head'; layers: 0, 1"):
        trace(
            nn.Sequential(nn.Conv2d(1, 2, 1), nn.Conv2d(2, 1, 1)),
            torch.zeros(1, 3, 3),
            ("head",),
        )

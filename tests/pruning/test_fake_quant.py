"""Folding keeps outputs; int8 codes are int8; scores survive."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import example, given
from hypothesis import strategies as st

from pruning.data import digits
from pruning.execution.fake_quant import QuantizedNetwork, fold, qparams_between, value_range
from pruning.execution.network import Network
from pruning.frontend.trace import trace
from pruning.graph.fusion import fuse
from pruning.graph.shrink import kept_axes, shrink_graph, shrink_tensors

SMALL = ["resnet8", "resnet20", "ds_cnn", "mobilenet_v1", "vgg16", "mobilenet_v2"]
ODD = [
    "excite", "excite-linear", "stacked", "grouped", "preactivation", "plain", "multiplier",
    "waves", "twice", "spread", "dense", "overwriting",
]  # fmt: skip


def inputs_for(graph, count=8, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(count, *graph.input_shape, generator=generator)


def each(small, odd):
    return [small(n) for n in SMALL] + [odd(n) for n in ODD]


def test_folding_keeps_outputs_and_removes_norms(small, odd):
    for graph, model in each(small, odd):
        folded, tensors = fold(graph, model.state_dict())
        inputs = inputs_for(graph)
        with torch.no_grad():
            found = Network(folded, tensors).eval()(inputs)
            wanted = model(inputs.clone())
        scale = wanted.abs().max()
        torch.testing.assert_close(found / scale, wanted / scale, rtol=0, atol=1e-5)
        left = [o.name for o in folded.operators if o.kind == "batch_norm"]
        assert left == [k.name for k in fuse(graph) if k.kind == "batch_norm"]
        assert len(fuse(folded)) == len(fuse(graph))


def test_a_layer_with_two_norms_is_folded_twice(odd):
    graph, model = odd("twice")
    folded, tensors = fold(graph, model.state_dict())
    assert {o.name for o in folded.operators if o.kind == "conv"} == {
        "stem", "shared", "shared:2",
    }  # fmt: skip
    assert torch.equal(tensors["shared.weight"], tensors["shared:2.weight"])


@pytest.mark.parametrize("name", ["resnet8", "mobilenet_v2"])
def test_buffers_hold_int8_codes(small, name):
    check_codes(*small(name))


@pytest.mark.parametrize("name", ODD)
def test_buffers_of_odd_networks_hold_int8_codes(odd, name):
    check_codes(*odd(name))


def check_codes(graph, model):
    buffers = ("input", *(kernel.output for kernel in fuse(graph)))
    shown = replace(graph, outputs=buffers)  # which leaves all kernels as they are
    network = QuantizedNetwork(shown, model.state_dict(), inputs_for(graph, 16))
    assert len(fuse(network.graph)) == len(buffers) - 1
    # Beyond the calibrated range: it must saturate.
    values = network(3 * inputs_for(graph, 4, seed=1))
    for name, value in zip(network.graph.outputs, values, strict=True):
        source = name
        while source not in network.ranges:  # max pooling copies the codes of its input
            kernel = next(k for k in fuse(network.graph) if k.output == source)
            assert kernel.main.attributes["mode"] == "max"
            (source,) = kernel.inputs
        code = network.ranges[source]
        assert -128 <= code.zero_point <= 127
        integers = value.double() / code.scale + code.zero_point
        torch.testing.assert_close(integers, integers.round(), rtol=0, atol=1e-3)
        assert integers.min() > -128.5
        assert integers.max() < 127.5
        assert len(torch.unique(value)) <= 256


reals = st.floats(-1e4, 1e4, width=32)


@given(reals, reals)
@example(2.0, 5.0)
@example(-5.0, -2.0)
@example(0.0, 0.0)
def test_zero_is_a_code(one, other):
    """Padding writes zeros: they must be exact, also where all values lie beside zero."""
    low, high = sorted((one, other))
    code = qparams_between(low, high)
    values = np.array([0.0, low, high])
    codes = np.clip(np.rint(values / code.scale) + code.zero_point, -128, 127)
    decoded = code.scale * (codes - code.zero_point)
    assert decoded[0] == 0
    assert np.abs(decoded - values).max() <= 0.51 * code.scale


def test_ranges_by_hand():
    graph, model = line()
    calibration = torch.tensor([[-1.0, 3.0], [0.5, 1.55]])
    network = QuantizedNetwork(graph, model.state_dict(), calibration)
    code = network.ranges["input"]
    assert code.scale == pytest.approx(4.0 / 255)
    assert code.zero_point == round(-128 + 1.0 / (4.0 / 255))


def line():
    torch.manual_seed(0)
    model = torch.nn.Sequential(torch.nn.Linear(2, 3))
    return trace(model, torch.zeros(2)), model


def test_weights_are_on_a_symmetric_grid_of_255_levels_per_channel(small, odd):
    for graph, model in each(small, odd):
        floating = fold(graph, model.state_dict())[1]
        network = QuantizedNetwork(graph, model.state_dict(), inputs_for(graph))
        for name, tensor in network.tensors.items():
            if not name.endswith(".weight") or tensor.dim() < 2:
                assert torch.equal(tensor, floating[name])
                continue
            rows, original = tensor.flatten(1).double(), floating[name].flatten(1).double()
            scale = original.abs().amax(1, keepdim=True) / 127
            codes = rows / scale
            torch.testing.assert_close(codes, codes.round(), rtol=0, atol=1e-3)
            assert codes.abs().max() <= 127 + 1e-3
            assert (rows - original).abs().le(scale / 2 * 1.001).all()


def test_outputs_are_near_the_floating_ones(small):
    for name in ("resnet8", "ds_cnn", "mobilenet_v1"):
        graph, model = small(name)
        inputs = inputs_for(graph, 64)
        network = QuantizedNetwork(graph, model.state_dict(), inputs)
        with torch.no_grad():
            wanted, found = model(inputs), network(inputs)
        noise = (found - wanted).pow(2).mean() / wanted.pow(2).mean()
        assert 0 < noise < 10 ** (-20 / 10)  # a signal-to-noise ratio above 20 dB


def test_max_pooling_and_constant_inputs_do_not_break(odd):
    graph, model = odd("plain")
    network = QuantizedNetwork(graph, model.state_dict(), torch.zeros(4, *graph.input_shape))
    assert network(torch.zeros(2, *graph.input_shape)).isfinite().all()


def test_score_of_a_trained_net_is_near_the_floating_one():
    """A linear classifier of digits, solved in closed form through a small random network."""
    torch.manual_seed(0)
    data = digits()
    model = torch.nn.Sequential(
        torch.nn.Conv2d(1, 16, 3, padding=1), torch.nn.BatchNorm2d(16), torch.nn.ReLU(),
        torch.nn.MaxPool2d(2), torch.nn.Flatten(), torch.nn.Linear(256, 10),
    ).eval()  # fmt: skip
    inputs = data.normalise(data.train.inputs)
    with torch.no_grad():
        features = model[:5](inputs).double()
        wanted = torch.nn.functional.one_hot(data.train.targets, 10).double()
        gram = features.T @ features + 10 * torch.eye(256)
        model[5].weight.copy_(torch.linalg.solve(gram, features.T @ wanted).T)
        model[5].bias.zero_()
    from pruning.frontend.trace import trace

    graph = trace(model, inputs[0])
    network = QuantizedNetwork(graph, model.state_dict(), inputs[:256])
    test, targets = data.normalise(data.test.inputs), data.test.targets
    with torch.no_grad():
        floating = (model(test).argmax(1) == targets).float().mean().item()
        int8 = (network(test).argmax(1) == targets).float().mean().item()
    assert floating > 0.9
    assert abs(int8 - floating) < 0.015


def test_masked_out_channels_do_not_move_ranges(small, network_of, random_mask):
    """The shrunk network has the ranges of the masked one, so scores need no mask."""
    graph, model = small("resnet8")
    kept = random_mask(graph, 1)
    masked, inputs = network_of(graph, model), inputs_for(graph)
    tensors = shrink_tensors(masked.tensors(), kept_axes(graph, kept))
    smaller = shrink_graph(graph, kept)
    ranges = QuantizedNetwork(smaller, tensors, inputs).ranges
    values = values_of(graph, masked.tensors(), inputs, kept)
    compared = 0
    for kernel in fuse(smaller):
        ends_in_norm = smaller[kernel.output].kind == "batch_norm"
        code = ranges[kernel.name if ends_in_norm else kernel.output]
        wanted = qparams_between(*value_range(values[kernel.output]))
        assert code.scale == pytest.approx(wanted.scale, rel=1e-4)
        assert abs(code.zero_point - wanted.zero_point) <= 1
        compared += 1
    assert compared == len(ranges) - 1  # the input is not computed


def values_of(graph, tensors, inputs, kept):
    """Every value of a masked network, by name: a network whose outputs they are."""
    names = [operator.name for operator in graph.operators]
    network = Network(replace(graph, outputs=tuple(names)), tensors).eval()
    mask = torch.ones(network.graph.channels.units)
    for name in names:
        mask[network.graph.channels.layout[name]] = torch.from_numpy(
            kept[graph.channels.layout[name]]
        ).float()
    with torch.no_grad():
        return dict(zip(names, network(inputs, mask), strict=True))


class Scaled(torch.nn.Module):
    """Channels divided by constants far apart."""

    def __init__(self):
        super().__init__()
        self.layer = torch.nn.Conv2d(2, 4, 3)
        self.register_buffer("by", torch.tensor([100.0, 1.0, 0.1, 0.2]).reshape(4, 1, 1))

    def forward(self, x):
        return self.layer(x) / self.by


def test_divisors_are_stored_as_their_reciprocals():
    torch.manual_seed(0)
    model = Scaled()
    graph = trace(model, torch.zeros(2, 6, 6))
    inputs = inputs_for(graph, 32)
    found = QuantizedNetwork(graph, model.state_dict(), inputs)(inputs)
    with torch.no_grad():
        wanted = model(inputs)
    assert (found - wanted).abs().max() / wanted.abs().max() < 0.02

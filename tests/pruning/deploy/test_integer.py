"""Networks of integers: near the network they are from, and the same wherever computed."""

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from math import inf

import numpy as np
import pytest
import torch
from hypothesis import assume, given
from hypothesis import strategies as st
from torch import nn
from torch.nn import functional
from torch.utils._pytree import tree_leaves

from pruning.deploy import Evaluator, IntegerNetwork, calibrate, obstacles, reference
from pruning.deploy.fixed_point import fixed_point_multiplier
from pruning.deploy.kernels.add import Add
from pruning.deploy.kernels.conv import Conv
from pruning.deploy.kernels.conv_transpose import ConvTranspose
from pruning.deploy.kernels.lut import Lut
from pruning.deploy.kernels.mean import Mean
from pruning.deploy.kernels.pool import Pool
from pruning.deploy.kernels.registry import FAMILIES
from pruning.errors import DeployError
from pruning.execution.fake_quant import FakeQuant, QuantizedNetwork, QuantParams
from pruning.execution.network import Network
from pruning.frontend.trace import trace
from pruning.graph.fusion import fuse
from pruning.graph.shrink import kept_axes, shrink_graph, shrink_tensors
from pruning.ir.operator import INPUT
from tests.pruning.agreement import masks, only_one
from tests.pruning.deploy.lowered import (
    DEPLOYED,
    REFUSED,
    drawn,
    evaluated_alike,
    lowered,
    traced,
)
from tests.pruning.networks import randomised
from tests.pruning.random_networks import FEW, networks


def real(network: IntegerNetwork, values, name: str) -> np.ndarray:
    code = network.codes[name]
    return (values[name].astype(np.float64) - code.zero_point) * code.scale


@pytest.mark.parametrize("name", DEPLOYED)
def test_outputs_are_near_those_of_the_network(name):
    graph, tensors = traced(name)
    inputs = drawn(graph, 32)
    network = lowered(graph, tensors, inputs)
    values = reference(network, network.quantized(inputs.numpy()))
    with torch.no_grad():
        wanted = tree_leaves(Network(graph, tensors).eval()(inputs))
    for output, want in zip(network.outputs, wanted, strict=True):
        error = real(network, values, output).ravel() - want.double().numpy().ravel()
        noise = np.sqrt((error**2).mean() / (want.double().numpy() ** 2).mean())
        assert noise < 0.03


@pytest.mark.parametrize("name", DEPLOYED)
def test_the_evaluator_gives_the_same_codes(name):
    graph, tensors = traced(name)
    network = lowered(graph, tensors, drawn(graph, 16))
    evaluated_alike(network, 3 * drawn(graph, 8, seed=1))  # they must saturate, too


@pytest.mark.parametrize("name", DEPLOYED)
def test_pruned_networks_are_deployed_as_well(name, random_mask):
    graph, tensors = traced(name)
    for kept in (only_one(graph.channels), random_mask(graph, 1)):
        smaller = shrink_graph(graph, kept)
        assert obstacles(smaller) == []
        own = shrink_tensors(tensors, kept_axes(graph, kept))
        inputs = drawn(smaller, 8)
        evaluated_alike(lowered(smaller, own, inputs), 2 * inputs)


@pytest.mark.slow
@FEW
@given(networks(steps=12), st.integers(0, 9))
def test_random_networks_give_the_same_codes(network, seed):
    assume(not obstacles(network.graph))
    kept = masks(network.graph, seed)
    smaller = shrink_graph(network.graph, kept)
    tensors = shrink_tensors(network.tensors(), kept_axes(network.graph, kept))
    inputs = drawn(smaller, 6, seed)
    evaluated_alike(lowered(smaller, tensors, inputs), 2 * inputs)


@pytest.mark.parametrize("name", REFUSED)
def test_what_has_no_integer_form_is_named(name):
    graph, tensors = traced(name)
    with pytest.raises(DeployError) as caught:
        lowered(graph, tensors, drawn(graph, 2))
    assert REFUSED[name] in str(caught.value)
    assert "precision=int8-simulated" in str(caught.value)


def test_ranges_hold_zero_and_scales_are_single_precision():
    graph, tensors = traced("residual")
    network = lowered(graph, tensors, 5 + drawn(graph, 8).abs())
    for code in network.codes.values():
        assert -128 <= code.zero_point <= 127
        assert code.scale == float(np.float32(code.scale))
    assert network.codes[INPUT].zero_point == -128


def test_kernels_that_carry_codes_share_one_code():
    graph, tensors = traced("inception")
    network = lowered(graph, tensors, drawn(graph, 8))
    carried = [k for k in network.kernels if isinstance(k, Pool) or k.name.startswith("cat")]
    assert len(carried) > 1
    for kernel in carried:
        assert {network.codes[name] for name in kernel.inputs} == {network.codes[kernel.output]}


class Padded(nn.Module):
    """Filled between two layers with what the first never gives."""

    def __init__(self, fill: float, between: Callable[[torch.Tensor], torch.Tensor]):
        super().__init__()
        self.first, self.last = nn.Conv2d(2, 4, 3), nn.Conv2d(4, 3, 3)
        self.fill, self.between = fill, between

    def forward(self, x):
        values = functional.pad(self.first(x).relu(), (1, 1, 1, 1), value=self.fill)
        return self.last(self.between(values))


class Axes(nn.Module):
    """A vector read as a series: of one channel, or of one feature."""

    def __init__(self, first: nn.Module, last: nn.Module, features: bool = False):
        super().__init__()
        self.first, self.last, self.features = first, last, features

    def forward(self, x):
        values = self.first(x)
        if self.features:
            return self.last(values.unsqueeze(-1)).movedim(-1, 1)
        return self.last(values.unsqueeze(1))


AS_THEY_ARE = {
    **{
        f"filled with {fill}": (partial(Padded, fill, nn.Identity()), (2, 6, 6))
        for fill in (0.5, -1.0, -5.0, 10.0)
    },
    "a maximum over -inf": (lambda: Padded(-inf, nn.MaxPool2d(3, 1)), (2, 6, 6)),
    "a vector as a series": (lambda: Axes(nn.Identity(), nn.Conv1d(1, 3, 3)), (12,)),
    "a hidden vector as a series": (lambda: Axes(nn.Linear(5, 8), nn.Conv1d(1, 3, 3)), (5,)),
    "a hidden vector as pixels": (lambda: Axes(nn.Linear(5, 8), nn.Linear(1, 4), True), (5,)),
}


@pytest.mark.parametrize("name", AS_THEY_ARE)
def test_values_that_move_stay_what_they_are(name):
    make, shape = AS_THEY_ARE[name]
    torch.manual_seed(0)
    model = randomised(make()).eval()
    graph, tensors = trace(model, torch.zeros(shape)), dict(model.state_dict())
    inputs = drawn(graph, 32)
    network = lowered(graph, tensors, inputs)
    evaluated_alike(network, 2 * inputs)
    with torch.no_grad():
        wanted = model(inputs)
    for found in (Evaluator(network)(inputs), QuantizedNetwork(graph, tensors, inputs)(inputs)):
        error = (found.reshape(wanted.shape) - wanted).abs().max() / wanted.abs().max()
        assert error < 0.03


def test_one_buffer_may_be_several_outputs():
    class Twice(nn.Module):
        def __init__(self):
            super().__init__()
            self.layer = nn.Conv2d(2, 3, 4)

        def forward(self, x):
            value = self.layer(x)
            return value, value.flatten(1)

    graph, tensors = trace(Twice(), torch.zeros(2, 4, 4)), dict(Twice().state_dict())
    tensors = {f"layer.{name.rpartition('.')[2]}": value for name, value in tensors.items()}
    inputs = drawn(graph, 4)
    shapes = [output.shape for output in Evaluator(lowered(graph, tensors, inputs))(inputs)]
    assert shapes == [(4, 3, 1, 1), (4, 3)]


def test_what_is_always_zero_in_calibration_does_not_clip_what_comes():
    layer = nn.Sequential(nn.Linear(6, 4), nn.ReLU())
    torch.nn.init.constant_(layer[0].bias, -30.0)
    graph, tensors = trace(layer, torch.zeros(6)), dict(layer.state_dict())
    network = lowered(graph, tensors, drawn(graph, 8))
    evaluated_alike(network, drawn(graph, 8))
    assert network.codes[network.outputs[0]].scale == 1.0


def test_large_terms_that_cancel_are_still_exact():
    generator = np.random.default_rng(0)
    pixels = (1, 256, 256)
    for _ in range(40):
        first = generator.uniform(0.5, 1)
        second, result = first * generator.uniform(0.7, 1.4), first / 64
        kernel = Add(
            name="sum", inputs=("a", "b"), output="sum", reads=(pixels, pixels), shape=pixels,
            scalings=tuple(
                fixed_point_multiplier(factor / (2 * max(first, second)))
                for factor in (first, second, 4 * max(first, second) ** 2 / 2**20 / result)
            ),
            difference=True,
        )  # fmt: skip
        zeros = generator.integers(-128, 128, 3)
        codes = {
            name: QuantParams(scale, int(zero))
            for name, scale, zero in zip(
                ("a", "b", "sum"), (first, second, result), zeros, strict=True
            )
        }
        every = np.arange(-128, 128, dtype=np.int8)
        network = IntegerNetwork(
            kernels=(kernel,), outputs=("sum",), shown=(pixels,),
            codes={**codes, INPUT: QuantParams(1.0, 0)},
            shapes=dict.fromkeys((*codes, INPUT), pixels),
            constants=dict(zip("ab", np.meshgrid(every[None], every), strict=True)),
        )  # fmt: skip
        evaluated_alike(network, torch.zeros(1, *pixels))


def test_a_linear_layer_reads_a_flattened_map_as_one_window():
    graph, tensors = traced("lenet")
    network = lowered(graph, tensors, drawn(graph, 4))
    first = next(k for k in network.kernels if isinstance(k, Conv) and k.shape[1:] == (1, 1))
    assert first.window.kernel == first.reads[0][1:] != (1, 1)


def test_a_channel_whose_weights_are_next_to_nothing_keeps_its_bias():
    torch.manual_seed(0)
    model = torch.nn.Conv2d(2, 3, 1)
    with torch.no_grad():
        model.weight[1] *= 1e-9
        model.bias[1] = 2.0
    graph = trace(model, torch.zeros(2, 4, 4))
    inputs = drawn(graph, 8)
    network = lowered(graph, model.state_dict(), inputs)
    (output,) = network.outputs
    values = reference(network, network.quantized(inputs.numpy()))
    np.testing.assert_allclose(real(network, values, output)[:, 1], 2.0, atol=0.02)


@pytest.mark.parametrize("padded", [False, True])
def test_a_mean_of_windows_rounds_half_away_from_zero(padded):
    model = torch.nn.AvgPool2d(2, 1, padding=1, count_include_pad=padded)
    graph = trace(model, torch.zeros(1, 3, 3))
    network = lowered(graph, {}, torch.linspace(-1, 1, 18).reshape(2, 1, 3, 3))
    codes = np.array([[-3, 2, 5], [1, 1, 2], [-7, 0, 6]], dtype=np.int8).reshape(1, 1, 3, 3)
    (found,) = (reference(network, codes)[name] for name in network.outputs)
    zero = network.codes[INPUT].zero_point
    corner = -3 if not padded else (-3 + 3 * zero) / 4
    assert found[0, 0, 0, 0] == int(np.sign(corner) * np.floor(abs(corner) + 0.5))
    assert found[0, 0, 1, 1] == 0  # (-3 + 2 + 1 + 1) / 4 is a quarter
    assert found[0, 0, 1, 2] == 3  # (2 + 5 + 1 + 2) / 4 is two and a half


@pytest.mark.slow
def test_every_kind_of_kernel_is_among_them():
    kinds = set()
    for name in DEPLOYED:
        graph, tensors = traced(name)
        kinds |= {type(k) for k in lowered(graph, tensors, drawn(graph, 4)).kernels}
    assert kinds == {family.record for family in FAMILIES}
    assert {Conv, ConvTranspose, Pool, Mean, Lut} < kinds


@pytest.mark.parametrize("name", ["resnet8", "ds_cnn", "mobilenet_v1", "vgg16", "mobilenet_v2"])
def test_zoo_models_can_be_deployed(small, name):
    graph, model = small(name)
    inputs = drawn(graph, 4)
    evaluated_alike(lowered(graph, model.state_dict(), inputs), 2 * inputs)


class Norms(nn.Module):
    """Two batch norms behind each other, as a branch that vanished may leave them."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 6, 3)
        self.first, self.second = nn.BatchNorm2d(6), nn.BatchNorm2d(6)
        self.last = nn.Conv2d(6, 4, 1)

    def forward(self, x):
        return self.last(torch.relu(self.second(self.first(self.conv(x)))))


class SmallWindow(nn.Module):
    """One window that does not cover the plane."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 6, 3)

    def forward(self, x):
        return torch.nn.functional.avg_pool2d(self.conv(x), 7)


@pytest.mark.parametrize("make", [Norms, SmallWindow])
def test_what_only_looks_like_a_simpler_kernel(make):
    torch.manual_seed(0)
    model = randomised(make())
    graph = trace(model, torch.zeros(3, 10, 10))
    tensors = dict(model.named_parameters()) | dict(model.named_buffers())
    inputs = drawn(graph, 8)
    network = lowered(graph, tensors, inputs)
    assert len(network.kernels) == len(fuse(graph))
    wanted = Network(graph, tensors).eval()(inputs).detach()
    found = Evaluator(network)(inputs)
    code = network.codes[network.outputs[0]]
    assert (found - wanted).abs().max() < 4 * code.scale
    evaluated_alike(network, inputs)


def test_two_norms_behind_each_other_can_be_trained_as_int8():
    torch.manual_seed(0)
    model = randomised(Norms())
    graph = trace(model, torch.zeros(3, 10, 10))
    tensors = dict(model.named_parameters()) | dict(model.named_buffers())
    inputs = drawn(graph, 8)
    rounding = FakeQuant.of(graph, calibrate(graph, tensors, inputs))
    network = Network(graph, tensors).eval()
    exact, rounded = network(inputs), network(inputs, None, rounding)
    assert 0 < (exact - rounded).abs().max() < 0.05 * exact.abs().max()


def test_a_window_that_generated_c_cannot_store_is_refused():
    graph = trace(nn.Sequential(nn.Conv1d(1, 2, 3), nn.MaxPool1d(300)), torch.zeros(1, 602))
    (found,) = obstacles(graph)
    assert "a setting of 300; none may be above 255" in found
    one_window = nn.Sequential(nn.Conv1d(1, 2, 3), nn.AvgPool1d(300))  # of 400 positions
    (found,) = obstacles(trace(one_window, torch.zeros(1, 402)))
    assert "a setting of 300" in found
    whole = nn.Sequential(nn.Conv1d(1, 2, 3), nn.AdaptiveAvgPool1d(1))
    assert obstacles(trace(whole, torch.zeros(1, 602))) == []


def test_sums_that_no_number_holds_exactly_are_refused():
    graph, tensors = traced("narrow")
    network = lowered(graph, tensors, drawn(graph, 2))
    (index, layer) = next(
        (n, kernel) for n, kernel in enumerate(network.kernels) if isinstance(kernel, Conv)
    )
    kernels = list(network.kernels)
    kernels[index] = replace(layer, bias=layer.bias.astype(np.int64) + (1 << 53))
    with pytest.raises(DeployError, match=f"{layer.name}: its sums reach .*9,007,199,254,740,992"):
        Evaluator(replace(network, kernels=tuple(kernels)))

"""The generated C computes what the arbiter computes, to the last bit."""

from math import prod

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from pruning.cost.memory.peak import MemoryConventions
from pruning.cost.model import CostModel, deployed
from pruning.deploy import IntegerNetwork, obstacles, plan, reference
from pruning.deploy.kernels.add import Add
from pruning.frontend.trace import trace
from pruning.graph.shrink import kept_axes, shrink_graph, shrink_tensors
from tests.pruning.agreement import masks
from tests.pruning.deploy.drawn import deployable
from tests.pruning.deploy.host import answers, compiled, needs_cc, written
from tests.pruning.deploy.lowered import (
    DEPLOYED,
    ZOO,
    drawn,
    evaluated_alike,
    lowered,
    traced,
)
from tests.pruning.random_networks import FEW


def assert_same_codes(network: IntegerNetwork, inputs: torch.Tensor, folder) -> None:
    codes = network.quantized(inputs.numpy())
    expected = reference(network, codes)
    found = answers(compiled(written(network, folder)), network, codes)
    for name, output in zip(network.outputs, found, strict=True):
        np.testing.assert_array_equal(output.reshape(expected[name].shape), expected[name])


@pytest.mark.slow
@needs_cc
@pytest.mark.parametrize("name", DEPLOYED)
def test_every_network_gives_the_same_codes(name, tmp_path):
    graph, tensors = traced(name)
    inputs = drawn(graph, 4)
    assert_same_codes(lowered(graph, tensors, inputs), 2 * inputs, tmp_path)


@pytest.mark.slow
@needs_cc
def test_no_name_of_a_layer_is_code(tmp_path):
    names = ["a/*b", "**//", "*/ int x; /*", "a\\", "int", "??/"]
    model = nn.Sequential()
    for name in names:
        model.add_module(name, nn.Conv2d(2, 2, 1))
    graph, inputs = trace(model, torch.zeros(2, 3, 3)), torch.randn(2, 2, 3, 3)
    assert_same_codes(lowered(graph, dict(model.state_dict()), inputs), inputs, tmp_path)


@pytest.mark.slow
@needs_cc
@pytest.mark.parametrize("name", ZOO)
def test_zoo_models_give_the_same_codes(small, name, tmp_path):
    graph, model = small(name)
    inputs = drawn(graph, 2)
    network = lowered(graph, model.state_dict(), inputs)
    assert_same_codes(network, 2 * inputs, tmp_path)


@pytest.mark.slow
@needs_cc
@FEW
@given(deployable(), st.integers(0, 9))
def test_odd_networks_give_the_same_codes(tmp_path_factory, network, seed):
    assert_odd_one_is_exact(tmp_path_factory.mktemp("odd"), network, seed)


@needs_cc
@pytest.mark.exhaustive
@settings(FEW, max_examples=200)
@given(deployable(steps=10), st.integers(0, 9))
def test_two_hundred_odd_networks_give_the_same_codes(tmp_path_factory, network, seed):
    assert_odd_one_is_exact(tmp_path_factory.mktemp("odd"), network, seed)


def assert_odd_one_is_exact(folder, network, seed) -> None:
    """After some pruning: by the evaluator and by C."""
    kept = masks(network.graph, seed)
    smaller = shrink_graph(network.graph, kept)
    assert obstacles(smaller) == []
    tensors = shrink_tensors(network.tensors(), kept_axes(network.graph, kept))
    inputs = drawn(smaller, 3, seed)
    small = lowered(smaller, tensors, inputs)
    evaluated_alike(small, 2 * inputs)
    assert_same_codes(small, 2 * inputs, folder)


@pytest.mark.slow
def test_the_arena_is_as_small_as_the_peak_of_every_network(small, device):
    made = [traced(name) for name in DEPLOYED]
    made += [(graph, model.state_dict()) for graph, model in map(small, ZOO)]
    for graph, tensors in made:
        planned = plan(lowered(graph, tensors, drawn(graph, 2)))
        cost = deployed(graph, device).dense
        assert planned.arena_bytes == planned.peak_bytes == cost.sram_bytes


@pytest.mark.slow
def test_layers_lie_over_what_they_have_read(small):
    """In every model some do, forward and backward; sums lie where an operand lay."""
    for name in ("resnet8", "mobilenet_v2"):
        graph, model = small(name)
        network = lowered(graph, model.state_dict(), drawn(graph, 2))
        planned = plan(network)
        offsets, over = planned.offsets, set()
        for kernel in network.kernels:
            ends = {n: offsets[n] + prod(network.shapes[n]) for n in offsets}
            read, made = kernel.inputs[0], kernel.output
            if isinstance(kernel, Add):
                assert offsets[made] in [offsets[n] for n in kernel.inputs]
            elif offsets[made] < ends[read] and offsets[read] < ends[made]:
                over.add(made)
                assert made not in planned.backward or offsets[made] > offsets[read]
        assert planned.backward < over


def test_sums_in_place_save_memory(device):
    """Where a branch is thin, adding it up takes most: two maps instead of three."""
    torch.manual_seed(0)
    thin = nn.Sequential(nn.Conv2d(8, 1, 3, padding=1), nn.ReLU(), nn.Conv2d(1, 8, 3, padding=1))
    graph = trace(Skip(thin), torch.zeros(8, 10, 10))
    network = lowered(graph, Skip(thin).state_dict(), drawn(graph, 2))
    in_place = CostModel(graph, device, conventions=MemoryConventions(in_place_add=True))
    assert CostModel(graph, device).dense.sram_bytes == 2_400
    assert in_place.dense.sram_bytes == 1_700  # two maps, and one of a channel
    # two maps, and 13 bytes of that channel that are unread when the last pixels are written
    assert plan(network).arena_bytes == deployed(graph, device).dense.sram_bytes == 1_613


@needs_cc
@pytest.mark.parametrize("axis", [2, 3])
def test_a_mean_over_one_axis_lies_over_what_it_has_read(axis, device, tmp_path):
    torch.manual_seed(0)
    model = Series(axis)
    graph = trace(model, torch.zeros(1, 9, 12))
    inputs = drawn(graph, 3)
    network = lowered(graph, model.state_dict(), inputs)
    assert plan(network).arena_bytes == deployed(graph, device).dense.sram_bytes < 8 * 9 * 12 * 1.2
    assert_same_codes(network, inputs, tmp_path)


class Series(nn.Module):
    """An image that becomes a series: the mean over one axis."""

    def __init__(self, axis: int) -> None:
        super().__init__()
        self.axis = axis
        self.first, self.last = nn.Conv2d(1, 8, 3, padding=1), nn.Conv1d(8, 3, 3)

    def forward(self, x):
        return self.last(self.first(x).mean(self.axis))


class Skip(nn.Module):
    """A branch beside nothing, between two layers."""

    def __init__(self, branch: nn.Module) -> None:
        super().__init__()
        self.first, self.branch, self.last = nn.Conv2d(8, 8, 1), branch, nn.Conv2d(8, 2, 1)

    def forward(self, x):
        x = self.first(x)
        return self.last(x + self.branch(x))

"""The generated C computes what the arbiter computes, to the last bit."""

from itertools import pairwise
from math import prod

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from pruning.cost import CostModel
from pruning.deploy import IntegerNetwork, obstacles, plan, reference
from pruning.shrink import kept_axes, shrink_graph, shrink_tensors
from tests.pruning.deploy import test_integer
from tests.pruning.deploy.drawn import deployable
from tests.pruning.deploy.host import answers, compiled, needs_cc, written
from tests.pruning.deploy.test_integer import DEPLOYED, drawn, lowered, traced
from tests.pruning.test_random_networks import FEW, masks

ZOO = ["resnet8", "resnet20", "ds_cnn", "mobilenet_v1", "vgg16", "mobilenet_v2"]


def assert_same_codes(network: IntegerNetwork, inputs: torch.Tensor, folder) -> None:
    codes = network.quantised(inputs.numpy())
    expected = reference(network, codes)
    found = answers(compiled(written(network, folder)), network, codes)
    for name, output in zip(network.outputs, found, strict=True):
        np.testing.assert_array_equal(output.reshape(expected[name].shape), expected[name])


@needs_cc
@pytest.mark.parametrize("name", DEPLOYED)
def test_every_network_gives_the_same_codes(name, tmp_path):
    graph, tensors = traced(name)
    inputs = drawn(graph, 4)
    assert_same_codes(lowered(graph, tensors, inputs), 2 * inputs, tmp_path)


@needs_cc
@pytest.mark.parametrize("name", ZOO)
def test_zoo_models_give_the_same_codes(small, name, tmp_path):
    graph, model = small(name)
    inputs = drawn(graph, 2)
    network = lowered(graph, model.state_dict(), inputs)
    assert_same_codes(network, 2 * inputs, tmp_path)


@needs_cc
@FEW
@given(deployable(), st.integers(0, 9))
def test_odd_networks_give_the_same_codes(tmp_path_factory, network, seed):
    assert_odd_one_is_exact(tmp_path_factory.mktemp("odd"), network, seed)


@needs_cc
@pytest.mark.slow
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
    test_integer.assert_same_codes(small, 2 * inputs)
    assert_same_codes(small, 2 * inputs, folder)


def test_the_arena_is_as_small_as_the_peak_of_every_network(small, device):
    made = [traced(name) for name in DEPLOYED]
    made += [(graph, model.state_dict()) for graph, model in map(small, ZOO)]
    for graph, tensors in made:
        planned = plan(lowered(graph, tensors, drawn(graph, 2)))
        cost = CostModel(graph, device).dense
        assert planned.arena_bytes == planned.peak_bytes == cost.sram_bytes


def test_buffers_that_are_needed_together_do_not_overlap(small):
    graph, model = small("resnet8")
    network = lowered(graph, model.state_dict(), drawn(graph, 2))
    offsets = plan(network).offsets
    for kernel in network.kernels:
        places = sorted(
            (offsets[name], offsets[name] + prod(network.shapes[name]))
            for name in {*kernel.inputs, kernel.output}
        )
        for (_, end), (start, _) in pairwise(places):
            assert end <= start

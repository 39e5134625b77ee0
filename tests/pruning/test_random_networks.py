"""Networks that nobody thought of: random ones, out of everything that is supported."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from pruning.cost.memory.peak import MemoryConventions
from pruning.cost.model import CostModel
from pruning.execution.fake_quant import QuantizedNetwork
from pruning.execution.network import Network
from pruning.frontend.trace import trace
from pruning.graph.graph import Graph
from pruning.graph.shrink import shrink_graph
from pruning.ir.kernel import Kernel
from pruning.ir.operator import INPUT
from tests.pruning.agreement import close, masks, without
from tests.pruning.orders import brute
from tests.pruning.random_networks import FEW, SHAPE, networks


@pytest.mark.slow
@FEW
@given(networks(steps=14), st.integers(0, 9))
def test_shrunk_computes_what_masked_does(network, seed):
    kept = masks(network.graph, seed)
    inputs = torch.randn(3, *SHAPE, generator=torch.Generator().manual_seed(seed))
    smaller = without(network, kept)
    with torch.no_grad():
        close(smaller(inputs), network(inputs, torch.from_numpy(kept).float()))
    assert smaller.graph == Graph.from_json(smaller.graph.to_json())
    assert QuantizedNetwork(smaller.graph, smaller.tensors(), inputs)(inputs).isfinite().all()


@pytest.mark.slow
@FEW
@given(networks(steps=14), st.integers(0, 9))
def test_shrinking_twice_is_shrinking_once(network, seed):
    graph = network.graph
    first, later = masks(graph, seed + 1), masks(graph, seed + 2)
    both = first & later
    for group in graph.channels.groups:
        if not both[group.units].any():
            both[group.units] = first[group.units]
    direct, twice = without(network, both), without(without(network, first), both[first])
    assert twice.graph == direct.graph
    for name, tensor in direct.tensors().items():
        assert torch.equal(tensor, twice.tensors()[name])


@pytest.mark.slow
@FEW
@given(networks(steps=14), st.integers(0, 9))
def test_cost_at_widths_is_that_of_the_shrunk_network(device, network, seed):
    """From its graph; by counting its tensors; and from its module, exported and traced."""
    kept = masks(network.graph, seed)
    widths = [int(kept[g.units].sum()) for g in network.graph.channels.groups]
    cost = CostModel(network.graph, device).cost(widths)
    smaller = without(network, kept)
    model = CostModel(smaller.graph, device)
    assert model.dense == cost
    assert cost.flash_bytes == stored_bytes(model, smaller)
    again = CostModel(trace(smaller, torch.zeros(SHAPE)), device)
    assert (again.dense.flash_bytes, again.dense.macs) == (cost.flash_bytes, cost.macs)
    if [k.kind for k in again.kernels] == [k.kind for k in model.kernels]:
        assert again.dense == cost


def stored_bytes(model: CostModel, network: Network) -> int:
    """One byte a weight; nine bytes more for the bias and scale of every output channel."""
    total, graph, tensors = 0, network.graph, network.tensors()
    for kernel in model.kernels:
        main = graph[kernel.name]
        sizes = {role: tensors[name].numel() for role, name in main.parameters.items()}
        own = {"weight", "operand", "constant", "slope", "scale"} & set(sizes)
        total += sum(sizes[role] for role in own)
        if own & {"weight", "scale"}:
            total += 9 * graph.shape(kernel.name)[0]
    return total


def exhaustive(model: CostModel) -> int:
    """The peak of the best of all orders, from the shapes alone."""
    graph = model.graph
    sizes = {name: int(np.prod(graph.shape(name))) for name in (INPUT, *map(output, model.kernels))}
    holds = {name: kernel.output for kernel in model.kernels for name in kernel.chain}
    for operator in graph.operators:  # a reshape has the buffer of what it reads
        holds.setdefault(operator.name, holds.get(operator.inputs[0], INPUT))
    outputs = [holds[name] for name in graph.outputs]
    return brute(model.kernels, sizes, outputs, model.conventions)


def output(kernel: Kernel) -> str:
    return kernel.output


@pytest.mark.slow
@FEW
@given(networks(steps=5), st.integers(0, 9), st.booleans(), st.booleans())
def test_peak_is_that_of_the_best_of_all_orders(device, network, seed, in_place, overlap):
    conventions = MemoryConventions(
        in_place_add=in_place, in_place_depthwise=in_place, overlap=overlap
    )
    model = CostModel(
        shrink_graph(network.graph, masks(network.graph, seed)), device, conventions=conventions
    )
    if len(model.kernels) <= 9:
        assert model.dense.sram_bytes == exhaustive(model)


@pytest.mark.slow
@FEW
@given(networks(steps=14), st.integers(0, 9))
def test_fewer_channels_never_cost_more(device, network, seed):
    model = CostModel(network.graph, device)
    random = np.random.default_rng(seed)
    more = [g.size for g in model.graph.channels.groups]
    for _ in range(4):
        less = [
            int(random.integers(1, w + 1)) if g.prunable else w
            for g, w in zip(model.graph.channels.groups, more, strict=True)
        ]
        wide, narrow = model.cost(more), model.cost(less)
        assert narrow.flash_bytes <= wide.flash_bytes
        assert narrow.sram_bytes <= wide.sram_bytes
        assert narrow.macs <= wide.macs
        assert narrow.latency_ms <= wide.latency_ms
        more = less

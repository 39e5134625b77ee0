"""Every network that people may bring: traced, pruned, shrunk, costed, rounded and trained."""

import re
from collections import Counter
from functools import cache

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional
from torch.utils._pytree import tree_leaves

from pruning.cost.model import CostModel, deployed
from pruning.errors import UnsupportedOperatorError
from pruning.execution.fake_quant import QuantizedNetwork
from pruning.execution.network import Network
from pruning.frontend.trace import tensors_of, trace
from pruning.graph.graph import Graph
from pruning.graph.shrink import kept_axes, shrink_graph, shrink_tensors
from tests.pruning.agreement import only_one
from tests.pruning.networks import NETWORKS, REFUSED, Net, build, randomised


@cache
def made(name: str) -> tuple[Graph, nn.Module]:
    model, shape = build(name)
    return trace(model, torch.zeros(shape)), model


def network_of(name: str) -> Network:
    graph, model = made(name)
    return Network(graph, tensors_of(model)).eval()


def inputs_for(graph: Graph, count: int = 3) -> torch.Tensor:
    generator = torch.Generator().manual_seed(count)
    return torch.randn(count, *graph.input_shape, generator=generator)


def shrunk(network: Network, kept: np.ndarray) -> Network:
    tensors = shrink_tensors(network.tensors(), kept_axes(network.graph, kept))
    return Network(shrink_graph(network.graph, kept), tensors).train(network.training)


def assert_close(found, wanted, tolerance: float = 1e-5) -> None:
    found, wanted = tree_leaves(found), tree_leaves(wanted)
    assert len(found) == len(wanted)
    for one, other in zip(found, wanted, strict=True):
        scale = other.abs().max().clamp_min(1.0)
        torch.testing.assert_close(one / scale, other / scale, rtol=0, atol=tolerance)


@pytest.mark.parametrize("name", REFUSED)
def test_refused_before_training(name):
    model, shape = build(name)
    with pytest.raises(UnsupportedOperatorError) as caught:
        trace(model, torch.zeros(shape))
    found = re.match(r"operator \w+ of type aten\.(\w+)\.\w+ in .+: .+", str(caught.value))
    assert found, str(caught.value)
    assert re.fullmatch(REFUSED[name][2], found[1])


@pytest.mark.parametrize("name", NETWORKS)
def test_computes_what_its_module_does(name):
    graph, model = made(name)
    inputs = inputs_for(graph)
    with torch.no_grad():
        assert_close(network_of(name)(inputs), model(inputs.clone()))


@pytest.mark.parametrize("seed", ["one", 0, 1, 2])
@pytest.mark.parametrize("name", NETWORKS)
def test_shrunk_computes_what_masked_does(name, seed, random_mask):
    network = network_of(name)
    graph = network.graph
    kept = only_one(graph.channels) if seed == "one" else random_mask(graph, seed)
    inputs, mask = inputs_for(graph), torch.from_numpy(kept).float()
    for training in (False, True):
        with torch.no_grad():
            masked = network.train(training)(inputs, mask)
            smaller = shrunk(network, kept)(inputs)
        if not (training and any(o.kind == "dropout" for o in graph.operators)):
            assert_close(smaller, masked)


@pytest.mark.parametrize("name", NETWORKS)
def test_cost_follows_what_is_removed(name, device, random_mask):
    graph, _ = made(name)
    model = CostModel(graph, device)
    dense = model.dense
    assert min(dense.flash_bytes, dense.sram_bytes, dense.latency_ms, dense.macs) > 0
    for kept in (only_one(graph.channels), random_mask(graph, 0)):
        widths = [int(kept[group.units].sum()) for group in graph.channels.groups]
        cost = model.cost(widths)
        assert CostModel(shrink_graph(graph, kept), device).dense == cost
        assert cost.sram_bytes <= dense.sram_bytes
        if not kept.all():
            assert cost.flash_bytes < dense.flash_bytes
            assert cost.macs < dense.macs


@pytest.mark.parametrize("name", NETWORKS)
def test_traced_anew_it_costs_the_same(name, device, random_mask):
    """The shrunk network is itself a module: exported and traced, with nothing handed over."""
    network = network_of(name)
    smaller = shrunk(network, random_mask(network.graph, 1)).eval()
    again = trace(smaller, torch.zeros(network.graph.input_shape))
    found, known = CostModel(again, device), CostModel(smaller.graph, device)
    assert found.dense.flash_bytes == known.dense.flash_bytes
    assert found.dense.macs == known.dense.macs
    if any("divisor" in operator.attributes for operator in smaller.graph.operators):
        return  # the mean over the channels that there were is written as a sum and a division
    gone, new = kinds(known) - kinds(found), kinds(found) - kinds(known)
    if not gone and not new:
        assert found.dense == known.dense
    elif set(gone) == {"gather"}:  # of so few channels that none of them moves
        assert found.dense.sram_bytes <= known.dense.sram_bytes
        assert found.dense.latency_ms < known.dense.latency_ms
    else:  # with one channel, groups are depthwise and depthwise is a convolution
        assert set(gone) | set(new) == {"conv", "depthwise"}
        assert found.dense.sram_bytes == known.dense.sram_bytes


def kinds(model: CostModel) -> Counter[str]:
    return Counter(kernel.kind for kernel in model.kernels)


@pytest.mark.parametrize("name", NETWORKS)
def test_int8_network_runs(name, random_mask):
    network = network_of(name)
    smaller = shrunk(network, random_mask(network.graph, 2))
    for each in (network, smaller):
        inputs = inputs_for(each.graph, 8)
        rounded = QuantizedNetwork(each.graph, each.tensors(), inputs)(inputs)
        with torch.no_grad():
            assert_close(rounded, each(inputs), tolerance=0.3)


@pytest.mark.parametrize("name", NETWORKS)
def test_one_step_moves_every_parameter(name, random_mask):
    """Gradients are finite for weights and masks, also where channels are masked."""
    torch.manual_seed(0)
    network = network_of(name).train()
    optimizer = torch.optim.SGD(network.parameters(), lr=0.1)
    before = {name: p.detach().clone() for name, p in network.named_parameters()}
    kept = random_mask(network.graph, 0)
    for factors in (kept, np.ones_like(kept)):
        mask = torch.from_numpy(factors).float().requires_grad_()
        optimizer.zero_grad()
        outputs = tree_leaves(network(inputs_for(network.graph, 4), mask))
        sum((out * torch.randn_like(out)).sum() for out in outputs).backward()
        gradients = [mask.grad, *(p.grad for p in network.parameters())]
        assert all(g is not None and g.isfinite().all() for g in gradients)
    optimizer.step()
    moved = [not torch.equal(before[key], p) for key, p in network.named_parameters()]
    assert sum(moved) > len(moved) / 2


@pytest.mark.parametrize("name", NETWORKS)
def test_memory_is_that_of_its_arena(name, device, random_mask):
    """But for gaps: what is counted is what is laid out."""
    graph, _ = made(name)
    for kept in (np.ones(graph.channels.units, dtype=bool), random_mask(graph, 3)):
        smaller = shrink_graph(graph, kept)
        model = deployed(smaller, device)
        assert model.arena(smaller.channels.widths).peak_bytes == model.dense.sram_bytes


def test_what_is_frozen_is_not_trained():
    network = network_of("frozen")
    trained = network.trained().keys()
    assert "blur" not in trained
    assert "second.0.weight" not in trained
    assert {"first.0.weight", "second.1.weight", "head.bias"} <= trained
    assert {"blur", "second.0.weight"} <= set(network.tensors())
    assert Graph.from_json(network.graph.to_json()) == network.graph


def test_layers_of_two_names_are_known_by_either_call():
    model, shape = build("aliased")
    assert "stem.0" in trace(model, torch.zeros(shape), ignored_layers=("stem",)).ignored_layers
    model, shape = build("hidden")
    assert trace(model, torch.zeros(shape), ignored_layers=("input",)).ignored_layers == (
        "input:2",
    )


@pytest.mark.parametrize(
    ("model", "shape", "message"),
    [
        (nn.Sequential(nn.MaxPool2d(2), nn.Flatten()), (6, 6), "axis of channels"),
        (nn.Sequential(nn.AdaptiveAvgPool2d(2), nn.Flatten()), (6, 6), "axis of channels"),
        (nn.AvgPool1d(2), (6,), "axis of channels"),
        (nn.Flatten(), (3, 4), "computes nothing"),
        (nn.Identity(), (), "one number"),
        (Net(lambda n, x: functional.batch_norm(x, n.b.running_mean, n.b.running_var,
                                                n.b.weight, n.b.bias, True),
             b=nn.BatchNorm2d(3)), (3, 4, 4), "goes by its batch"),
    ],
)  # fmt: skip
def test_what_would_be_misread_is_refused(model, shape, message):
    with pytest.raises(UnsupportedOperatorError, match=message):
        trace(model, torch.zeros(shape))


def test_a_block_without_gradients_is_named():
    def forward(n, x):
        with torch.no_grad():
            x = n.a(x)
        return n.b(x)

    with pytest.raises(UnsupportedOperatorError, match="no_grad, autocast"):
        trace(Net(forward, a=nn.Linear(3, 3), b=nn.Linear(3, 3)), torch.zeros(3))


def test_the_border_of_a_maximum_leaves_a_gradient():
    network = network_of("infinite-border").train()
    mask = torch.ones(network.graph.channels.units, requires_grad=True)
    network(inputs_for(network.graph), mask).sum().backward()
    assert mask.grad.isfinite().all()


def rows_of(forward):
    return Net(forward, a=nn.Linear(5, 6), b=nn.Linear(5, 6), g=nn.Parameter(torch.rand(6)))


@pytest.mark.parametrize(
    ("forward", "kind"),
    [
        (lambda n, x: functional.relu(n.a(x), inplace=True).transpose(1, 2), "activation"),
        (lambda n, x: (n.a(x) + n.b(x)).transpose(1, 2), "add"),
        (lambda n, x: n.a(x).mul_(n.b(x)).transpose(1, 2), "mul"),
        (lambda n, x: (n.g * n.a(x)).transpose(1, 2), "mul"),
    ],
)
def test_work_on_turned_data_needs_no_table(forward, kind):
    """What is moved again afterwards is not moved in between."""
    model = randomised(rows_of(forward))
    graph = trace(model, torch.zeros(7, 5))
    made = [operator.kind for operator in graph.operators]
    assert made[-1] == kind
    assert made.count("gather") == made.count("linear")  # each turns its input, nothing else
    inputs = inputs_for(graph)
    with torch.no_grad():
        assert_close(Network(graph, tensors_of(model)).eval()(inputs), model(inputs.clone()))


def test_dropped_channels_of_turned_data_are_those_of_the_module():
    def forward(n, x):
        return functional.dropout1d(n.a(x) + 100, 0.4, True)

    model = Net(forward, a=nn.Linear(5, 6))
    network = Network(trace(model, torch.zeros(7, 5)), tensors_of(model)).train()
    gone = network(torch.randn(3, 7, 5)) == 0
    assert gone.any()
    assert gone.all(2).equal(gone.any(2))  # whole moments, as torch takes axis 1 for channels


@pytest.mark.parametrize(
    ("forward", "kinds_"),
    [
        (lambda n, x: sum([n.a(x), n.a(x)]), ["linear", "linear", "add"]),
        (lambda n, x: n.a(x) * 1.0 / 1 - 0, ["linear"]),
        (lambda n, x: torch.clip(torch.negative(n.a(x)), 0, 1), ["linear", "activation"]),
        (lambda n, x: torch.concat([n.a(x), torch.absolute(n.a(x))], 1), None),
        (lambda n, x: torch.true_divide(torch.subtract(n.a(x), torch.multiply(x[:, :1], 2)), 3),
         None),
    ],
)  # fmt: skip
def test_other_names_and_neutral_numbers(forward, kinds_):
    model = randomised(Net(forward, a=nn.Linear(5, 6)))
    graph = trace(model, torch.zeros(5))
    if kinds_ is not None:
        assert [o.kind for o in graph.operators][: len(kinds_)] == kinds_
    inputs = inputs_for(graph)
    with torch.no_grad():
        assert_close(Network(graph, tensors_of(model)).eval()(inputs), model(inputs.clone()))

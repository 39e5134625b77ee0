"""A shrunk network computes what the masked one does, and what the module would."""

import numpy as np
import pytest
import torch
from torch import nn

from pruning.allocation.masks import inner_groups
from pruning.cost.model import CostModel, bottlenecks
from pruning.execution.network import Network
from pruning.frontend.trace import trace
from pruning.graph.shrink import kept_axes, shrink_graph, shrink_tensors, without
from tests.pruning.networks import Net, block
from tests.pruning.zoo import ZOO

SMALL = ["resnet8", "resnet20", "ds_cnn", "mobilenet_v1", "vgg16", "mobilenet_v2"]
ODD = [
    "excite", "excite-linear", "stacked", "grouped", "preactivation", "plain", "multiplier",
    "waves", "twice", "spread", "dense", "overwriting",
]  # fmt: skip


def shrunk(network: Network, kept: np.ndarray) -> Network:
    graph = network.graph
    tensors = shrink_tensors(network.tensors(), kept_axes(graph, kept))
    return Network(shrink_graph(graph, kept), tensors).train(network.training)


def assert_same(network: Network, kept: np.ndarray, seed: int = 0) -> None:
    generator = torch.Generator().manual_seed(seed)
    inputs = torch.randn(3, *network.graph.input_shape, generator=generator)
    with torch.no_grad():
        masked = network(inputs, torch.from_numpy(kept).float())
        smaller = shrunk(network, kept)(inputs)
    scale = masked.abs().max().clamp_min(1.0)
    torch.testing.assert_close(smaller / scale, masked / scale, rtol=0, atol=1e-5)


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("name", SMALL)
def test_small_zoo(small, network_of, random_mask, name, seed):
    graph, model = small(name)
    assert_same(network_of(graph, model), random_mask(graph, seed), seed)


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("name", ODD)
def test_odd_networks(odd, network_of, random_mask, name, seed):
    graph, model = odd(name)
    assert_same(network_of(graph, model), random_mask(graph, seed), seed)


@pytest.mark.parametrize("name", [n for n in ODD if n != "overwriting"])
def test_in_training_mode_too(odd, network_of, random_mask, name):
    """Batch statistics of masked channels do not leak into those that stay."""
    graph, model = odd(name)
    kept = random_mask(graph, 1)
    assert_same(network_of(graph, model).train(), kept)


@pytest.mark.slow
def test_a_mask_of_ones_changes_nothing(odd, network_of):
    for name in ODD:
        graph, model = odd(name)
        network = network_of(graph, model)
        inputs = torch.randn(2, *graph.input_shape)
        ones = torch.ones(graph.channels.units)
        with torch.no_grad():
            torch.testing.assert_close(network(inputs, ones), network(inputs), rtol=0, atol=1e-6)


@pytest.mark.parametrize("name", SMALL)
def test_equals_the_torch_module_with_its_channels_silenced(small, network_of, random_mask, name):
    """Independent of our masks: scales and shifts of the module itself are set to zero."""
    graph, model = small(name)
    kept = random_mask(graph, 2)
    whole = {key: value.clone() for key, value in model.state_dict().items()}
    inputs = torch.randn(2, *graph.input_shape)
    try:
        for module_name, module in model.named_modules():
            if isinstance(module, nn.BatchNorm2d):
                gone = torch.from_numpy(~kept[graph.channels.layout[module_name]])
                module.weight.data[gone] = 0
                module.bias.data[gone] = 0
        with torch.no_grad():
            wanted = model(inputs)
    finally:
        model.load_state_dict(whole)
    with torch.no_grad():
        found = shrunk(network_of(graph, model), kept)(inputs)
    torch.testing.assert_close(found, wanted, rtol=1e-4, atol=1e-5)


def test_equals_a_smaller_torch_module_made_by_hand():
    torch.manual_seed(0)
    model = nn.Sequential(
        nn.Conv2d(2, 6, 3), nn.BatchNorm2d(6), nn.ReLU(),
        nn.Conv2d(6, 4, 3), nn.Flatten(), nn.Linear(16, 3),
    ).eval()  # fmt: skip
    with torch.no_grad():
        model[1].running_mean.normal_()
        model[1].bias.normal_()
    graph = trace(model, torch.zeros(2, 6, 6))
    kept = np.ones(graph.channels.units, dtype=bool)
    first, second = [g for g in graph.channels.groups if g.prunable]
    kept[first.start + np.array([0, 3, 4])] = False
    kept[second.start + 1] = False
    a, b = [1, 2, 5], [0, 2, 3]
    small = nn.Sequential(
        nn.Conv2d(2, 3, 3), nn.BatchNorm2d(3), nn.ReLU(),
        nn.Conv2d(3, 3, 3), nn.Flatten(), nn.Linear(12, 3),
    ).eval()  # fmt: skip
    small.load_state_dict({
        "0.weight": model[0].weight[a],
        "0.bias": model[0].bias[a],
        "1.weight": model[1].weight[a],
        "1.bias": model[1].bias[a],
        "1.running_mean": model[1].running_mean[a],
        "1.running_var": model[1].running_var[a],
        "1.num_batches_tracked": torch.tensor(0),
        "3.weight": model[3].weight[b][:, a],
        "3.bias": model[3].bias[b],
        "5.weight": model[5].weight.reshape(3, 4, 4)[:, b].reshape(3, 12),
        "5.bias": model[5].bias,
    })  # fmt: skip
    found = shrunk(Network(graph, model.state_dict()).eval(), kept)
    for name, tensor in small.state_dict().items():
        if name in found.tensors():
            assert torch.equal(found.tensors()[name], tensor), name
    inputs = torch.randn(4, 2, 6, 6)
    torch.testing.assert_close(found(inputs), small(inputs))


@pytest.mark.slow
def test_shrinking_twice_is_shrinking_once(odd, network_of, random_mask):
    for name in ODD:
        graph, model = odd(name)
        network = network_of(graph, model)
        first = random_mask(graph, 0)
        later = random_mask(graph, 1)
        both = first & later
        for group in graph.channels.groups:
            if not both[group.units].any():
                both[group.units] = first[group.units]
        direct = shrunk(network, both)
        twice = shrunk(shrunk(network, first), both[first])
        assert twice.graph == direct.graph
        for key, tensor in direct.tensors().items():
            assert torch.equal(twice.tensors()[key], tensor), (name, key)


def test_essential_groups_may_not_vanish_and_fixed_channels_may_not_go(small):
    graph, _ = small("resnet8")
    for group, inner in zip(graph.channels.groups, inner_groups(graph), strict=True):
        kept = np.ones(graph.channels.units, dtype=bool)
        kept[group.units] = False
        if not group.prunable:
            kept[group.start] = group.size > 1
        if not inner:
            with pytest.raises(ValueError, match=r"channels kept|no channel is kept"):
                shrink_graph(graph, kept)


@pytest.mark.parametrize("name", ["resnet8", "resnet20", "mobilenet_v2"])
def test_a_block_without_its_branch_is_its_skip(small, network_of, random_mask, name):
    """The same as the branch's last batch norm saying zero."""
    graph, model = small(name)
    network = network_of(graph, model)
    for index, inner in enumerate(inner_groups(graph)):
        if not inner:
            continue
        group = graph.channels.groups[index]
        kept = random_mask(graph, index)
        kept[group.units] = False
        smaller = shrunk(network, kept)
        stays = {o.name for o in smaller.graph.operators}
        gone = {o.name for o in graph.operators} - stays
        assert gone >= set(group.operators)
        left = {t for o in smaller.graph.operators for t in o.parameters.values()}
        assert set(smaller.tensors()) == left
        last = next(
            network.graph[o.inputs[i]]
            for o in graph.operators
            if o.kind == "add"
            for i in (0, 1)
            if o.inputs[i] in gone
        )
        silent = Network(graph, network.tensors()).train(network.training)
        for role in ("weight", "bias"):
            silent.tensors()[last.parameters[role]].data.zero_()
        inputs = torch.randn(2, *graph.input_shape)
        with torch.no_grad():
            expected = silent(inputs, torch.from_numpy(kept).float())
            torch.testing.assert_close(smaller(inputs), expected, rtol=1e-4, atol=1e-4)


def test_a_concatenation_goes_on_without_a_vanished_operand(odd, network_of):
    graph, model = odd("dense")
    network = network_of(graph, model)
    inner = inner_groups(graph)
    assert any(inner)
    for index in np.flatnonzero(inner):
        kept = without(graph, [int(index)])
        smaller = shrunk(network, kept)
        inputs = torch.randn(2, *graph.input_shape)
        with torch.no_grad():
            expected = network(inputs, torch.from_numpy(kept).float())
            torch.testing.assert_close(smaller(inputs), expected, rtol=1e-4, atol=1e-4)


@pytest.mark.slow
def test_cost_at_width_zero_is_that_of_what_is_left(small, device):
    for name in ("resnet8", "resnet20", "mobilenet_v2"):
        graph, _ = small(name)
        model = CostModel(graph, device)
        for index, inner in enumerate(inner_groups(graph)):
            if inner:
                kept = without(graph, [index])
                widths = [int(kept[g.units].sum()) for g in graph.channels.groups]
                left = CostModel(shrink_graph(graph, kept), device)
                assert model.cost(widths) == left.dense
                assert (
                    bottlenecks(model, widths)["sram_bytes"]
                    == bottlenecks(left, left.graph.channels.widths)["sram_bytes"]
                )
                table = model.costs([widths, graph.channels.widths])
                assert table["flash_bytes"].tolist() == [
                    left.dense.flash_bytes, model.dense.flash_bytes
                ]  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("name", ZOO)
def test_whole_zoo(random_mask, name, seed):
    make, shape = ZOO[name]
    torch.manual_seed(seed)
    model = make()
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.uniform_(module.running_mean, -0.5, 0.5)
            nn.init.uniform_(module.running_var, 0.5, 2.0)
            nn.init.uniform_(module.weight, 0.5, 1.5)
            nn.init.uniform_(module.bias, -0.5, 0.5)
    graph = trace(model, torch.zeros(shape))
    assert_same(Network(graph, model.state_dict()).eval(), random_mask(graph, seed), seed)


def broadcast(other):
    """A branch of two layers, and beside it a map that is spread over the sum."""

    def forward(n, x):
        s = n.stem(x)
        return n.head(n.after(n.b(n.a(s)) + n.c(other(s))).mean((2, 3)))

    return forward


def flat(values):
    return values.mean((2, 3), keepdim=True)


@pytest.mark.parametrize(("other", "channels"), [(flat, 10), (lambda s: s, 1)])
def test_a_sum_does_not_become_an_operand_of_another_shape(other, channels):
    layers = {
        "stem": block(3, 8),
        "a": block(8, 6),
        "b": block(6, 10),
        "c": nn.Conv2d(8, channels, 1),
        "after": block(10, 5),
        "head": nn.Linear(5, 4),
    }
    module = Net(broadcast(other), **layers).eval()
    graph = trace(module, torch.zeros(3, 8, 8))
    inner = inner_groups(graph)
    names = [group.name for group in graph.channels.groups]
    assert not inner[names.index("a.0")]
    assert any(inner) == (channels == 1)
    network, inputs = Network(graph, module.state_dict()).eval(), torch.randn(2, 3, 8, 8)
    for index, may in enumerate(inner):
        if may:  # the map that is spread: the sum becomes its other operand
            smaller = shrunk(network, without(graph, [index]))
            module.c.weight.data.zero_()
            module.c.bias.data.zero_()
            torch.testing.assert_close(smaller(inputs), module(inputs))

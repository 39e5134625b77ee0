"""Which channels live and die together, and what is linear in the widths."""

import numpy as np
import pytest
import torch
from torch import nn

from pruning.allocation.masks import inner_groups
from pruning.frontend.trace import trace
from pruning.graph.graph import INPUT, Graph, Operator
from pruning.graph.shrink import shrink_graph

SMALL = ["resnet8", "resnet20", "ds_cnn", "mobilenet_v1", "vgg16", "mobilenet_v2"]
ODD = [
    "excite", "excite-linear", "stacked", "grouped", "preactivation", "plain", "multiplier",
    "waves", "twice", "spread", "dense", "overwriting",
]  # fmt: skip


def prunable(graph: Graph) -> dict[str, int]:
    return {g.name: g.size for g in graph.channels.groups if g.prunable}


def group_of(graph: Graph, value: str) -> set[str]:
    """The names of the groups whose channels a value holds."""
    units = set(graph.channels.layout[value].tolist())
    return {g.name for g in graph.channels.groups if units & set(range(*g.units.indices(1 << 30)))}


@pytest.mark.slow
def test_residual_branches_are_tied_to_their_trunk(small):
    graph, _ = small("resnet8")
    stem, second = "features.stem.conv", "features.block2.body.second.conv"
    trunk = group_of(graph, stem)
    assert group_of(graph, "features.block1.body.second.conv") == trunk
    assert group_of(graph, "features.block1.add") == trunk
    assert group_of(graph, "features.block1.body.first.conv").isdisjoint(trunk)
    assert group_of(graph, second) == group_of(graph, "features.block2.shortcut.conv")
    assert prunable(graph) == {
        stem: 8,
        "features.block1.body.first.conv": 8,
        "features.block2.body.first.conv": 16,
        second: 16,
        "features.block3.body.first.conv": 32,
        "features.block3.body.second.conv": 32,
    }


@pytest.mark.slow
def test_input_and_outputs_are_never_prunable(small):
    for name in SMALL:
        graph, _ = small(name)
        fixed = {n for v in (INPUT, *graph.outputs) for n in group_of(graph, v)}
        assert fixed.isdisjoint(prunable(graph))


def test_a_depthwise_convolution_is_tied_to_its_input(small):
    graph, _ = small("ds_cnn")
    assert group_of(graph, "features.block1.depthwise.conv") == group_of(
        graph, "features.stem.conv"
    )
    assert np.array_equal(
        graph.channels.layout["features.block1.depthwise.conv"],
        graph.channels.layout["features.stem.conv"],
    )
    assert group_of(graph, "features.block1.pointwise.conv").isdisjoint(
        group_of(graph, "features.stem.conv")
    )


def test_a_depthwise_multiplier_repeats_each_unit(odd):
    graph, _ = odd("multiplier")
    stem = graph.channels.layout["stem.0"]
    assert np.array_equal(graph.channels.layout["depthwise"], np.repeat(stem, 2))


def test_convolution_groups_keep_the_same_positions(odd):
    graph, _ = odd("grouped")
    stem = graph.channels.layout["stem.0"].reshape(3, 4)
    assert np.array_equal(stem, np.broadcast_to(stem[0], (3, 4)))
    assert prunable(graph) == {"stem.0": 4, "grouped": 2}


def test_concat_stacks_and_an_addition_ties_the_stack(odd):
    graph, _ = odd("stacked")
    layout = graph.channels.layout
    assert np.array_equal(layout["cat"], np.concatenate([layout["a"], layout["b"]]))
    assert np.array_equal(layout["whole"], layout["cat"])
    assert np.array_equal(layout["cat:2"], np.tile(layout["cat"], 2))
    assert prunable(graph) == {"a": 6, "b": 4}


def test_concat_ties_nothing():
    class Two(nn.Module):
        def __init__(self):
            super().__init__()
            self.a, self.b, self.c = nn.Conv2d(1, 3, 1), nn.Conv2d(1, 2, 1), nn.Conv2d(5, 2, 1)

        def forward(self, x):
            return self.c(torch.cat([self.a(x), self.b(x)], 1))

    graph = trace(Two(), torch.zeros(1, 2, 2))
    assert prunable(graph) == {"a": 3, "b": 2}
    counts = graph.channels.counts["cat"]
    assert [int(counts[i]) for i, g in enumerate(graph.channels.groups) if g.prunable] == [1, 1]


@pytest.mark.parametrize("name", ["excite", "excite-linear"])
def test_a_gate_is_tied_to_what_it_scales(odd, name):
    graph, _ = odd(name)
    assert group_of(graph, "gate.2") == group_of(graph, "stem.0")
    assert group_of(graph, "gate.0").isdisjoint(group_of(graph, "stem.0"))
    assert prunable(graph) == {"stem.0": 8, "gate.0": 4}


def test_one_channel_spread_over_many_is_tied_to_none(odd):
    graph, _ = odd("spread")
    assert prunable(graph) == {"stem.0": 6, "map": 1, "offset": 1, "mix": 5}


def test_flatten_repeats_each_channel_for_its_pixels(odd):
    graph, _ = odd("plain")
    layout = graph.channels.layout
    assert np.array_equal(layout["flatten"], np.repeat(layout["c"], 4))
    index = [g.name for g in graph.channels.groups].index("c")
    assert graph.channels.counts["flatten"][index] == 4


def test_reused_weights_tie_inputs_and_outputs_of_both_uses(odd):
    graph, _ = odd("twice")
    assert prunable(graph) == {"stem": 6}


def test_softmax_over_channels_fixes_them():
    model = nn.Sequential(
        nn.Conv2d(1, 4, 1), nn.Flatten(), nn.Linear(16, 5), nn.Softmax(1), nn.Linear(5, 2)
    )
    assert prunable(trace(model, torch.zeros(1, 2, 2))) == {"0": 4}


def every(small, odd):
    return [small(name)[0] for name in SMALL] + [odd(name)[0] for name in ODD]


@pytest.mark.slow
def test_channel_counts_are_linear_in_the_widths(small, odd, random_mask):
    """Whatever mask: the channels left in each value are counts @ widths."""
    for seed, graph in enumerate(every(small, odd)):
        channels = graph.channels
        kept = random_mask(graph, seed)
        widths = np.array([int(kept[g.units].sum()) for g in channels.groups])
        for value, layout in channels.layout.items():
            assert int(kept[layout].sum()) == int(channels.counts[value] @ widths)
        assert sum(channels.widths) == channels.units


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(4))
def test_groups_of_a_shrunk_graph_are_those_of_the_first(small, odd, random_mask, seed):
    """Removal renumbers units and changes nothing else, so pruning state can follow it."""
    for graph in every(small, odd):
        kept = random_mask(graph, seed)
        smaller = shrink_graph(graph, kept)
        renumbered = np.cumsum(kept) - 1
        assert [g.name for g in smaller.channels.groups] == [g.name for g in graph.channels.groups]
        assert [g.prunable for g in smaller.channels.groups] == [
            g.prunable for g in graph.channels.groups
        ]
        for value, layout in graph.channels.layout.items():
            wanted = renumbered[layout[kept[layout]]]
            assert np.array_equal(smaller.channels.layout[value], wanted), value


def test_inner_groups_are_those_inside_residual_branches(small):
    for name in ("resnet8", "resnet20"):
        graph, _ = small(name)
        inner = inner_groups(graph)
        found = {g.name for g, i in zip(graph.channels.groups, inner, strict=True) if i}
        assert found == {n for n in prunable(graph) if n.endswith("body.first.conv")}
    for name in ("vgg16", "ds_cnn", "mobilenet_v1"):
        assert not any(inner_groups(small(name)[0]))
    graph, _ = small("mobilenet_v2")
    inner = inner_groups(graph)
    found = {g.name for g, i in zip(graph.channels.groups, inner, strict=True) if i}
    adds = {o.name for o in graph.operators if o.kind == "add"}
    widened = {n.replace("add", "body.expand.conv") for n in adds} & set(prunable(graph))
    assert found == widened
    assert len(adds) - len(widened) == 1  # the first block does not widen: all of it is trunk


def test_operators_of_unknown_kinds_are_refused():
    odd = Operator(name="x", kind="fourier", inputs=(INPUT,), shape=(1, 2, 2))
    with pytest.raises(Exception, match=r"x: no operator is of kind fourier; known: .*conv"):
        Graph(input_shape=(1, 2, 2), operators=(odd,), outputs=("x",))

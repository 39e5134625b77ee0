"""Data movement by hand: what becomes of it, whose channels it ties, what is left of it."""

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional

from pruning.cost.cores import core_named
from pruning.cost.forms import flash, macs
from pruning.cost.latency import instruction_count
from pruning.cost.model import CostModel
from pruning.execution.fake_quant import QuantizedNetwork
from pruning.frontend.trace import trace
from pruning.graph.fusion import fuse
from pruning.graph.graph import Graph
from pruning.graph.shrink import kept_axes, shrink_graph
from pruning.ir.gather import gather
from tests.pruning.networks import Net


def traced(function, channels: int = 4, size: int = 4) -> Graph:
    """A convolution, the function, and another convolution, so that both sides are free."""

    def forward(n, x):
        return n.last(function(n.first(x)))

    with torch.no_grad():
        after = function(torch.zeros(1, channels, size, size)).shape[1]
    net = Net(forward, first=nn.Conv2d(1, channels, 1), last=nn.Conv2d(after, 2, 1))
    return trace(net, torch.zeros(1, size, size))


def the_move(graph: Graph):
    (found,) = [operator for operator in graph.operators if operator.kind == "gather"]
    return found


def prunable(graph: Graph) -> dict[str, int]:
    return {g.name: g.size for g in graph.channels.groups if g.prunable}


@pytest.mark.parametrize(
    ("function", "channels", "positions"),
    [
        (lambda x: x.flip(1), [3, 2, 1, 0], range(16)),
        (lambda x: functional.channel_shuffle(x, 2), [0, 2, 1, 3], range(16)),
        (lambda x: x[:, 1:, ::2, 3:], [1, 2, 3], [3, 11]),
        (lambda x: functional.pad(x, (0, 0, 0, 0, 1, 0)), [-1, 0, 1, 2, 3], range(16)),
        (lambda x: functional.pad(x, (-2, 0, -2, 1)), range(4), [10, 11, 14, 15, -1, -1]),
        (lambda x: x.mT, range(4), [0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15]),
    ],
)  # fmt: skip
def test_where_elements_are_from(function, channels, positions):
    attributes = the_move(traced(function)).attributes
    followed = list(channels) in ([0, 1, 2, 3], [1, 2, 3])
    assert attributes.pop("scattered", False) is not followed
    assert attributes == {"channels": list(channels), "positions": list(positions)}


def test_a_round_trip_is_nothing_and_a_reshape_of_vectors_moves_nothing():
    there_and_back = traced(lambda x: x.permute(0, 2, 3, 1).contiguous().permute(0, 3, 1, 2))
    assert [o.kind for o in there_and_back.operators] == ["conv", "conv"]
    decoder = nn.Sequential(nn.Linear(3, 8), nn.Unflatten(1, (2, 2, 2)), nn.Conv2d(2, 1, 1))
    graph = trace(decoder, torch.zeros(3))
    assert [o.kind for o in graph.operators] == ["linear", "flatten", "conv"]
    assert len(fuse(graph)) == 2
    assert (
        graph.channels.layout["0"].tolist()
        == np.repeat(graph.channels.layout["1.unflatten"], 4).tolist()
    )


def test_a_function_of_each_element_comes_before_a_movement_of_all():
    """So that it fuses with the layer, and the movement can meet its opposite."""
    graph = traced(lambda x: x.permute(0, 2, 3, 1).relu().permute(0, 3, 1, 2))
    assert [o.kind for o in graph.operators] == ["conv", "activation", "conv"]
    half = traced(lambda x: x[:, :2].relu())
    assert [o.kind for o in half.operators] == ["conv", "gather", "activation", "conv"]


def test_which_channels_a_movement_ties():
    assert prunable(traced(lambda x: x[:, :3])) == {"first": 3, "first:2": 1}
    assert prunable(traced(lambda x: x.flip(1))) == {"first": 4}
    # A channel of the picture holds four channels of what it is shuffled from.
    assert prunable(traced(nn.PixelShuffle(2), 12)) == {"first": 3}
    assert prunable(traced(nn.PixelUnshuffle(2), 3)) == {"first": 3}
    assert prunable(traced(lambda x: x.permute(0, 3, 1, 2))) == {"first": 1}
    # Channels of zeros are nobody's.
    padded = traced(lambda x: functional.pad(x, (0, 0, 0, 0, 1, 2)))
    assert prunable(padded) == {"first": 4, "pad": 3}


def test_what_is_left_of_a_shuffle_when_channels_go():
    graph = traced(lambda x: functional.channel_shuffle(x, 2), 6)
    assert the_move(graph).attributes["channels"] == [0, 3, 1, 4, 2, 5]
    kept = np.ones(graph.channels.units, dtype=bool)
    kept[graph.channels.layout["first"][[1, 3]]] = False
    smaller = shrink_graph(graph, kept)
    # 0 2 4 5 are left, numbered 0 1 2 3, and in their places: 0, 4, 2, 5
    assert the_move(smaller).attributes["channels"] == [0, 2, 1, 3]
    assert the_move(smaller).shape == (4, 4, 4)
    assert kept_axes(graph, kept)["last.weight"][1].tolist() == [0, 3, 4, 5]


def test_holes_are_filled_also_when_channels_go():
    graph = traced(lambda x: functional.pad(x, (0, 1, 0, 0, 2, 0), value=0.5))
    operator = the_move(graph)
    value = torch.arange(64.0).reshape(1, 4, 4, 4)
    wanted = functional.pad(value, (0, 1, 0, 0, 2, 0), value=0.5)
    assert torch.equal(gather(value, operator.attributes, operator.shape), wanted)
    kept = np.ones(graph.channels.units, dtype=bool)
    layout = graph.channels.layout["pad"]
    kept[layout[[0, 3]]] = False
    smaller = the_move(shrink_graph(graph, kept))
    found = gather(value[:, [0, 2, 3]], smaller.attributes, smaller.shape)
    assert torch.equal(found, wanted[:, [1, 2, 4, 5]])


def test_a_copy_keeps_codes():
    graph = traced(lambda x: functional.pad(x.flip(2), (1, 0)))
    tensors = {n: torch.rand(s) for n, s in SHAPES.items()}
    network = QuantizedNetwork(graph, tensors, torch.randn(4, 1, 4, 4))
    assert set(network.ranges) == {"input", "first", "last"}


SHAPES = {
    "first.weight": (4, 1, 1, 1), "first.bias": (4,),
    "last.weight": (2, 4, 1, 1), "last.bias": (2,),
}  # fmt: skip


# -- what the new kinds cost, by hand


def cost_of(layer: nn.Module, *shape: int):
    """The work of the kernels of a layer, each evaluated at the layer's own channels."""
    graph = trace(nn.Sequential(layer), torch.zeros(shape))
    (kernel,) = fuse(graph)
    c_in, c_out = shape[0], graph.shape(kernel.output)[0]
    count = instruction_count(kernel, core_named("cortex-m4").loops)
    stored, work = (w.at(c_in, c_out) for w in (flash(kernel, "int8"), macs(kernel)))
    return stored, work, float(count(np.array(float(c_in)), np.array(float(c_out))))


@pytest.mark.parametrize(
    ("layer", "shape", "stored", "work"),
    [
        # every pixel that is read meets every weight once
        (nn.ConvTranspose2d(3, 5, 4, stride=2), (3, 6, 7), 3 * 5 * 16 + 9 * 5, 42 * 3 * 5 * 16),
        (nn.ConvTranspose1d(4, 6, 3, groups=2), (4, 9), 4 * 3 * 3 + 9 * 6, 9 * 4 * 3 * 3),
        (nn.ConvTranspose2d(4, 8, 2, groups=4), (4, 3, 3), 8 * 4 + 9 * 8, 9 * 8 * 4),
        (nn.Linear(5, 3), (4, 5), 15 + 27, 4 * 15),
        (nn.Upsample(scale_factor=2, mode="bilinear"), (3, 2, 5), 0, 3 * 40 * 4),
        (nn.PReLU(), (3, 4, 4), 1, 48),
        (nn.PReLU(3), (3, 4, 4), 3, 48),
        (nn.GroupNorm(2, 4), (4, 3, 3), 4 * 10, 3 * 36),
        (nn.LayerNorm([4, 3, 3]), (4, 3, 3), 36 * 10, 3 * 36),
        (nn.ReflectionPad2d(1), (2, 4, 4), 0, 0),
        (Net(lambda n, x: x * n.g, g=nn.Parameter(torch.ones(3, 1, 1))), (3, 4, 4), 3, 48),
        (Net(lambda n, x: x + n.g, g=torch.ones(4, 5)), (3, 4, 5), 20, 60),
        (Net(lambda _, x: x.mean(1, True)), (3, 4, 5), 0, 60),
        (Net(lambda _, x: x / 255), (3, 4, 5), 0, 0),
    ],
)  # fmt: skip
def test_flash_and_macs(layer, shape, stored, work):
    if isinstance(layer, nn.Linear):  # over rows: what it reads is turned first
        graph = trace(nn.Sequential(layer), torch.zeros(shape))
        assert [k.kind for k in fuse(graph)] == ["gather", "linear", "gather"]
        return
    found = cost_of(layer, *shape)
    assert found[:2] == (stored, work)
    assert found[2] > 0


def test_a_copy_costs_bytes_and_instructions(device):
    plain, moved = traced(lambda x: x), traced(lambda x: x.flip(1))
    without, with_copy = CostModel(plain, device).dense, CostModel(moved, device).dense
    assert with_copy.latency_ms > without.latency_ms
    assert (without.sram_bytes, with_copy.sram_bytes) == (64 + 32, 64 + 64)
    assert (with_copy.macs, with_copy.flash_bytes) == (without.macs, without.flash_bytes)

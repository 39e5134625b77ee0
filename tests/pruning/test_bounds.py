"""Layers that are left alone, least widths, and widths that are multiples of something."""

import numpy as np
import pytest
import torch

from pruning import models
from pruning.allocation.allocate import Allocation, allocate
from pruning.allocation.feasibility import min_widths
from pruning.allocation.masks import ChannelMasks, inner_groups
from pruning.allocation.project import project
from pruning.allocation.registry import METHODS
from pruning.budget import Budget
from pruning.cost.model import CostModel
from pruning.errors import UnsupportedOperatorError
from pruning.frontend.trace import trace
from pruning.graph.graph import Graph
from pruning.graph.shrink import shrink_graph, without
from pruning.training.anneal import with_reserve
from pruning.training.job import annealed


def resnet(**bounds) -> Graph:
    torch.manual_seed(0)
    return trace(models.resnet8(), torch.zeros(3, 32, 32), **bounds)


def pruned(graph, device, method, share=0.25) -> dict[str, int]:
    model, masks = CostModel(graph, device), ChannelMasks.open(graph.channels)
    masks.saliency = torch.rand(graph.channels.units, generator=torch.Generator().manual_seed(0))
    masks.importance[:] = 1.0
    final = Budget(flash_bytes=int(model.dense.flash_bytes * share))
    how = Allocation(method=method)
    for step in range(1, 4):
        allocate(masks, model, annealed(final, model.dense, step / 3), how)
        if (masks.widths == 0).any():
            break
    widths = project(masks, model, final, how)
    assert final.holds(model.cost(widths))
    return {g.name: w for g, w in zip(graph.channels.groups, widths, strict=True)}


@pytest.mark.parametrize("method", list(METHODS))
@pytest.mark.parametrize("align", [2, 4, 5])
def test_aligned_widths(device, method, align):
    graph = resnet(round_to=align)
    widths = pruned(graph, device, method)
    for group in graph.channels.groups:
        if group.prunable:
            width = widths[group.name]
            assert width % align == 0 or width == group.size


@pytest.mark.parametrize("method", list(METHODS))
def test_least_widths(device, method):
    least = {"features.stem": 14, "features.block1.body.first": 9, "features.block3.body": 20}
    graph = resnet(min_channels=least)
    widths = pruned(graph, device, method, 0.4)
    for name, number in least.items():
        for group in graph.channels.groups:
            if any(value.startswith(f"{name}.") for value in group.operators):
                assert widths[group.name] >= number


def test_a_group_with_a_least_width_does_not_vanish(device):
    graph = resnet(min_channels={"features.block1.body.first": 1})
    names = [group.name for group in graph.channels.groups]
    place = names.index("features.block1.body.first.conv")
    assert inner_groups(resnet())[place]
    assert not inner_groups(graph)[place]
    assert min_widths(CostModel(graph, device))[place] == 1


def test_bounds_survive_shrinking_and_json(random_mask):
    graph = resnet(
        min_channels={"features.stem": 4},
        round_to=2,
        ignored_layers=("features.block3.body.second",),
    )
    again = Graph.from_json(graph.to_json())
    assert again == graph
    assert again.channels.groups == graph.channels.groups
    stem = next(g for g in graph.channels.groups if g.name == "features.stem.conv")
    assert (stem.min_channels, stem.step, stem.floor) == (4, 2, 4)
    smaller = shrink_graph(graph, random_mask(graph, 0))
    assert smaller.round_to == 2
    assert smaller.min_channels == graph.min_channels


def test_what_a_group_allows():
    group = next(g for g in resnet(round_to=4).channels.groups if g.size == 32)
    assert [group.up(n) for n in (0, 1, 4, 5, 31, 32, 99)] == [0, 4, 4, 8, 32, 32, 32]
    assert [group.down(n) for n in (0, 3, 4, 7.9, 31, 32)] == [4, 4, 4, 4, 28, 32]
    assert [group.nearest(n) for n in (1, 5.9, 6.1, 31)] == [4, 4, 8, 32]


def test_unknown_names_and_senseless_numbers_are_refused():
    with pytest.raises(UnsupportedOperatorError, match="min_channels: no layer is named 'stem'"):
        resnet(min_channels={"stem": 4})
    with pytest.raises(UnsupportedOperatorError, match="round_to: 0 channels; the least is 1"):
        resnet(round_to=0)


@pytest.mark.slow
@pytest.mark.parametrize("method", ["differentiable", "greedy"])
@pytest.mark.parametrize(
    "bounds",
    [
        {"ignored_layers": ("features.block1.body.second",)},
        {"min_channels": {"features.block1.body.second": 6}},
    ],
)
def test_a_branch_that_holds_something_to_keep_does_not_vanish(device, method, bounds):
    """Though it is another of its groups that is empty."""
    graph = resnet(**bounds)
    model, masks = CostModel(graph, device), ChannelMasks.open(graph.channels)
    names = [group.name for group in graph.channels.groups]
    place = names.index("features.block1.body.first.conv")
    assert inner_groups(resnet())[place]
    assert not inner_groups(graph)[place]
    least = model.cost(min_widths(model))
    final = Budget(flash_bytes=int(least.flash_bytes * 1.05))
    widths = project(masks, model, final, Allocation(method=method))
    kept = np.zeros(graph.channels.units, dtype=bool)
    for group, width in zip(graph.channels.groups, widths, strict=True):
        kept[group.start : group.start + width] = True
    smaller = shrink_graph(graph, kept)
    assert (smaller.ignored_layers, smaller.min_channels) == (
        graph.ignored_layers,
        graph.min_channels,
    )
    assert final.holds(CostModel(smaller, device).dense)


@pytest.mark.slow
def test_what_must_stay_cannot_be_shrunk_away():
    graph = resnet(ignored_layers=("features.block1.body.second",))
    names = [group.name for group in graph.channels.groups]
    place = names.index("features.block1.body.first.conv")
    with pytest.raises(ValueError, match="named in ignored_layers or min_channels"):
        shrink_graph(graph, without(graph, [place]))


def test_channels_in_reserve_keep_widths_aligned(device):
    """Though others are the most salient now than when the mask was made."""
    graph = resnet(round_to=4)
    masks = ChannelMasks.open(graph.channels)
    draw = torch.Generator().manual_seed(0)
    masks.saliency = torch.rand(graph.channels.units, generator=draw)
    masks.keep_most_salient(
        graph.channels,
        [group.down(group.size // 2) for group in graph.channels.groups],
    )
    masks.saliency = torch.rand(graph.channels.units, generator=draw)
    kept = with_reserve(masks, graph.channels, share=0.1)
    assert (kept >= masks.kept.numpy()).all()
    for group in graph.channels.groups:
        left = int(kept[group.units].sum())
        assert left % 4 == 0 or left == group.size

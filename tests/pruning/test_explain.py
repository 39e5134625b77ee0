"""What the engine says of its own decisions."""

import json
from dataclasses import asdict

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn.functional import relu

from pruning.allocation.allocate import Allocation
from pruning.allocation.explain import (
    Reason,
    Start,
    explain,
    explanation_from_json,
    start_from_json,
)
from pruning.allocation.feasibility import min_cost
from pruning.allocation.masks import ChannelMasks, inner_groups
from pruning.allocation.measured_loss import loss_model, optimum
from pruning.allocation.project import project
from pruning.budget import LIMITS, RESOURCES, Budget
from pruning.cost.model import CostModel, bottlenecks
from pruning.frontend.trace import trace
from pruning.graph.shrink import shrink_graph, units_left, without
from tests.pruning.networks import NETWORKS, Net, block


def gates_of(graph, seed=0) -> ChannelMasks:
    generator = torch.Generator().manual_seed(seed)
    masks = ChannelMasks.open(graph.channels)
    masks.saliency = torch.rand(graph.channels.units, generator=generator)
    masks.importance = torch.rand(len(masks.sizes), generator=generator).double() + 0.5
    return masks


def share(model: CostModel, part: float, names=RESOURCES) -> Budget:
    limits = {name: part * getattr(model.dense, name) for name in names}
    return Budget.from_limits(limits)


@pytest.mark.parametrize("name", ["resnet8", "ds_cnn", "vgg16"])
def test_what_is_balanced_is_worth_what_it_costs(small, device, name):
    model = CostModel(small(name)[0], device)
    masks, how = gates_of(model.graph), Allocation()
    budget = share(model, 0.5)
    widths = project(masks, model, budget, how)
    found = explain(Start.of(model), masks, model, budget, how, widths)
    assert [report.name for report in found.groups] == [
        group.name for group in model.graph.channels.groups
    ]
    for report, group, width in zip(found.groups, model.graph.channels.groups, widths, strict=True):
        assert (report.before, report.after) == (group.size, width)
        assert (report.reason is Reason.FIXED) == (not group.prunable)
        if report.reason is Reason.WHOLE:
            assert report.after == report.before
            assert report.worth > report.cost * 0.99
        if report.reason is Reason.BALANCED:
            assert report.worth == pytest.approx(report.cost, rel=0.01)
    assert any(report.reason is Reason.BALANCED for report in found.groups)


def test_prices_are_per_unit_of_the_limit(small, device):
    model = CostModel(small("resnet8")[0], device)
    masks, how = gates_of(model.graph), Allocation()
    for name in RESOURCES:
        budget = share(model, 0.4, (name,))
        widths = project(masks, model, budget, how)
        price = explain(Start.of(model), masks, model, budget, how, widths).prices[name]
        limit = budget.limits[name]
        more, less = (
            optimum(masks, model, Budget(**{name: limit * f}), how).loss for f in (1.02, 0.98)
        )
        assert price == pytest.approx((less - more) / (0.04 * limit), rel=0.03)


def test_bottlenecks_before_and_after(small, device):
    model = CostModel(small("resnet8")[0], device)
    masks, how, budget = gates_of(model.graph), Allocation(), share(model, 0.4)
    widths = project(masks, model, budget, how)
    found = explain(Start.of(model), masks, model, budget, how, widths)
    assert tuple(found.bottlenecks) == LIMITS
    assert found.bottlenecks["sram_bytes"] == (
        bottlenecks(model, model.graph.channels.widths)["sram_bytes"],
        bottlenecks(model, widths)["sram_bytes"],
    )  # fmt: skip


def test_vanished_groups_are_named(small, device):
    graph, _ = small("resnet8")
    whole = CostModel(graph, device)
    masks, how, start = gates_of(graph), Allocation(), Start.of(whole)
    index = inner_groups(graph).index(True)
    kept = without(graph, [index])
    smaller = shrink_graph(graph, kept)
    masks = masks.transferred(graph.channels, smaller.channels, units_left(graph, smaller, kept))
    model = CostModel(smaller, device)
    budget = share(model, 0.6)
    widths = project(masks, model, budget, how)
    found = explain(start, masks, model, budget, how, widths)
    gone = [report for report in found.groups if report.reason is Reason.VANISHED]
    assert [(r.name, r.before, r.after) for r in gone] == [
        (graph.channels.groups[index].name, graph.channels.groups[index].size, 0)
    ]
    assert [r.name for r in found.groups] == list(start.widths)  # where it was


def test_it_survives_json(small, device):
    model = CostModel(small("resnet8")[0], device)
    masks, how, budget = gates_of(model.graph), Allocation(), share(model, 0.4)
    start = Start.of(model)
    found = explain(start, masks, model, budget, how, project(masks, model, budget, how))
    assert explanation_from_json(json.loads(json.dumps(asdict(found)))) == found
    assert start_from_json(json.loads(json.dumps(asdict(start)))) == start


def test_the_model_of_the_loss_is_a_power_law(small, device):
    model = CostModel(small("resnet8")[0], device)
    loss = loss_model(
        gates_of(model.graph), model, Allocation(loss_exponent=1.0, shrinkage_factor=1.0)
    )
    sizes = loss.sizes
    assert loss(sizes) == pytest.approx(0)
    assert loss(sizes / 2) == pytest.approx(loss.importance.sum())
    step = 1e-6
    for group in np.flatnonzero(loss.importance):
        wider = sizes.copy()
        wider[group] *= np.exp(step)
        assert (loss(sizes) - loss(wider)) / step == pytest.approx(
            loss.neg_gradient(sizes)[group], rel=1e-4
        )


def test_groups_at_their_least_and_those_of_a_vanished_branch_are_called_so(device):
    """Where only the smallest network is within the budget nothing is balanced or whole."""

    def forward(n, x):
        s = n.stem(x)
        s = relu(s + n.one(s))
        return n.head(relu(s + n.two(s)).mean((2, 3)))

    branches = {
        name: nn.Sequential(block(12, 6, 1), block(6, 6), block(6, 12, 1, nn.Identity))
        for name in ("one", "two")
    }
    module = Net(forward, stem=block(1, 12), head=nn.Linear(12, 4), **branches)
    graph = trace(module, torch.zeros(1, 8, 8))
    model, masks, how = (
        CostModel(graph, device),
        ChannelMasks.open(graph.channels),
        Allocation(),
    )
    narrow = model.cost([group.floor for group in graph.channels.groups]).flash_bytes
    budget = Budget(flash_bytes=(narrow + min_cost(model).flash_bytes) // 2)
    widths = project(masks, model, budget, how)
    found = explain(Start.of(model), masks, model, budget, how, widths)
    reasons = {report.name: report.reason for report in found.groups}
    (gone,) = {name[:3] for name, why in reasons.items() if why is Reason.VANISHED}
    for report in found.groups:
        if report.name[:3] == gone:
            assert (report.reason, report.after) == (Reason.VANISHED, 0)
        elif report.name not in ("input", "head"):
            assert (report.reason, report.after) == (Reason.LEAST, 1)


def test_a_limit_has_its_price_where_a_branch_had_to_go(small, device):
    """With all branches not even one channel everywhere is within it."""
    model = CostModel(small("resnet8")[0], device)
    masks, how = gates_of(model.graph), Allocation()
    narrow = model.cost([group.floor for group in model.graph.channels.groups])
    budget = Budget(flash_bytes=narrow.flash_bytes - 1)
    widths = project(masks, model, budget, how)
    assert 0 in widths
    found = explain(Start.of(model), masks, model, budget, how, widths)
    assert found.prices["flash_bytes"] > 0
    assert [report.after for report in found.groups] == widths


def test_groups_that_begin_in_one_value_are_reported_apart(device):
    """The second of them is not known by the value that it is named after."""
    make, shape = NETWORKS["padded-shortcut"]
    model = CostModel(trace(make(), torch.zeros(shape)), device)
    masks, how, budget = gates_of(model.graph), Allocation(), share(model, 0.6)
    widths = project(masks, model, budget, how)
    found = explain(Start.of(model), masks, model, budget, how, widths)
    groups = zip(model.graph.channels.groups, widths, strict=True)
    assert [(report.name, report.before, report.after) for report in found.groups] == [
        (group.name, group.size, width) for group, width in groups
    ]

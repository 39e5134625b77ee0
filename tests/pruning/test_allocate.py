"""From saliency and budgets to widths."""

import re
from dataclasses import replace
from itertools import pairwise, product

import pytest
import torch
from torch import nn

from pruning.allocation.allocate import Allocation, allocate
from pruning.allocation.feasibility import (
    min_cost,
    min_widths,
    require_reachable,
    uniform_ratio,
)
from pruning.allocation.masks import ChannelMasks, inner_groups
from pruning.allocation.measured_loss import optimum
from pruning.allocation.project import project
from pruning.allocation.registry import METHODS
from pruning.budget import RESOURCES, Budget, Cost
from pruning.cost.model import CostModel, is_connected
from pruning.errors import BudgetError, PruningError
from pruning.frontend.trace import trace
from pruning.graph.shrink import shrink_graph, units_left
from pruning.training.job import Pruning, annealed
from tests.pruning.networks import Net, block

NETS = ["resnet8", "ds_cnn", pytest.param("mobilenet_v2", marks=pytest.mark.exhaustive)]


def opened(graph, seed=0) -> ChannelMasks:
    masks = ChannelMasks.open(graph.channels)
    masks.saliency = torch.rand(graph.channels.units, generator=torch.Generator().manual_seed(seed))
    return masks


def narrowest(model: CostModel) -> Cost:
    """The cost with one channel in every group: what every method reaches."""
    return model.cost([1 if g.prunable else g.size for g in model.graph.channels.groups])


def share(model: CostModel, part: float, names=RESOURCES) -> Budget:
    """A part of the way from one channel a group to the dense cost, for some resources."""
    least, dense = narrowest(model), model.dense
    limits = {n: (1 - part) * getattr(least, n) + part * getattr(dense, n) for n in names}
    return Budget.from_limits(limits)


@pytest.fixture(scope="module", params=NETS)
def model(request, small, device):
    return CostModel(small(request.param)[0], device)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("part", [0.0, 0.2, 1.0])
@pytest.mark.parametrize("names", [RESOURCES, *((name,) for name in RESOURCES), ()])
def test_projection_meets_every_budget_exactly(model, method, part, names):
    budget = share(model, part, names)
    widths = project(opened(model.graph), model, budget, Allocation(method=method))
    assert budget.holds(model.cost(widths))
    for group, width in zip(model.graph.channels.groups, widths, strict=True):
        assert 0 <= width <= group.size
        assert group.prunable or width == group.size
    if part == 1.0 or not names:
        assert widths == [g.size for g in model.graph.channels.groups]


@pytest.mark.parametrize("method", ["differentiable", "magnitude"])
def test_projection_leaves_no_room_for_one_more_channel(model, method):
    masks, budget = opened(model.graph), share(model, 0.3)
    widths = project(masks, model, budget, Allocation(method=method))
    for index, group in enumerate(model.graph.channels.groups):
        if group.prunable and widths[index] < group.size:
            more = [w + (i == index) for i, w in enumerate(widths)]
            assert not budget.holds(model.cost(more))


def masked_widths(masks, model):
    return [int(masks.kept[group.units].sum()) for group in model.graph.channels.groups]


@pytest.mark.parametrize("method", METHODS)
def test_projection_after_allocation(model, method):
    """The path that training takes: a few updates under a falling budget, then integers."""
    masks, final = opened(model.graph), share(model, 0.2)
    how = Allocation(method=method)
    for step in range(1, 6):
        budget = annealed(final, model.dense, step / 5)
        allocate(masks, model, budget, how)
        integer = masked_widths(masks, model)
        for group, width, kept in zip(
            model.graph.channels.groups, masks.widths.tolist(), integer, strict=True
        ):
            assert width == 0 or 0.999 <= width <= group.size + 1e-6
            assert kept == max(round(width), int(width > 0))
            assert group.prunable or kept == group.size
    near = model.cost(masked_widths(masks, model))
    assert all(over < 0.25 for over in final.overshoot(near).values())
    assert final.holds(model.cost(project(masks, model, final, how)))


def test_the_mask_keeps_the_most_salient(model):
    masks, final = opened(model.graph), share(model, 0.3)
    allocate(masks, model, final, Allocation(method="uniform"))
    for group in model.graph.channels.groups:
        kept, saliency = masks.kept[group.units], masks.saliency[group.units]
        if not kept.all():
            assert saliency[kept].min() > saliency[~kept].max()


def test_impossible_budgets_are_refused_with_the_kernel_to_blame(small, device):
    graph, _ = small("resnet8")
    model = CostModel(graph, device)
    least = min_cost(model)
    lines = model.explain(min_widths(model))
    cases = {
        "flash_bytes": (least.flash_bytes - 1, max(lines, key=lambda x: x.flash_bytes)),
        "sram_bytes": (least.sram_bytes - 1, max(lines, key=lambda x: x.live_bytes)),
        "latency_ms": (least.latency_ms * 0.999, max(lines, key=lambda x: x.latency_ms)),
    }
    for name, (limit, line) in cases.items():
        budget = Budget(**{name: limit})
        with pytest.raises(BudgetError) as caught:
            require_reachable(model, budget)
        message = str(caught.value)
        assert name in message
        assert line.name in message
        assert f"{getattr(least, name):g}" in message
        assert sum(other in message for other in RESOURCES) == 1
        with pytest.raises(BudgetError):
            project(opened(graph), model, budget, Allocation())
    exact = Budget(flash_bytes=least.flash_bytes, sram_bytes=least.sram_bytes)
    require_reachable(model, exact)


def test_no_width_costs_less_than_the_least(model):
    assert min_cost(model) == model.cost(min_widths(model))
    inner = inner_groups(model.graph)
    for width, group, vanishes in zip(
        min_widths(model), model.graph.channels.groups, inner, strict=True
    ):
        assert width == (group.size if not group.prunable else 0 if vanishes else 1)


@pytest.mark.parametrize("part", [0.02, 0.1, 0.4, 0.9])
def test_uniform_ratio_is_maximal(model, part):
    sizes = torch.tensor(model.graph.channels.widths)
    groups = model.graph.channels.groups

    def cost(ratio: float) -> Cost:
        return model.cost([max(1, int(ratio * g.size)) if g.prunable else g.size for g in groups])

    budget = share(model, part)
    ratio = uniform_ratio(model, sizes, budget)
    assert 0 <= ratio < 1
    assert budget.holds(cost(ratio))
    assert not budget.holds(cost(ratio + 1e-3))
    assert uniform_ratio(model, sizes, share(model, 1.0)) == 1.0


def test_uniform_projection_has_one_ratio(model):
    masks, budget = opened(model.graph), share(model, 0.3)
    widths = project(masks, model, budget, Allocation(method="uniform"))
    ratio = uniform_ratio(model, masks.sizes, budget)
    for group, width in zip(model.graph.channels.groups, widths, strict=True):
        assert width == (max(1, int(ratio * group.size)) if group.prunable else group.size)


def test_magnitude_allocation_has_one_threshold(model):
    """Saliency relative to its group's mean: all that is kept is above all that is not."""
    masks, budget = opened(model.graph), share(model, 0.3)
    allocate(masks, model, budget, Allocation(method="magnitude"))
    kept, gone = [], []
    for group in model.graph.channels.groups:
        relative = masks.saliency[group.units] / masks.saliency[group.units].mean()
        mask = masks.kept[group.units]
        if group.prunable and int(mask.sum()) > 1:  # one channel stays whatever it is worth
            kept.append(relative[mask])
            gone.append(relative[~mask])
    assert torch.cat(kept).min() >= torch.cat(gone).max()


def test_differentiable_allocation_gives_more_to_what_is_worth_more(small, device):
    graph, _ = small("vgg16")
    model = CostModel(graph, device)
    masks = opened(graph)
    groups = [g for g in graph.channels.groups if g.prunable]
    rich, poor = groups[4], groups[5]
    index = [g.name for g in graph.channels.groups]
    masks.importance[:] = 1.0
    masks.importance[index.index(rich.name)] = 4.0
    masks.importance[index.index(poor.name)] = 0.25
    final = share(model, 0.3)
    allocate(masks, model, final, Allocation())
    ratio = masks.widths / masks.sizes
    assert ratio[index.index(rich.name)] > ratio[index.index(poor.name)] + 0.1


def test_what_was_not_measured_counts_as_equal(model):
    """Without a measurement yet, all groups are alike; with no trust in it, they stay so."""
    masks, budget = opened(model.graph), share(model, 0.3)
    before = optimum(masks, model, budget, Allocation()).widths
    masks.importance = torch.rand(len(masks.sizes), dtype=torch.float64) + 0.1
    after = optimum(masks, model, budget, Allocation(shrinkage_factor=0.0)).widths
    assert after == pytest.approx(before, rel=1e-3)


@pytest.mark.parametrize("start", ["dense", "below"])
def test_annealed_budget_falls_to_the_target_and_stays(small, device, start):
    model = CostModel(small("resnet8")[0], device)
    final = share(model, 0.2)
    begin = model.dense if start == "dense" else min_cost(model)
    path = [annealed(final, begin, s / 50) for s in range(61)]
    for name in RESOURCES:
        values = [getattr(budget, name) for budget in path]
        target = getattr(final, name)
        expected = getattr(begin, name) if start == "dense" else target
        assert values[0] == pytest.approx(expected)
        assert all(a >= b >= target for a, b in pairwise(values))
        assert values[50:] == [target] * 11
    middle = annealed(Budget(flash_bytes=1000), model.dense, 0.5).flash_bytes
    dense = model.dense.flash_bytes
    assert middle == pytest.approx(1000 * (dense / 1000) ** (1 / 8))
    assert annealed(Budget(), model.dense, 0.3) == Budget()


# -- gates --


def test_salience_is_a_running_mean_of_magnitudes(small):
    masks = ChannelMasks.open(small("resnet8")[0].channels)
    units = len(masks.saliency)
    masks.update_saliency(torch.full((units,), -2.0), memory=0.9)
    masks.update_saliency(torch.full((units,), 1.0), memory=0.9)
    assert masks.saliency == pytest.approx(torch.full((units,), 0.9 * 0.2 + 0.1))


def test_mask_gradient_is_the_first_order_change_of_the_loss(odd, network_of):
    """dL/dm against removing a little of one channel."""
    graph, model = odd("stacked")
    network = network_of(graph, model).double()
    inputs = torch.randn(4, *graph.input_shape, dtype=torch.float64)
    mask = torch.ones(graph.channels.units, dtype=torch.float64, requires_grad=True)
    (slope,) = torch.autograd.grad(network(inputs, mask).square().sum(), mask)
    for unit in range(0, len(mask), 3):
        change = torch.zeros_like(mask)
        change[unit] = 1e-6
        with torch.no_grad():
            up, down = (network(inputs, mask + s * change).square().sum() for s in (1, -1))
        assert (up - down).item() / 2e-6 == pytest.approx(slope[unit].item(), rel=1e-4, abs=1e-4)


def test_with_only_keeps_the_most_salient_of_those_kept(small):
    graph, _ = small("resnet8")
    masks = opened(graph)
    group = graph.channels.groups[1]
    masks.kept[group.start + torch.argmax(masks.saliency[group.units])] = False
    left = int(masks.kept[group.units].sum())
    for width in (0, 1, left // 2, left):
        mask = masks.narrowed(group, width)
        assert int(mask[group.units].sum()) == width
        gone = masks.kept & ~mask
        if 0 < width < left:
            kept = masks.saliency[group.units][mask[group.units]]
            assert kept.min() > masks.saliency[gone].max()
        others = torch.ones(len(mask), dtype=torch.bool)
        others[group.units] = False
        assert torch.equal(mask[others], masks.kept[others])


def test_gates_follow_their_channels_to_a_smaller_graph(small, random_mask):
    graph, _ = small("resnet20")
    masks = opened(graph)
    masks.importance = torch.rand(len(masks.sizes), dtype=torch.float64)
    kept, inner = random_mask(graph, 3), inner_groups(graph).index(True)
    kept[graph.channels.groups[inner].units] = False
    smaller = shrink_graph(graph, kept)
    before = replace(masks)
    masks = masks.transferred(graph.channels, smaller.channels, units_left(graph, smaller, kept))
    assert torch.equal(masks.saliency.sort().values, before.saliency[kept].sort().values)
    names = {g.name: i for i, g in enumerate(graph.channels.groups)}
    assert len(smaller.channels.groups) == len(graph.channels.groups) - 1
    for index, group in enumerate(smaller.channels.groups):
        old = graph.channels.groups[names[group.name]]
        assert masks.sizes[index] == old.size
        assert masks.importance[index] == before.importance[names[group.name]]
        saliency = before.saliency[old.units][torch.from_numpy(kept[old.units])]
        assert torch.equal(masks.saliency[group.units], saliency)


def fire():
    """SqueezeNet's module: one of two operands may go, not both."""

    def forward(n, x):
        squeezed = n.squeeze(n.stem(x))
        return n.head(torch.cat([n.one(squeezed), n.three(squeezed)], 1).mean((2, 3)))

    return Net(
        forward, stem=block(3, 16), squeeze=block(16, 8, 1), one=block(8, 16, 1),
        three=block(8, 16), head=nn.Linear(32, 4),
    )  # fmt: skip


def test_of_operands_that_cannot_all_go_the_cheapest_stays(device):
    graph = trace(fire(), torch.zeros(3, 16, 16))
    model, groups = CostModel(graph, device), graph.channels.groups
    inner = [index for index, may in enumerate(inner_groups(graph)) if may]
    costs = []
    for kept in product((0, 1), repeat=len(inner)):
        widths = [group.floor for group in groups]
        for index, width in zip(inner, kept, strict=True):
            widths[index] = width
        if is_connected(model, widths):
            costs.append(model.cost(widths).flash_bytes)
    assert min_cost(model).flash_bytes == min(costs) < max(costs)
    require_reachable(model, Budget(flash_bytes=min(costs)))


@pytest.mark.parametrize(
    "how",
    [
        Allocation(method="uniform"),
        Allocation(method="magnitude"),
        Allocation(remove_branches=False),
    ],
)
def test_reach_without_vanishing_branches_is_told_before_training(small, device, how):
    model = CostModel(small("resnet8")[0], device)
    between = (narrowest(model).flash_bytes + min_cost(model).flash_bytes) // 2
    budget = Budget(flash_bytes=between)
    require_reachable(model, budget)
    with pytest.raises(BudgetError, match="of the least widths: flash_bytes"):
        require_reachable(model, budget, remove_branches=how.vanishing)


@pytest.mark.parametrize("margin", [0.0, 0.02, 0.1])
@pytest.mark.parametrize("name", RESOURCES)
def test_the_least_limit_as_it_is_told_is_enough(small, device, name, margin):
    model = CostModel(small("resnet8")[0], device)
    device = replace(device, flash_margin=margin, latency_margin=margin)
    with pytest.raises(BudgetError) as caught:
        require_reachable(model, Budget(**{name: 1e-3 if name == "latency_ms" else 3}), device)
    told = float(re.search(r"least reachable ([0-9.]+) ", str(caught.value))[1])
    require_reachable(model, Budget(**{name: told}), device)
    less = told - 1e-5 if name == "latency_ms" else told - 1
    with pytest.raises(BudgetError):
        require_reachable(model, Budget(**{name: less}), device)


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"update_interval": 0}, "update_interval is 0; it must be at least 1"),
        ({"removal_interval": 0}, "removal_interval is 0"),
        ({"selection_candidates": 0}, "selection_candidates is 0"),
        ({"sensitivity_runs": 0}, "sensitivity_runs is 0"),
        ({"saliency_decay": 1.0}, "saliency_decay is 1.0; it must be at least 0 and below 1"),
        ({"anneal_end": 0.0}, "anneal_end is 0.0; it must be at most 1 and above 0"),
        ({"anneal_end": 1.5}, "anneal_end is 1.5"),
        ({"reserve": float("nan")}, "reserve is nan"),
    ],
)
def test_settings_that_make_no_sense_are_refused(settings, words):
    with pytest.raises(PruningError, match=words):
        Pruning(**settings)


@pytest.mark.parametrize(
    "settings", [{"loss_exponent": 0.0}, {"shrinkage_factor": 2.0}, {"shrinkage_factor": -0.1}]
)
def test_so_are_those_of_an_allocation(settings):
    with pytest.raises(PruningError, match=f"{next(iter(settings))} is"):
        Allocation(**settings)

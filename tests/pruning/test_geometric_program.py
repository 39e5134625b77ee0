"""The convex programme against brute force, finite differences and its own limits."""

from itertools import product

import numpy as np
import pytest

from pruning.allocation.geometric_program import BudgetLimits, LossModel, best_widths
from pruning.budget import LIMITS, Budget
from pruning.cost.model import CostModel

NETS = ["resnet8", "ds_cnn", "vgg16", "mobilenet_v1", "mobilenet_v2", "resnet20"]


def setup(graph, seed=0, power=0.5):
    sizes = np.array([float(n) for n in graph.channels.widths])
    prunable = np.array([group.prunable for group in graph.channels.groups])
    importance = np.exp(np.random.RandomState(seed).uniform(-1, 1, len(sizes)))
    loss = LossModel(np.where(prunable, importance, 0.0), sizes, power)
    return loss, np.where(prunable, 1.0, sizes), sizes


def budget_of(model, share, names=LIMITS):
    """A part of the way from one channel a group to the dense cost."""
    groups = model.graph.channels.groups
    least = model.cost([1 if group.prunable else group.size for group in groups])
    ends = {name: (getattr(least, name), getattr(model.dense, name)) for name in names}
    limits = {name: low + share * (high - low) for name, (low, high) in ends.items()}
    return Budget.from_limits(limits)


def resources(model, budget, widths):
    """Relative use of every limit at continuous widths, from the forms and the live rows."""
    used = {}
    order = model.schedule([max(1, round(n)) for n in widths.tolist()])
    for name, limit in budget.limits.items():
        if name == "sram_bytes":
            used[name] = (model.live(order).numpy() @ widths).max() / limit
        else:
            square, line, constant = model.form(name)
            used[name] = (widths @ square @ widths + line @ widths + constant) / limit
    return used


@pytest.mark.parametrize("name", NETS)
@pytest.mark.parametrize("share", [0.7, 0.3])
def test_forms_are_the_cost_and_the_result_is_within_the_budget(small, device, name, share):
    model = CostModel(small(name)[0], device)
    loss, low, sizes = setup(model.graph)
    budget = budget_of(model, share)
    best = best_widths(model, budget, loss, low, sizes)
    assert (best.widths >= low).all()
    assert (best.widths <= sizes).all()
    used = resources(model, budget, best.widths)
    assert max(used.values()) <= 1 + 1e-6
    assert max(used.values()) > 0.999  # nothing is left lying about
    dense = resources(model, Budget(**{n: getattr(model.dense, n) for n in LIMITS}), sizes)
    form = dense.pop("latency_ms")  # it knows no steps from one channel to the next
    assert form == pytest.approx(1, rel=0.1)
    assert all(value == pytest.approx(1) for value in dense.values())


def test_derivatives_against_finite_differences(small, device):
    for name in NETS:
        model = CostModel(small(name)[0], device)
        live = model.live(model.schedule(model.graph.channels.widths)).numpy()
        limits = BudgetLimits.of(model, budget_of(model, 0.5), live)
        x = np.log(np.array(model.graph.channels.widths) * 0.7)
        first, second = limits.slopes(np.exp(x))
        assert (first >= 0).all()
        for index in range(len(x)):
            step = np.zeros(len(x))
            step[index] = 1e-5
            up, down = np.exp(x + step), np.exp(x - step)
            rise = limits.slack(down) - limits.slack(up)
            assert rise / 2e-5 == pytest.approx(first[:, index], abs=1e-6)
            bend = (limits.slopes(up)[0] - limits.slopes(down)[0]) / 2e-5
            assert bend == pytest.approx(second[:, index], abs=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize("power", [0.25, 1.0])
def test_no_widths_on_a_fine_grid_are_better(small, device, power):
    model = CostModel(small("resnet8")[0], device)
    loss, low, sizes = setup(model.graph, power=power)
    budget = budget_of(model, 0.35)
    best = best_widths(model, budget, loss, low, sizes)
    free = [g for g, (a, b) in enumerate(zip(low, sizes, strict=True)) if b > a]
    for group, other in product(free, free):
        for factor in (0.9, 1.1):
            widths = best.widths.copy()
            widths[group] = np.clip(widths[group] * factor, low[group], sizes[group])
            trade = np.linspace(0.7, 1.4, 101) if other != group else [1.0]
            for step in trade:
                changed = widths.copy()
                changed[other] = np.clip(changed[other] * step, low[other], sizes[other])
                if max(resources(model, budget, changed).values()) <= 1:
                    assert loss(changed) >= best.loss - 1e-3


@pytest.mark.parametrize("name", ["resnet8", "mobilenet_v1"])
@pytest.mark.parametrize("limit", LIMITS)
def test_prices_are_what_more_of_a_resource_is_worth(small, device, name, limit):
    model = CostModel(small(name)[0], device)
    loss, low, sizes = setup(model.graph)
    tight = budget_of(model, 0.3, (limit,))
    value = tight.limits[limit]
    more, less = (
        best_widths(model, Budget(**{limit: value * f}), loss, low, sizes).loss
        for f in (1.01, 0.99)
    )
    measured = (less - more) / np.log(1.01 / 0.99)
    price = best_widths(model, tight, loss, low, sizes).prices[limit]
    assert price == pytest.approx(measured, rel=0.02)
    assert price > 0


def test_a_loose_limit_has_no_price_and_a_budget_out_of_reach_gives_the_least(small, device):
    model = CostModel(small("resnet8")[0], device)
    loss, low, sizes = setup(model.graph)
    dense = model.dense
    both = Budget(flash_bytes=dense.flash_bytes // 4, sram_bytes=dense.sram_bytes * 2)
    prices = best_widths(model, both, loss, low, sizes).prices
    assert prices["flash_bytes"] > 0.1
    assert prices["sram_bytes"] == pytest.approx(0, abs=1e-3)
    assert best_widths(model, Budget(), loss, low, sizes).widths == pytest.approx(sizes, rel=1e-3)
    assert (best_widths(model, Budget(flash_bytes=1), loss, low, sizes).widths == low).all()


def test_more_importance_means_more_channels(small, device):
    model = CostModel(small("vgg16")[0], device)
    loss, low, sizes = setup(model.graph)
    budget = budget_of(model, 0.2)
    before = best_widths(model, budget, loss, low, sizes).widths
    for group in np.flatnonzero(sizes > low)[::3]:
        importance = loss.importance.copy()
        importance[group] *= 4
        after = best_widths(model, budget, LossModel(importance, sizes), low, sizes).widths
        assert after[group] > before[group] or after[group] == sizes[group]

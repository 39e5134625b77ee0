"""From continuous widths to integers that meet a budget exactly: a budget is a promise."""

from math import inf, log

import torch
from torch import Tensor

from pruning.allocate import Allocation, Method, relative_importance
from pruning.budget import Budget
from pruning.cost import CostModel
from pruning.gates import Gates
from pruning.reach import require_reachable, scaled_widths, uniform_ratio


def project(gates: Gates, model: CostModel, budget: Budget, how: Allocation) -> list[int]:
    """Integer widths that meet the budget exactly.

    The least salient channels per unit of violated resource go until every limit holds; then
    the most valuable come back while they fit. A uniform allocation has one ratio, and no more
    to choose.

    Raises:
        BudgetError: no width meets the budget.
    """
    require_reachable(model, budget)
    if how.method is Method.UNIFORM:
        return scaled_widths(model, gates.sizes, uniform_ratio(model, gates.sizes, budget))
    sizes = [group.size for group in model.graph.channels.groups]
    if budget.holds(model.cost(sizes)):
        return sizes
    widths = [
        max(1, min(s, round(n))) for s, n in zip(sizes, gates.widths.tolist(), strict=True)
    ]
    ranked = _channel_values(gates, model, how)
    while not budget.holds(model.cost(widths)):
        widths = _drop(model, budget, widths, ranked)
    return _fill(model, budget, widths, ranked)


def _channel_values(gates: Gates, model: CostModel, how: Allocation) -> list[list[float]]:
    """What the first, second, ... channel of every group is worth.

    By salience; in the differentiable allocation by its own model, importance times log(n).
    """
    groups = model.graph.channels.groups
    if how.method is not Method.DIFFERENTIABLE:
        return [gates.salience[g.units].sort(descending=True).values.tolist() for g in groups]
    prunable = torch.tensor([group.prunable for group in groups])
    importance = relative_importance(gates, prunable).tolist()
    return [
        [inf, *(weight * log(n / (n - 1)) for n in range(2, group.size + 1))]
        for weight, group in zip(importance, groups, strict=True)
    ]


def _drop(
    model: CostModel, budget: Budget, widths: list[int], ranked: list[list[float]]
) -> list[int]:
    """Channels go one by one until the budget holds for the order of kernels that is best now.

    Another order may do with less memory, so what holds here holds exactly.
    """
    groups, live = model.graph.channels.groups, model.live(model.schedule(widths))
    limits = _limits(budget)
    while True:
        shrinking = [i for i, g in enumerate(groups) if g.prunable and widths[i] > 1]
        table = torch.tensor([widths, *(_changed(widths, i, -1) for i in shrinking)])
        over = torch.relu(_costs(model, budget, table, live) / limits - 1)
        if not shrinking or not over[0].any():
            return widths
        relief = (over[0] - over[1:]).sum(1).clamp_min(0).tolist()
        loss = [ranked[i][widths[i] - 1] + 1e-12 for i in shrinking]
        # Where no single channel helps (several buffers share the peak), the cheapest goes.
        price = [(r <= 0, v / r if r > 0 else v) for r, v in zip(relief, loss, strict=True)]
        widths = _changed(widths, min(zip(price, shrinking, strict=True))[1], -1)


def _fill(
    model: CostModel, budget: Budget, widths: list[int], ranked: list[list[float]]
) -> list[int]:
    """The most valuable channels come back one by one while the budget holds."""
    groups = model.graph.channels.groups
    limits = _limits(budget)
    live = model.live(model.schedule(widths))
    while True:
        growing = [i for i, g in enumerate(groups) if g.prunable and widths[i] < g.size]
        table = [_changed(widths, i, +1) for i in growing]
        if not growing:
            return widths
        fits = (_costs(model, budget, torch.tensor(table), live) <= limits).all(1).tolist()
        if not any(fits):  # in this order of kernels; in the best one for each?
            live = model.live(model.schedule(widths))
            fits = [budget.holds(model.cost(more)) for more in table]
        if not any(fits):
            return widths
        values = [
            (ranked[i][widths[i]], -i) for i, fit in zip(growing, fits, strict=True) if fit
        ]
        widths = _changed(widths, -max(values)[1], +1)


def _limits(budget: Budget) -> Tensor:
    """The limits as a vector; that on latency, a sum of fractions, a hair lower."""
    hair = {"latency_ms": 1 - 1e-12}
    values = [limit * hair.get(name, 1.0) for name, limit in budget.limits.items()]
    return torch.tensor(values, dtype=torch.float64)


def _costs(model: CostModel, budget: Budget, table: Tensor, live: Tensor) -> Tensor:
    """Limited resources of many widths (rows) for one order of kernels: (rows, limits)."""
    costs = model.costs(table, live)
    return torch.stack([costs[name] for name in budget.limits], dim=1)


def _changed(widths: list[int], index: int, by: int) -> list[int]:
    return [*widths[:index], widths[index] + by, *widths[index + 1 :]]

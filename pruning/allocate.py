"""From salience and a budget to widths: the differentiable allocation and its baselines.

Each allocation takes the gates, a cost model and the budget of the moment and returns
continuous widths. `project` turns them into integers that meet the budget exactly.
"""

# ruff: noqa: ARG001 - the rules of a table all take the same arguments

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from math import inf, log

import torch
from torch import Tensor

from pruning.budget import Budget, Cost
from pruning.cost import CostModel
from pruning.errors import BudgetError
from pruning.gates import Gates, inner_groups

IMPORTANCE = (0.2, 5.0)


class Method(StrEnum):
    """How the channels to keep are shared out among the groups."""

    DIFFERENTIABLE = "differentiable"
    UNIFORM = "uniform"
    MAGNITUDE = "magnitude"


@dataclass(frozen=True, slots=True, kw_only=True)
class Allocation:
    """Settings of the allocation.

    step: how far one iteration moves the keep ratio of a group of average worth.
    iterations: of ascent in one update.
    floor: least keep ratio of groups that carry everything, as a share of the uniform one.
    """

    method: Method = Method.DIFFERENTIABLE
    step: float = 0.03
    iterations: int = 4
    floor: float = 0.75


def least_widths(model: CostModel) -> list[int]:
    """The smallest widths the engine goes to: one channel in every prunable group."""
    return [1 if group.prunable else group.size for group in model.graph.channels.groups]


def least_cost(model: CostModel) -> Cost:
    """The cost at the smallest widths: no budget below it can be met."""
    return model.cost(least_widths(model))


def require_reachable(model: CostModel, budget: Budget) -> None:
    """Refuse a budget that no width meets, before any training.

    Raises:
        BudgetError: naming each limit, the least reachable cost and the kernel to blame.
    """
    least = least_cost(model)
    if budget.holds(least):
        return
    lines = model.explain(least_widths(model))
    blame = {
        "flash_bytes": max(lines, key=lambda line: line.flash_bytes),
        "sram_bytes": max(lines, key=lambda line: line.live_bytes),
        "latency_ms": max(lines, key=lambda line: line.latency_ms),
    }
    missed = [
        f"{name} {budget.limits[name]:g} is below the least reachable {getattr(least, name):g} "
        f"(most of it in {blame[name].name})"
        for name, over in budget.overshoot(least).items()
        if over > 0
    ]
    raise BudgetError(
        "budget out of reach with one channel in every group: "
        + "; ".join(missed)
        + ". Raise the limit, use a smaller input, or another network."
    )


def uniform_ratio(model: CostModel, sizes: Tensor, budget: Budget) -> float:
    """The largest common keep ratio whose rounded widths meet the budget, to 1e-3."""
    low, high = 0.0, 1.0
    if budget.holds(model.cost(_scaled(model, sizes, 1.0))):
        return 1.0
    while high - low > 1e-3:
        middle = (low + high) / 2
        fits = budget.holds(model.cost(_scaled(model, sizes, middle)))
        low, high = (middle, high) if fits else (low, middle)
    return low


def _scaled(model: CostModel, sizes: Tensor, ratio: float) -> list[int]:
    groups = model.graph.channels.groups
    return [
        max(1, min(group.size, int(ratio * int(size)))) if group.prunable else group.size
        for group, size in zip(groups, sizes, strict=True)
    ]


def allocate(
    gates: Gates, model: CostModel, budget: Budget, final: Budget, how: Allocation
) -> None:
    """Move `gates.widths` and the mask to the budget of the moment.

    `final` is the budget at the end of pruning; it sets the floor of essential groups.
    """
    channels = model.graph.channels
    gates.widths = ALLOCATIONS[how.method](gates, model, budget, final, how)
    rounded = [max(1, round(width)) for width in gates.widths.tolist()]
    sizes = [group.size for group in channels.groups]
    gates.keep_most_salient(
        channels, [min(n, size) for n, size in zip(rounded, sizes, strict=True)]
    )


@dataclass(frozen=True, slots=True)
class _Box:
    """The keep ratios that an allocation may choose from, per group."""

    sizes: Tensor
    low: Tensor
    high: Tensor
    prunable: Tensor

    def clip(self, ratio: Tensor) -> Tensor:
        return torch.minimum(torch.maximum(ratio, self.low), self.high)


def _box(gates: Gates, model: CostModel, final: Budget, how: Allocation) -> _Box:
    groups, sizes = model.graph.channels.groups, gates.sizes.double()
    prunable = torch.tensor([group.prunable for group in groups])
    present = torch.tensor([group.size for group in groups]) / sizes
    uniform = uniform_ratio(model, gates.sizes, final)
    floor = torch.where(torch.tensor(inner_groups(model.graph)), 0.0, how.floor * uniform)
    low = torch.minimum(torch.maximum(floor, 1 / sizes), present)
    return _Box(sizes, torch.where(prunable, low, present), present, prunable)


def _differentiable(
    gates: Gates, model: CostModel, budget: Budget, final: Budget, how: Allocation
) -> Tensor:
    """Maximise the sum over groups of importance times log(keep ratio), within the budget.

    The first channels of a group are worth most: a value of s log(a) has the gradient s / a,
    which keeps groups from vanishing and gives cheap ones more than their share. Importance
    is measured (see `Gates.importance`). A few steps of gradient ascent, each followed by a
    return to the budget, go on from the widths so far.
    """
    box = _box(gates, model, final, how)
    importance = _importance(gates, box.prunable)
    ratio = gates.widths / box.sizes
    for _ in range(how.iterations):
        worth = torch.where(box.prunable, importance / ratio, 0.0)
        step = how.step * worth / worth[box.prunable].mean().clamp_min(1e-30)
        ratio = _return_to_budget(box.clip(ratio + step), box, model, budget)
    return ratio * box.sizes


def _importance(gates: Gates, prunable: Tensor) -> Tensor:
    """Importance relative to its mean, within bounds that noise cannot make it leave."""
    mean = gates.importance[prunable].mean().clamp_min(1e-30)
    return (gates.importance / mean).clamp(*IMPORTANCE)


def _return_to_budget(ratio: Tensor, box: _Box, model: CostModel, budget: Budget) -> Tensor:
    """Newton steps on log R of the worst resource until no limit is exceeded."""
    for _ in range(60):
        point = ratio.clone().requires_grad_()
        worst = _worst_overshoot(point * box.sizes, model, budget)
        if worst is None or worst.item() <= 1e-3:
            break
        (gradient,) = torch.autograd.grad(worst, point)
        free = box.prunable & ((ratio > box.low + 1e-9) | (gradient < 0))
        gradient = torch.where(free, gradient, 0.0)
        square = (gradient * gradient).sum().item()
        if square < 1e-18:  # everything that could shrink is at its floor
            break
        ratio = box.clip(ratio - gradient * (worst.item() / square))
    return ratio


def _worst_overshoot(widths: Tensor, model: CostModel, budget: Budget) -> Tensor | None:
    """log(resource / limit) of the resource that exceeds its limit most."""
    whole = [max(1, round(width)) for width in widths.tolist()]
    steps = model.schedule(whole)
    temperature = max(model.peak(whole) / 20, 1.0)
    resources = model.resources(widths, steps, temperature)
    over = [torch.log(resources[name] / limit) for name, limit in budget.limits.items()]
    return max(over, key=lambda value: value.item(), default=None)


def _uniform(
    gates: Gates, model: CostModel, budget: Budget, final: Budget, how: Allocation
) -> Tensor:
    ratio = uniform_ratio(model, gates.sizes, budget)
    return torch.tensor(_scaled(model, gates.sizes, ratio), dtype=torch.float64)


def _magnitude(
    gates: Gates, model: CostModel, budget: Budget, final: Budget, how: Allocation
) -> Tensor:
    """One threshold on salience over the whole network, each group scaled to mean one."""
    scaled = [_relative(gates.salience[group.units]) for group in model.graph.channels.groups]
    low, high = 0.0, float(max(part.max() for part in scaled)) + 1e-6
    if budget.holds(model.cost(_above(model, scaled, low))):
        high = low
    while high - low > 1e-4:
        middle = (low + high) / 2
        fits = budget.holds(model.cost(_above(model, scaled, middle)))
        low, high = (low, middle) if fits else (middle, high)
    return torch.tensor(_above(model, scaled, high), dtype=torch.float64)


def _relative(salience: Tensor) -> Tensor:
    return salience / salience.mean().clamp_min(1e-30)


def _above(model: CostModel, scaled: Sequence[Tensor], threshold: float) -> list[int]:
    return [
        max(1, int((part >= threshold).sum())) if group.prunable else group.size
        for group, part in zip(model.graph.channels.groups, scaled, strict=True)
    ]


Rule = Callable[[Gates, CostModel, Budget, Budget, Allocation], Tensor]
ALLOCATIONS: Mapping[Method, Rule] = {
    Method.DIFFERENTIABLE: _differentiable,
    Method.UNIFORM: _uniform,
    Method.MAGNITUDE: _magnitude,
}


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
        return _scaled(model, gates.sizes, uniform_ratio(model, gates.sizes, budget))
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
    importance = _importance(gates, prunable).tolist()
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

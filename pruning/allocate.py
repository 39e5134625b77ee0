"""From salience and a budget to widths: the differentiable allocation and its baselines.

Each allocation takes the gates, a cost model and the budget of the moment and returns
continuous widths. `project` turns them into integers that meet the budget exactly.
"""

# ruff: noqa: ARG001 - the rules of a table all take the same arguments

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum

import torch
from torch import Tensor

from pruning.budget import Budget, Cost
from pruning.cost import CostModel
from pruning.errors import BudgetError
from pruning.gates import Gates, inner_groups, least_salient


class Method(StrEnum):
    """How the channels to keep are shared out among the groups."""

    DIFFERENTIABLE = "differentiable"
    UNIFORM = "uniform"
    MAGNITUDE = "magnitude"


@dataclass(frozen=True, slots=True, kw_only=True)
class Allocation:
    """Settings of the allocation.

    step: how far one update moves the keep ratio of a group of average worth.
    floor: least keep ratio of groups that carry everything, as a share of the uniform one.
    """

    method: Method = Method.DIFFERENTIABLE
    step: float = 0.03
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
    """Raise each keep ratio by the worth of its next channels, then return to the budget."""
    box = _box(gates, model, final, how)
    worth = box.sizes * least_salient(gates, model.graph.channels, 2)
    mean = worth[box.prunable].mean().clamp_min(1e-30)
    step = torch.where(box.prunable, how.step * (worth / mean).clamp(0, 4), 0.0)
    ratio = box.clip(gates.widths / box.sizes + step)
    return _return_to_budget(ratio, box, model, budget) * box.sizes


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
    widths = [
        max(1, min(s, round(n))) for s, n in zip(sizes, gates.widths.tolist(), strict=True)
    ]
    ranked = [
        gates.salience[group.units].sort(descending=True).values.tolist()
        for group in model.graph.channels.groups
    ]
    while not budget.holds(model.cost(widths)):
        widths = _drop_one(model, budget, widths, ranked)
    return _fill(model, budget, widths, ranked)


def _drop_one(
    model: CostModel, budget: Budget, widths: list[int], ranked: list[list[float]]
) -> list[int]:
    over = {n: o for n, o in budget.overshoot(model.cost(widths)).items() if o > 0}
    choices = []
    for index, group in enumerate(model.graph.channels.groups):
        if not group.prunable or widths[index] == 1:
            continue
        fewer = _changed(widths, index, -1)
        after = budget.overshoot(model.cost(fewer))
        relief = sum(max(0.0, o - max(after[n], 0.0)) for n, o in over.items())
        loss = ranked[index][widths[index] - 1] + 1e-12
        # Where no single channel helps (several buffers share the peak), the cheapest goes.
        choices.append((relief <= 0, loss / relief if relief > 0 else loss, fewer))
    return min(choices)[2]


def _fill(
    model: CostModel, budget: Budget, widths: list[int], ranked: list[list[float]]
) -> list[int]:
    while True:
        choices = []
        for index, group in enumerate(model.graph.channels.groups):
            if not group.prunable or widths[index] == group.size:
                continue
            more = _changed(widths, index, +1)
            if budget.holds(model.cost(more)):
                choices.append((ranked[index][widths[index]], more))
        if not choices:
            return widths
        widths = max(choices)[1]


def _changed(widths: list[int], index: int, by: int) -> list[int]:
    return [*widths[:index], widths[index] + by, *widths[index + 1 :]]

"""From salience and a budget to widths: the differentiable allocation and its baselines.

Each allocation takes the gates, a cost model and the budget of the moment and returns
continuous widths; `pruning.project` turns them into integers.
"""

from dataclasses import dataclass
from enum import StrEnum

import torch
from torch import Tensor

from pruning.baselines import magnitude, uniform
from pruning.budget import Budget
from pruning.cost import CostModel
from pruning.gates import Gates, inner_groups
from pruning.reach import uniform_ratio

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


def allocate(
    gates: Gates, model: CostModel, budget: Budget, final: Budget, how: Allocation
) -> None:
    """Move `gates.widths` and the mask to the budget of the moment.

    `final` is the budget at the end of pruning; it sets the floor of essential groups.
    """
    channels = model.graph.channels
    match how.method:
        case Method.DIFFERENTIABLE:
            gates.widths = _differentiable(gates, model, budget, final, how)
        case Method.UNIFORM:
            gates.widths = uniform(gates, model, budget)
        case Method.MAGNITUDE:
            gates.widths = magnitude(gates, model, budget)
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
    importance = relative_importance(gates, box.prunable)
    ratio = gates.widths / box.sizes
    for _ in range(how.iterations):
        worth = torch.where(box.prunable, importance / ratio, 0.0)
        step = how.step * worth / worth[box.prunable].mean().clamp_min(1e-30)
        ratio = _return_to_budget(box.clip(ratio + step), box, model, budget)
    return ratio * box.sizes


def relative_importance(gates: Gates, prunable: Tensor) -> Tensor:
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

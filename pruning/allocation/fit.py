"""Integer widths, changed channel by channel: down until a budget holds, up while it does."""

from collections.abc import Sequence

import torch
from torch import Tensor

from pruning.allocation.masks import ChannelMasks, inner_groups
from pruning.budget import Budget
from pruning.cost.model import CostModel, dependents, is_connected

ChannelValues = Sequence[Sequence[float]]  # of the first, second, ... channel of every group
TINY = 1e-12
FEW = 32


def values_by_saliency(masks: ChannelMasks, model: CostModel) -> ChannelValues:
    """What the channels of every group are worth, the most salient first."""
    groups = model.graph.channels.groups
    return [masks.saliency[g.units].sort(descending=True).values.tolist() for g in groups]


def shrink_to_fit(
    model: CostModel, budget: Budget, widths: list[int], worth: ChannelValues, remove_branches: bool
) -> list[int]:
    """What is worth least per relief of the exceeded limits goes, until all of them hold.

    A few channels at a time (one in thirty-two) or, with `remove_branches`, all that is left of a
    group inside a residual branch. If nothing holds the budget, the smallest network is the
    result.
    """
    inner = [i for i, may in enumerate(inner_groups(model.graph)) if may] if remove_branches else []
    while not budget.holds(model.cost(widths)):
        choices = _smaller(model, widths, inner)
        if not choices:
            return widths
        over = _overshoot(model, budget, [widths, *choices]).sum(1).tolist()
        prices = [
            _price(_lost(widths, choice, worth), over[0] - left)
            for choice, left in zip(choices, over[1:], strict=True)
        ]
        widths = choices[prices.index(min(prices))]
    return widths


def grow_to_fill(
    model: CostModel, budget: Budget, widths: list[int], worth: ChannelValues
) -> list[int]:
    """The most valuable channels come back one by one while the budget holds.

    Groups that vanished stay away.
    """
    groups = model.graph.channels.groups
    while True:
        growing = [i for i, g in enumerate(groups) if g.prunable and 0 < widths[i] < g.size]
        choices = [_changed(widths, i, groups[i].up(widths[i] + 1)) for i in growing]
        if not choices:
            return widths
        fits = (_overshoot(model, budget, choices) <= 0).all(1).tolist()
        if not any(fits):  # in this order of kernels; in the best one for each?
            fits = [budget.holds(model.cost(choice)) for choice in choices]
        if not any(fits):
            return widths
        values = [
            _lost(choice, widths, worth) / (choice[i] - widths[i]) if fit else -1.0
            for i, choice, fit in zip(growing, choices, fits, strict=True)
        ]
        widths = choices[values.index(max(values))]


def _smaller(model: CostModel, widths: list[int], inner: Sequence[int]) -> list[list[int]]:
    groups = model.graph.channels.groups
    shrinking = [i for i, g in enumerate(groups) if g.prunable and widths[i] > g.floor]
    choices = [
        _changed(widths, i, groups[i].down(widths[i] - max(1, widths[i] // FEW))) for i in shrinking
    ]
    gone = [_changed(widths, i, 0) for i in inner if widths[i]]
    emptied = [dependents(model, choice) for choice in gone if is_connected(model, choice)]
    return choices + [each for i, each in enumerate(emptied) if each not in emptied[:i]]


def _lost(before: list[int], after: list[int], worth: ChannelValues) -> float:
    return sum(sum(values[a:b]) for b, a, values in zip(before, after, worth, strict=True))


def _price(lost: float, relief: float) -> tuple[bool, float]:
    """Where nothing helps (several buffers share the peak), the cheapest goes."""
    return (False, (lost + TINY) / relief) if relief > TINY else (True, lost)


def _overshoot(model: CostModel, budget: Budget, rows: Sequence[Sequence[int]]) -> Tensor:
    """By how much many widths (rows) exceed each limit, as a share of it: (rows, limits).

    Latency is a sum of fractions: a hair is added, so that what seems to hold does.
    """
    costs = model.costs(rows)
    hair = {"latency_ms": 1 + TINY}
    return torch.stack(
        [costs[n] * hair.get(n, 1.0) / limit - 1 for n, limit in budget.limits.items()], dim=1
    ).clamp_min(0)


def _changed(widths: list[int], index: int, width: int) -> list[int]:
    return [*widths[:index], width, *widths[index + 1 :]]

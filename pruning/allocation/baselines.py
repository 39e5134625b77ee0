"""The allocations to beat: one keep ratio for all, one threshold on magnitude for all, and
channel by channel whatever is worth least.
"""

from collections.abc import Sequence

import torch
from torch import Tensor

from pruning.allocation.feasibility import scaled_widths, uniform_ratio
from pruning.allocation.fit import ChannelValues, shrink_to_fit
from pruning.allocation.masks import ChannelMasks
from pruning.budget import Budget
from pruning.cost.model import CostModel


def uniform(masks: ChannelMasks, model: CostModel, budget: Budget) -> Tensor:
    """The same keep ratio in every group, as large as the budget allows."""
    ratio = uniform_ratio(model, masks.sizes, budget)
    return torch.tensor(scaled_widths(model, masks.sizes, ratio), dtype=torch.float64)


def magnitude(masks: ChannelMasks, model: CostModel, budget: Budget) -> Tensor:
    """One threshold on saliency over the whole network, each group scaled to mean one."""
    scaled = [_relative(masks.saliency[group.units]) for group in model.graph.channels.groups]
    low, high = 0.0, float(max(part.max() for part in scaled)) + 1e-6
    if budget.holds(model.cost(_above(model, scaled, low))):
        high = low
    while high - low > 1e-4:
        middle = (low + high) / 2
        fits = budget.holds(model.cost(_above(model, scaled, middle)))
        low, high = (low, middle) if fits else (middle, high)
    return torch.tensor(_above(model, scaled, high), dtype=torch.float64)


def greedy(
    masks: ChannelMasks,
    model: CostModel,
    budget: Budget,
    worth: ChannelValues,
    remove_branches: bool,
) -> Tensor:
    """From the widths so far, the least saliency per marginal resource goes."""
    widths = shrink_to_fit(
        model, budget, masks.rounded(model.graph.channels), worth, remove_branches
    )
    return torch.tensor(widths, dtype=torch.float64)


def _relative(saliency: Tensor) -> Tensor:
    return saliency / saliency.mean().clamp_min(1e-30)


def _above(model: CostModel, scaled: Sequence[Tensor], threshold: float) -> list[int]:
    return [
        group.down(int((part >= threshold).sum())) if group.prunable else group.size
        for group, part in zip(model.graph.channels.groups, scaled, strict=True)
    ]

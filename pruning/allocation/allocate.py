"""From saliency and a budget to widths: the differentiable allocation and its baselines.

Each allocation takes the masks, a cost model and the budget of the moment and returns
continuous widths; `pruning.allocation.project` turns them into integers.
"""

from dataclasses import dataclass
from enum import StrEnum
from math import inf

import numpy as np
import torch

from pruning.allocation.baselines import greedy, magnitude, uniform
from pruning.allocation.geometric_program import LossModel, Optimum, best_widths
from pruning.allocation.masks import ChannelMasks
from pruning.budget import Budget
from pruning.cost.model import CostModel
from pruning.errors import require


class Method(StrEnum):
    """How the channels to keep are shared out among the groups."""

    DIFFERENTIABLE = "differentiable"
    GREEDY = "greedy"
    UNIFORM = "uniform"
    MAGNITUDE = "magnitude"


@dataclass(frozen=True, slots=True, kw_only=True)
class Allocation:
    """Settings of the allocation.

    loss_exponent: how fast the loss rises as a group narrows, p in (n / size)^-p.
    shrinkage_factor: what multiplies the measured differences between groups, in logarithms: from
    0, where all groups count as equal, to 1, where the measurement is taken as it is.
    remove_branches: whether groups inside residual branches may vanish, and their branches with
    them.

    Raises:
        PruningError: a setting that makes no sense.
    """

    method: Method = Method.DIFFERENTIABLE
    loss_exponent: float = 0.5
    shrinkage_factor: float = 0.5
    remove_branches: bool = True

    def __post_init__(self) -> None:
        require("loss_exponent", self.loss_exponent, above=0)
        require("shrinkage_factor", self.shrinkage_factor, least=0, most=1)

    @property
    def vanishing(self) -> bool:
        """Whether groups may vanish; one ratio or one threshold for all leaves none empty."""
        return self.remove_branches and self.method in (Method.DIFFERENTIABLE, Method.GREEDY)


def allocate(masks: ChannelMasks, model: CostModel, budget: Budget, how: Allocation) -> None:
    """Move `masks.widths` and the mask to the budget of the moment."""
    channels = model.graph.channels
    match how.method:
        case Method.DIFFERENTIABLE:
            masks.widths = torch.from_numpy(optimum(masks, model, budget, how).widths)
        case Method.GREEDY:
            worth = channel_worth(masks, model, how)
            masks.widths = greedy(masks, model, budget, worth, how.vanishing)
        case Method.UNIFORM:
            masks.widths = uniform(masks, model, budget)
        case Method.MAGNITUDE:
            masks.widths = magnitude(masks, model, budget)
    masks.keep_most_salient(channels, masks.rounded(channels))


def optimum(masks: ChannelMasks, model: CostModel, budget: Budget, how: Allocation) -> Optimum:
    """The widths of the least loss within the budget, as far as the measured model knows."""
    groups = model.graph.channels.groups
    present = np.array([float(group.size) for group in groups])
    low = np.array([float(group.floor) for group in groups])
    guess = np.clip(masks.widths.numpy(), low, present)
    return best_widths(model, budget, loss_model(masks, model, how), low, present, guess)


def loss_model(masks: ChannelMasks, model: CostModel, how: Allocation) -> LossModel:
    """The loss as a function of the widths, from what was measured so far."""
    prunable = np.array([group.prunable for group in model.graph.channels.groups])
    measured = masks.importance.numpy()
    mean = measured[prunable].mean() if prunable.any() else 0.0
    known = np.clip(measured / mean, 1e-2, 1e2) if mean > 0 else np.ones(len(measured))
    importance = np.where(prunable, max(mean, 1e-12) * known**how.shrinkage_factor, 0.0)
    return LossModel(importance, masks.sizes.double().numpy(), how.loss_exponent)


def channel_worth(masks: ChannelMasks, model: CostModel, how: Allocation) -> list[list[float]]:
    """What the first, second, ... channel of every group is worth.

    By saliency; in the differentiable allocation by its own model of the loss.
    """
    groups = model.graph.channels.groups
    if how.method is not Method.DIFFERENTIABLE:
        return [masks.saliency[g.units].sort(descending=True).values.tolist() for g in groups]
    loss = loss_model(masks, model, how)
    return [
        [
            inf,
            *(
                float(pull)
                for pull in scale * np.arange(1.5, group.size) ** (-how.loss_exponent - 1)
            ),
        ]
        for group, scale in zip(
            groups, loss.importance * loss.sizes**how.loss_exponent, strict=True
        )
    ]

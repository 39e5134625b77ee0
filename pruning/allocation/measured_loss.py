"""The loss as a function of the widths, from sensitivity as measured so far."""

from typing import Protocol

import numpy as np

from pruning.allocation.geometric_program import LossModel, Optimum, best_widths
from pruning.allocation.masks import ChannelMasks
from pruning.budget import Budget
from pruning.cost.model import CostModel


class LossSettings(Protocol):
    """How measurements become a model of the loss (see `Allocation`)."""

    @property
    def loss_exponent(self) -> float: ...  # noqa: D102
    @property
    def shrinkage_factor(self) -> float: ...  # noqa: D102


def optimum(masks: ChannelMasks, model: CostModel, budget: Budget, how: LossSettings) -> Optimum:
    """The widths of the least loss within the budget, as far as the measured model knows."""
    groups = model.graph.channels.groups
    present = np.array([float(group.size) for group in groups])
    low = np.array([float(group.floor) for group in groups])
    guess = np.clip(masks.widths.numpy(), low, present)
    return best_widths(model, budget, loss_model(masks, model, how), low, present, guess)


def loss_model(masks: ChannelMasks, model: CostModel, how: LossSettings) -> LossModel:
    """The loss as a function of the widths, from what was measured so far."""
    prunable = np.array([group.prunable for group in model.graph.channels.groups])
    measured = masks.importance.numpy()
    mean = measured[prunable].mean() if prunable.any() else 0.0
    known = np.clip(measured / mean, 1e-2, 1e2) if mean > 0 else np.ones(len(measured))
    importance = np.where(prunable, max(mean, 1e-12) * known**how.shrinkage_factor, 0.0)
    return LossModel(importance, masks.sizes.double().numpy(), how.loss_exponent)

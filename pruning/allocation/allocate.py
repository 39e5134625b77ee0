"""From saliency and a budget to widths, by whichever method is asked for.

A method takes the masks, a cost model and the budget of the moment and gives continuous widths;
`pruning.allocation.project` turns them into integers.
"""

from dataclasses import dataclass, field
from math import inf

import numpy as np
import torch
from torch import Tensor

from pruning.allocation.differentiable import Differentiable
from pruning.allocation.fit import ChannelValues, values_by_saliency
from pruning.allocation.masks import ChannelMasks
from pruning.allocation.measured_loss import loss_model
from pruning.allocation.method import Method, Problem
from pruning.allocation.registry import method_named, name_of
from pruning.budget import Budget
from pruning.cost.model import CostModel, is_connected
from pruning.errors import PruningError, require


@dataclass(frozen=True, slots=True, kw_only=True)
class Allocation:
    """Settings of the allocation.

    method: how channels are shared out; a name is taken for the one that is registered by it.
    loss_exponent: how fast the loss rises as a group narrows, p in (n / size)^-p.
    shrinkage_factor: what multiplies the measured differences between groups, in logarithms: from
    0, where all groups count as equal, to 1, where the measurement is taken as it is.
    remove_branches: whether groups inside residual branches may vanish, and their branches with
    them.

    Raises:
        PruningError: a setting that makes no sense.
    """

    method: Method = field(default_factory=Differentiable)
    loss_exponent: float = 0.5
    shrinkage_factor: float = 0.5
    remove_branches: bool = True

    def __post_init__(self) -> None:
        object.__setattr__(self, "method", method_named(self.method))
        require("loss_exponent", self.loss_exponent, above=0)
        require("shrinkage_factor", self.shrinkage_factor, least=0, most=1)

    @property
    def vanishing(self) -> bool:
        """Whether groups may vanish; one ratio or one threshold for all leaves none empty."""
        return self.remove_branches and self.method.traits.vanishing


def allocate(masks: ChannelMasks, model: CostModel, budget: Budget, how: Allocation) -> None:
    """Move `masks.widths` and the mask to the budget of the moment.

    Raises:
        PruningError: the method gives no widths of this network.
    """
    channels = model.graph.channels
    masks.widths = widths_by(masks, model, budget, how)
    masks.keep_most_salient(channels, masks.rounded(channels))


def widths_by(masks: ChannelMasks, model: CostModel, budget: Budget, how: Allocation) -> Tensor:
    """What a method gives, (groups,) float64, at most the groups' sizes, and those where nothing
    is prunable.

    Raises:
        PruningError: another number of widths, one that is no number or below zero, or one of
            zero where no branch may vanish or nothing would be left.
    """
    given = how.method.widths(_problem(masks, model, budget, how))
    widths = torch.as_tensor(np.asarray(given, dtype=np.float64))
    groups = model.graph.channels.groups
    if widths.shape != (len(groups),) or not (widths >= 0).all() or widths.isinf().any():
        raise PruningError(
            f"method {name_of(how.method)} gives the widths {widths.tolist()}; this network has "
            f"{len(groups)} groups: give one finite number of at least 0 for each"
        )
    sizes = torch.tensor([float(group.size) for group in groups], dtype=torch.float64)
    prunable = torch.tensor([group.prunable for group in groups])
    widths = torch.where(prunable, widths.minimum(sizes), sizes)
    empty = (widths == 0).tolist()
    if any(empty) and not (how.vanishing and is_connected(model, widths.tolist())):
        gone = ", ".join(group.name for group, none in zip(groups, empty, strict=True) if none)
        raise PruningError(
            f"method {name_of(how.method)} leaves no channel in {gone}; that is for groups inside "
            "residual branches alone, with the trait `vanishing` and remove_branches=True. Give "
            "at least 1"
        )
    return widths


def _problem(masks: ChannelMasks, model: CostModel, budget: Budget, how: Allocation) -> Problem:
    return Problem(
        masks=masks,
        model=model,
        budget=budget,
        loss_exponent=how.loss_exponent,
        shrinkage_factor=how.shrinkage_factor,
        remove_branches=how.vanishing,
    )


def channel_worth(masks: ChannelMasks, model: CostModel, how: Allocation) -> ChannelValues:
    """What the first, second, ... channel of every group is worth.

    By saliency; where sensitivity is measured, by the model of the loss.
    """
    groups = model.graph.channels.groups
    if not how.method.traits.measured:
        return values_by_saliency(masks, model)
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

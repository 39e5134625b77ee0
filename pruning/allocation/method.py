"""What a method of allocation is: from saliency, costs and a budget to the widths of all groups.

A method of your own is one class with one function:

    class Halves(Method):
        def widths(self, problem: Problem) -> list[float]:
            return [group.size / 2 for group in problem.groups]

It need not meet the budget by itself: at the end channels are removed, the least salient per
unit of violated resource first, until every limit holds, and added while they all do.
"""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from pruning.allocation.masks import ChannelMasks
from pruning.budget import Budget
from pruning.cost.model import CostModel
from pruning.graph.channel_groups import ChannelGroup

Widths = Sequence[float] | NDArray[np.float64] | Tensor  # (groups,)


@dataclass(frozen=True, slots=True, kw_only=True)
class Problem:
    """What a method is asked, at one moment of the prune phase.

    masks: the widths so far, saliency by unit, importance by group. model: costs of any widths,
    and the graph. budget: the limits of the moment, which tighten from the dense cost to the
    final ones. loss_exponent, shrinkage_factor: of the model of the loss (see
    `pruning.allocation.measured_loss`). remove_branches: whether a group inside a residual
    branch may have no channel, with which the branch is removed.
    """

    masks: ChannelMasks
    model: CostModel
    budget: Budget
    loss_exponent: float
    shrinkage_factor: float
    remove_branches: bool

    @property
    def groups(self) -> tuple[ChannelGroup, ...]:
        """The groups whose widths are asked for, in this order."""
        return self.model.graph.channels.groups


@dataclass(frozen=True, slots=True, kw_only=True)
class Traits:
    """What the prune phase does for a method besides asking it.

    vanishing: residual branches may be removed, where the settings allow it, too.
    measured: the sensitivity of every group is measured, which gives a model of the loss: by it
    branches are selected, the last channels are chosen, and the result is explained.
    by_weights: saliency is the norm of a channel's weights, instead of a running mean of |dL/dm|.
    recomputed: the final widths are computed for the final budget and rounded to what each group
    allows. Without, they are those of the last update of the phase, as whole numbers.
    adjusted: at the end channels are removed and added one by one to meet the budget and to fill
    it. Without, `widths` has to meet every budget by whole numbers that the groups allow.
    """

    vanishing: bool = False
    measured: bool = False
    by_weights: bool = False
    recomputed: bool = True
    adjusted: bool = True


class Method(ABC):
    """How the channels to keep are shared out among the groups."""

    traits: ClassVar[Traits] = Traits()

    @abstractmethod
    def widths(self, problem: Problem) -> Widths:
        """The width of every group, (groups,), for the budget of the moment.

        What is above a group's size counts as that, whatever is given for one that is not
        prunable, too. Zero removes the branch around the group, if `problem.remove_branches`.
        """

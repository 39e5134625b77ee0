"""The allocations to beat: one keep ratio for all, one threshold on magnitude for all, and
channel by channel whatever is worth least.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, final

from torch import Tensor

from pruning.allocation.feasibility import scaled_widths, uniform_ratio
from pruning.allocation.fit import shrink_to_fit, values_by_saliency
from pruning.allocation.method import Method, Problem, Traits
from pruning.cost.model import CostModel


@final
@dataclass(frozen=True)
class Uniform(Method):
    """The same keep ratio in every group, as large as the budget allows."""

    traits: ClassVar[Traits] = Traits(adjusted=False)  # one ratio, and no more to choose

    def widths(self, problem: Problem) -> list[int]:
        """Those at that ratio."""
        model, sizes = problem.model, problem.masks.sizes
        return scaled_widths(model, sizes, uniform_ratio(model, sizes, problem.budget))


@final
@dataclass(frozen=True)
class Magnitude(Method):
    """One threshold on saliency over the whole network, each group scaled to mean one."""

    traits: ClassVar[Traits] = Traits(by_weights=True, recomputed=False)

    def widths(self, problem: Problem) -> list[int]:
        """The channels above the lowest threshold within the budget, to 1e-4."""
        model, budget = problem.model, problem.budget
        scaled = [_relative(problem.masks.saliency[group.units]) for group in problem.groups]
        low, high = 0.0, float(max(part.max() for part in scaled)) + 1e-6
        if budget.holds(model.cost(_above(model, scaled, low))):
            high = low
        while high - low > 1e-4:
            middle = (low + high) / 2
            fits = budget.holds(model.cost(_above(model, scaled, middle)))
            low, high = (low, middle) if fits else (middle, high)
        return _above(model, scaled, high)


@final
@dataclass(frozen=True)
class Greedy(Method):
    """From the widths so far, the least saliency per marginal resource goes."""

    traits: ClassVar[Traits] = Traits(vanishing=True, recomputed=False)

    def widths(self, problem: Problem) -> list[int]:
        """What is left when the budget holds."""
        masks, model = problem.masks, problem.model
        worth = values_by_saliency(masks, model)
        widths = masks.rounded(model.graph.channels)
        return shrink_to_fit(model, problem.budget, widths, worth, problem.remove_branches)


def _relative(saliency: Tensor) -> Tensor:
    return saliency / saliency.mean().clamp_min(1e-30)


def _above(model: CostModel, scaled: Sequence[Tensor], threshold: float) -> list[int]:
    return [
        group.down(int((part >= threshold).sum())) if group.prunable else group.size
        for group, part in zip(model.graph.channels.groups, scaled, strict=True)
    ]

"""From continuous widths to integers that meet a budget exactly: a budget is a promise."""

from dataclasses import replace

from pruning.allocation.allocate import Allocation, channel_worth, widths_by
from pruning.allocation.feasibility import require_reachable
from pruning.allocation.fit import grow_to_fill, shrink_to_fit
from pruning.allocation.masks import ChannelMasks
from pruning.allocation.registry import name_of
from pruning.budget import Budget
from pruning.cost.model import CostModel
from pruning.errors import BudgetError


def project(masks: ChannelMasks, model: CostModel, budget: Budget, how: Allocation) -> list[int]:
    """Integer widths that meet the budget exactly.

    From the widths for this budget (or those so far), the least salient channels per unit of
    violated resource go until every limit holds; then the most valuable come back while they
    fit; unless the method has no more to choose (see `Traits`).
    Where generated C needs gaps between its buffers, its arena meets the budget, too.

    Raises:
        BudgetError: no width meets the budget, or this method finds none.
    """
    require_reachable(model, budget, remove_branches=how.vanishing)
    held = budget
    while held.holds(model.cost(widths := _integers(masks, model, held, how))):
        if budget.sram_bytes is None or budget.holds(model.planned_cost(widths)):
            return widths
        held = replace(held, sram_bytes=model.peak(widths) - 1)
    cure = "Raise the limits" + ("" if how.vanishing else ", or let branches vanish")
    gaps = "" if held == budget else ", and its buffers cannot be packed without gaps"
    raise BudgetError(
        f"method {name_of(how.method)} finds no widths within {budget.limits}; its smallest "
        f"network costs {model.cost(widths)}{gaps}. {cure}."
    )


def _integers(masks: ChannelMasks, model: CostModel, budget: Budget, how: Allocation) -> list[int]:
    traits, groups = how.method.traits, model.graph.channels.groups
    if not traits.adjusted:
        return [round(width) for width in widths_by(masks, model, budget, how).tolist()]
    sizes = [group.size for group in groups]
    if budget.holds(model.cost(sizes)):
        return sizes
    widths = masks.rounded(model.graph.channels)
    if traits.recomputed:
        exact = widths_by(masks, model, budget, how).tolist()
        widths = [group.nearest(n) if n else 0 for group, n in zip(groups, exact, strict=True)]
    worth = channel_worth(masks, model, how)
    return grow_to_fill(
        model, budget, shrink_to_fit(model, budget, widths, worth, how.vanishing), worth
    )

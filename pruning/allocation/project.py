"""From continuous widths to integers that meet a budget exactly: a budget is a promise."""

from dataclasses import replace

from pruning.allocation.allocate import Allocation, Method, channel_worth, optimum
from pruning.allocation.feasibility import require_reachable, scaled_widths, uniform_ratio
from pruning.allocation.fit import grow_to_fill, shrink_to_fit
from pruning.allocation.masks import ChannelMasks
from pruning.budget import Budget
from pruning.cost.model import CostModel
from pruning.errors import BudgetError


def project(masks: ChannelMasks, model: CostModel, budget: Budget, how: Allocation) -> list[int]:
    """Integer widths that meet the budget exactly.

    From the best continuous widths (or those so far), the least salient channels per unit of
    violated resource go until every limit holds; then the most valuable come back while they
    fit. A uniform allocation has one ratio, and no more to choose.
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
        f"method {how.method} finds no widths within {budget.limits}; its smallest network "
        f"costs {model.cost(widths)}{gaps}. {cure}."
    )


def _integers(masks: ChannelMasks, model: CostModel, budget: Budget, how: Allocation) -> list[int]:
    if how.method is Method.UNIFORM:
        return scaled_widths(model, masks.sizes, uniform_ratio(model, masks.sizes, budget))
    sizes = [group.size for group in model.graph.channels.groups]
    if budget.holds(model.cost(sizes)):
        return sizes
    widths = masks.rounded(model.graph.channels)
    if how.method is Method.DIFFERENTIABLE:
        best = optimum(masks, model, budget, how).widths.tolist()
        widths = [
            group.nearest(n) for group, n in zip(model.graph.channels.groups, best, strict=True)
        ]
    worth = channel_worth(masks, model, how)
    return grow_to_fill(
        model, budget, shrink_to_fit(model, budget, widths, worth, how.vanishing), worth
    )

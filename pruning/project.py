"""From continuous widths to integers that meet a budget exactly: a budget is a promise."""

from dataclasses import replace
from math import ceil

from pruning.allocate import Allocation, Method, channel_worth, optimum
from pruning.budget import Budget
from pruning.cost import CostModel, Encoding
from pruning.errors import BudgetError
from pruning.gates import Gates
from pruning.moves import drop, fill
from pruning.reach import require_reachable, scaled_widths, uniform_ratio


def project(gates: Gates, model: CostModel, budget: Budget, how: Allocation) -> list[int]:
    """Integer widths that meet the budget exactly.

    From the best continuous widths (or those so far), the least salient channels per unit of
    violated resource go until every limit holds; then the most valuable come back while they
    fit. A uniform allocation has one ratio, and no more to choose.
    Where generated C needs gaps between its buffers, its arena meets the budget, too.

    Raises:
        BudgetError: no width meets the budget, or this method finds none.
    """
    require_reachable(model, budget)
    held = budget
    while True:
        widths = _integers(gates, model, held, how)
        if not held.holds(cost := model.cost(widths)):
            raise BudgetError(
                f"method {how.method} finds no widths within {held.limits}; its smallest "
                f"network costs {cost}. Use method=differentiable, which lets branches vanish."
            )
        if not (excess := _unpacked(model, budget, widths)):
            return widths
        held = replace(held, sram_bytes=cost.sram_bytes - excess)


def _unpacked(model: CostModel, budget: Budget, widths: list[int]) -> int:
    """By how many bytes the arena of generated C exceeds its limit because buffers could not be
    packed without gaps.
    """
    if model.encoding is not Encoding.C or budget.sram_bytes is None:
        return 0
    return max(0, ceil(model.arena(widths).arena_bytes - budget.sram_bytes))


def _integers(gates: Gates, model: CostModel, budget: Budget, how: Allocation) -> list[int]:
    if how.method is Method.UNIFORM:
        return scaled_widths(model, gates.sizes, uniform_ratio(model, gates.sizes, budget))
    sizes = [group.size for group in model.graph.channels.groups]
    if budget.holds(model.cost(sizes)):
        return sizes
    widths = gates.rounded(model.graph.channels)
    if how.method is Method.DIFFERENTIABLE:
        best = optimum(gates, model, budget, how).widths.tolist()
        widths = [
            group.nearest(n) for group, n in zip(model.graph.channels.groups, best, strict=True)
        ]
    worth = channel_worth(gates, model, how)
    return fill(model, budget, drop(model, budget, widths, worth, how.vanishing), worth)

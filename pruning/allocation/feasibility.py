"""What budgets can be met at all, and by which common keep ratio."""

from collections.abc import Callable, Sequence
from math import ceil, floor

from torch import Tensor

from pruning.allocation.masks import inner_groups
from pruning.budget import Budget, Cost, Device
from pruning.cost.model import CostModel, bottlenecks, is_connected
from pruning.errors import BudgetError

NANO = 1e6  # nanoseconds in a millisecond


def min_widths(
    model: CostModel, budget: Budget | None = None, remove_branches: bool = True
) -> list[int]:
    """The smallest widths the engine goes to: the floor of every group and, with
    `remove_branches`, no channel in those inside residual branches.

    Where not all can go, as one operand of a concatenation has to stay, what stays is what
    comes nearest to the budget; without one, or within it, what takes the least flash.
    """
    floors = [group.floor for group in model.graph.channels.groups]
    inner = [i for i, may in enumerate(inner_groups(model.graph)) if may and remove_branches]
    least, staying = _emptied(model, floors, inner)
    for index in staying:
        other, _ = _emptied(model, floors, [index, *inner])
        if _excess(model, budget, other) < _excess(model, budget, least):
            least, inner = other, [index, *inner]
    return least


def _emptied(
    model: CostModel, widths: list[int], order: Sequence[int]
) -> tuple[list[int], list[int]]:
    """Widths with none in these groups, one after the other, and those that had to stay."""
    staying = []
    for index in order:
        fewer = [*widths[:index], 0, *widths[index + 1 :]]
        if is_connected(model, fewer):
            widths = fewer
        else:
            staying.append(index)
    return widths, staying


def _excess(model: CostModel, budget: Budget | None, widths: list[int]) -> tuple[float, int]:
    cost = model.cost(widths)
    over = (budget or Budget()).overshoot(cost).values()
    return sum(max(share, 0.0) for share in over), cost.flash_bytes


def min_cost(model: CostModel) -> Cost:
    """The cost at the smallest widths. A channel more may take a little less latency."""
    return model.cost(min_widths(model))


def require_reachable(
    model: CostModel, budget: Budget, margins: Device | None = None, remove_branches: bool = True
) -> None:
    """Refuse a budget that no width meets, before any training: with the margins of a device,
    one whose guarded form none meets. `remove_branches` tells whether residual branches may go.

    Raises:
        BudgetError: naming each limit, the least reachable cost and the kernel to blame.
    """
    held = margins.guarded(budget) if margins else budget
    widths = min_widths(model, held, remove_branches)
    if held.holds(least := model.cost(widths)):
        return
    blame = bottlenecks(model, widths)
    needed = margins.needed if margins else lambda _, estimate: estimate
    missed = [
        f"{name} {_digits(budget.limits[name], floor)} is below the least reachable "
        f"{_digits(needed(name, getattr(least, name)), ceil)} "
        f"{'ms' if name == 'latency_ms' else 'bytes'} (most of it in {blame[name]})"
        for name, limit in held.limits.items()
        if getattr(least, name) > limit
    ]
    without = " without the residual branches" if remove_branches else ""
    raise BudgetError(
        f"budget out of reach of the least widths{without}: "
        + "; ".join(missed)
        + ". Raise the limit, use a smaller input, or another network."
    )


def _digits(number: float, rounding: Callable[[float], int]) -> str:
    """To a nanosecond, rounded so that a limit as it is told is enough."""
    return f"{rounding(number * NANO) / NANO:.12g}"


def uniform_ratio(model: CostModel, sizes: Tensor, budget: Budget) -> float:
    """The largest common keep ratio whose rounded widths meet the budget, to 1e-3."""
    low, high = 0.0, 1.0
    if budget.holds(model.cost(scaled_widths(model, sizes, 1.0))):
        return 1.0
    while high - low > 1e-3:
        middle = (low + high) / 2
        fits = budget.holds(model.cost(scaled_widths(model, sizes, middle)))
        low, high = (middle, high) if fits else (low, middle)
    return low


def scaled_widths(model: CostModel, sizes: Tensor, ratio: float) -> list[int]:
    """Widths at one keep ratio for every prunable group, rounded down to what is allowed."""
    groups = model.graph.channels.groups
    return [
        group.down(ratio * int(size)) if group.prunable else group.size
        for group, size in zip(groups, sizes, strict=True)
    ]

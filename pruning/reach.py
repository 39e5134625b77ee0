"""What budgets can be met at all, and by which common keep ratio."""

from torch import Tensor

from pruning.budget import Budget, Cost, Device
from pruning.cost import CostModel
from pruning.errors import BudgetError
from pruning.gates import inner_groups


def least_widths(model: CostModel) -> list[int]:
    """The smallest widths the engine goes to: the floor of every group, and no channel in
    those inside residual branches.
    """
    least = [group.floor for group in model.graph.channels.groups]
    for index, inner in enumerate(inner_groups(model.graph)):
        fewer = [*least[:index], 0, *least[index + 1 :]]
        if inner and model.stands(fewer):
            least = fewer
    return least


def least_cost(model: CostModel) -> Cost:
    """The cost at the smallest widths: no budget below it can be met, but for latency, of which
    a channel more may take a little less.
    """
    return model.cost(least_widths(model))


def require_reachable(model: CostModel, budget: Budget, margins: Device | None = None) -> None:
    """Refuse a budget that no width meets, before any training: with the margins of a device,
    one whose guarded form none meets.

    Raises:
        BudgetError: naming each limit, the least reachable cost and the kernel to blame.
    """
    least = least_cost(model)
    held = margins.guarded(budget) if margins else budget
    if held.holds(least):
        return
    blame = model.bottlenecks(least_widths(model))
    needed = margins.needed if margins else lambda _, estimate: estimate
    missed = [
        f"{name} {budget.limits[name]:g} is below the least reachable "
        f"{needed(name, getattr(least, name)):g} (most of it in {blame[name]})"
        for name, over in held.overshoot(least).items()
        if over > 0
    ]
    raise BudgetError(
        "budget out of reach of the least widths without the residual branches: "
        + "; ".join(missed)
        + ". Raise the limit, use a smaller input, or another network."
    )


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

"""Why a pruned network looks as it does, in words."""

from collections.abc import Iterator

from pruning.allocation.explain import Explanation, GroupReport, Reason
from pruning.api.text import NAMES, NOTHING, amount, table
from pruning.budget import LIMITS, Budget, Cost

UNPRUNED = "Nothing was pruned: the recipe has no prune phase."
REASONS = {
    Reason.FIXED: "the network's input or output, or in ignored_layers",
    Reason.WHOLE: "even its last channel is worth more than it costs",
    Reason.BALANCED: "its next channel is worth what it costs",
    Reason.LEAST: "even its first channels cost more than they are worth",
    Reason.VANISHED: "its branch is gone: others make more of its share",
}
UNITS = {
    "flash_bytes": (1024.0, "KiB"),
    "sram_bytes": (1024.0, "KiB"),
    "latency_ms": (1.0, "ms"),
    "macs": (1e6, "million MACs"),
}


def why(explanation: Explanation | None, cost: Cost, budget: Budget) -> str:
    """What each limit costs, and why each channel group has its width.

    A price is by how much the modelled training loss would fall if that limit rose a little.
    """
    if explanation is None:
        return UNPRUNED
    return f"{_limits(explanation, cost, budget)}\n\n{_groups(explanation)}"


def _limits(explanation: Explanation, cost: Cost, budget: Budget) -> str:
    header = ("estimated", "takes", "limit", "price of the limit", "bottleneck before", "after")
    rows = [
        (
            NAMES[name],
            amount(name, getattr(cost, name)),
            amount(name, budget.limits.get(name)),
            _price(name, explanation.prices.get(name)),
            *explanation.bottlenecks[name],
        )
        for name in LIMITS
    ]
    return table([header, *rows])


def _price(name: str, price: float | None) -> str:
    many, unit = UNITS[name]
    return NOTHING if price is None else f"{many * price:.3g} per {unit}"


def _groups(explanation: Explanation) -> str:
    return table([("group", "channels", "why"), *map(_row, _worthwhile(explanation))])


def _worthwhile(explanation: Explanation) -> Iterator[GroupReport]:
    """All groups but those that nothing could change."""
    return (group for group in explanation.groups if group.reason is not Reason.FIXED)


def _row(group: GroupReport) -> tuple[str, str, str]:
    return group.name, f"{group.before} -> {group.after}", REASONS[group.reason]

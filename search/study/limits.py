"""Comparing budgets, limit by limit."""

from math import inf
from typing import Any

from pruning.budget import RESOURCES, Budget


def limits_of(budget: Budget) -> dict[str, Any]:
    """All three limits by name, None where unlimited."""
    return {name: getattr(budget, name) for name in RESOURCES}


def fits_within(budget: Budget, than: Budget) -> bool:
    """Whether no limit of a budget is larger than another's."""
    limits, others = limits_of(budget), limits_of(than)
    return all(_number(limits[name]) <= _number(others[name]) for name in limits)


def intersect(first: Budget, second: Budget) -> Budget:
    """The budget that holds exactly what both of two budgets hold."""
    limits, others = limits_of(first), limits_of(second)
    smaller = {name: min(_number(limits[name]), _number(others[name])) for name in limits}
    return Budget(**{name: limit for name, limit in smaller.items() if limit < inf})  # type: ignore[arg-type]


def _number(limit: float | None) -> float:
    return inf if limit is None else limit

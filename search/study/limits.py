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


def _number(limit: float | None) -> float:
    return inf if limit is None else limit

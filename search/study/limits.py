"""Budgets beside each other."""

from math import inf
from typing import Any

from pruning.budget import RESOURCES, Budget


def limits_of(budget: Budget) -> dict[str, Any]:
    """All three limits by name, None where unlimited."""
    return {name: getattr(budget, name) for name in RESOURCES}


def fits_within(budget: Budget, than: Budget) -> bool:
    """Whether no limit of a budget is larger than another's."""
    own, their = limits_of(budget), limits_of(than)
    return all(_height(own[name]) <= _height(their[name]) for name in own)


def intersect(first: Budget, second: Budget) -> Budget:
    """The budget of all that is within two others."""
    one, other = limits_of(first), limits_of(second)
    heights = {name: min(_height(one[name]), _height(other[name])) for name in one}
    return Budget(**{name: height for name, height in heights.items() if height < inf})  # type: ignore[arg-type]


def _height(limit: float | None) -> float:
    return inf if limit is None else limit

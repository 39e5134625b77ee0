"""Values of JSON that somebody else wrote: of the right kind, or refused."""

from math import isfinite
from typing import Any

MALFORMED = (ValueError, LookupError, TypeError, AttributeError, OverflowError, RecursionError)
_MOST = 1 << 53  # what JSON's numbers carry exactly


def text(value: Any) -> str:
    """Return a name, or raise one of MALFORMED."""
    if not isinstance(value, str):
        raise TypeError(f"{value!r} is no name")
    return value


def several(value: Any) -> list[Any]:
    """Return a list of whatever it holds."""
    if not isinstance(value, list):
        raise TypeError(f"{value!r} is no list")
    return value


def whole(value: Any) -> int:
    """Return a number of things: whole, and not below zero."""
    if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value < _MOST:
        raise ValueError(f"{value!r} is no number of things")
    return value


def amount(value: Any) -> float:
    """Return a finite number."""
    if not isinstance(value, int | float) or isinstance(value, bool) or not isfinite(value):
        raise ValueError(f"{value!r} is no finite number")
    return float(value)

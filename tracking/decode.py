"""JSON that somebody else wrote: values of the right kind, or refused."""

import json
from collections.abc import Callable
from math import isfinite
from typing import Any, TypeVar

from tracking.errors import DamagedError

T = TypeVar("T")
_MALFORMED = (ValueError, LookupError, TypeError, AttributeError, OverflowError, RecursionError)
_MOST = 1 << 53  # what JSON's numbers carry exactly


def decoded(content: bytes, build: Callable[[Any], T], complaint: str) -> T:
    """Return what `build` makes of JSON. It may use what it is given as if it were right.

    Raises:
        DamagedError: it was not; `complaint` says what the content is not.
    """
    try:
        return build(json.loads(content))
    except _MALFORMED as error:
        raise DamagedError(
            f"{complaint} ({type(error).__name__}: {error}): it is damaged, or another version "
            "of paring wrote it; a new study writes its own"
        ) from error


def text(value: Any) -> str:
    """Return a name, or raise what `decoded` waits for."""
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

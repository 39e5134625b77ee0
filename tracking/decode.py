"""Values of a stored JSON file, checked: each is of the right type, or the file is refused."""

import json
from collections.abc import Callable
from math import isfinite
from typing import Any, TypeVar

from tracking.errors import DamagedError

T = TypeVar("T")
_MALFORMED = (ValueError, LookupError, TypeError, AttributeError, OverflowError, RecursionError)
_LIMIT = 1 << 53  # below which JSON's numbers are exact


def decoded(content: bytes, build: Callable[[Any], T], complaint: str) -> T:
    """Return what `build` makes of JSON. It may use values without checking them: errors that
    arise from wrong ones are turned into DamagedError.

    Raises:
        DamagedError: the content is not what it should be; `complaint` says so.
    """
    try:
        return build(json.loads(content))
    except _MALFORMED as error:
        raise DamagedError(
            f"{complaint} ({type(error).__name__}: {error}): it is damaged, or another version "
            "of paring wrote it; a new study writes its own"
        ) from error


def text(value: Any) -> str:
    """Return a text.

    Raises:
        TypeError: it is none; `decoded` turns this into DamagedError, as for those below.
    """
    if not isinstance(value, str):
        raise TypeError(f"{value!r} is no text")
    return value


def items(value: Any) -> list[Any]:
    """Return the items of a list."""
    if not isinstance(value, list):
        raise TypeError(f"{value!r} is no list")
    return value


def natural(value: Any) -> int:
    """Return a natural number, zero included."""
    if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value < _LIMIT:
        raise ValueError(f"{value!r} is no natural number")
    return value


def amount(value: Any) -> float:
    """Return a finite number."""
    if not isinstance(value, int | float) or isinstance(value, bool) or not isfinite(value):
        raise ValueError(f"{value!r} is no finite number")
    return float(value)

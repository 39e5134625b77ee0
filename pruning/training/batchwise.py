"""Long work, batch by batch: who runs it may stop after any of them by closing it."""

from collections.abc import Generator
from typing import TypeVar

T = TypeVar("T")
Batchwise = Generator[None, None, T]  # yields after every batch, and returns its result


def finished(work: Batchwise[T]) -> T:
    """The result of work that is run to its end without a break."""
    while True:
        try:
            next(work)
        except StopIteration as end:
            result: T = end.value
            return result

"""Long work, batch by batch: the caller may stop it after any batch by closing the generator."""

from collections.abc import Generator
from typing import TypeVar

T = TypeVar("T")
Batchwise = Generator[None, None, T]  # yields after every batch, and returns its result


def finished(work: Batchwise[T]) -> T:
    """Run some work to its end; returns its result."""
    while True:
        try:
            next(work)
        except StopIteration as end:
            result: T = end.value
            return result

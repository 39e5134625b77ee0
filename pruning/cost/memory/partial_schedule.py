"""Kernels to be put into an order, as bit sets: who waits for whom, what is freed when.

What remains to be ordered is a *gap* between the kernels that run before it and those that run
after it; it is closed from both ends.
"""

from collections.abc import Iterator, Mapping, Sequence
from enum import IntEnum
from typing import NamedTuple, final

from pruning.cost.memory.overlap import BufferUse, ConvWindow, best_direction, overlapped
from pruning.ir.operator import INPUT


class End(IntEnum):
    """Where a kernel is placed: at the front of a gap, or at its back."""

    FRONT = 0
    BACK = 1


Path = tuple[int, "Path"] | None  # kernels placed, the nearest to the gap first


class PartialSchedule(NamedTuple):
    """The kernels `rest` are to be ordered; those in `done` have run before them.

    `held` gives the bytes held where the gap begins and where it ends, `placed` the kernels
    that were placed on either side.
    """

    done: int
    rest: int
    held: tuple[int, int]
    placed: tuple[Path, Path]

    @property
    def order(self) -> tuple[int, ...]:
        """The kernels placed so far, as they run."""
        front, back = (list(_walked(path)) for path in self.placed)
        return (*reversed(front), *back)


@final
class SchedulingProblem:
    """Kernels as bit sets: who needs whom, what is freed when.

    `sizes` gives every buffer's bytes, `outputs` the buffers that are read after the last
    kernel.

    Raises:
        ValueError: the kernels do not come in an order in which they can run.
    """

    def __init__(
        self,
        kernels: Sequence[BufferUse],
        sizes: Mapping[str, int],
        outputs: Sequence[str],
    ) -> None:
        self.kernels, self.sizes = kernels, sizes
        self.inputs = [tuple(dict.fromkeys(kernel.inputs)) for kernel in kernels]
        self.output = [kernel.output for kernel in kernels]
        self.all = (1 << len(kernels)) - 1
        self.made = {INPUT: 0} | {name: 1 << i for i, name in enumerate(self.output)}
        self.readers = dict.fromkeys(self.made, 0)
        for index, names in enumerate(self.inputs):
            for name in names:
                self.readers[name] |= 1 << index
        needs = [sum(self.made[name] for name in names) for names in self.inputs]
        feeds = [self.readers[name] for name in self.output]
        for name in outputs:  # a bit that no kernel has: outputs are read after the last one
            self.readers[name] |= 1 << len(kernels)
        self.predecessors = (needs, feeds)
        if any(need >> index for index, need in enumerate(needs)):
            raise ValueError("a kernel runs before its input is made, or they form a circle")
        self.before = _closed(needs, range(len(kernels)))
        self.beyond = _closed(feeds, reversed(range(len(kernels))))

    def freed_inputs(self, done: int, index: int) -> list[str]:
        """The inputs that nobody needs once kernel `index` has run after those in `done`."""
        waiting = ~(done | 1 << index)
        return [name for name in self.inputs[index] if not self.readers[name] & waiting]

    def overwritten(self, dying: Sequence[str], index: int) -> str | None:
        """The dying input into whose place kernel `index` writes."""
        if not self.kernels[index].in_place:
            return None
        size = self.sizes[self.output[index]]
        same = (name for name in dying if name != INPUT and self.sizes[name] == size)
        return next(same, None)

    def overlaps(self, dying: Sequence[str], index: int) -> ConvWindow | None:
        """The windows of kernel `index` if it writes over what it has read of its input."""
        windows = self.kernels[index].windows
        if windows is None or not dying or not (read := self.sizes[dying[0]]):
            return None
        return best_direction(windows, read, self.sizes[self.output[index]])

    def written(self, dying: Sequence[str], index: int) -> int:
        """Bytes that kernel `index` needs while it runs beside those that are held already."""
        size = self.sizes[self.output[index]]
        if windows := self.overlaps(dying, index):
            read = self.sizes[dying[0]]
            return overlapped(windows, read, size) - read
        return 0 if self.overwritten(dying, index) else size

    def effect(self, done: int, index: int) -> tuple[int, int]:
        """Bytes that kernel `index` adds while it runs after those in `done`, and for good."""
        name, dying = self.output[index], self.freed_inputs(done, index)
        held = self.sizes[name] if self.readers[name] else 0
        return self.written(dying, index), held - sum(self.sizes[input_] for input_ in dying)

    def ready(self, rest: int, side: End, among: int = -1) -> list[int]:
        """The kernels (of `among`) that can come first, or last, of the rest."""
        waits = self.predecessors[side]
        return [index for index in bits(among & rest) if not waits[index] & rest]

    def cut_points(self) -> Iterator[int]:
        """Sets of kernels that every order passes through, the last one being all."""
        for index, earlier in enumerate(self.before):
            if earlier | self.beyond[index] | 1 << index == self.all:
                yield earlier
                yield earlier | 1 << index
        yield self.all

    def place(self, gap: PartialSchedule, side: End, index: int) -> tuple[int, PartialSchedule]:
        """Bytes live while a kernel runs at one end of a gap, and the gap that is left."""
        done, rest, (begin, end), (front, back) = gap
        rest ^= 1 << index
        if side is End.FRONT:
            added, change = self.effect(done, index)
            shorter = PartialSchedule(
                done | 1 << index, rest, (begin + change, end), ((index, front), back)
            )
            return begin + added, shorter
        added, change = self.effect(done | rest, index)
        shorter = PartialSchedule(done, rest, (begin, end - change), (front, (index, back)))
        return end - change + added, shorter


def _closed(direct: Sequence[int], indices: Iterator[int] | range) -> list[int]:
    """Everything that is reached over any number of steps; `indices` lists those first that
    others reach.
    """
    reached = list(direct)
    for index in indices:
        for other in bits(direct[index]):
            reached[index] |= reached[other]
    return reached


def bits(mask: int) -> Iterator[int]:
    """The positions of the ones, from the lowest."""
    while mask:
        lowest = mask & -mask
        yield lowest.bit_length() - 1
        mask ^= lowest


def _walked(path: Path) -> Iterator[int]:
    while path is not None:
        index, path = path
        yield index

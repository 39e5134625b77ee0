"""Where every buffer lies: one arena for all, in which those that are needed together do not
overlap, unless a kernel may write over what it has read.
"""

import random
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from pruning.cost.memory.overlap import BufferUse, overlapped
from pruning.cost.memory.partial_schedule import SchedulingProblem
from pruning.ir.operator import INPUT

TRIES = 300  # orders in which buffers are laid down, until nothing is wasted
WORD = 4  # bytes: devices that fill an input by themselves write whole words


@dataclass(frozen=True, slots=True, kw_only=True)
class ArenaPlan:
    """Byte offsets in the arena, and the buffers that their kernels have to write `backward`,
    from the last pixel to the first. No arena is smaller than `peak_bytes`, which are needed at
    once; `arena_bytes` is more where buffers could not be packed without gaps.
    """

    offsets: Mapping[str, int]
    backward: frozenset[str] = frozenset()
    arena_bytes: int
    peak_bytes: int


class _Lifetime(NamedTuple):
    """A place's bytes, and the first and the last kernel that it must be there for."""

    size: int
    first: int
    last: int

    def meets(self, other: "_Lifetime") -> bool:
        return self.first <= other.last and other.first <= self.last


def pack(
    kernels: Sequence[BufferUse], sizes: Mapping[str, int], outputs: Sequence[str]
) -> ArenaPlan:
    """The smallest arena that is found, for the kernels in their order.

    Places are laid down one after the other, each as low as it fits: the largest first, or as
    they come, then in other orders, the same ones every time. The input begins with a word
    where that makes the arena no larger.
    """
    places = _Placement(kernels, sizes, outputs)
    lives, shuffled = places.lives, random.Random(0)
    best = ArenaPlan(offsets={}, arena_bytes=1 << 62, peak_bytes=places.peak)
    early = sorted(lives, key=lambda name: lives[name].first)
    large = sorted(early, key=lambda name: -lives[name].size)
    for attempt in range(TRIES):
        order = early if attempt % 2 else large
        offsets = min((places.laid(order, step) for step in (WORD, 1)), key=places.extent)
        arena = places.extent(offsets)
        if arena < best.arena_bytes:
            by_buffer = {name: offsets[first] for name, first in places.place.items()}
            best = ArenaPlan(
                offsets=by_buffer,
                backward=places.backward(offsets),
                arena_bytes=arena,
                peak_bytes=places.peak,
            )
        if arena == places.peak:
            break
        first, second = shuffled.sample(range(len(order)), 2)
        order[first], order[second] = order[second], order[first]
    return best


class _Placement:
    """The places that buffers lie in, one for those that are written over each other in place,
    named after the buffer that is there first.

    `near` tells how many bytes a kernel's output and its input take together, for the pairs
    (output, input) that may overlap: with the output below, and with it above.
    """

    def __init__(
        self, kernels: Sequence[BufferUse], sizes: Mapping[str, int], outputs: Sequence[str]
    ) -> None:
        problem, done = SchedulingProblem(kernels, sizes, outputs), 0
        self.place = {INPUT: INPUT}
        self.near: dict[tuple[str, str], tuple[int, int]] = {}
        first, last = {INPUT: 0}, {INPUT: 0}
        for index, kernel in enumerate(kernels):
            dying, output = problem.freed_inputs(done, index), kernel.output
            reused = problem.overwritten(dying, index)
            self.place[output] = output if reused is None else self.place[reused]
            if kernel.windows and dying:
                (read,) = dying
                ways = (kernel.windows, kernel.windows.backward)
                below, above = (overlapped(way, sizes[read], sizes[output]) for way in ways)
                self.near[output, self.place[read]] = (below, above)
            first.setdefault(self.place[output], index)
            last.update({self.place[name]: index for name in (*dying, output)})
            done |= 1 << index
        last.update({self.place[name]: len(kernels) for name in outputs})
        self.lives = {name: _Lifetime(sizes[name], first[name], last[name]) for name in first}

    @property
    def peak(self) -> int:
        """Bytes that are needed at once."""
        saved = {
            self.lives[output].first: self.lives[output].size + self.lives[read].size - min(ways)
            for (output, read), ways in self.near.items()
        }
        lives = self.lives.values()
        return max(
            sum(life.size for life in lives if life.first <= index <= life.last)
            - saved.get(index, 0)
            for index in range(max(life.last for life in lives) + 1)
        )

    def extent(self, offsets: Mapping[str, int]) -> int:
        """Bytes from the beginning of the arena to the end of its last place."""
        return max(offset + self.lives[name].size for name, offset in offsets.items())

    def laid(self, order: Iterable[str], step: int) -> dict[str, int]:
        """Offsets of places laid down in this order, the input's a multiple of `step`."""
        offsets: dict[str, int] = {}
        for name in order:
            life = self.lives[name]
            closed = [
                self._closed(name, other, offset)
                for other, offset in offsets.items()
                if self.lives[other].meets(life)
            ]
            ends = sorted({0, *(end for _, end in closed)})
            if name == INPUT:
                ends = [-(-end // step) * step for end in ends]
            offsets[name] = next(
                at for at in ends if not any(start < at < end for start, end in closed)
            )
        return offsets

    def _closed(self, name: str, other: str, offset: int) -> tuple[int, int]:
        """Between which offsets a place must not begin, because of another one's offset."""
        size, size_other = self.lives[name].size, self.lives[other].size
        apart = size + size_other
        below, above = self.near.get((name, other), (apart, apart))
        if (other, name) in self.near:
            above, below = self.near[other, name]
        return offset - (below - size_other), offset + (above - size)

    def backward(self, offsets: Mapping[str, int]) -> frozenset[str]:
        """The places that lie too far above their kernel's input to be written forward."""
        return frozenset(
            output
            for (output, read), (below, _) in self.near.items()
            if offsets[read] + self.lives[read].size - offsets[output] < below
            and offsets[output] < offsets[read] + self.lives[read].size
            and offsets[read] < offsets[output] + self.lives[output].size
        )

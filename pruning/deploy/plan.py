"""Where every buffer lies: one arena for all, in which those that are needed together do not
overlap.
"""

import random
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from math import prod
from typing import NamedTuple

from pruning.deploy.integer import IntegerNetwork, Prelu, Product, Sum, Table
from pruning.records import INPUT

IN_PLACE = (Sum, Product, Table, Prelu)  # read an element before they write it
TRIES = 300  # orders in which buffers are laid down, until nothing is wasted


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """Byte offsets in the arena: what is computed element by element may lie where an operand
    lay. No arena is smaller than `peak_bytes`, which are needed at once; `arena_bytes` is more
    where buffers could not be packed without gaps.
    """

    offsets: Mapping[str, int]
    arena_bytes: int
    peak_bytes: int


class _Life(NamedTuple):
    """A buffer's bytes, and the first and the last kernel that it must be there for."""

    size: int
    first: int
    last: int

    def meets(self, other: "_Life") -> bool:
        return self.first <= other.last and other.first <= self.last


def plan(network: IntegerNetwork) -> Plan:
    """The smallest arena that is found, for the kernels in their order.

    Buffers are laid down one after the other, each as low as it fits: the largest first, then
    in other orders, the same ones every time.
    """
    lives, place = _lives(network)
    peak = max(
        sum(life.size for life in lives.values() if life.first <= index <= life.last)
        for index in range(len(network.kernels))
    )
    shuffled, best = random.Random(0), Plan(offsets={}, arena_bytes=1 << 62, peak_bytes=peak)
    order = sorted(lives, key=lambda name: (-lives[name].size, lives[name].first))
    for _ in range(TRIES):
        offsets = _laid(order, lives)
        arena = max(offsets[name] + lives[name].size for name in lives)
        if arena < best.arena_bytes:
            found = {name: offsets[first] for name, first in place.items()}
            best = Plan(offsets=found, arena_bytes=arena, peak_bytes=peak)
        if arena == peak:
            break
        first, second = shuffled.sample(range(len(order)), 2)
        order[first], order[second] = order[second], order[first]
    return best


def _lives(network: IntegerNetwork) -> tuple[dict[str, _Life], dict[str, str]]:
    """The lives of places, and the place of every buffer: both are named after the buffer that
    is there first.
    """
    made = {INPUT: 0} | {kernel.output: n for n, kernel in enumerate(network.kernels)}
    last = dict(made)
    for index, kernel in enumerate(network.kernels):
        last.update({name: index for name in kernel.inputs if name in made})
    last.update(dict.fromkeys(network.outputs, len(network.kernels)))
    sizes = {name: prod(network.shapes[name]) for name in made}
    place = {name: name for name in made}
    for index, kernel in enumerate(network.kernels):
        if isinstance(kernel, IN_PLACE):
            for name in kernel.inputs:
                dies = last.get(name) == index and name != INPUT
                if dies and sizes[name] == sizes[kernel.output]:
                    place[kernel.output] = place[name]
                    break
    ends = {first: last[name] for name, first in place.items()}  # the last one counts
    lives = {first: _Life(sizes[first], made[first], end) for first, end in ends.items()}
    return lives, place


def _laid(order: Iterable[str], lives: Mapping[str, _Life]) -> dict[str, int]:
    offsets: dict[str, int] = {}
    for name in order:
        taken = sorted(
            (offsets[other], offsets[other] + lives[other].size)
            for other in offsets
            if lives[other].meets(lives[name])
        )
        offsets[name] = _lowest(taken, lives[name].size)
    return offsets


def _lowest(taken: Sequence[tuple[int, int]], size: int) -> int:
    """The lowest offset at which so many bytes are free."""
    offset = 0
    for start, end in taken:
        if start - offset >= size:
            break
        offset = max(offset, end)
    return offset

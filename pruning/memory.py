"""Peak memory of a network: which buffers are live while each kernel runs.

Kernels may run in any order that respects their inputs. The best order is found by a
shortest-path search over the sets of kernels that have run, in which the length of a path is
its largest memory use (the recurrence of Liberis and Lane, arXiv 1910.05110, run forward).
"""

import heapq
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from pruning.graph import INPUT
from pruning.kernels import Kernel


@dataclass(frozen=True, slots=True, kw_only=True)
class Conventions:
    """What counts as memory. Each switch changes the number, so each is explicit.

    count_input: the network's input occupies SRAM until its last reader has run.
    in_place_add: an element-wise kernel writes into an operand that dies there.
    in_place_depthwise: a depthwise convolution of equal size writes over its input.
    search_order: the best order counts; otherwise the order of the graph.
    """

    count_input: bool = True
    in_place_add: bool = False
    in_place_depthwise: bool = False
    search_order: bool = True


PUBLISHED = Conventions(count_input=False)


class Step(NamedTuple):
    """One kernel in execution order, and the buffers that are live while it runs."""

    kernel: int
    live: tuple[str, ...]


class _Problem:
    """Kernels as bit sets: who needs whom, what is freed when."""

    def __init__(
        self,
        kernels: Sequence[Kernel],
        sizes: Mapping[str, int],
        outputs: Sequence[str],
        conventions: Conventions,
    ) -> None:
        self.kernels, self.conventions = kernels, conventions
        self.sizes = {**sizes, INPUT: sizes[INPUT] if conventions.count_input else 0}
        maker = {kernel.output: index for index, kernel in enumerate(kernels)}
        self.needs = [
            sum({1 << maker[name] for name in kernel.inputs if name != INPUT})
            for kernel in kernels
        ]
        self.readers = {
            name: sum(1 << i for i, kernel in enumerate(kernels) if name in kernel.inputs)
            for name in (INPUT, *maker)
        }
        for name in outputs:  # a bit that no kernel has: outputs are read after the last kernel
            self.readers[name] |= 1 << len(kernels)
        self.made = {name: 1 << index for name, index in maker.items()} | {INPUT: 0}
        self.all = (1 << len(kernels)) - 1

    def ready(self, done: int) -> list[int]:
        return [
            index
            for index, needs in enumerate(self.needs)
            if not done >> index & 1 and needs & ~done == 0
        ]

    def resident(self, done: int) -> tuple[str, ...]:
        """Buffers that are made and still needed after the kernels in `done`."""
        return tuple(
            name
            for name, readers in self.readers.items()
            if self.made[name] & ~done == 0 and readers & ~done
        )

    def live(self, done: int, index: int) -> tuple[str, ...]:
        """Buffers that occupy memory while kernel `index` runs after those in `done`."""
        kernel = self.kernels[index]
        before = self.resident(done)
        reused = self._overwritten(done, kernel, 1 << index)
        return (*(name for name in before if name != reused), kernel.output)

    def _overwritten(self, done: int, kernel: Kernel, bit: int) -> str | None:
        switch = {
            "add": self.conventions.in_place_add,
            "multiply": self.conventions.in_place_add,
            "activation": self.conventions.in_place_add,
            "depthwise": self.conventions.in_place_depthwise,
        }
        if not switch.get(kernel.kind, False):
            return None
        for name in kernel.inputs:
            dies = self.readers[name] & ~(done | bit) == 0
            if dies and name != INPUT and self.sizes[name] == self.sizes[kernel.output]:
                return name
        return None

    def size(self, names: Sequence[str]) -> int:
        return sum(self.sizes[name] for name in names)


def schedule(
    kernels: Sequence[Kernel],
    sizes: Mapping[str, int],
    outputs: Sequence[str],
    conventions: Conventions,
) -> tuple[Step, ...]:
    """The order with the smallest peak, with the buffers live at each step.

    `sizes` gives every buffer's bytes (and that of "input"); `outputs` the buffers that are
    read after the last kernel. Among equals the order nearest to the graph's wins.
    """
    problem = _Problem(kernels, sizes, outputs, conventions)
    order = _search(problem) if conventions.search_order else list(range(len(kernels)))
    steps: list[Step] = []
    done = 0
    for index in order:
        steps.append(Step(index, problem.live(done, index)))
        done |= 1 << index
    return tuple(steps)


def _search(problem: _Problem) -> list[int]:
    """Best-first over sets of kernels run; the first complete set has the smallest peak."""
    start: tuple[int, list[int], int] = (0, [], 0)
    heap = [start]
    seen: set[int] = set()
    while heap:
        peak, order, done = heapq.heappop(heap)
        if done == problem.all:
            return order
        if done in seen:
            continue
        seen.add(done)
        for index in _choices(problem, done, peak):
            now = problem.size(problem.live(done, index))
            heapq.heappush(heap, (max(peak, now), [*order, index], done | 1 << index))
    raise ValueError("the kernels depend on each other in a circle")


def _choices(problem: _Problem, done: int, peak: int) -> list[int]:
    """The kernels worth running next.

    One that stays within the peak reached so far and leaves no more memory occupied than it
    found can always run at once: any best order can be rearranged to begin with it.
    """
    ready = problem.ready(done)
    before = problem.size(problem.resident(done))
    for index in ready:
        after = problem.size(problem.resident(done | 1 << index))
        if after <= before and problem.size(problem.live(done, index)) <= peak:
            return [index]
    return ready

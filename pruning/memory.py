"""Peak memory of a network: which buffers are live while each kernel runs.

Kernels may run in any order that respects their inputs. The best order is found by a
shortest-path search over the sets of kernels that have run, in which the length of a path is
its largest memory use (the recurrence of Liberis and Lane, arXiv 1910.05110, run forward).
"""

import heapq
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import NamedTuple

from pruning.kernels import ELEMENTWISE, Kernel
from pruning.records import INPUT


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
        self.kernels = kernels
        self.sizes = {**sizes, INPUT: sizes[INPUT] if conventions.count_input else 0}
        maker = {kernel.output: index for index, kernel in enumerate(kernels)}
        self.inputs = [tuple(dict.fromkeys(kernel.inputs)) for kernel in kernels]
        self.needs = [
            sum(1 << maker[name] for name in names if name != INPUT) for names in self.inputs
        ]
        self.readers = dict.fromkeys((INPUT, *maker), 0)
        for index, names in enumerate(self.inputs):
            for name in names:
                self.readers[name] |= 1 << index
        for name in outputs:  # a bit that no kernel has: outputs are read after the last kernel
            self.readers[name] |= 1 << len(kernels)
        pointwise = (*ELEMENTWISE, "activation", "prelu")
        allowed = dict.fromkeys(pointwise, conventions.in_place_add)
        allowed["depthwise"] = conventions.in_place_depthwise
        self.in_place = [allowed.get(kernel.kind, False) for kernel in kernels]
        self.all = (1 << len(kernels)) - 1

    def ready(self, done: int) -> list[int]:
        return [
            index
            for index, needs in enumerate(self.needs)
            if not done >> index & 1 and needs & ~done == 0
        ]

    def dying(self, done: int, index: int) -> list[str]:
        """The inputs that nobody needs once kernel `index` has run after those in `done`."""
        after = done | 1 << index
        return [name for name in self.inputs[index] if self.readers[name] & ~after == 0]

    def overwritten(self, dying: Sequence[str], index: int) -> str | None:
        """The dying input into whose place kernel `index` writes."""
        if not self.in_place[index]:
            return None
        size = self.sizes[self.kernels[index].output]
        same = (name for name in dying if name != INPUT and self.sizes[name] == size)
        return next(same, None)

    def run(self, done: int, index: int, held: int) -> tuple[int, int]:
        """Bytes live while kernel `index` runs and held after it, given those held before."""
        output = self.kernels[index].output
        dying = self.dying(done, index)
        reused = self.overwritten(dying, index)
        live = held + self.sizes[output] - (self.sizes[reused] if reused else 0)
        kept = self.sizes[output] if self.readers[output] else 0
        return live, held + kept - sum(self.sizes[name] for name in dying)


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
    held = [INPUT]
    done = 0
    for index in order:
        output, dying = kernels[index].output, problem.dying(done, index)
        reused = problem.overwritten(dying, index)
        steps.append(Step(index, (*(name for name in held if name != reused), output)))
        held = [name for name in (*held, output) if name not in dying and problem.readers[name]]
        done |= 1 << index
    return tuple(steps)


def _search(problem: _Problem) -> list[int]:
    """Best-first over sets of kernels run; the first complete set has the smallest peak."""
    start: tuple[int, list[int], int, int] = (0, [], 0, problem.sizes[INPUT])
    heap = [start]
    seen: set[int] = set()
    while heap:
        peak, order, done, held = heapq.heappop(heap)
        if done == problem.all:
            return order
        if done in seen:
            continue
        seen.add(done)
        for index, live, left in _choices(problem, done, held, peak):
            heapq.heappush(heap, (max(peak, live), [*order, index], done | 1 << index, left))
    raise ValueError("the kernels depend on each other in a circle")


def _choices(problem: _Problem, done: int, held: int, peak: int) -> list[tuple[int, int, int]]:
    """The kernels worth running next, each with the bytes live in it and held after it.

    One that stays within the peak reached so far and leaves no more memory occupied than it
    found can always run at once: any best order can be rearranged to begin with it.
    """
    choices = [(index, *problem.run(done, index, held)) for index in problem.ready(done)]
    harmless = (c for c in choices if c[2] <= held and c[1] <= peak)
    return list(islice(harmless, 1)) or choices

"""The order of kernels that needs least memory, by an exact search.

Five things keep it small:

- A kernel that every other one comes before or after splits the problem in two. Chains,
  residual blocks and dense blocks fall apart into single kernels.
- A part whose order in the graph needs no more than any order must (`LowerBound`) is done.
- Kernels that stay within the memory reached so far and leave no more occupied than they
  found are placed at once, at either end of what remains (`_settled`).
- Parallel branches can be trivial from one end and exponential from the other. So one search
  chooses the next kernel, another the last one, and they take turns until either ends.
- `LowerBound` also bounds what remains, so that orders which only look cheap are left alone.

Both searches are best-first, the length of a path being its largest memory use (the recurrence
of Liberis and Lane, arXiv 1910.05110). Placing at once is safe because the bytes held after a
set of kernels are a submodular function of the set; for chains it is the hill-valley rule of
Liu (SIAM J. Algebraic Discrete Methods 8, 1987).
"""

import heapq
from collections.abc import Iterator
from typing import NamedTuple, final

from pruning.cost.memory.lower_bound import LowerBound
from pruning.cost.memory.partial_schedule import End, PartialSchedule, SchedulingProblem, bits
from pruning.ir.operator import INPUT

MAX_EXPANSIONS = 1000  # gaps that each of the two searches may look at


class Schedule(NamedTuple):
    """Kernels as they run, the bytes that they need, and a bound: no order needs less (0: none
    is proven).
    """

    peak: int
    kernels: tuple[int, ...]
    bound: int


def best_order(problem: SchedulingProblem) -> Schedule:
    """The order with the smallest peak; in each part of the graph its own order where that is
    as good.

    Where the graph is too wide for `MAX_EXPANSIONS`, the best order that was found: then its
    `bound` is below its `peak`.
    """
    parts = [(LowerBound(problem, gap), order) for gap, order in _parts(problem)]
    bound = max((order.peak for _, order in parts if len(order.kernels) == 1), default=0)
    for floor, order in parts:
        if order.peak > bound:
            bound = max(bound, floor.of(floor.start))
    kernels: tuple[int, ...] = ()
    peak = bound
    for floor, order in parts:
        best = _searched(floor, bound, order) if order.peak > bound else order
        bound, peak = max(bound, best.bound), max(peak, best.peak)
        kernels += best.kernels
    return Schedule(peak, kernels, bound)


def _parts(problem: SchedulingProblem) -> Iterator[tuple[PartialSchedule, Schedule]]:
    """The gaps between the kernels that all others come before or after, each of which is a
    gap of its own, with the order of the graph.
    """
    done, held = 0, problem.sizes[INPUT]
    for mark in problem.cut_points():
        gap, peak = PartialSchedule(done, mark & ~done, (held, held), (None, None)), 0
        rest = gap
        for index in bits(gap.rest):
            live, rest = problem.place(rest, End.FRONT, index)
            peak = max(peak, live)
        done, held = mark, rest.held[0]
        yield gap._replace(held=(gap.held[0], held)), Schedule(peak, rest.order, 0)


def _searched(floor: LowerBound, bound: int, fallback: Schedule) -> Schedule:
    """The best order of a part, `fallback` if no other needs less; `bound` is enough."""
    searches = [_Search(floor, bound, fallback, side) for side in End]
    for _ in range(MAX_EXPANSIONS):
        for search in searches:
            if (schedule := search.step()) is not None:
                return schedule._replace(bound=schedule.peak)
    bound = max(search.bound for search in searches)
    schedule = min(
        (search.greedy_completion() for search in searches), key=lambda order: order.peak
    )
    return schedule._replace(bound=min(bound, schedule.peak))


@final
class _Search:
    """Best-first over gaps that are closed from one side, and on both at no cost."""

    def __init__(self, floor: LowerBound, bound: int, fallback: Schedule, side: End) -> None:
        self.problem, self.floor = floor.problem, floor
        self.fallback, self.side = fallback, side
        self.heap = [(bound, floor.start.rest.bit_count(), 0, floor.start)]
        self.visited: set[tuple[int, int]] = set()
        self.pushed = 0

    @property
    def bound(self) -> int:
        """No order needs fewer bytes."""
        return self.heap[0][0] if self.heap else self.fallback.peak

    def step(self) -> Schedule | None:
        """Look at the best gap; the order once it is known that none is better."""
        if not self.heap:
            return self.fallback
        peak, _, _, gap = heapq.heappop(self.heap)
        gap = _settled(self.problem, gap, peak)
        if not gap.rest:
            return Schedule(peak, gap.order, 0)
        if (gap.done, gap.rest) in self.visited:
            return None
        if (needed := self.floor.of(gap)) > peak:
            self._push(needed, gap)
            return None
        self.visited.add((gap.done, gap.rest))
        for index in self.problem.ready(gap.rest, self.side):
            live, shorter = self.problem.place(gap, self.side, index)
            self._push(max(peak, live), shorter)
        return None

    def _push(self, peak: int, gap: PartialSchedule) -> None:
        if peak < self.fallback.peak:
            self.pushed += 1  # among equals the fewest left, then the first found
            heapq.heappush(self.heap, (peak, gap.rest.bit_count(), self.pushed, gap))

    def greedy_completion(self) -> Schedule:
        """Some order: from the best gap on always to the best next one."""
        self.visited.clear()
        while True:
            del self.heap[1:]
            if (schedule := self.step()) is not None:
                return schedule


def _settled(problem: SchedulingProblem, gap: PartialSchedule, peak: int) -> PartialSchedule:
    """The gap after all that can be placed at no cost, as long as `peak` is not exceeded."""
    while True:
        free = (
            shorter
            for side in End
            for index in problem.ready(gap.rest, side)
            if (shorter := _free(problem, gap, side, index, peak)) is not None
        )
        if (shorter := next(free, None)) is None:
            return gap
        gap = shorter


def _free(
    problem: SchedulingProblem, gap: PartialSchedule, side: End, index: int, peak: int
) -> PartialSchedule | None:
    """The gap after a run of kernels, each the only one that the last made ready, that ends
    with no more held than it began with; None if there is none within `peak`.

    A run that first comes down there can begin any order from here: whatever the rest does,
    it finds no more memory occupied than it would have.
    """
    start = gap.held[side]
    while True:
        live, gap = problem.place(gap, side, index)
        if live > peak:
            return None
        if gap.held[side] <= start:
            return gap
        following = problem.ready(gap.rest, side, problem.predecessors[1 - side][index])
        if len(following) != 1:
            return None
        (index,) = following

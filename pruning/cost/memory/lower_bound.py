"""Bytes that no order of some kernels can do without."""

from functools import cached_property
from typing import final

from pruning.cost.memory.partial_schedule import End, PartialSchedule, SchedulingProblem, bits


@final
class LowerBound:
    """What every order of a gap needs, and of every gap that is left while it is closed.

    Around each kernel that is its own working set and what is held over it in any order.
    Around the last reader of a value it is also what the other readers have led to.
    """

    def __init__(self, problem: SchedulingProblem, gap: PartialSchedule) -> None:
        self.problem, self.start = problem, gap

    @cached_property
    def _single(self) -> dict[int, int]:
        """What is live around each kernel of the first gap."""
        return {index: self._around(index) for index in bits(self.start.rest)}

    @cached_property
    def _shared(self) -> list[tuple[int, int]]:
        """The maker and the readers of every value that has several."""
        problem, rest = self.problem, self.start.rest
        pairs = {(problem.made[n], readers & rest) for n, readers in problem.readers.items()}
        return sorted(pair for pair in pairs if pair[1].bit_count() > 1)

    def of(self, gap: PartialSchedule) -> int:
        """Bytes that every order of a gap within the first one needs."""
        inside = gap.done | gap.rest
        single = max(self._single[index] for index in bits(gap.rest))
        crowded = (
            min(self._single[index] + self._beside(gap, index, readers & inside) for index in last)
            for maker, readers in self._shared
            if not maker & ~gap.done and (last := self._last(gap, readers))
        )
        return max(single, *crowded, 0)

    def _around(self, index: int) -> int:
        """Bytes that are live while a kernel runs, whatever the order."""
        problem, start = self.problem, self.start
        earlier = start.done | problem.before[index]
        later = ~(start.done | start.rest) | problem.beyond[index]
        held = sum(
            problem.sizes[name]
            for name, readers in problem.readers.items()
            if not problem.made[name] & ~earlier and readers & (later | 1 << index)
        )
        dying = [name for name in problem.inputs[index] if not problem.readers[name] & later]
        return held + problem.written(dying, index)

    def _last(self, gap: PartialSchedule, readers: int) -> list[int]:
        """Which of some kernels may be the last of them to run."""
        return [
            i for i in bits(readers & gap.rest) if not self.problem.beyond[i] & readers & gap.rest
        ]

    def _beside(self, gap: PartialSchedule, index: int, others: int) -> int:
        """The least that is held because `others` run before a kernel."""
        before, beyond = self.problem.before, self.problem.beyond
        related = before[index] | beyond[index] | 1 << index
        return sum(
            self._pause(gap, index, other)
            for other in bits(others & ~related)
            if not before[other] & others
        )

    def _pause(self, gap: PartialSchedule, index: int, other: int) -> int:
        """The smallest buffer in the chain behind a kernel `other`, one of which is held while
        kernel `index` runs; 0 where the chain can be over by then.
        """
        problem, inside = self.problem, gap.done | gap.rest
        needs, feeds = problem.predecessors[End.FRONT], problem.predecessors[End.BACK]
        held: list[int] = []
        while True:
            name = problem.output[other]
            if problem.readers[name] & ~gap.done:
                held.append(problem.sizes[name])
            following = feeds[other] & inside & ~problem.beyond[index]
            if not following:
                return min(held, default=0) if problem.readers[name] else 0
            successor = following.bit_length() - 1
            only = feeds[other] & inside == 1 << successor
            if not only or needs[successor] & self.start.rest != 1 << other:
                return 0
            other = successor

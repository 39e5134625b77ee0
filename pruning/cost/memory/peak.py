"""Peak memory of a network: which buffers are live while each kernel runs.

Kernels may run in any order that respects their inputs; `order` finds the best one.
"""

import warnings
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from pruning.cost.memory.overlap import (
    BufferUse,
    ConvWindow,
    OverlapPoint,
    overlap_points,
)
from pruning.cost.memory.partial_schedule import SchedulingProblem
from pruning.cost.memory.scheduler import best_order
from pruning.errors import PeakMemoryWarning
from pruning.ir.kernel import Kernel, along_two
from pruning.ir.operator import INPUT
from pruning.ops import kernel_rule
from pruning.ops.base import Windows


@dataclass(frozen=True, slots=True, kw_only=True)
class MemoryConventions:
    """What counts as memory. Each switch changes the number, so each is explicit.

    count_input: the network's input occupies SRAM until its last reader has run.
    in_place_add: an element-wise kernel writes into an operand that dies there.
    in_place_depthwise: a depthwise convolution of equal size writes over its input.
    overlap: kernels with windows write over what they have read of an input that dies there
    (see `pruning.cost.memory.overlap`).
    search_order: the best order counts; otherwise the order of the graph.
    """

    count_input: bool = True
    in_place_add: bool = False
    in_place_depthwise: bool = False
    overlap: bool = False
    search_order: bool = True


PUBLISHED = MemoryConventions(count_input=False)
DEPLOYED = MemoryConventions(in_place_add=True, overlap=True)  # as generated C lays its buffers


class ScheduleStep(NamedTuple):
    """One kernel in execution order, and the buffers that are live while it runs. Where its
    output overlaps its only input, `overlap_points` tells how much of both is there.
    """

    kernel: int
    live: tuple[str, ...]
    overlap_points: tuple[OverlapPoint, ...] = ()


def schedule(
    kernels: Sequence[Kernel],
    sizes: Mapping[str, int],
    outputs: Sequence[str],
    conventions: MemoryConventions,
) -> tuple[ScheduleStep, ...]:
    """The order with the smallest peak, with the buffers live at each step.

    `sizes` gives every buffer's bytes (and that of "input"); `outputs` the buffers that are
    read after the last kernel. Among equals the order of the graph wins, part by part.

    A graph too wide to weigh all orders comes with a `PeakMemoryWarning` and the best order
    that was found: its peak is true, but another order may have a smaller one.
    """
    counted = {**sizes, INPUT: sizes[INPUT] if conventions.count_input else 0}
    problem = SchedulingProblem(buffer_uses(kernels, conventions), counted, outputs)
    order = _best(problem) if conventions.search_order else range(len(kernels))
    return tuple(_steps(problem, order))


def buffer_uses(kernels: Sequence[Kernel], conventions: MemoryConventions) -> list[BufferUse]:
    """How kernels go about their buffers."""
    return [
        BufferUse(
            inputs=kernel.inputs,
            output=kernel.output,
            in_place=_is_in_place(kernel, conventions),
            windows=_windows(kernel) if conventions.overlap else None,
        )
        for kernel in kernels
    ]


def _is_in_place(kernel: Kernel, conventions: MemoryConventions) -> bool:
    convention = kernel_rule(kernel).in_place(kernel)
    return bool(convention and getattr(conventions, convention))


def _windows(kernel: Kernel) -> ConvWindow | None:
    """The windows of a kernel, if it has any: those of one pixel among them."""
    a, made, plane = kernel.main.attributes, kernel.main.shape[1:], kernel.plane
    windows = kernel_rule(kernel).windows
    if windows is Windows.NONE or len(plane) not in (1, 2):
        return None
    if a.get("squeeze"):  # an axis that has become one pixel is not in the shape any more
        made = tuple(size // each for size, each in zip(plane, a["kernel"], strict=True))
    once, none = [1] * len(made), [0] * len(made)
    return ConvWindow(
        read=along_two(plane, 1),
        made=along_two(made, 1),
        kernel=along_two(a.get("kernel", once), 1),
        stride=along_two(a.get("stride", once), 1),
        padding=along_two(a.get("padding", none), 0),
        dilation=along_two(a.get("dilation", once), 1),
        transposed=windows is Windows.WRITTEN,
    )


def _best(problem: SchedulingProblem) -> Sequence[int]:
    """The best order; a warning where it may not be the best one."""
    order = best_order(problem)
    if order.bound < order.peak:
        warnings.warn(
            f"peak memory: {len(order.kernels)} kernels can run in too many orders to weigh "
            "them all. The best one found counts: it can be run, so budgets hold, but another "
            "may need less. Use fewer parallel branches for a proven peak.",
            PeakMemoryWarning,
            stacklevel=3,
        )
    return order.kernels


def _steps(problem: SchedulingProblem, order: Iterable[int]) -> Iterator[ScheduleStep]:
    """The buffers that are live while each kernel runs."""
    held, done = [INPUT], 0
    for index in order:
        output, dying = problem.output[index], problem.freed_inputs(done, index)
        reused = problem.overwritten(dying, index)
        overlaps = problem.overlaps(dying, index)
        at = overlap_points(overlaps) if overlaps else ()
        yield ScheduleStep(index, (*(name for name in held if name != reused), output), at)
        held = [name for name in (*held, output) if name not in dying and problem.readers[name]]
        done |= 1 << index

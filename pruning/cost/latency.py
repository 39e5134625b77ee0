"""How many instructions one kernel of generated C takes, at any number of channels.

A kernel is a nest of loops. How often each one runs follows from kernels.c, to the channel, and
stands in the record of its operator in `pruning.ops`. What one pass takes is a core's.
"""

from collections.abc import Callable, Sequence

import numpy as np
from scipy.optimize import nnls

from pruning.ir.bilinear import BilinearForm
from pruning.ir.kernel import Kernel
from pruning.ir.kinds import KindTable
from pruning.ir.loops import LoopCosts
from pruning.ops import kernel_rule, routine_of
from pruning.ops.base import Counts, TripCounter

GRID = 8  # numbers of channels, read and written, at which a form has to agree
Counter = Callable[[Counts, Counts], Counts]  # from channels read and written to instructions


def instruction_count(kernel: Kernel, loops: KindTable[str, LoopCosts]) -> Counter:
    """Executed instructions, given those of each loop by kind of kernel."""
    costs, counter = loops.at(routine_name(kernel), kernel.name), trip_counts(kernel)

    def count(c_in: Counts, c_out: Counts) -> Counts:
        passes = counter(c_in, c_out)
        instructions = (cost * n for cost, n in zip(costs, passes, strict=True) if cost)
        return sum(instructions, np.zeros(np.shape(c_out)))

    return count


def posynomial(count: Counter, lowest: Sequence[float], highest: Sequence[float]) -> BilinearForm:
    """The form without negative coefficients that is nearest to a count, in relative terms,
    between the `lowest` and the `highest` numbers of channels that are read and written.
    """
    read, written = (
        np.unique(np.linspace(low, high, GRID).round())
        for low, high in zip(lowest, highest, strict=True)
    )
    c_in, c_out = (axis.ravel() for axis in np.meshgrid(read, written))
    instructions = np.maximum(count(c_in, c_out), 1e-9)
    terms = np.stack([c_in * c_out, c_out, c_in, np.ones(len(instructions))], axis=1)
    scale = terms.max(0)
    coefficients, _ = nnls(terms / scale / instructions[:, None], np.ones(len(instructions)))
    return BilinearForm(*(coefficients / scale).tolist())


def trip_counts(kernel: Kernel) -> TripCounter:
    """How often each loop of a kernel runs, from the numbers of channels read and written."""
    return routine_of(kernel).trip_counts(kernel)


def routine_name(kernel: Kernel) -> str:
    """The name of the loop nest that computes a kernel."""
    return kernel_rule(kernel).routine(kernel)

"""The code of every buffer, from the range of its values over calibration inputs."""

from collections.abc import Mapping

import torch
from torch import Tensor

from pruning.execute import execute
from pruning.graph import Graph
from pruning.kernels import Kernel, fuse
from pruning.quantize import Range, copies, extent, fold, range_between
from pruning.records import INPUT


def calibrate(graph: Graph, tensors: Mapping[str, Tensor], inputs: Tensor) -> dict[str, Range]:
    """The code of every buffer, by name.

    `inputs` are normalised samples, (batch, *graph.input_shape), on the device of the tensors.
    Kernels that only carry codes along share one code with what they read.
    """
    folded, floating = fold(graph, tensors)
    return _codes(folded, _extents(folded, floating, inputs))


@torch.no_grad()
def _extents(
    graph: Graph, tensors: Mapping[str, Tensor], batch: Tensor
) -> dict[str, tuple[float, float]]:
    """The least and the largest number of every value."""
    values, found = {INPUT: batch}, {INPUT: extent(batch)}
    remaining = {name: len(users) for name, users in graph.consumers().items()}
    for operator in graph.operators:
        own = {role: tensors[name] for role, name in operator.parameters.items()}
        inputs = [values[name] for name in operator.inputs]
        values[operator.name] = execute(operator, inputs, own, False)
        found[operator.name] = extent(values[operator.name])
        for name in set(operator.inputs):
            remaining[name] -= 1
            if not remaining[name]:
                del values[name]
    return found


def _codes(graph: Graph, extents: Mapping[str, tuple[float, float]]) -> dict[str, Range]:
    """The code of every buffer: one for all that carry the same codes along."""
    leader = {INPUT: INPUT}
    for kernel in fuse(graph, norms=False):
        leader[kernel.output] = kernel.output
        if _carries(kernel):
            own = {leader[name] for name in kernel.inputs}
            leader = {n: kernel.output if one in own else one for n, one in leader.items()}
    codes = {}
    for one in set(leader.values()):
        lows, highs = zip(*(extents[n] for n in leader if leader[n] == one), strict=True)
        codes[one] = range_between(min(lows), max(highs))
    return {name: codes[one] for name, one in leader.items()}


def _carries(kernel: Kernel) -> bool:
    """Whether a kernel's results are in the code of what it reads."""
    main = kernel.main
    windows = main.kind == "pool" and main.attributes["mode"] == "average"
    moved = kernel.kind in ("concat", "move") or copies(main)  # what fills gaps is in the code
    return moved or (windows and not kernel.averages_planes)

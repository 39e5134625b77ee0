"""The code of every buffer, from the range of its values over calibration inputs."""

from collections.abc import Mapping

import torch
from torch import Tensor

from pruning.execution.fake_quant import QuantParams, fold, qparams_between
from pruning.execution.interpreter import Interpreter, RangeObserver
from pruning.graph.fusion import fuse
from pruning.graph.graph import Graph
from pruning.ir.operator import INPUT
from pruning.ops import kernel_rule


def calibrate(
    graph: Graph, tensors: Mapping[str, Tensor], inputs: Tensor
) -> dict[str, QuantParams]:
    """The code of every buffer, by name.

    `inputs` are normalised samples, (batch, *graph.input_shape), on the device of the tensors.
    Kernels that only carry codes along share one code with what they read.
    """
    folded, floating = fold(graph, tensors)
    observer = RangeObserver()
    with torch.no_grad():
        Interpreter(folded).run(floating, inputs, observer)
    return _codes(folded, observer.ranges)


def _codes(graph: Graph, extents: Mapping[str, tuple[float, float]]) -> dict[str, QuantParams]:
    """The code of every buffer: one for all that carry the same codes along."""
    leader = {INPUT: INPUT}
    for kernel in fuse(graph, norms=False):
        leader[kernel.output] = kernel.output
        if kernel_rule(kernel).carries_codes(kernel):
            joined = {leader[name] for name in kernel.inputs}
            leader = {n: kernel.output if one in joined else one for n, one in leader.items()}
    codes = {}
    for one in set(leader.values()):
        lows, highs = zip(*(extents[n] for n in leader if leader[n] == one), strict=True)
        codes[one] = qparams_between(min(lows), max(highs))
    return {name: codes[one] for name, one in leader.items()}

"""The code of every buffer, from the range of its values over calibration inputs."""

from collections.abc import Callable, Mapping

import torch
from torch import Tensor

from pruning.execution.fake_quant import QuantParams, copies, fold, qparams_between, value_range
from pruning.execution.operations import execute
from pruning.graph.fusion import Kernel, fuse
from pruning.graph.graph import Graph
from pruning.ir.kinds import ELEMENTWISE, KERNELS, KindTable
from pruning.ir.operator import INPUT


def calibrate(
    graph: Graph, tensors: Mapping[str, Tensor], inputs: Tensor
) -> dict[str, QuantParams]:
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
    values, found = {INPUT: batch}, {INPUT: value_range(batch)}
    remaining = {name: len(users) for name, users in graph.consumers().items()}
    for operator in graph.operators:
        own = {role: tensors[name] for role, name in operator.parameters.items()}
        inputs = [values[name] for name in operator.inputs]
        values[operator.name] = execute(operator, inputs, own, False)
        found[operator.name] = value_range(values[operator.name])
        for name in set(operator.inputs):
            remaining[name] -= 1
            if not remaining[name]:
                del values[name]
    return found


def _codes(graph: Graph, extents: Mapping[str, tuple[float, float]]) -> dict[str, QuantParams]:
    """The code of every buffer: one for all that carry the same codes along."""
    leader = {INPUT: INPUT}
    for kernel in fuse(graph, norms=False):
        leader[kernel.output] = kernel.output
        if CARRIES.of(kernel)(kernel):
            own = {leader[name] for name in kernel.inputs}
            leader = {n: kernel.output if one in own else one for n, one in leader.items()}
    codes = {}
    for one in set(leader.values()):
        lows, highs = zip(*(extents[n] for n in leader if leader[n] == one), strict=True)
        codes[one] = qparams_between(min(lows), max(highs))
    return {name: codes[one] for name, one in leader.items()}


def _pooled(kernel: Kernel) -> bool:
    """A sum, or a mean of whole planes, has a code of its own."""
    average = kernel.main.attributes["mode"] == "average" and not kernel.averages_planes
    return average or copies(kernel.main)


# Whether a kernel's results are in the code of what it reads.
CARRIES: KindTable[str, Callable[[Kernel], bool]] = KindTable(
    "whether it carries codes along",
    KERNELS,
    {
        "pool": _pooled,
        **dict.fromkeys(("concat", "gather"), lambda _: True),  # what fills gaps is in the code
        **dict.fromkeys(
            (
                "conv", "depthwise", "conv_transpose", "linear", "batch_norm", "group_norm",
                *ELEMENTWISE, "activation", "prelu", "reduce", "resize", "softmax",
            ),
            lambda _: False,
        ),
    },
)  # fmt: skip

"""From a trained network to one of integers: `lower`.

Weights are rounded to symmetric codes by output channel; biases to the steps of what is added
up. How each kernel is lowered is told in its module of `pruning.deploy.kernels`.
"""

from collections.abc import Mapping
from math import prod

from torch import Tensor

from pruning.cost.memory.peak import DEPLOYED, schedule
from pruning.deploy.context.lowering import LoweringContext
from pruning.deploy.integer_ir import IntegerNetwork
from pruning.deploy.kernels.registry import lower_kernel
from pruning.deploy.supported import require_deployable
from pruning.errors import DeployError
from pruning.execution.fake_quant import QuantParams, fold
from pruning.graph.fusion import buffers, fuse
from pruning.graph.graph import Graph
from pruning.ir.kernel import Kernel
from pruning.ir.operator import INPUT


def lower(
    graph: Graph, tensors: Mapping[str, Tensor], codes: Mapping[str, QuantParams]
) -> IntegerNetwork:
    """The integer network of a graph, its tensors and the codes of its buffers.

    It depends on nothing else, and its kernels come in the order that needs least memory.

    Raises:
        DeployError: an operator has no integer kernel, or a buffer no code.
    """
    require_deployable(graph)
    folded, parameters = fold(graph, {name: tensor.cpu() for name, tensor in tensors.items()})
    kernels = _in_order(folded)
    if missing := {INPUT, *(kernel.output for kernel in kernels)} - set(codes):
        raise DeployError(
            f"no codes for {', '.join(sorted(missing))}: they are those of another network"
        )
    context = LoweringContext(graph=folded, tensors=parameters, codes=dict(codes))
    lowered = tuple(lower_kernel(kernel, context) for kernel in kernels)
    buffer_of = buffers(folded, kernels)
    return IntegerNetwork(
        kernels=lowered,
        outputs=tuple(buffer_of[name] for name in folded.outputs),
        shown=tuple(folded.shape(name) for name in folded.outputs),
        codes=context.codes,
        shapes=context.shapes,
        constants=context.constants,
    )


def _in_order(graph: Graph) -> list[Kernel]:
    """The kernels of a graph in the order that needs least memory."""
    kernels = fuse(graph, norms=False)
    sizes = {name: prod(graph.shape(name)) for name in (INPUT, *(k.output for k in kernels))}
    buffer_of = buffers(graph, kernels)
    outputs = [buffer_of[name] for name in graph.outputs]
    return [kernels[step.kernel] for step in schedule(kernels, sizes, outputs, DEPLOYED)]

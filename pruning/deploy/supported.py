"""Which networks can be deployed, told from their graph alone."""

from pruning.deploy.integer_ir import in_order
from pruning.deploy.kernels.registry import obstacle
from pruning.errors import DeployError
from pruning.graph.fusion import fuse
from pruning.graph.graph import Graph
from pruning.ir.kernel import Kernel
from pruning.ir.operator import INPUT
from pruning.ops import kind_of


def obstacles(graph: Graph) -> list[str]:
    """What in a network cannot be deployed, one sentence each; empty where all can."""
    reasons = [
        f"{kernel.name} ({kernel.main.label}): {reason}"
        for kernel in fuse(graph)
        if (reason := _obstacle(graph, kernel))
    ]
    return reasons or _misread(graph)


def require_deployable(graph: Graph) -> None:
    """Refuse a network that cannot be deployed.

    Raises:
        DeployError: the message names every operator that stands in the way.
    """
    if reasons := obstacles(graph):
        raise DeployError(
            f"this network has no exact int8 form: {'; '.join(reasons)}. Replace what is named, "
            "or have it scored with precision=int8-simulated"
        )


def _obstacle(graph: Graph, kernel: Kernel) -> str:
    shapes = [kernel.main.shape, *(graph.shape(name) for name in kernel.main.inputs)]
    if any(len(shape) > 3 for shape in shapes):
        return "works on more than two axes beside the channels"
    return obstacle(kernel)


def _misread(graph: Graph) -> list[str]:
    """Values that are read in another shape than they lie in memory, pixel by pixel.

    Pixels follow each other, the channels of each together. So a feature map that was
    flattened lies in another order than its vector says; a linear layer's weights can follow.
    """
    stored = {INPUT: graph.input_shape}
    reasons = []
    for operator in graph.operators:
        source = operator.inputs[0]
        if kind_of(operator).kernel is None:
            stored[operator.name] = stored[source]
            continue
        stored[operator.name] = operator.shape
        reasons += [
            f"{operator.name} ({operator.label}): reads a flattened feature map; only a "
            "linear layer can"
            for name in operator.inputs
            if not in_order(stored[name], graph.shape(name))
            and not (operator.kind == "linear" and len(graph.shape(name)) == 1)
        ]
    reasons += [
        f"{name}: the output is a flattened feature map; return the map itself"
        for name in graph.outputs
        if not in_order(stored[name], graph.shape(name))
    ]
    if INPUT in graph.outputs:
        reasons.append("the input is an output")
    return reasons

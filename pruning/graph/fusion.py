"""What a microcontroller executes: operators after fusion.

Batch norms are folded into the layer before them, ReLUs are clamps at the end of a kernel, a
flatten only renames a buffer and a dropout does not exist. What is left are kernels with
buffers between them: the unit in which work, memory and time are counted.
"""

from collections.abc import Sequence
from dataclasses import replace

from pruning.graph.graph import Graph
from pruning.ir.kernel import Kernel
from pruning.ir.operator import INPUT, Operator
from pruning.ops import kind_of
from pruning.ops.activation import CLAMPS


def fuse(graph: Graph, norms: bool = True) -> tuple[Kernel, ...]:
    """The kernels of a graph in its order. Batch norms fuse with the layers that they can be
    folded into, unless `norms` is False: then those that could have been folded already.
    """
    consumers = graph.consumers()
    kernels: list[Kernel] = []
    buffer = {INPUT: INPUT}
    for operator in graph.operators:
        source = operator.inputs[0]
        if kind_of(operator).kernel is None:
            buffer[operator.name] = buffer[source]
            continue
        alone = len(consumers[source]) == 1 and source not in graph.outputs
        host = kernels[-1] if kernels and kernels[-1].output == source and alone else None
        host = host or next((k for k in kernels if k.output == source and alone), None)
        folds = norms or operator.kind != "batch_norm"
        if host is not None and folds and _fuses(host, operator):
            kernels[kernels.index(host)] = replace(host, chain=(*host.chain, operator.name))
            buffer = {v: operator.name if b == source else b for v, b in buffer.items()}
        else:
            inputs = tuple(buffer[name] for name in operator.inputs)
            channels, *plane = graph.shape(source)
            kernels.append(
                Kernel(
                    main=operator,
                    inputs=inputs,
                    chain=(operator.name,),
                    channels=channels,
                    plane=tuple(plane),
                )
            )
        buffer[operator.name] = operator.name
    return tuple(kernels)


def buffers(graph: Graph, kernels: Sequence[Kernel]) -> dict[str, str]:
    """The buffer in which every value of a graph lies, the input among them."""
    holds = {INPUT: INPUT} | {name: kernel.output for kernel in kernels for name in kernel.chain}
    for operator in graph.operators:
        holds.setdefault(operator.name, holds.get(operator.inputs[0], INPUT))
    return holds


def _fuses(host: Kernel, operator: Operator) -> bool:
    if operator.kind == "batch_norm":
        return kind_of(host.main).folds_norm and len(host.chain) == 1
    clamp = operator.attributes.get("function") in CLAMPS
    return clamp and kind_of(host.main).clamps

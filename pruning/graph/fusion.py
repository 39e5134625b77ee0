"""What a microcontroller executes: operators after fusion.

Batch norms are folded into the layer before them, ReLUs are clamps at the end of a kernel, a
flatten only renames a buffer and a dropout does not exist. What is left are kernels with
buffers between them: the unit in which work, memory and time are counted.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from math import prod

from pruning.graph.graph import Graph
from pruning.ir.kinds import ELEMENTWISE, OPERATORS, WITHOUT_KERNEL, either
from pruning.ir.operator import INPUT, Operator

CLAMPS = ("relu", "relu6")
FOLDING = ("conv", "conv_transpose", "linear")
_PLAIN = ("activation", "prelu", "gather", "concat", "reduce", "softmax", *WITHOUT_KERNEL)
_NORMS = ("batch_norm", "group_norm")
FOLDS = either(
    "whether it takes in a batch norm",
    OPERATORS,
    yes=FOLDING,
    no=(*_NORMS, *ELEMENTWISE, "pool", "resize", *_PLAIN),
)
CLAMPS_ITS_RESULTS = either(
    "whether it clamps its results",
    OPERATORS,
    yes=(*FOLDING, *_NORMS, *ELEMENTWISE, "pool", "resize"),
    no=_PLAIN,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Kernel:
    """A main operator with what is fused into it.

    `inputs` name the buffers that it reads and `output` the buffer that it writes; a buffer is
    named after the value that it holds. `chain` lists the operators from main to last.
    `channels` are those of the first operand, when nothing is pruned, and `plane` the rest of
    its shape.
    """

    main: Operator
    inputs: tuple[str, ...]
    chain: tuple[str, ...]
    channels: int
    plane: tuple[int, ...] = ()

    @property
    def name(self) -> str:
        """The main operator's name."""
        return self.main.name

    @property
    def output(self) -> str:
        """The buffer that holds the result."""
        return self.chain[-1]

    @property
    def kind(self) -> str:
        """The main operator's kind; depthwise convolutions are a kind of their own."""
        return "depthwise" if self.main.attributes.get("depthwise") else self.main.kind

    @property
    def routine(self) -> str:
        """The kind of loops that compute it in generated C: those of its kind, but for grouped
        convolutions, depthwise ones of several filters an input ("multiplied"), transposed
        ones, which are all alike, and means over whole planes.
        """
        if self.averages_planes:
            return "mean"
        if self.main.kind == "conv_transpose":
            return "conv_transpose"
        if self.kind == "depthwise" and self.main.shape[0] != self.channels:
            return "multiplied"
        return "grouped" if self.kind == "conv" and self.groups > 1 else self.kind

    @property
    def averages_planes(self) -> bool:
        """Whether it makes the mean, or the sum, of every whole plane."""
        a = self.main.attributes
        if self.main.kind != "pool" or a["mode"] == "max":
            return False
        return tuple(a["kernel"]) == self.plane and not any(a["padding"])

    @property
    def groups(self) -> int:
        """Of a convolution: inputs of one do not meet outputs of another."""
        return int(self.main.attributes.get("groups", 1))

    @property
    def pixels(self) -> int:
        """Elements of a channel that is written."""
        return self.main.elements_per_channel

    @property
    def taps(self) -> int:
        """Elements of a window: kernel height times width."""
        return prod(self.main.attributes.get("kernel", ()))

    @property
    def windows(self) -> int:
        """How often a window is laid: once for every pixel of a channel that is written, or for
        every one that is read where the convolution is transposed.
        """
        return int(self.main.attributes.get("pixels", self.main.elements_per_channel))


def fuse(graph: Graph, norms: bool = True) -> tuple[Kernel, ...]:
    """The kernels of a graph in its order. Batch norms fuse with the layers that they can be
    folded into, unless `norms` is False: then those that could have been folded already.
    """
    consumers = graph.consumers()
    kernels: list[Kernel] = []
    buffer = {INPUT: INPUT}
    for operator in graph.operators:
        source = operator.inputs[0]
        if operator.kind in WITHOUT_KERNEL:
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
        return FOLDS.of(host.main) and len(host.chain) == 1
    clamp = operator.attributes.get("function") in CLAMPS
    return clamp and CLAMPS_ITS_RESULTS.of(host.main)

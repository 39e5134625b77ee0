"""Where the buffers of an integer network lie."""

# ruff: noqa: ARG001 - the rules of a table all take the same arguments

from collections.abc import Callable
from math import prod
from typing import Any

from pruning.cost.memory.arena import Plan, pack
from pruning.cost.memory.overlap import Access, Windows
from pruning.deploy.integer_ir import (
    INTEGER_KERNELS,
    Concat,
    IntegerKernel,
    IntegerNetwork,
    Layer,
    Mean,
    Move,
    Pool,
    Prelu,
    Product,
    Sum,
    Table,
    Transposed,
)
from pruning.ir.kinds import ByKind


def plan(network: IntegerNetwork) -> Plan:
    """The smallest arena that is found, for the kernels in their order."""
    sizes = {name: prod(shape) for name, shape in network.shapes.items()}
    accesses = [_access(kernel, network) for kernel in network.kernels]
    return pack(accesses, sizes, network.outputs)


def _access(kernel: IntegerKernel, network: IntegerNetwork) -> Access:
    return Access(
        inputs=tuple(name for name in kernel.inputs if name not in network.constants),
        output=kernel.output,
        in_place=IN_PLACE.at(type(kernel), kernel.name),
        windows=WINDOWS.at(type(kernel), kernel.name)(kernel),
    )


def _windows(kernel: Layer | Pool) -> Windows:
    read, made = kernel.reads[0][1:], kernel.shape[1:]
    return Windows(read, made, *kernel.window, isinstance(kernel, Transposed))


def _none(kernel: IntegerKernel) -> None:
    return None


IN_PLACE = ByKind(
    "whether it reads an element before it writes it",
    INTEGER_KERNELS,
    {
        **dict.fromkeys((Sum, Product, Table, Prelu), True),
        **dict.fromkeys((Layer, Transposed, Pool, Mean, Move, Concat), False),
    },
)
WINDOWS: ByKind[type, Callable[[Any], Windows | None]] = ByKind(
    "which windows it has",
    INTEGER_KERNELS,
    {
        **dict.fromkeys((Layer, Transposed, Pool), _windows),
        **dict.fromkeys((Sum, Product, Table, Prelu, Mean, Move, Concat), _none),
    },
)

"""Where the buffers of an integer network lie."""

# ruff: noqa: ARG001 - the rules of a table all take the same arguments

from collections.abc import Callable
from math import prod
from typing import Any

from pruning.cost.memory.arena import ArenaPlan, pack
from pruning.cost.memory.overlap import BufferUse, ConvWindow
from pruning.deploy.integer_ir import (
    INTEGER_KERNELS,
    Add,
    Concat,
    Conv,
    ConvTranspose,
    Gather,
    IntegerKernel,
    IntegerNetwork,
    Lut,
    Mean,
    Mul,
    Pool,
    Prelu,
)
from pruning.ir.kinds import KindTable


def plan(network: IntegerNetwork) -> ArenaPlan:
    """The smallest arena that is found, for the kernels in their order."""
    sizes = {name: prod(shape) for name, shape in network.shapes.items()}
    accesses = [_access(kernel, network) for kernel in network.kernels]
    return pack(accesses, sizes, network.outputs)


def _access(kernel: IntegerKernel, network: IntegerNetwork) -> BufferUse:
    return BufferUse(
        inputs=tuple(name for name in kernel.inputs if name not in network.constants),
        output=kernel.output,
        in_place=IN_PLACE.at(type(kernel), kernel.name),
        windows=WINDOWS.at(type(kernel), kernel.name)(kernel),
    )


def _windows(kernel: Conv | Pool) -> ConvWindow:
    read, made = kernel.reads[0][1:], kernel.shape[1:]
    return ConvWindow(read, made, *kernel.window, isinstance(kernel, ConvTranspose))


def _none(kernel: IntegerKernel) -> None:
    return None


IN_PLACE = KindTable(
    "whether it reads an element before it writes it",
    INTEGER_KERNELS,
    {
        **dict.fromkeys((Add, Mul, Lut, Prelu), True),
        **dict.fromkeys((Conv, ConvTranspose, Pool, Mean, Gather, Concat), False),
    },
)
WINDOWS: KindTable[type, Callable[[Any], ConvWindow | None]] = KindTable(
    "which windows it has",
    INTEGER_KERNELS,
    {
        **dict.fromkeys((Conv, ConvTranspose, Pool), _windows),
        **dict.fromkeys((Add, Mul, Lut, Prelu, Mean, Gather, Concat), _none),
    },
)

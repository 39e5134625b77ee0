"""A network of int8 codes as records: what a microcontroller computes, to the last bit.

Values are (channels, height, width), vectors (channels, 1, 1) and series (channels, 1, length).
A code q of a value stands for the real number scale * (q - zero_point). The records of the
kernels are in `pruning.deploy.kernels`, one module a kernel.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from math import prod
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from pruning.execution.fake_quant import QuantParams
from pruning.ir.operator import INPUT, Shape

Codes = NDArray[np.int8]
Shape3 = tuple[int, int, int]
LOW, HIGH = -128, 127


class Window(NamedTuple):
    """A window over height and width, each setting as (height, width)."""

    kernel: tuple[int, int] = (1, 1)
    stride: tuple[int, int] = (1, 1)
    padding: tuple[int, int] = (0, 0)
    dilation: tuple[int, int] = (1, 1)

    def pads(
        self, input_size: Sequence[int], output_size: Sequence[int]
    ) -> tuple[tuple[int, int], ...]:
        """Positions before and behind an input of (height, width) that the windows reach: the
        padding, and behind as many more as the last windows of the output need.
        """
        pads = []
        for size, count, kernel, stride, before, dilation in zip(
            input_size, output_size, *self, strict=True
        ):
            last = (count - 1) * stride + dilation * (kernel - 1) + 1
            pads.append((before, max(0, last - before - size)))
        return tuple(pads)


ONE_PIXEL = Window()


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class IntegerKernel:
    """What all kernels have: a name, the buffers they read and write, and a clamp at the end
    (`low` and `high` are codes). `reads` gives the shape in which each buffer is read, `shape`
    is that of the output.
    """

    name: str
    inputs: tuple[str, ...]
    output: str
    reads: tuple[Shape3, ...]
    shape: Shape3
    low: int = LOW
    high: int = HIGH


@dataclass(frozen=True, kw_only=True, eq=False)
class IntegerNetwork:
    """Kernels in a valid order. `codes` and `shapes` know every buffer, the network's input and
    the constants among them; `constants` holds what is stored of these. `shown` gives the shape
    of every output as the network's own, batch left out.
    """

    kernels: tuple[IntegerKernel, ...]
    outputs: tuple[str, ...]
    shown: tuple[tuple[int, ...], ...]
    codes: Mapping[str, QuantParams]
    shapes: Mapping[str, Shape3]
    constants: Mapping[str, Codes] = field(default_factory=dict)

    def quantized(self, values: ArrayLike) -> Codes:
        """Real inputs as the codes that the network reads."""
        return quantize(values, self.codes[INPUT])


def quantize(values: ArrayLike, code: QuantParams) -> Codes:
    """The nearest codes of real values; those beyond the range are clipped to it."""
    nearest = np.rint(np.asarray(values, dtype=np.float64) / code.scale) + code.zero_point
    return nearest.clip(LOW, HIGH).astype(np.int8)


def plane(shape: Shape) -> Shape3:
    """A shape as (channels, height, width): vectors have one pixel, series one row."""
    channels, *extent = shape
    height, width = [1] * (2 - len(extent)) + extent
    return channels, height, width


def channels_last(shape: Shape3) -> Shape3:
    """A shape as it lies in the memory of a microcontroller: (height, width, channels)."""
    channels, height, width = shape
    return height, width, channels


def in_order(stored: Shape, read: Shape) -> bool:
    """Whether a value that is stored in one shape looks the same when it is read in another."""
    flat, read_flat = prod(stored[1:]) == 1, prod(read[1:]) == 1
    return (
        stored[0] == read[0]
        or (flat and (read_flat or read[0] == 1))
        or (stored[0] == 1 and read_flat)
    )

"""A network of int8 codes as records: what each kernel computes, to the last bit.

Values are (channels, height, width), vectors (channels, 1, 1) and series (channels, 1, length).
A code q of a value stands for the real number scale * (q - zero_point).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple, get_args

import numpy as np
from numpy.typing import NDArray

from pruning.deploy.fixed_point import FixedPointMultiplier, Integers
from pruning.execution.fake_quant import QuantParams
from pruning.ir.gather import IndexTables

Codes = NDArray[np.int8]
Shape3 = tuple[int, int, int]
LOW, HIGH = -128, 127
ADD_SHIFT = 20  # bits by which the operands of a sum are widened before they are scaled


class Window(NamedTuple):
    """A window over height and width, each setting as (height, width)."""

    kernel: tuple[int, int] = (1, 1)
    stride: tuple[int, int] = (1, 1)
    padding: tuple[int, int] = (0, 0)
    dilation: tuple[int, int] = (1, 1)

    def pads(self, read: Sequence[int], made: Sequence[int]) -> tuple[tuple[int, int], ...]:
        """Positions before and behind a (height, width) that windows for a result of another
        reach: the padding, and behind as much more as the last windows need.
        """
        pads = []
        for size, count, kernel, stride, before, dilation in zip(read, made, *self, strict=True):
            last = (count - 1) * stride + dilation * (kernel - 1) + 1
            pads.append((before, max(0, last - before - size)))
        return tuple(pads)


ONE_PIXEL = Window()


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Kernel:
    """What all kernels have: a name, the buffers they read and write, and a clamp at the end
    (`low` and `high` are codes). `reads` tells in which shape each buffer is read, `shape` is
    that of the output.
    """

    name: str
    inputs: tuple[str, ...]
    output: str
    reads: tuple[Shape3, ...]
    shape: Shape3
    low: int = LOW
    high: int = HIGH


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Conv(Kernel):
    """A convolution, depthwise and grouped ones and fully connected layers among them.

    `weight` is (outputs, inputs / groups, height, width), symmetric by output channel; `bias`
    is int32 in the scale of the accumulator; `scaling` has a factor for each output channel,
    `steps` the real step of its weights. A padded position holds the input's zero point.
    """

    weight: Codes
    steps: NDArray[np.float64]
    bias: NDArray[np.int32]
    scaling: FixedPointMultiplier
    window: Window = ONE_PIXEL
    groups: int = 1

    @property
    def depthwise(self) -> bool:
        """Whether every output channel reads one input channel of its own or a shared one."""
        return self.groups > 1 and self.weight.shape[1] == 1


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class ConvTranspose(Conv):
    """A transposed convolution: every input pixel adds a window to the output."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Add(Kernel):
    """The sum or difference of two buffers; one of them may be a constant or be broadcast.

    Each operand is widened by ADD_SHIFT and scaled by its own factor, the result by a third.
    """

    scalings: tuple[FixedPointMultiplier, FixedPointMultiplier, FixedPointMultiplier]
    difference: bool = False


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Mul(Kernel):
    """The product of two buffers; one of them may be a constant or be broadcast."""

    scaling: FixedPointMultiplier


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Pool(Kernel):
    """The largest code or the mean code of every window, in the code of the input.

    A window counts only the positions that exist, unless `padded`: then it also averages the
    input's zero point where there is padding.
    """

    window: Window
    average: bool = False
    padded: bool = False


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Mean(Kernel):
    """The sum of each channel's pixels above the zero point, scaled: a mean over the plane, or
    with `total` their sum.
    """

    scaling: FixedPointMultiplier
    total: bool = False


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Lut(Kernel):
    """A function of one value: `entries` holds the result for codes -128 to 127. `slope` is
    that below zero, of a leaky ReLU.
    """

    entries: Codes
    function: str
    slope: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Prelu(Kernel):
    """What is above zero is scaled by `above`, what is below is multiplied by its channel's
    `slope` (a code with zero point 0, of real step `step`) and scaled by `below`.
    """

    slope: Codes
    step: float
    above: FixedPointMultiplier
    below: FixedPointMultiplier


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Gather(Kernel):
    """Elements carried to other places: `source` numbers, for every element of the output, the
    one of the input, and is -1 where `fill` goes; `tables` tell the same more briefly.
    """

    source: Integers
    fill: int
    tables: IndexTables | None = None


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Concat(Kernel):
    """Buffers of one code behind each other, along `axis` 0 (channels), 1 or 2."""

    axis: int = 0


IntegerKernel = Conv | Add | Mul | Pool | Mean | Lut | Prelu | Gather | Concat
INTEGER_KERNELS = (
    ConvTranspose,
    *get_args(IntegerKernel),
)  # a transposed layer is one by itself


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

    def quantized(self, values: Any) -> Any:
        """Real inputs, of numpy, as the codes that the network reads."""
        code = self.codes["input"]
        whole = np.rint(np.asarray(values, dtype=np.float64) / code.scale) + code.zero_point
        return whole.clip(LOW, HIGH).astype(np.int8)

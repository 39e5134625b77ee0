"""What an integer network computes, in the plainest way: the arbiter of all others.

The arithmetic is that of TensorFlow Lite's reference kernels, in 64-bit integers of numpy.
"""

from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple

import numpy as np

from pruning.deploy.fixed_point import FixedPointMultiplier, Integers, requantize
from pruning.deploy.integer_ir import (
    ADD_SHIFT,
    INTEGER_KERNELS,
    LOW,
    Add,
    Codes,
    Concat,
    Conv,
    ConvTranspose,
    Gather,
    IntegerNetwork,
    Lut,
    Mean,
    Mul,
    Pool,
    Prelu,
    Window,
)
from pruning.ir.gather import PAD
from pruning.ir.kinds import KindTable
from pruning.ir.operator import INPUT


class Operands(NamedTuple):
    """What a kernel reads, (batch, channels, height, width) each, and its own zero point."""

    codes: list[Integers]
    zeros: list[int]
    zero: int

    @property
    def steps(self) -> list[Integers]:
        """Codes above their zero points."""
        return [code - zero for code, zero in zip(self.codes, self.zeros, strict=True)]


def reference(network: IntegerNetwork, inputs: Codes) -> dict[str, Codes]:
    """Every buffer's codes for a batch of inputs, (batch, channels, height, width) each.

    `inputs` is (batch, ...) with as many codes a sample as the network reads.
    """
    values = {INPUT: inputs.reshape(-1, *network.shapes[INPUT])}
    for kernel in network.kernels:
        read = [network.constants.get(name, values.get(name)) for name in kernel.inputs]
        operands = Operands(
            [
                np.asarray(one, dtype=np.int64).reshape(-1, *shape)
                for one, shape in zip(read, kernel.reads, strict=True)
            ],
            [network.codes[name].zero_point for name in kernel.inputs],
            network.codes[kernel.output].zero_point,
        )
        codes = CODES.at(type(kernel), kernel.name)(kernel, operands)
        values[kernel.output] = codes.clip(kernel.low, kernel.high).astype(np.int8)
    return values


def along(scaling: FixedPointMultiplier) -> FixedPointMultiplier:
    """One factor for each channel, to go with (batch, channels, height, width)."""
    mantissa, left, right = (part.reshape(-1, 1, 1) for part in scaling)
    return FixedPointMultiplier(mantissa, left, right)


def _taps(window: Window) -> Iterator[tuple[int, ...]]:
    return iter(np.ndindex(*window.kernel))


def _around(values: Integers, window: Window, shape: tuple[int, ...], fill: int) -> Integers:
    """With padding, and as much more behind as the last windows reach."""
    pads = ((0, 0), (0, 0), *window.pads(values.shape[2:], shape[1:]))
    return np.pad(values, pads, constant_values=fill)


def _under(values: Integers, window: Window, shape: tuple[int, ...], tap: Any) -> Integers:
    """What lies under one tap of every window."""
    places = (
        slice(t * d, t * d + (n - 1) * s + 1, s)
        for t, d, n, s in zip(tap, window.dilation, shape[1:], window.stride, strict=True)
    )
    return values[:, :, *places]


def _mixed(steps: Integers, weight: Codes, groups: int) -> Integers:
    """The channels of every group times (outputs, inputs / groups)."""
    batch, _, *extent = steps.shape
    seen = steps.reshape(batch, groups, weight.shape[1], *extent)
    by_group = weight.astype(np.int64).reshape(groups, -1, weight.shape[1])
    mixed: Integers = np.einsum("bgihw,goi->bgohw", seen, by_group)
    return mixed.reshape(batch, -1, *extent)


def _layer(kernel: Conv, at: Operands) -> Integers:
    steps = _around(at.steps[0], kernel.window, kernel.shape, 0)
    total = kernel.bias.astype(np.int64).reshape(1, -1, 1, 1)
    for i, j in _taps(kernel.window):
        seen = _under(steps, kernel.window, kernel.shape, (i, j))
        total = total + _mixed(seen, kernel.weight[:, :, i, j], kernel.groups)
    return requantize(total, *along(kernel.scaling)) + at.zero


def _transposed(kernel: ConvTranspose, at: Operands) -> Integers:
    """Every pixel adds its window to a plane, from which the padding is cut off."""
    window, (channels, *extent) = kernel.window, kernel.shape
    batch, _, *read = at.codes[0].shape
    reach = [d * (k - 1) for d, k in zip(window.dilation, window.kernel, strict=True)]
    whole = [
        max((n - 1) * s + r + 1, pad + out)
        for n, s, r, pad, out in zip(
            read, window.stride, reach, window.padding, extent, strict=True
        )
    ]
    total = np.zeros((batch, channels, *whole), dtype=np.int64)
    for i, j in _taps(window):
        places = (
            slice(t * d, t * d + (n - 1) * s + 1, s)
            for t, d, n, s in zip((i, j), window.dilation, read, window.stride, strict=True)
        )
        total[:, :, *places] += _mixed(at.steps[0], kernel.weight[:, :, i, j], kernel.groups)
    rows, columns = (slice(pad, pad + n) for pad, n in zip(window.padding, extent, strict=True))
    total = total[:, :, rows, columns] + kernel.bias.astype(np.int64).reshape(-1, 1, 1)
    return requantize(total, *along(kernel.scaling)) + at.zero


def _sum(kernel: Add, at: Operands) -> Integers:
    wide = [step << ADD_SHIFT for step in at.steps]
    first = requantize(wide[0], *kernel.scalings[0])
    second = requantize(wide[1], *kernel.scalings[1])
    total = first - second if kernel.difference else first + second
    return requantize(total, *kernel.scalings[2]) + at.zero


def _product(kernel: Mul, at: Operands) -> Integers:
    first, second = at.steps
    return requantize(first * second, *kernel.scaling) + at.zero


def _pool(kernel: Pool, at: Operands) -> Integers:
    window, shape, (codes,) = kernel.window, kernel.shape, at.codes
    if not kernel.average:
        around = _around(codes, window, shape, LOW)
        seen = [_under(around, window, shape, tap) for tap in _taps(window)]
        return np.asarray(np.max(seen, axis=0), dtype=np.int64)
    around = _around(codes, window, shape, at.zero if kernel.padded else 0)
    exists = _around(np.ones_like(codes[:1]), window, shape, int(kernel.padded))
    total = np.sum([_under(around, window, shape, tap) for tap in _taps(window)], axis=0)
    count = np.sum([_under(exists, window, shape, tap) for tap in _taps(window)], axis=0)
    rounded: Integers = np.sign(total) * ((np.abs(total) + count // 2) // count)
    return rounded


def _mean(kernel: Mean, at: Operands) -> Integers:
    total: Integers = at.steps[0].sum((2, 3), keepdims=True)
    return requantize(total, *kernel.scaling) + at.zero


def _table(kernel: Lut, at: Operands) -> Integers:
    return kernel.entries.astype(np.int64)[at.codes[0] - LOW]


def _prelu(kernel: Prelu, at: Operands) -> Integers:
    (steps,) = at.steps
    slope = kernel.slope.astype(np.int64).reshape(-1, 1, 1)
    above, below = requantize(steps, *kernel.above), requantize(steps * slope, *kernel.below)
    return np.where(steps >= 0, above, below) + at.zero


def _move(kernel: Gather, at: Operands) -> Integers:
    flat = at.codes[0].reshape(len(at.codes[0]), -1)
    moved = flat[:, np.maximum(kernel.source, 0)]
    return np.where(kernel.source == PAD, kernel.fill, moved)


def _concat(kernel: Concat, at: Operands) -> Integers:
    return np.concatenate(at.codes, axis=1 + kernel.axis)


_RULES: Mapping[type, Callable[[Any, Operands], Integers]] = {
    Conv: _layer,
    ConvTranspose: _transposed,
    Add: _sum,
    Mul: _product,
    Pool: _pool,
    Mean: _mean,
    Lut: _table,
    Prelu: _prelu,
    Gather: _move,
    Concat: _concat,
}
CODES = KindTable("what it computes", INTEGER_KERNELS, _RULES)

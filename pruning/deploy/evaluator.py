"""The same codes as the arbiter's, with torch: a whole validation set in seconds.

Sums of products are integers that single or double precision holds exactly. Scaling them is
rounded where floating point leaves no doubt about the nearest integer; where two are about
equally near, the arbiter's arithmetic decides.
"""

# ruff: noqa: ARG001 - the rules of a table all take the same arguments

from collections.abc import Callable, Mapping
from math import prod
from typing import Any, final

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from pruning.deploy.fixed_point import WORD, FixedPointMultiplier, requantize
from pruning.deploy.integer_ir import (
    ADD_SHIFT,
    HIGH,
    INTEGER_KERNELS,
    LOW,
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
    Window,
)
from pruning.errors import DeployError
from pruning.ir.gather import PAD
from pruning.ir.kinds import KindTable
from pruning.ir.operator import INPUT

SINGLE, DOUBLE = 1 << 24, 1 << 53  # integers up to here are exact
DOUBT = 2e-4  # of a rounded result up to 512, from single precision; larger ones are clipped
STEPS = HIGH - LOW  # the largest difference of two codes


@final
class Evaluator:
    """An integer network on batches of real inputs; it gives real outputs.

    Inside, values are codes above their zero points, as floating-point numbers.
    """

    def __init__(self, network: IntegerNetwork, device: str | torch.device = "cpu") -> None:
        self.network = network
        self.device = torch.device(device)
        self._run = {kernel.name: self._prepared(kernel) for kernel in network.kernels}
        self._constants = {
            name: self._tensor(codes).float().reshape(1, *network.shapes[name])
            - network.codes[name].zero_point
            for name, codes in network.constants.items()
        }

    @torch.no_grad()
    def __call__(self, batch: Tensor) -> Tensor | tuple[Tensor, ...]:
        """Outputs in real units; (batch, channels, height, width), or (batch, channels)."""
        network, values = self.network, {**self._constants, INPUT: self._coded(batch)}
        last = {name: k.name for k in network.kernels for name in k.inputs}
        for kernel in network.kernels:
            zero = network.codes[kernel.output].zero_point
            read = [
                values[name].reshape(-1, *shape)
                for name, shape in zip(kernel.inputs, kernel.reads, strict=True)
            ]
            result = self._run[kernel.name](*read)
            values[kernel.output] = result.clamp_(kernel.low - zero, kernel.high - zero)
            for name in set(kernel.inputs) - set(network.outputs):
                if last[name] == kernel.name:
                    values.pop(name, None)
        outputs = tuple(
            values[name].reshape(-1, *shape) * network.codes[name].scale
            for name, shape in zip(network.outputs, network.shown, strict=True)
        )
        return outputs[0] if len(outputs) == 1 else outputs

    def _coded(self, batch: Tensor) -> Tensor:
        code = self.network.codes[INPUT]
        whole = (batch.double() / code.scale).round_() + code.zero_point
        steps = whole.clamp_(LOW, HIGH) - code.zero_point
        return steps.float().reshape(-1, *self.network.shapes[INPUT])

    def _tensor(self, values: Any) -> Tensor:
        return torch.from_numpy(np.ascontiguousarray(values)).to(self.device)

    def _exact(self, kernel: IntegerKernel, largest: int) -> torch.dtype:
        """A type in which sums up to so much are exact, whatever algorithm adds them up.

        Raises:
            DeployError: there is none.
        """
        if largest < SINGLE and self.device.type == "cpu":
            return torch.float32
        if largest >= DOUBLE:
            raise DeployError(
                f"{kernel.name}: its sums reach {largest:,}, and only those below {DOUBLE:,} "
                "are exact: keep its weights in int8 and its biases in int32"
            )
        return torch.float64

    def _prepared(self, kernel: IntegerKernel) -> Callable[..., Tensor]:
        return PREPARED.at(type(kernel), kernel.name)(self, kernel)

    def _rounding(self, scaling: FixedPointMultiplier) -> Callable[[Tensor], Tensor]:
        """From exact sums to scaled steps. One factor for all channels, or one for each."""
        mantissa, left, right = (self._tensor(part).reshape(-1) for part in scaling)
        factor = (mantissa.double() * 2.0 ** (left - right - WORD).double()).reshape(-1, 1, 1)
        margin = DOUBT + 0.5 ** (int(right.min()) + 1)
        many = len(mantissa) > 1

        def at(total: Tensor, place: tuple[Tensor, ...]) -> Tensor:
            channel = place[1] if many else torch.zeros_like(place[1])
            value = total[place].round().long()
            return requantize(value, mantissa[channel], left[channel], right[channel])

        def rounded(total: Tensor) -> Tensor:
            return _nearest(total * factor.to(total.dtype), margin, lambda p: at(total, p))

        return rounded


def _nearest(value: Tensor, margin: float, exact: Callable[[tuple[Tensor, ...]], Tensor]) -> Tensor:
    """The nearest integers of `value`; `exact` gives them where they are in doubt."""
    whole = (value + 0.5).floor_()
    doubtful = (value.sub_(whole).abs_() >= 0.5 - margin).nonzero(as_tuple=True)
    if len(doubtful[0]):
        whole[doubtful] = exact(doubtful).to(whole.dtype)
    return whole.float()


def _layer(at: Evaluator, kernel: Conv) -> Callable[..., Tensor]:
    weights = np.abs(kernel.weight.astype(np.int64)).reshape(len(kernel.weight), -1)
    largest = int((weights.sum(1) * STEPS + np.abs(kernel.bias.astype(np.int64))).max())
    kind = at._exact(kernel, largest)
    weight, bias = at._tensor(kernel.weight).to(kind), at._tensor(kernel.bias).to(kind)
    rounded = at._rounding(kernel.scaling)
    window, shape = kernel.window, kernel.shape
    if isinstance(kernel, ConvTranspose):
        weight = _inputs_first(weight, kernel.groups)

    def run(steps: Tensor) -> Tensor:
        if isinstance(kernel, ConvTranspose):
            total = _spread(steps.to(kind), weight, kernel)
            return rounded(total + bias.reshape(-1, 1, 1))
        around = _around(steps.to(kind), window, shape)
        total = functional.conv2d(
            around, weight, bias, window.stride, 0, window.dilation, kernel.groups
        )
        return rounded(total[:, :, : shape[1], : shape[2]])

    return run


def _inputs_first(weight: Tensor, groups: int) -> Tensor:
    """(outputs, inputs / groups, ...) as torch has it: (inputs, outputs / groups, ...)."""
    by_group = weight.reshape(groups, -1, *weight.shape[1:])
    return by_group.transpose(1, 2).flatten(0, 1).contiguous()


def _spread(steps: Tensor, weight: Tensor, kernel: ConvTranspose) -> Tensor:
    window, (_, rows, columns) = kernel.window, kernel.shape
    whole = functional.conv_transpose2d(
        steps, weight, None, window.stride, 0, 0, kernel.groups, window.dilation
    )
    above, beside = window.padding
    behind = (above + rows - whole.shape[2], beside + columns - whole.shape[3])
    whole = functional.pad(whole, (0, max(0, behind[1]), 0, max(0, behind[0])))
    return whole[:, :, above : above + rows, beside : beside + columns]


def _around(values: Tensor, window: Window, shape: tuple[int, ...], fill: float = 0.0) -> Tensor:
    """With padding, and as much more behind as the last windows reach."""
    rows, columns = window.pads(values.shape[2:], shape[1:])
    pads = [*columns, *rows]
    return functional.pad(values, pads, value=fill) if any(pads) else values


def _sum(at: Evaluator, kernel: Add) -> Callable[..., Tensor]:
    first, second, result = (
        tuple(int(part.reshape(-1)[0]) for part in one) for one in kernel.scalings
    )
    one, other, last = (m * 2.0 ** (left - right - WORD) for m, left, right in (
        first, second, result
    ))  # fmt: skip
    wide, sign = 2.0**ADD_SHIFT, -1 if kernel.difference else 1
    cancelling = 2.0**-22 * STEPS * wide * (one + other) * last  # large terms, a small result
    margin = DOUBT + 2 * last + 0.5 ** (result[2] + 1) + cancelling

    def run(a: Tensor, b: Tensor) -> Tensor:
        shape = (max(len(a), len(b)), *kernel.shape)
        a, b = a.expand(shape), b.expand(shape)

        def exact(place: tuple[Tensor, ...]) -> Tensor:
            left, right = (v[place].long() << ADD_SHIFT for v in (a, b))
            total = _scaled(left, first) + sign * _scaled(right, second)
            return _scaled(total, result)

        value = a * (wide * one * last) + b * (sign * wide * other * last)
        return _nearest(value, margin, exact)

    return run


def _scaled(value: Tensor, scaling: tuple[int, ...]) -> Tensor:
    return requantize(value, *(torch.tensor(part, device=value.device) for part in scaling))


def _product(at: Evaluator, kernel: Mul) -> Callable[..., Tensor]:
    rounded = at._rounding(kernel.scaling)
    return lambda a, b: rounded(a * b)


def _pool(at: Evaluator, kernel: Pool) -> Callable[..., Tensor]:
    window, shape = kernel.window, kernel.shape
    zero = at.network.codes[kernel.output].zero_point

    def largest(steps: Tensor) -> Tensor:
        around = _around(steps, window, shape, LOW - HIGH)
        pooled: Tensor = functional.max_pool2d(around, window.kernel, window.stride)
        return pooled[:, :, : shape[1], : shape[2]]

    def mean(steps: Tensor) -> Tensor:
        codes = _around(steps.double() + zero, window, shape, zero if kernel.padded else 0)
        exists = _around(
            torch.ones_like(steps[:1, :1], dtype=torch.float64), window, shape, kernel.padded
        )
        total, count = (
            functional.avg_pool2d(one, window.kernel, window.stride, divisor_override=1)
            for one in (codes, exists)
        )
        total, count = (one.round()[:, :, : shape[1], : shape[2]] for one in (total, count))
        half = (count / 2).floor()
        return (total.sign() * ((total.abs() + half) / count).floor() - zero).float()

    return mean if kernel.average else largest


def _mean(at: Evaluator, kernel: Mean) -> Callable[..., Tensor]:
    rounded = at._rounding(kernel.scaling)
    kind = at._exact(kernel, STEPS * prod(kernel.reads[0][1:]))
    return lambda steps: rounded(steps.to(kind).sum((2, 3), keepdim=True))


def _table(at: Evaluator, kernel: Lut) -> Callable[..., Tensor]:
    before, after = (at.network.codes[n].zero_point for n in (*kernel.inputs, kernel.output))
    entries = at._tensor(kernel.entries).float() - after
    return lambda steps: entries[(steps + (before - LOW)).long()]


def _prelu(at: Evaluator, kernel: Prelu) -> Callable[..., Tensor]:
    above, below = at._rounding(kernel.above), at._rounding(kernel.below)
    slope = at._tensor(kernel.slope).float().reshape(-1, 1, 1)
    return lambda steps: torch.where(steps >= 0, above(steps), below(steps * slope))


def _move(at: Evaluator, kernel: Gather) -> Callable[..., Tensor]:
    source = at._tensor(kernel.source)
    hole = source == PAD
    fill = float(kernel.fill - at.network.codes[kernel.output].zero_point)

    def run(steps: Tensor) -> Tensor:
        moved = steps.flatten(1)[:, source.clamp(min=0)]
        return moved.masked_fill_(hole, fill)

    return run


def _concat(at: Evaluator, kernel: Concat) -> Callable[..., Tensor]:
    return lambda *parts: torch.cat(parts, 1 + kernel.axis)


_PREPARE: Mapping[type, Callable[[Evaluator, Any], Callable[..., Tensor]]] = {
    Conv: _layer,
    ConvTranspose: _layer,
    Add: _sum,
    Mul: _product,
    Pool: _pool,
    Mean: _mean,
    Lut: _table,
    Prelu: _prelu,
    Gather: _move,
    Concat: _concat,
}
PREPARED = KindTable("how it is evaluated", INTEGER_KERNELS, _PREPARE)

"""Sums and differences."""

from dataclasses import dataclass

import torch
from torch import Tensor

from pruning.deploy.context.c_source import CSource
from pruning.deploy.context.exact_torch import DOUBT, STEPS, ExactTorch, TorchFunction, nearest
from pruning.deploy.context.lowering import LoweringContext
from pruning.deploy.context.tflite_model import TfliteModel, no_operator
from pruning.deploy.fixed_point import (
    WORD,
    FixedPointMultiplier,
    Integers,
    fixed_point_multiplier,
    requantize,
)
from pruning.deploy.integer_ir import IntegerKernel
from pruning.deploy.kernels.base import KernelFamily, Operands, no_obstacle, no_windows
from pruning.deploy.kernels.binary import binary_fields, binary_record
from pruning.ir.kernel import Kernel

ADD_SHIFT = 20  # bits by which the operands of a sum are widened before they are scaled


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Add(IntegerKernel):
    """The sum or difference of two buffers; one of them may be a constant or be broadcast.

    Each operand is widened by ADD_SHIFT and scaled by its own factor, the result by a third.
    """

    scalings: tuple[FixedPointMultiplier, FixedPointMultiplier, FixedPointMultiplier]
    difference: bool = False


def _lower(kernel: Kernel, context: LoweringContext) -> Add:
    fields = binary_fields(kernel, context)
    first, second = (context.scale(name) for name in fields["inputs"])
    widest = 2 * max(first, second)
    result = widest / (2.0**ADD_SHIFT * context.scale(kernel.output))
    return Add(
        scalings=(
            fixed_point_multiplier(first / widest),
            fixed_point_multiplier(second / widest),
            fixed_point_multiplier(result),
        ),
        difference=kernel.main.kind == "sub",
        **fields,
    )


def _reference(kernel: Add, operands: Operands) -> Integers:
    first, second = (
        requantize(steps << ADD_SHIFT, *multiplier)
        for steps, multiplier in zip(operands.steps, kernel.scalings[:2], strict=True)
    )
    total = first - second if kernel.difference else first + second
    return requantize(total, *kernel.scalings[2]) + operands.zero


def _torch_function(kernel: Add, exact: ExactTorch) -> TorchFunction:  # noqa: ARG001 - as all are
    first, second, result = (
        tuple(int(part.reshape(-1)[0]) for part in multiplier) for multiplier in kernel.scalings
    )
    one, other, last = (
        mantissa * 2.0 ** (left - right - WORD) for mantissa, left, right in (first, second, result)
    )
    wide, sign = 2.0**ADD_SHIFT, -1 if kernel.difference else 1
    cancelling = 2.0**-22 * STEPS * wide * (one + other) * last  # large terms, a small result
    margin = DOUBT + 2 * last + 0.5 ** (result[2] + 1) + cancelling

    def run(a: Tensor, b: Tensor) -> Tensor:
        shape = (max(len(a), len(b)), *kernel.shape)
        a, b = a.expand(shape), b.expand(shape)

        def integers(place: tuple[Tensor, ...]) -> Tensor:
            wide_a, wide_b = (steps[place].long() << ADD_SHIFT for steps in (a, b))
            total = _requantized(wide_a, first) + sign * _requantized(wide_b, second)
            return _requantized(total, result)

        value = a * (wide * one * last) + b * (sign * wide * other * last)
        return nearest(value, margin, integers)

    return run


def _requantized(value: Tensor, multiplier: tuple[int, ...]) -> Tensor:
    return requantize(value, *(torch.tensor(part, device=value.device) for part in multiplier))


def _write_c(kernel: Add, source: CSource, index: int) -> None:
    first, second, result = kernel.scalings
    settings = binary_record(kernel, source, index, (first, second), result)
    source.step(kernel, "sub" if kernel.difference else "add", settings)


def _write_tflite(kernel: Add, model: TfliteModel) -> None:
    builtin, options = ("SUB", "SubOptions") if kernel.difference else ("ADD", "AddOptions")
    mantissa, left, _ = (int(part.reshape(-1)[0]) for part in kernel.scalings[2])
    if left or not mantissa:
        raise no_operator(kernel, "adds numbers whose sum is next to nothing")
    inputs = [model.operand(kernel, 0), model.operand(kernel, 1)]
    fields = {"FusedActivationFunction": model.activation(kernel)}
    model.operator(builtin, 2, inputs, model.result(kernel), options, **fields)


FAMILY = KernelFamily(
    record=Add,
    lowerings={"add": _lower, "sub": _lower},
    obstacle=no_obstacle,
    reference=_reference,
    torch_function=_torch_function,
    in_place=True,
    windows=no_windows,
    write_c=_write_c,
    step_per_input=False,
    write_tflite=_write_tflite,
)

"""Means and sums over whole planes."""

from dataclasses import dataclass
from math import prod

import numpy as np

from pruning.deploy.context.c_source import CSource, c_factor
from pruning.deploy.context.exact_torch import STEPS, ExactTorch, TorchFunction
from pruning.deploy.context.lowering import LoweringContext
from pruning.deploy.context.tflite_model import TfliteModel, no_operator
from pruning.deploy.fixed_point import FixedPointMultiplier, Integers, requantize
from pruning.deploy.integer_ir import HIGH, LOW, IntegerKernel
from pruning.deploy.kernels.base import KernelFamily, Operands, no_obstacle, no_windows
from pruning.ir.kernel import Kernel


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Mean(IntegerKernel):
    """The sum of each channel's pixels above the zero point, scaled: a mean over the plane, or
    with `total` their sum.
    """

    scaling: FixedPointMultiplier
    total: bool = False


def _lower(kernel: Kernel, context: LoweringContext) -> Mean:
    fields = context.fields(kernel)
    scaling, total = context.multipliers(kernel, [1.0]), kernel.main.attributes["mode"] == "sum"
    if not total:
        scaling = _divided(scaling, prod(fields["reads"][0][1:]))
    return Mean(scaling=scaling, total=total, **fields)


def _divided(multiplier: FixedPointMultiplier, count: int) -> FixedPointMultiplier:
    """A factor divided by a count: its mantissa is, as TensorFlow Lite's kernel does it."""
    exponent = int(multiplier.left[0] - multiplier.right[0])
    shift = min(count.bit_length() - 1, 32, 31 + exponent)
    mantissa, exponent = (int(multiplier.mantissa[0]) << shift) // count, exponent - shift
    return FixedPointMultiplier(
        np.array([mantissa]), np.array([max(exponent, 0)]), np.array([max(-exponent, 0)])
    )


def _reference(kernel: Mean, operands: Operands) -> Integers:
    total: Integers = operands.steps[0].sum((2, 3), keepdims=True)
    return requantize(total, *kernel.scaling) + operands.zero


def _torch_function(kernel: Mean, exact: ExactTorch) -> TorchFunction:
    requantized = exact.requantizer(kernel.scaling)
    dtype = exact.sum_dtype(kernel, STEPS * prod(kernel.reads[0][1:]))
    return lambda steps: requantized(steps.to(dtype).sum((2, 3), keepdim=True))


def _write_c(kernel: Mean, source: CSource, index: int) -> None:
    channels, *plane = kernel.reads[0]
    settings = {
        "pixels": prod(plane),
        "channels": channels,
        "factor": c_factor(kernel.scaling),
        "zero_in": source.zero_point(kernel.inputs[0]),
        **source.output_params(kernel),
    }
    source.step(kernel, "mean", source.record("paring_mean_params", f"mean{index}", settings))


def _write_tflite(kernel: Mean, model: TfliteModel) -> None:
    if kernel.total:
        raise no_operator(kernel, "adds up whole planes")
    if (kernel.low, kernel.high) != (LOW, HIGH):
        raise no_operator(kernel, "clips a mean")
    inputs = [model.operand(kernel), model.int32([1, 2], [2])]
    model.operator("MEAN", 2, inputs, model.result(kernel), "ReducerOptions", KeepDims=True)


FAMILY = KernelFamily(
    record=Mean,
    lowerings={"mean": _lower},
    obstacle=no_obstacle,
    reference=_reference,
    torch_function=_torch_function,
    in_place=False,
    windows=no_windows,
    write_c=_write_c,
    step_per_input=False,
    write_tflite=_write_tflite,
)

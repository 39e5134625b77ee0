"""ReLUs with a learned slope below zero for each channel."""

from dataclasses import dataclass
from math import prod

import numpy as np
import torch
from torch import Tensor

from pruning.deploy.context.c_source import CSource, c_factor
from pruning.deploy.context.exact_torch import ExactTorch, TorchFunction
from pruning.deploy.context.lowering import LoweringContext, as_numpy
from pruning.deploy.context.tflite_model import TfliteModel, TfliteTensor, no_operator
from pruning.deploy.fixed_point import FixedPointMultiplier, Integers, requantize
from pruning.deploy.integer_ir import HIGH, LOW, Codes, IntegerKernel
from pruning.deploy.kernels.base import KernelFamily, Operands, no_obstacle, no_windows
from pruning.ir.kernel import Kernel


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Prelu(IntegerKernel):
    """What is above zero is scaled by `above`, what is below is multiplied by its channel's
    `slope` (a code with zero point 0, of real step `step`) and scaled by `below`.
    """

    slope: Codes
    step: float
    above: FixedPointMultiplier
    below: FixedPointMultiplier


def _lower(kernel: Kernel, context: LoweringContext) -> Prelu:
    fields = context.fields(kernel)
    slopes = as_numpy(context.parameters(kernel)["slope"])
    slopes = np.broadcast_to(slopes, fields["shape"][:1])
    step = float(np.float32(max(float(np.abs(slopes).max()) / 127, 1e-12)))
    return Prelu(
        slope=np.rint(slopes / step).astype(np.int8),
        step=step,
        above=context.multipliers(kernel, [1.0]),
        below=context.multipliers(kernel, [step]),
        **fields,
    )


def _reference(kernel: Prelu, operands: Operands) -> Integers:
    (steps,) = operands.steps
    slope = kernel.slope.astype(np.int64).reshape(-1, 1, 1)
    above, below = requantize(steps, *kernel.above), requantize(steps * slope, *kernel.below)
    return np.where(steps >= 0, above, below) + operands.zero


def _torch_function(kernel: Prelu, exact: ExactTorch) -> TorchFunction:
    above, below = exact.requantizer(kernel.above), exact.requantizer(kernel.below)
    slope = exact.tensor(kernel.slope).float().reshape(-1, 1, 1)

    def run(steps: Tensor) -> Tensor:
        return torch.where(steps >= 0, above(steps), below(steps * slope))

    return run


def _write_c(kernel: Prelu, source: CSource, index: int) -> None:
    channels, *plane = kernel.reads[0]
    settings = {
        "pixels": prod(plane),
        "channels": channels,
        "slopes": source.array("int8_t", f"factors{index}", kernel.slope),
        "above": c_factor(kernel.above),
        "below": c_factor(kernel.below),
        "zero_in": source.zero_point(kernel.inputs[0]),
        **source.output_params(kernel),
    }
    source.step(kernel, "prelu", source.record("paring_prelu_params", f"prelu{index}", settings))


def _write_tflite(kernel: Prelu, model: TfliteModel) -> None:
    if (kernel.low, kernel.high) != (LOW, HIGH):
        raise no_operator(kernel, "clips what has slopes")
    slope = TfliteTensor(shape=(1, 1, len(kernel.slope)), scales=(kernel.step,), data=kernel.slope)
    inputs = [model.operand(kernel), model.tensor(slope)]
    model.operator("PRELU", 1, inputs, model.result(kernel))


FAMILY = KernelFamily(
    record=Prelu,
    lowerings={"prelu": _lower},
    obstacle=no_obstacle,
    reference=_reference,
    torch_function=_torch_function,
    in_place=True,
    windows=no_windows,
    write_c=_write_c,
    step_per_input=False,
    write_tflite=_write_tflite,
)

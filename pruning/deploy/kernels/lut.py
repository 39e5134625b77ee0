"""Functions of one value, as tables of all 256 codes."""

from dataclasses import dataclass
from math import prod

import numpy as np
import torch
from torch import Tensor

from pruning.deploy.context.c_source import CSource
from pruning.deploy.context.exact_torch import ExactTorch, TorchFunction
from pruning.deploy.context.lowering import LoweringContext, as_numpy
from pruning.deploy.context.tflite_model import TfliteModel, no_operator
from pruning.deploy.fixed_point import Integers, requantize
from pruning.deploy.integer_ir import HIGH, LOW, Codes, IntegerKernel, quantize
from pruning.deploy.kernels.base import KernelFamily, Operands, no_obstacle, no_windows
from pruning.ir.kernel import Kernel
from pruning.ops import execute


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Lut(IntegerKernel):
    """A function of one value: `entries` holds the result for codes -128 to 127. `slope` is
    that below zero, of a leaky ReLU.
    """

    entries: Codes
    function: str
    slope: float = 0.0


def _lower(kernel: Kernel, context: LoweringContext) -> Lut:
    return Lut(
        entries=_entries(kernel, context),
        function=kernel.main.label,
        slope=float(kernel.main.attributes.get("negative_slope", 0.0)),
        **context.fields(kernel),
    )


def _entries(kernel: Kernel, context: LoweringContext) -> Codes:
    main, output = kernel.main, context.codes[kernel.output]
    code = context.codes[kernel.inputs[0]]
    steps = np.arange(LOW, HIGH + 1) - code.zero_point
    slopes = {"relu": 0.0, "relu6": 0.0, "leaky_relu": main.attributes.get("negative_slope")}
    if (slope := slopes.get(main.label)) is not None and slope >= 0:  # as their kernels compute
        above, below = (
            requantize(steps, *context.multipliers(kernel, [factor])) for factor in (1.0, slope)
        )
        codes = np.where(steps >= 0, above, below) + output.zero_point
        six = round(6 / output.scale) + output.zero_point if main.label == "relu6" else HIGH
        return codes.clip(LOW, min(HIGH, six)).astype(np.int8)
    values = execute(main, [torch.from_numpy(steps * code.scale)], {}, False)
    return quantize(as_numpy(values), output)


def _reference(kernel: Lut, operands: Operands) -> Integers:
    return kernel.entries.astype(np.int64)[operands.codes[0] - LOW]


def _torch_function(kernel: Lut, exact: ExactTorch) -> TorchFunction:
    before, after = (exact.zero_point(name) for name in (*kernel.inputs, kernel.output))
    entries = exact.tensor(kernel.entries).float() - after

    def run(steps: Tensor) -> Tensor:
        return entries[(steps + (before - LOW)).long()]

    return run


def _write_c(kernel: Lut, source: CSource, index: int) -> None:
    entries = source.array("int8_t", f"table{index}", kernel.entries)
    settings = {"entries": entries, "count": prod(kernel.shape)}
    source.step(kernel, "lut", source.record("paring_lut_params", f"lut{index}", settings))


def _write_tflite(kernel: Lut, model: TfliteModel) -> None:
    if kernel.function == "leaky_relu":
        fields = {"Alpha": kernel.slope}
        inputs = [model.operand(kernel)]
        model.operator("LEAKY_RELU", 2, inputs, model.result(kernel), "LeakyReluOptions", **fields)
    elif kernel.function == "relu":
        model.operator("RELU", 2, [model.operand(kernel)], model.result(kernel))
    else:
        raise no_operator(kernel, f"is a table of {kernel.function}")


FAMILY = KernelFamily(
    record=Lut,
    lowerings={"activation": _lower},
    obstacle=no_obstacle,
    reference=_reference,
    torch_function=_torch_function,
    in_place=True,
    windows=no_windows,
    write_c=_write_c,
    step_per_input=False,
    write_tflite=_write_tflite,
)

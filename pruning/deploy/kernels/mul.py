"""Products, and quotients by constants."""

from dataclasses import dataclass

from pruning.deploy.context.c_source import CSource
from pruning.deploy.context.exact_torch import ExactTorch, TorchFunction
from pruning.deploy.context.lowering import LoweringContext
from pruning.deploy.context.tflite_model import TfliteModel
from pruning.deploy.fixed_point import (
    FixedPointMultiplier,
    Integers,
    fixed_point_multiplier,
    requantize,
)
from pruning.deploy.integer_ir import IntegerKernel
from pruning.deploy.kernels.base import KernelFamily, Operands, no_windows
from pruning.deploy.kernels.binary import NO_FACTORS, binary_fields, binary_record
from pruning.ir.kernel import Kernel


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Mul(IntegerKernel):
    """The product of two buffers; one of them may be a constant or be broadcast."""

    scaling: FixedPointMultiplier


def _lower(kernel: Kernel, context: LoweringContext) -> Mul:
    fields = binary_fields(kernel, context, inverse=kernel.main.kind == "div")
    first, second = (context.scale(name) for name in fields["inputs"])
    factor = first * second / context.scale(kernel.output)
    return Mul(scaling=fixed_point_multiplier(factor), **fields)


def _obstacle(kernel: Kernel) -> str:
    by_value = kernel.main.kind == "div" and not kernel.main.parameters
    return "divides by a value; only by constants" if by_value else ""


def _reference(kernel: Mul, operands: Operands) -> Integers:
    first, second = operands.steps
    return requantize(first * second, *kernel.scaling) + operands.zero


def _torch_function(kernel: Mul, exact: ExactTorch) -> TorchFunction:
    requantized = exact.requantizer(kernel.scaling)
    return lambda first, second: requantized(first * second)


def _write_c(kernel: Mul, source: CSource, index: int) -> None:
    settings = binary_record(kernel, source, index, NO_FACTORS, kernel.scaling)
    source.step(kernel, "mul", settings)


def _write_tflite(kernel: Mul, model: TfliteModel) -> None:
    inputs = [model.operand(kernel, 0), model.operand(kernel, 1)]
    fields = {"FusedActivationFunction": model.activation(kernel)}
    model.operator("MUL", 2, inputs, model.result(kernel), "MulOptions", **fields)


FAMILY = KernelFamily(
    record=Mul,
    lowerings={"mul": _lower, "div": _lower},
    obstacle=_obstacle,
    reference=_reference,
    torch_function=_torch_function,
    in_place=True,
    windows=no_windows,
    write_c=_write_c,
    step_per_input=False,
    write_tflite=_write_tflite,
)

"""Concatenations."""

from dataclasses import dataclass
from math import prod

import numpy as np
import torch
from torch import Tensor

from pruning.deploy.context.c_source import CSource
from pruning.deploy.context.exact_torch import ExactTorch, TorchFunction
from pruning.deploy.context.lowering import LoweringContext
from pruning.deploy.context.tflite_model import TfliteModel
from pruning.deploy.fixed_point import Integers
from pruning.deploy.integer_ir import IntegerKernel, channels_last
from pruning.deploy.kernels.base import KernelFamily, Operands, no_obstacle, no_windows
from pruning.ir.kernel import Kernel


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Concat(IntegerKernel):
    """Buffers of one code behind each other, along `axis` 0 (channels), 1 or 2."""

    axis: int = 0


def _lower(kernel: Kernel, context: LoweringContext) -> Concat:
    axis = kernel.main.attributes.get("axis", 1) - 1
    if axis and len(kernel.main.shape) == 2:  # series lie along the width
        axis = 2
    return Concat(axis=axis, **context.fields(kernel))


def _reference(kernel: Concat, operands: Operands) -> Integers:
    return np.concatenate(operands.codes, axis=1 + kernel.axis)


def _torch_function(kernel: Concat, exact: ExactTorch) -> TorchFunction:  # noqa: ARG001 - as all are
    def run(*operands: Tensor) -> Tensor:
        return torch.cat(operands, 1 + kernel.axis)

    return run


def _write_c(kernel: Concat, source: CSource, index: int) -> None:
    """A step for each part: as many runs as there are places before the axis."""
    axis = (2, 0, 1)[kernel.axis]
    shape = channels_last(kernel.shape)
    settings, offset = {"times": prod(shape[:axis]), "step": prod(shape[axis:])}, 0
    for part, (name, read) in enumerate(zip(kernel.inputs, kernel.reads, strict=True)):
        run = prod(channels_last(read)[axis:])
        record = source.record(
            "paring_concat_params", f"concat{index}_{part}", settings | {"run": run}
        )
        write = f"{source.pointer(kernel.output)} + {offset}"
        source.step(kernel, "concat", record, source.pointer(name), write)
        offset += run


def _write_tflite(kernel: Concat, model: TfliteModel) -> None:
    inputs = [model.operand(kernel, index) for index in range(len(kernel.inputs))]
    axis = (3, 1, 2)[kernel.axis]
    fields = {"Axis": axis, "FusedActivationFunction": model.activation(kernel)}
    model.operator(
        "CONCATENATION", 2, inputs, model.result(kernel), "ConcatenationOptions", **fields
    )


FAMILY = KernelFamily(
    record=Concat,
    lowerings={"concat": _lower},
    obstacle=no_obstacle,
    reference=_reference,
    torch_function=_torch_function,
    in_place=False,
    windows=no_windows,
    write_c=_write_c,
    step_per_input=True,
    write_tflite=_write_tflite,
)

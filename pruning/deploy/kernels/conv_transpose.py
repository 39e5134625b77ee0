"""Transposed convolutions."""

from dataclasses import dataclass

import numpy as np
from torch import Tensor
from torch.nn import functional

from pruning.cost.memory.overlap import ConvWindow
from pruning.deploy.context.c_source import CSource
from pruning.deploy.context.exact_torch import ExactTorch, TorchFunction
from pruning.deploy.context.lowering import LoweringContext
from pruning.deploy.context.tflite_model import (
    VALID,
    TfliteModel,
    nhwc,
    no_operator,
    stride_fields,
)
from pruning.deploy.fixed_point import Integers, requantize
from pruning.deploy.kernels.base import KernelFamily, Operands
from pruning.deploy.kernels.conv import (
    Conv,
    by_channel,
    channel_products,
    exact_tensors,
    layer_fields,
    layer_record,
    layer_weight,
    weight_tensors,
)
from pruning.deploy.kernels.windows import memory_windows, taps, window_obstacle, window_of
from pruning.ir.kernel import Kernel


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class ConvTranspose(Conv):
    """A transposed convolution: every input pixel adds a window to the output."""


def _lower(kernel: Kernel, context: LoweringContext) -> ConvTranspose:
    fields = layer_fields(kernel, context, layer_weight(kernel, context))
    groups = kernel.main.attributes.get("groups", 1)
    return ConvTranspose(window=window_of(kernel.main), groups=groups, **fields)


def _reference(kernel: ConvTranspose, operands: Operands) -> Integers:
    """Every pixel adds its window to a plane, from which the padding is cut off."""
    window, (channels, *extent) = kernel.window, kernel.shape
    (steps,) = operands.steps
    batch, _, *read = steps.shape
    reach = [d * (k - 1) for d, k in zip(window.dilation, window.kernel, strict=True)]
    plane = [
        max((n - 1) * s + r + 1, pad + out)
        for n, s, r, pad, out in zip(
            read, window.stride, reach, window.padding, extent, strict=True
        )
    ]
    total = np.zeros((batch, channels, *plane), dtype=np.int64)
    for i, j in taps(window):
        places = (
            slice(t * d, t * d + (n - 1) * s + 1, s)
            for t, d, n, s in zip((i, j), window.dilation, read, window.stride, strict=True)
        )
        total[:, :, *places] += channel_products(steps, kernel.weight[:, :, i, j], kernel.groups)
    rows, columns = (slice(pad, pad + n) for pad, n in zip(window.padding, extent, strict=True))
    total = total[:, :, rows, columns] + by_channel(kernel.bias.astype(np.int64))
    return requantize(total, *map(by_channel, kernel.scaling)) + operands.zero


def _torch_function(kernel: ConvTranspose, exact: ExactTorch) -> TorchFunction:
    weight, bias = exact_tensors(kernel, exact)
    weight = _inputs_first(weight, kernel.groups)
    requantized = exact.requantizer(kernel.scaling)

    def run(steps: Tensor) -> Tensor:
        total = _transposed(steps.to(weight.dtype), weight, kernel)
        return requantized(total + bias.reshape(-1, 1, 1))

    return run


def _inputs_first(weight: Tensor, groups: int) -> Tensor:
    """(outputs, inputs / groups, ...) as torch has it: (inputs, outputs / groups, ...)."""
    by_group = weight.reshape(groups, -1, *weight.shape[1:])
    return by_group.transpose(1, 2).flatten(0, 1).contiguous()


def _transposed(steps: Tensor, weight: Tensor, kernel: ConvTranspose) -> Tensor:
    window, (_, rows, columns) = kernel.window, kernel.shape
    plane = functional.conv_transpose2d(
        steps, weight, None, window.stride, 0, 0, kernel.groups, window.dilation
    )
    above, beside = window.padding
    behind = (above + rows - plane.shape[2], beside + columns - plane.shape[3])
    plane = functional.pad(plane, (0, max(0, behind[1]), 0, max(0, behind[0])))
    return plane[:, :, above : above + rows, beside : beside + columns]


def _windows(kernel: ConvTranspose) -> ConvWindow:
    return memory_windows(kernel, kernel.window, transposed=True)


def _write_c(kernel: ConvTranspose, source: CSource, index: int) -> None:
    settings = layer_record(kernel, source, index, (0, 2, 3, 1), kernel.bias)
    source.step(kernel, "conv_transpose", settings)


def _write_tflite(kernel: ConvTranspose, model: TfliteModel) -> None:
    """Its windows fill a plane, of which the padding is cut off afterwards."""
    window = kernel.window
    if kernel.groups > 1 or window.dilation != (1, 1):
        raise no_operator(kernel, "transposes a convolution with groups or dilation")
    plane = [
        (n - 1) * stride + size
        for n, stride, size in zip(kernel.reads[0][1:], window.stride, window.kernel, strict=True)
    ]
    ends = [pad + n for pad, n in zip(window.padding, kernel.shape[1:], strict=True)]
    if any(end > size for end, size in zip(ends, plane, strict=True)):
        raise no_operator(kernel, "makes pixels that no window reaches")
    outputs = len(kernel.weight)
    shape = (1, *plane, outputs)
    weight, bias = weight_tensors(kernel, model, kernel.weight.transpose(0, 2, 3, 1), 0)
    inputs = [model.int32(shape, [4]), weight, model.operand(kernel), bias]
    result = model.value(kernel.output, shape)
    model.operator(
        "TRANSPOSE_CONV", 4, inputs, result, "TransposeConvOptions",
        Padding=VALID, **stride_fields(window), FusedActivationFunction=model.activation(kernel),
    )  # fmt: skip
    if shape == nhwc(kernel.shape):
        model.numbers[kernel.output] = result
        return
    begins = [0, *window.padding, 0]
    bounds = [begins, [1, *ends, outputs], [1] * 4]
    inputs = [result, *(model.int32(bound, [4]) for bound in bounds)]
    model.operator("STRIDED_SLICE", 2, inputs, model.result(kernel), "StridedSliceOptions")


FAMILY = KernelFamily(
    record=ConvTranspose,
    lowerings={"conv_transpose": _lower},
    obstacle=window_obstacle,
    reference=_reference,
    torch_function=_torch_function,
    in_place=False,
    windows=_windows,
    write_c=_write_c,
    step_per_input=False,
    write_tflite=_write_tflite,
)

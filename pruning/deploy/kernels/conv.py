"""Convolutions, plain, grouped and depthwise; linear layers and batch norms are such ones, too."""

from dataclasses import dataclass, replace
from math import prod
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from pruning.cost.memory.overlap import ConvWindow
from pruning.deploy.context.c_source import CSource, c_shape, shifts
from pruning.deploy.context.exact_torch import STEPS, ExactTorch, TorchFunction
from pruning.deploy.context.lowering import LoweringContext, Reals, as_numpy
from pruning.deploy.context.tflite_model import TfliteModel, TfliteTensor, stride_fields
from pruning.deploy.fixed_point import FixedPointMultiplier, Integers, requantize
from pruning.deploy.integer_ir import ONE_PIXEL, Codes, IntegerKernel, Shape3, Window
from pruning.deploy.kernels.base import KernelFamily, Operands
from pruning.deploy.kernels.windows import (
    c_window,
    memory_windows,
    pad,
    pad_tensor,
    taps,
    under_tap,
    window_obstacle,
    window_of,
)
from pruning.ir.kernel import Kernel, along_two
from pruning.ops import filters

BIAS_BITS, SUM_BITS = 28, 29  # of biases and of sums of products: together below 2 ** 30


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Conv(IntegerKernel):
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
        """Whether every output channel reads a single input channel."""
        return self.groups > 1 and self.weight.shape[1] == 1


def _lower_conv(kernel: Kernel, context: LoweringContext) -> Conv:
    fields = layer_fields(kernel, context, layer_weight(kernel, context))
    return Conv(
        window=window_of(kernel.main), groups=kernel.main.attributes.get("groups", 1), **fields
    )


def _lower_linear(kernel: Kernel, context: LoweringContext) -> Conv:
    """One window over all that is read, or over every pixel of it."""
    weight = as_numpy(context.parameters(kernel)["weight"])
    outputs, inputs = weight.shape
    read = context.read_shape(kernel.main.inputs[0], kernel.inputs[0])
    weight = weight.reshape(outputs, *(read if inputs == prod(read) else (inputs, 1, 1)))
    height, width = weight.shape[2:]
    return Conv(window=Window(kernel=(height, width)), **layer_fields(kernel, context, weight))


def _lower_batch_norm(kernel: Kernel, context: LoweringContext) -> Conv:
    """A batch norm with no layer before it: one weight for every channel."""
    parameters = {role: as_numpy(tensor) for role, tensor in context.parameters(kernel).items()}
    deviation = np.sqrt(parameters["variance"] + kernel.main.attributes["epsilon"])
    factor = parameters["weight"] / deviation
    bias = parameters["bias"] - parameters["mean"] * factor
    fields = layer_fields(kernel, context, factor.reshape(-1, 1, 1, 1), bias)
    return Conv(groups=len(factor), **fields)


def layer_weight(kernel: Kernel, context: LoweringContext) -> Reals:
    """The real weights of a convolution, (outputs, inputs / groups, height, width)."""
    weight = as_numpy(filters(kernel.main, context.parameters(kernel)["weight"]))
    return weight.reshape(*weight.shape[:2], *along_two(weight.shape[2:], 1))


def layer_fields(
    kernel: Kernel, context: LoweringContext, weight: Reals, bias: Reals | None = None
) -> dict[str, Any]:
    """The quantized fields of a layer, from its real weights and biases: those that are stored
    unless others are given, or zero.
    """
    if bias is None:
        stored = context.parameters(kernel)
        bias = as_numpy(stored["bias"]) if "bias" in stored else np.zeros(len(weight))
    input_scale = context.scale(kernel.inputs[0])
    sizes = np.abs(weight).reshape(len(weight), -1)
    # Where the weights are next to nothing, the bias must still find room; where there are very
    # many, their sum.
    lowest = np.maximum(np.abs(bias) / (input_scale * 2.0**BIAS_BITS), 1e-12)
    lowest = np.maximum(lowest, sizes.sum(1) * 256 / 2.0**SUM_BITS)
    steps = np.maximum(sizes.max(1) / 127, lowest).astype(np.float32).astype(np.float64)
    codes = np.rint(weight / steps[:, None, None, None]).clip(-127, 127)
    return {
        "weight": codes.astype(np.int8),
        "steps": steps,
        "bias": np.rint(bias / (input_scale * steps)).astype(np.int32),
        "scaling": context.multipliers(kernel, steps.tolist()),
        **context.fields(kernel),
    }


def _reference(kernel: Conv, operands: Operands) -> Integers:
    window, shape = kernel.window, kernel.shape
    steps = pad(operands.steps[0], window, shape, 0)
    total = by_channel(kernel.bias.astype(np.int64))
    for i, j in taps(window):
        pixels = under_tap(steps, window, shape, (i, j))
        total = total + channel_products(pixels, kernel.weight[:, :, i, j], kernel.groups)
    return requantize(total, *map(by_channel, kernel.scaling)) + operands.zero


def by_channel(values: Integers) -> Integers:
    """One number for each channel, to go with (batch, channels, height, width)."""
    return values.reshape(-1, 1, 1)


def channel_products(pixels: Integers, weight: Codes, groups: int) -> Integers:
    """The channels of every pixel times weights of one tap, (outputs, inputs / groups)."""
    batch, _, *extent = pixels.shape
    grouped = pixels.reshape(batch, groups, weight.shape[1], *extent)
    by_group = weight.astype(np.int64).reshape(groups, -1, weight.shape[1])
    products: Integers = np.einsum("bgihw,goi->bgohw", grouped, by_group)
    return products.reshape(batch, -1, *extent)


def _torch_function(kernel: Conv, exact: ExactTorch) -> TorchFunction:
    weight, bias = exact_tensors(kernel, exact)
    requantized = exact.requantizer(kernel.scaling)
    window, shape = kernel.window, kernel.shape

    def run(steps: Tensor) -> Tensor:
        padded = pad_tensor(steps.to(weight.dtype), window, shape)
        total = functional.conv2d(
            padded, weight, bias, window.stride, 0, window.dilation, kernel.groups
        )
        return requantized(total[:, :, : shape[1], : shape[2]])

    return run


def exact_tensors(kernel: Conv, exact: ExactTorch) -> tuple[Tensor, Tensor]:
    """Weights and biases in a type in which all sums of the layer are exact."""
    weights = np.abs(kernel.weight.astype(np.int64)).reshape(len(kernel.weight), -1)
    largest = int((weights.sum(1) * STEPS + np.abs(kernel.bias.astype(np.int64))).max())
    dtype = exact.sum_dtype(kernel, largest)
    return exact.tensor(kernel.weight).to(dtype), exact.tensor(kernel.bias).to(dtype)


def _windows(kernel: Conv) -> ConvWindow:
    return memory_windows(kernel, kernel.window)


def _write_c(kernel: Conv, source: CSource, index: int) -> None:
    function, order = "conv", (0, 2, 3, 1)
    if kernel.depthwise:  # (1, rows, columns, outputs)
        function, order = "depthwise_conv", (1, 2, 3, 0)
    bias = _bias_with_zero_point(kernel, source.zero_point(kernel.inputs[0]))
    settings = layer_record(_in_long_rows(kernel), source, index, order, bias)
    source.step(kernel, function, settings)


def layer_record(
    kernel: Conv,
    source: CSource,
    index: int,
    order: tuple[int, ...],
    bias: NDArray[Any],
) -> str:
    """Define the record of a layer, its weights with their axes in an order; returns a pointer
    to it.
    """
    settings = {
        "in": c_shape(kernel.reads[0]),
        "out": c_shape(kernel.shape),
        "weights": source.array("int8_t", f"weights{index}", kernel.weight.transpose(order)),
        "bias": source.array("int32_t", f"bias{index}", bias),
        "mantissas": source.array("int32_t", f"mantissas{index}", kernel.scaling.mantissa),
        "shifts": source.array("int8_t", f"shifts{index}", shifts(kernel.scaling)),
        "groups": kernel.groups,
        **c_window(kernel.window),
        "dilation_y": kernel.window.dilation[0],
        "dilation_x": kernel.window.dilation[1],
        "backward": source.runs_backward(kernel),
        "zero_in": source.zero_point(kernel.inputs[0]),
        **source.output_params(kernel),
    }
    return source.record("paring_conv_params", f"conv{index}", settings)


def _bias_with_zero_point(kernel: Conv, zero: int) -> NDArray[np.int64]:
    """The bias with the input's zero point in it, so that codes are multiplied as they are."""
    weight = kernel.weight.astype(np.int64)
    folded: NDArray[np.int64] = kernel.bias - zero * weight.reshape(len(weight), -1).sum(1)
    return folded


def _in_long_rows(kernel: Conv) -> Conv:
    """The same convolution with as long runs of memory as there are: a window over the whole
    plane is one over one pixel, and the pixels that windows of one pixel are laid on are one row.
    """
    (read,), shape, window = kernel.reads, kernel.shape, kernel.window
    if kernel.groups > 1:
        return kernel
    if _covers_input(kernel):
        return replace(kernel, reads=((prod(read), 1, 1),), window=ONE_PIXEL)
    if window == ONE_PIXEL:
        rows: tuple[Shape3, Shape3] = (
            (read[0], 1, prod(read[1:])),
            (shape[0], 1, prod(shape[1:])),
        )
        return replace(kernel, reads=rows[:1], shape=rows[1])
    return kernel


def _covers_input(kernel: Conv) -> bool:
    """Whether one window covers all that is read, and nothing around it."""
    window = kernel.window
    one_pixel = kernel.shape[1:] == (1, 1)
    return window.kernel == kernel.reads[0][1:] and one_pixel and window.padding == (0, 0)


def _write_tflite(kernel: Conv, model: TfliteModel) -> None:
    if _covers_input(kernel) and kernel.groups == 1:
        _write_fully_connected(kernel, model)
        return
    operand, padding = model.windowed_operand(kernel, kernel.window, None)
    axis, order = (3, (1, 2, 3, 0)) if kernel.depthwise else (0, (0, 2, 3, 1))
    inputs = [operand, *weight_tensors(kernel, model, kernel.weight.transpose(order), axis)]
    fields = {
        "Padding": padding,
        **stride_fields(kernel.window),
        "DilationHFactor": kernel.window.dilation[0],
        "DilationWFactor": kernel.window.dilation[1],
        "FusedActivationFunction": model.activation(kernel),
    }
    result = model.result(kernel)
    if kernel.depthwise:
        fields["DepthMultiplier"] = len(kernel.weight) // kernel.groups
        model.operator("DEPTHWISE_CONV_2D", 3, inputs, result, "DepthwiseConv2DOptions", **fields)
    else:
        model.operator("CONV_2D", 3, inputs, result, "Conv2DOptions", **fields)


def _write_fully_connected(kernel: Conv, model: TfliteModel) -> None:
    outputs = len(kernel.weight)
    weight = kernel.weight.transpose(0, 2, 3, 1).reshape(outputs, -1)
    inputs = [model.operand(kernel), *weight_tensors(kernel, model, weight, 0)]
    model.operator(
        "FULLY_CONNECTED", 4, inputs, model.result(kernel, (1, outputs)), "FullyConnectedOptions",
        FusedActivationFunction=model.activation(kernel),
    )  # fmt: skip


def weight_tensors(kernel: Conv, model: TfliteModel, weight: Codes, axis: int) -> tuple[int, int]:
    """Add the weights of a layer, with their scales along an axis, and its biases."""
    steps = tuple(kernel.steps.tolist())
    weights = model.tensor(TfliteTensor(shape=weight.shape, scales=steps, axis=axis, data=weight))
    # A bias has a scale that follows from the others; interpreters read only a single one.
    input_scale = model.network.codes[kernel.inputs[0]].scale
    bias_scales = tuple(float(np.float32(input_scale) * np.float32(step)) for step in steps)
    scales = bias_scales if len(bias_scales) == 1 else ()
    bias = TfliteTensor(shape=(len(kernel.bias),), kind="int32", scales=scales, data=kernel.bias)
    return weights, model.tensor(bias)


FAMILY = KernelFamily(
    record=Conv,
    lowerings={
        **dict.fromkeys(("conv", "grouped", "depthwise", "multiplied"), _lower_conv),
        "linear": _lower_linear,
        "batch_norm": _lower_batch_norm,
    },
    obstacle=window_obstacle,
    reference=_reference,
    torch_function=_torch_function,
    in_place=False,
    windows=_windows,
    write_c=_write_c,
    step_per_input=False,
    write_tflite=_write_tflite,
)

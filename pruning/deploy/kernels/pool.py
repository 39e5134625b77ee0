"""Pooling by windows: the largest or the mean of each."""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from pruning.cost.memory.overlap import ConvWindow
from pruning.deploy.context.c_source import CSource, c_shape
from pruning.deploy.context.exact_torch import ExactTorch, TorchFunction
from pruning.deploy.context.lowering import LoweringContext
from pruning.deploy.context.tflite_model import (
    TfliteModel,
    no_operator,
    same_pads,
    stride_fields,
)
from pruning.deploy.fixed_point import Integers
from pruning.deploy.integer_ir import HIGH, LOW, IntegerKernel, Shape3, Window
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


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Pool(IntegerKernel):
    """The largest code or the mean code of every window, in the code of the input.

    A window counts only the positions that exist, unless `padded`: then it also averages the
    input's zero point where there is padding.
    """

    window: Window
    average: bool = False
    padded: bool = False


def _lower(kernel: Kernel, context: LoweringContext) -> Pool:
    attributes = kernel.main.attributes
    return Pool(
        window=window_of(kernel.main),
        average=attributes["mode"] == "average",
        padded=attributes["count_padding"],
        **context.fields(kernel, _squeezed(kernel, context)),
    )


def _squeezed(kernel: Kernel, context: LoweringContext) -> Shape3 | None:
    """The shape of an output that has an axis less than its input: in memory the axis stays."""
    if not kernel.main.attributes.get("squeeze"):
        return None
    channels, *sizes = context.read_shape(kernel.main.inputs[0], kernel.inputs[0])
    window = along_two(kernel.main.attributes["kernel"], 1)
    height, width = (size // count for size, count in zip(sizes, window, strict=True))
    return channels, height, width


def _obstacle(kernel: Kernel) -> str:
    attributes = kernel.main.attributes
    if (reason := window_obstacle(kernel)) or attributes["mode"] == "max":
        return reason
    if attributes["mode"] == "sum":
        return "adds up windows; only whole planes"
    names = ("kernel", "stride", "padding")
    settings = zip(kernel.plane, *(attributes[name] for name in names), strict=True)
    odd = any((n + 2 * padding - size) % stride for n, size, stride, padding in settings)
    return "averages windows that hang over (ceil_mode)" if attributes["ceil"] and odd else ""


def _reference(kernel: Pool, operands: Operands) -> Integers:
    window, shape, (codes,) = kernel.window, kernel.shape, operands.codes
    if not kernel.average:
        padded = pad(codes, window, shape, LOW)
        pixels = [under_tap(padded, window, shape, tap) for tap in taps(window)]
        return np.asarray(np.max(pixels, axis=0), dtype=np.int64)
    padded = pad(codes, window, shape, operands.zero if kernel.padded else 0)
    exists = pad(np.ones_like(codes[:1]), window, shape, int(kernel.padded))
    total = np.sum([under_tap(padded, window, shape, tap) for tap in taps(window)], axis=0)
    count = np.sum([under_tap(exists, window, shape, tap) for tap in taps(window)], axis=0)
    rounded: Integers = np.sign(total) * ((np.abs(total) + count // 2) // count)
    return rounded


def _torch_function(kernel: Pool, exact: ExactTorch) -> TorchFunction:
    window, (_, rows, columns) = kernel.window, kernel.shape
    zero = exact.zero_point(kernel.output)

    def largest(steps: Tensor) -> Tensor:
        padded = pad_tensor(steps, window, kernel.shape, LOW - HIGH)
        pooled: Tensor = functional.max_pool2d(padded, window.kernel, window.stride)
        return pooled[:, :, :rows, :columns]

    def mean(steps: Tensor) -> Tensor:
        one_plane = torch.ones_like(steps[:1, :1], dtype=torch.float64)
        codes = pad_tensor(
            steps.double() + zero, window, kernel.shape, zero if kernel.padded else 0
        )
        exists = pad_tensor(one_plane, window, kernel.shape, kernel.padded)
        total, count = (
            functional.avg_pool2d(values, window.kernel, window.stride, divisor_override=1)
            for values in (codes, exists)
        )
        total, count = (sums.round()[:, :, :rows, :columns] for sums in (total, count))
        half = (count / 2).floor()
        return (total.sign() * ((total.abs() + half) / count).floor() - zero).float()

    return mean if kernel.average else largest


def _windows(kernel: Pool) -> ConvWindow:
    return memory_windows(kernel, kernel.window)


def _write_c(kernel: Pool, source: CSource, index: int) -> None:
    settings = {
        "in": c_shape(kernel.reads[0]),
        "out": c_shape(kernel.shape),
        **c_window(kernel.window),
        "backward": source.runs_backward(kernel),
        "padded": int(kernel.padded),
        "zero": source.zero_point(kernel.inputs[0]),
        "low": kernel.low,
        "high": kernel.high,
    }
    record = source.record("paring_pool_params", f"pool{index}", settings)
    source.step(kernel, "average_pool" if kernel.average else "max_pool", record)


def _write_tflite(kernel: Pool, model: TfliteModel) -> None:
    """Windows count what exists; what is padded for the largest lies below everything."""
    window, sizes = kernel.window, (kernel.reads[0][1:], kernel.shape[1:])
    pads = window.pads(*sizes)
    same = pads == same_pads(*sizes, window)
    fill: int | None = None
    if kernel.average and kernel.padded:
        fill = model.network.codes[kernel.inputs[0]].zero_point
    elif kernel.average and any(map(any, pads)) and not same:
        raise no_operator(kernel, "averages only what exists in windows that hang over")
    elif not kernel.average and not same:
        fill = LOW
    operand, padding = model.windowed_operand(kernel, window, fill)
    model.operator(
        "AVERAGE_POOL_2D" if kernel.average else "MAX_POOL_2D", 2, [operand],
        model.result(kernel), "Pool2DOptions",
        Padding=padding, **stride_fields(window), FilterHeight=window.kernel[0],
        FilterWidth=window.kernel[1], FusedActivationFunction=model.activation(kernel),
    )  # fmt: skip


FAMILY = KernelFamily(
    record=Pool,
    lowerings={"pool": _lower},
    obstacle=_obstacle,
    reference=_reference,
    torch_function=_torch_function,
    in_place=False,
    windows=_windows,
    write_c=_write_c,
    step_per_input=False,
    write_tflite=_write_tflite,
)

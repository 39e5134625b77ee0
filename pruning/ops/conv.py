"""Convolutions over one or two axes: plain, grouped and depthwise."""

# ruff: noqa: ARG001 - the functions of a rule all take the same arguments

from collections.abc import Sequence
from math import prod
from typing import Any

import numpy as np
from torch import Tensor
from torch.fx import Node
from torch.nn import functional

from pruning.ir.bilinear import BilinearForm
from pruning.ir.channel_ties import ChannelTies, Ids
from pruning.ir.kernel import Kernel, along_two
from pruning.ir.loops import TripCounts
from pruning.ir.operator import Operator
from pruning.ops.base import (
    Axes,
    ChannelRule,
    Conversion,
    Counts,
    Kept,
    KernelRule,
    OperatorKind,
    Remainder,
    Routine,
    Tensors,
    TripCounter,
    Windows,
)
from pruning.ops.fx_nodes import Arguments, batched_shape, unsupported_error
from pruning.ops.rules import (
    never,
    no_tables,
    no_values,
    one_per_channel,
    one_record,
    parameters_of,
    per_axis,
    plain_routine,
    window_per_element,
    with_weights,
)

RECORD_BYTES = 56
# As in kernels.c: codes of a window that is gathered, taps of one that is spread over lanes,
# channels of a convolution and of a depthwise one that are computed at once, codes in a word.
PATCH, FEW_TAPS = 64, 25
PAIR, LANES, WORD = 2, 4, 4


# -- converters


def _convolution(node: Node, a: Arguments) -> Conversion:
    parameters = parameters_of(node, a, weight="weight", bias="bias")
    weight = parameters["weight"].shape
    return Conversion(
        "conv",
        {
            **window_of(node, a, weight),
            "groups": int(a["groups"]),
            "depthwise": int(a["groups"]) > 1 and weight[1] == 1,
        },
        (a["input"],),
        parameters,
    )


def window_of(node: Node, a: Arguments, weight: tuple[int, ...]) -> dict[str, Any]:
    """Kernel, stride, padding and dilation of a call, one number an axis.

    Raises:
        UnsupportedOperatorError: it works on other than one or two axes, or its padding is
            asymmetric.
    """
    dimensions = len(weight) - 2
    if dimensions > 2 or len(batched_shape(a["input"])) != len(weight):
        raise unsupported_error(node, "a convolution over other than one or two axes")
    stride, dilation = per_axis(a["stride"], dimensions), per_axis(a["dilation"], dimensions)
    kernel = list(weight[2:])
    padding = a["padding"]
    if padding == "same":
        total = [d * (k - 1) for d, k in zip(dilation, kernel, strict=True)]
        if any(t % 2 for t in total):
            raise unsupported_error(node, f"asymmetric 'same' padding of an even kernel {kernel}")
        padding = [t // 2 for t in total]
    elif padding == "valid":
        padding = [0] * dimensions
    return {
        "kernel": kernel,
        "stride": stride,
        "padding": per_axis(padding, dimensions),
        "dilation": dilation,
    }


# -- channels


def tie_filters(operator: Operator, inputs: list[Ids], ties: ChannelTies) -> Ids:
    """A layer has output channels of its own, but for depthwise ones; groups stay of one size."""
    out = ties.fresh(operator.shape[0])
    groups = operator.attributes.get("groups", 1)
    by_group_in, by_group_out = inputs[0].reshape(groups, -1), out.reshape(groups, -1)
    if operator.attributes.get("depthwise"):  # an output lives with the input it filters
        ties.tie(by_group_out, by_group_in)
    elif groups > 1:  # every convolution group keeps the same positions, so they stay equal in size
        ties.tie(by_group_in, by_group_in[:1])
        ties.tie(by_group_out, by_group_out[:1])
    return out


def filter_axes(operator: Operator, role: str, inputs: Sequence[Ids], out: Ids) -> Axes:
    """A weight runs over output channels, then over the input channels of a group."""
    groups = operator.attributes.get("groups", 1)
    depthwise = operator.attributes.get("depthwise")
    read = None if depthwise else inputs[0].reshape(groups, -1)[0]
    return (out, read) if role == "weight" else (out,)


def pruned_groups(operator: Operator, kept: Kept, kept_input: Kept) -> dict[str, Any]:
    """A depthwise convolution has as many groups as channels that it reads."""
    if not operator.attributes.get("depthwise"):
        return dict(operator.attributes)
    return {**operator.attributes, "groups": int(kept_input.sum())}


# -- execution


def _convolve(o: Operator, inputs: list[Tensor], parameters: Tensors, training: bool) -> Tensor:
    a = o.attributes
    convolve = functional.conv1d if len(a["kernel"]) == 1 else functional.conv2d
    settings = (a["stride"], a["padding"], a["dilation"], a["groups"])
    return convolve(inputs[0], parameters["weight"], parameters.get("bias"), *settings)


# -- cost


def filter_weights(kernel: Kernel) -> BilinearForm:
    """The elements of all filters."""
    if kernel.kind == "depthwise":
        return BilinearForm(output=kernel.taps)
    return BilinearForm(product=kernel.taps / kernel.groups)


def filter_macs(kernel: Kernel) -> BilinearForm:
    """Every element of a filter once a window."""
    if kernel.kind == "depthwise":
        return window_per_element(kernel)
    return BilinearForm(product=kernel.taps * kernel.windows / kernel.groups)


def depthwise_convention(kernel: Kernel) -> str:
    """Depthwise convolutions alone may write over their input."""
    return "in_place_depthwise" if kernel.kind == "depthwise" else ""


def _routine(kernel: Kernel) -> str:
    """Depthwise ones of several filters an input are "multiplied"."""
    if kernel.kind == "depthwise":
        return "depthwise" if kernel.main.shape[0] == kernel.channels else "multiplied"
    return "grouped" if kernel.groups > 1 else "conv"


def pair_trip_counts(kernel: Kernel) -> TripCounter:
    """Channels in pairs, the last perhaps alone at the price of two. Codes come in words along
    the runs of a window, and one by one behind the last whole word.
    """
    pixels, taps, groups = kernel.pixels, kernel.taps, kernel.groups
    covers, (inside_pixels, cut_pixels) = _covers_plane(kernel), _split(kernel)
    rows, columns = (1, taps) if covers else _window(kernel)
    copies = taps > 1 and not covers
    lines = _lines(kernel) if copies else 0
    single_taps = pixels * taps - lines * columns

    def count(c_in: Counts, c_out: Counts) -> TripCounts:
        inputs = c_in / groups
        outputs = groups * PAIR * np.ceil(c_out / groups / PAIR)
        gathered = copies & (taps * inputs <= PATCH)
        cut = np.where(gathered, 0, cut_pixels)
        inside = np.where(gathered, pixels, inside_pixels)
        runs = np.where(gathered, 1, rows)
        rest = np.where(gathered, taps * inputs, columns * inputs) % WORD
        return TripCounts(
            mac=inside * taps * inputs * outputs,
            cut_mac=cut * taps * inputs * outputs,
            cut_tap=cut * taps * outputs,
            element=pixels * c_out,
            pixel=pixels * groups,
            call=1,
            tap=gathered * single_taps * groups,
            run=inside * runs * outputs,
            tail=(inside * runs * rest + cut * taps * (inputs % WORD)) * outputs,
            copy=gathered * pixels * taps * c_in,
            line=gathered * lines * groups,
        )

    return count


def lane_trip_counts(kernel: Kernel) -> TripCounter:
    """Channels in fours, the last perhaps computed twice. Where there are fewer, windows are
    copied first.
    """
    pixels, taps = kernel.pixels, kernel.taps
    inside = prod(map(sum, _inside(kernel))) if taps > 1 else pixels

    def count(_: Counts, c_out: Counts) -> TripCounts:
        few = (c_out < LANES) & (taps <= FEW_TAPS)
        outputs = np.where(few, c_out, LANES * np.ceil(c_out / LANES))
        return TripCounts(
            mac=~few * inside * taps * outputs,
            cut_tap=~few * (pixels - inside) * taps * outputs,
            element=pixels * outputs,
            pixel=pixels,
            call=1,
            tap=few * pixels * taps,
            copy=few * pixels * taps * c_out,
        )

    return count


def _window(kernel: Kernel) -> tuple[int, int]:
    """Rows and columns; a linear layer has one of each."""
    return along_two(kernel.main.attributes.get("kernel", (1,)), 1)


def _covers_plane(kernel: Kernel) -> bool:
    """Whether the one window of a convolution covers a plane: all its codes are one run."""
    a = kernel.main.attributes
    if kernel.kind != "conv" or kernel.groups > 1 or any(a["padding"]):
        return False
    return tuple(a["kernel"]) == kernel.plane and kernel.pixels == 1


def _split(kernel: Kernel) -> tuple[int, int]:
    """Pixels of a convolution whose windows are read line by line, and those that are computed
    tap by tap, for hanging over the input or because the taps are apart.

    Two pixels of a row are computed at a time, tap by tap even where there is only one; rows
    beyond the input cost nothing extra.
    """
    pixels = kernel.pixels
    if kernel.taps == 1:
        return pixels, 0
    row = _inside(kernel)[-1]
    pairs = [row[place : place + PAIR] for place in range(0, len(row), PAIR)]
    full = [len(pair) for pair in pairs if all(pair) and _in_line(kernel)]
    rows = pixels // len(row)
    return rows * sum(full), rows * PAIR * (len(pairs) - len(full))


def _in_line(kernel: Kernel) -> bool:
    """Whether the columns of a window follow each other in memory."""
    apart = kernel.groups > 1 or kernel.main.attributes["dilation"][-1] > 1
    return not apart or _window(kernel)[1] == 1


def _lines(kernel: Kernel) -> int:
    """Rows of all windows that are gathered as a whole: they exist, and their columns do."""
    inside_pixels, _ = _split(kernel)
    if len(kernel.plane) == 1:
        return inside_pixels
    extent, outputs, taps, stride, padding, dilation = next(kernel.axes())
    rows = [
        0 <= place * stride - padding + tap * dilation < extent
        for place in range(outputs)
        for tap in range(taps)
    ]
    return inside_pixels // outputs * sum(rows)


def _inside(kernel: Kernel) -> list[list[bool]]:
    """By axis and place of a window: whether it lies inside the input."""
    return [
        [
            first >= 0 and first + dilation * (taps - 1) < extent
            for first in range(-padding, outputs * stride - padding, stride)
        ]
        for extent, outputs, taps, stride, padding, dilation in kernel.axes()
    ]


FILTER_CHANNELS = ChannelRule(
    tie=tie_filters,
    parameter_axes=filter_axes,
    whole=no_values,
    without_operand=Remainder.NOTHING,
    pruned_attributes=pruned_groups,
)

KINDS = (
    OperatorKind(
        name="conv",
        converters=dict.fromkeys(
            (
                "aten.conv1d.default",
                "aten.conv1d.padding",
                "aten.conv2d.default",
                "aten.conv2d.padding",
            ),
            _convolution,
        ),
        channels=FILTER_CHANNELS,
        execution=with_weights(_convolve),
        folds_norm=True,
        clamps=True,
        kernel=KernelRule(
            routines={
                "conv": Routine(record_bytes=RECORD_BYTES, trip_counts=pair_trip_counts),
                "grouped": Routine(record_bytes=RECORD_BYTES, trip_counts=pair_trip_counts),
                "depthwise": Routine(record_bytes=RECORD_BYTES, trip_counts=lane_trip_counts),
                "multiplied": plain_routine(RECORD_BYTES, filter_macs),
            },
            routine=_routine,
            weights=filter_weights,
            c_weights=filter_weights,
            scales=one_per_channel,
            macs=filter_macs,
            tables=no_tables,
            settings_bytes=one_record,
            in_place=depthwise_convention,
            windows=Windows.READ,
            carries_codes=never,
        ),
    ),
)

"""Transposed convolutions over one or two axes."""

# ruff: noqa: ARG001 - the functions of a rule all take the same arguments

from collections.abc import Sequence
from dataclasses import replace
from math import prod

from torch import Tensor
from torch.fx import Node
from torch.nn import functional

from pruning.ir.channel_ties import Ids
from pruning.ir.kernel import Kernel
from pruning.ir.loops import TripCounts
from pruning.ir.operator import Operator
from pruning.ops.base import (
    Axes,
    Conversion,
    Counts,
    KernelRule,
    OperatorKind,
    Routine,
    Tensors,
    TripCounter,
    Windows,
)
from pruning.ops.conv import (
    FILTER_CHANNELS,
    RECORD_BYTES,
    depthwise_convention,
    filter_macs,
    filter_weights,
    window_of,
)
from pruning.ops.fx_nodes import Arguments, batched_shape
from pruning.ops.rules import (
    never,
    no_tables,
    one_per_channel,
    one_record,
    parameters_of,
    per_axis,
    routine_named,
    with_weights,
)


def _transposed(node: Node, a: Arguments) -> Conversion:
    parameters = parameters_of(node, a, weight="weight", bias="bias")
    weight, read = parameters["weight"].shape, batched_shape(a["input"])[2:]
    return Conversion(
        "conv_transpose",
        {
            **window_of(node, a, weight),
            "output_padding": per_axis(a["output_padding"], len(read)),
            "groups": int(a["groups"]),
            "depthwise": int(a["groups"]) > 1 and weight[0] == int(a["groups"]),
            "pixels": prod(read),  # positions that it reads, each once for every tap
        },
        (a["input"],),
        parameters,
    )


def _filter_axes(operator: Operator, role: str, inputs: Sequence[Ids], out: Ids) -> Axes:
    groups, depthwise = operator.attributes["groups"], operator.attributes.get("depthwise")
    written = None if depthwise else out.reshape(groups, -1)[0]
    return (inputs[0], written) if role == "weight" else (out,)


def _convolve(o: Operator, inputs: list[Tensor], parameters: Tensors, training: bool) -> Tensor:
    a = o.attributes
    flat = len(a["kernel"]) == 1
    convolve = functional.conv_transpose1d if flat else functional.conv_transpose2d
    settings = (a["stride"], a["padding"], a["output_padding"], a["groups"], a["dilation"])
    return convolve(inputs[0], parameters["weight"], parameters.get("bias"), *settings)


def _filters(operator: Operator, weight: Tensor) -> Tensor:
    groups = operator.attributes["groups"]
    by_group = weight.reshape(groups, -1, *weight.shape[1:])
    return by_group.transpose(1, 2).flatten(0, 1)


def _trip_counts(kernel: Kernel) -> TripCounter:
    """All windows are taken tap by tap, and channel by channel; most taps meet no input."""
    pixels, taps, met, groups = kernel.pixels, kernel.taps, _met_taps(kernel), kernel.groups
    depthwise = kernel.kind == "depthwise"  # then there are as many groups as channels are kept

    def count(c_in: Counts, c_out: Counts) -> TripCounts:
        return TripCounts(
            cut_mac=met * (1 if depthwise else c_in / groups) * c_out,
            cut_tap=taps * pixels * c_out,
            element=pixels * c_out,
            pixel=pixels,
            call=1,
            run=met * c_out,
        )

    return count


def _met_taps(kernel: Kernel) -> int:
    """Pairs of a pixel that a transposed convolution writes and a tap that meets an input."""
    return prod(
        sum(
            place % stride == 0 and 0 <= place < extent * stride
            for pixel in range(outputs)
            for tap in range(taps)
            for place in (pixel + padding - tap * dilation,)
        )
        for extent, outputs, taps, stride, padding, dilation in kernel.axes()
    )


KINDS = (
    OperatorKind(
        name="conv_transpose",
        converters=dict.fromkeys(
            ("aten.conv_transpose1d.default", "aten.conv_transpose2d.input"), _transposed
        ),
        channels=replace(FILTER_CHANNELS, parameter_axes=_filter_axes),
        execution=replace(with_weights(_convolve), masks_weights=False, filters=_filters),
        folds_norm=True,
        clamps=True,
        kernel=KernelRule(
            routines={
                "conv_transpose": Routine(record_bytes=RECORD_BYTES, trip_counts=_trip_counts)
            },
            routine=routine_named("conv_transpose"),
            weights=filter_weights,
            c_weights=filter_weights,
            scales=one_per_channel,
            macs=filter_macs,
            tables=no_tables,
            settings_bytes=one_record,
            in_place=depthwise_convention,
            windows=Windows.WRITTEN,
            carries_codes=never,
        ),
    ),
)

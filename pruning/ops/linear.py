"""Linear layers, along channels or along the last axis."""

# ruff: noqa: ARG001 - the functions of a rule all take the same arguments

from dataclasses import replace
from typing import Any

from torch import Tensor
from torch.fx import Node
from torch.nn import functional

from pruning.ir.bilinear import BilinearForm
from pruning.ir.kernel import Kernel
from pruning.ir.operator import Operator
from pruning.ops.base import Conversion, KernelRule, OperatorKind, Routine, Tensors, Windows
from pruning.ops.conv import (
    FILTER_CHANNELS,
    RECORD_BYTES,
    pair_trip_counts,
)
from pruning.ops.fx_nodes import Arguments, batched_shape
from pruning.ops.rules import (
    convention,
    never,
    no_tables,
    one_per_channel,
    one_record,
    parameters_of,
    routine_named,
    same_attributes,
    with_weights,
)


def _linear(node: Node, a: Arguments) -> Conversion:
    parameters = parameters_of(node, a, weight="weight", bias="bias")
    return Conversion("linear", along_last(node), (a["input"],), parameters)


def along_last(node: Node) -> dict[str, Any]:
    """Marks what works along the last of several axes: those are the channels to it."""
    return {"channels_last": True} if len(batched_shape(node)) > 2 else {}


def _multiply(o: Operator, inputs: list[Tensor], parameters: Tensors, training: bool) -> Tensor:
    weight, bias = parameters["weight"], parameters.get("bias")
    if len(o.shape) == 1:
        return functional.linear(inputs[0], weight, bias)
    pixels = inputs[0].movedim(1, -1)
    return functional.linear(pixels, weight, bias).movedim(-1, 1)


def _weights(kernel: Kernel) -> BilinearForm:
    return BilinearForm(product=1)


def _macs(kernel: Kernel) -> BilinearForm:
    return BilinearForm(product=kernel.pixels)


KINDS = (
    OperatorKind(
        name="linear",
        converters={"aten.linear.default": _linear},
        channels=replace(FILTER_CHANNELS, pruned_attributes=same_attributes),
        execution=with_weights(_multiply),
        folds_norm=True,
        clamps=True,
        kernel=KernelRule(
            routines={"linear": Routine(record_bytes=RECORD_BYTES, trip_counts=pair_trip_counts)},
            routine=routine_named("linear"),
            weights=_weights,
            c_weights=_weights,
            scales=one_per_channel,
            macs=_macs,
            tables=no_tables,
            settings_bytes=one_record,
            in_place=convention(""),
            windows=Windows.READ,
            carries_codes=never,
        ),
    ),
)

"""Concatenation along channels or along a spatial axis."""

# ruff: noqa: ARG001 - the functions of a rule all take the same arguments

from dataclasses import replace

import numpy as np
import torch
from torch import Tensor
from torch.fx import Node

from pruning.ir.channel_ties import ChannelTies, Ids
from pruning.ir.kernel import Kernel
from pruning.ir.operator import Operator
from pruning.ops.base import (
    Conversion,
    OperatorKind,
    Remainder,
    Tensors,
)
from pruning.ops.fx_nodes import Arguments, batched_shape, unsupported_error
from pruning.ops.rules import (
    CHANNEL_BY_CHANNEL,
    always,
    never,
    nothing,
    one_routine,
    without_weights,
)


def _concat(node: Node, a: Arguments) -> Conversion:
    axis = a["dim"] % len(batched_shape(node))
    if axis == 0:
        raise unsupported_error(node, "a concatenation along the batch")
    return Conversion("concat", {"axis": axis} if axis > 1 else {}, tuple(a["tensors"]))


def _tie(operator: Operator, inputs: list[Ids], ties: ChannelTies) -> Ids:
    if "axis" not in operator.attributes:
        return np.concatenate(inputs)
    for other in inputs[1:]:  # behind each other along a spatial axis, channel by channel
        ties.tie(inputs[0], other)
    return inputs[0]


def _compute(o: Operator, inputs: list[Tensor], parameters: Tensors, training: bool) -> Tensor:
    return torch.cat(inputs, dim=o.attributes.get("axis", 1))


def _record_each(kernel: Kernel, record_bytes: int) -> int:
    return record_bytes * len(kernel.inputs)


KINDS = (
    OperatorKind(
        name="concat",
        converters={"aten.cat.default": _concat},
        channels=replace(CHANNEL_BY_CHANNEL, tie=_tie, without_operand=Remainder.OTHERS),
        execution=without_weights(_compute, never),
        folds_norm=False,
        clamps=False,
        kernel=replace(
            one_routine("concat", 12, nothing), settings_bytes=_record_each, carries_codes=always
        ),
    ),
)

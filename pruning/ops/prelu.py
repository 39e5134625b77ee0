"""Parametric ReLU: one slope, or one a channel, for negative values."""

# ruff: noqa: ARG001 - the functions of a rule all take the same arguments

from torch import Tensor
from torch.fx import Node
from torch.nn import functional

from pruning.ir.operator import Operator
from pruning.ops.base import Conversion, ExecutionRule, KernelRule, OperatorKind, Tensors
from pruning.ops.fx_nodes import Arguments
from pruning.ops.rules import (
    CHANNEL_BY_CHANNEL,
    convention,
    never,
    no_tables,
    nothing,
    one_per_channel,
    one_per_element,
    one_record,
    parameters_of,
    plain_routine,
    routine_named,
    same_weight,
    stored_constants,
)


def _prelu(node: Node, a: Arguments) -> Conversion:
    parameters = parameters_of(node, a, weight="slope")
    axis = 0 if parameters["slope"].shape[0] > 1 else None
    return Conversion("prelu", {"axis": axis, "elements": 1}, (a["self"],), parameters)


def _compute(o: Operator, inputs: list[Tensor], parameters: Tensors, training: bool) -> Tensor:
    return functional.prelu(inputs[0], parameters["slope"])


KINDS = (
    OperatorKind(
        name="prelu",
        converters={"aten.prelu.default": _prelu},
        channels=CHANNEL_BY_CHANNEL,
        execution=ExecutionRule(
            compute=_compute,
            wakes_zeros=never,
            masks_weights=False,
            each_element_alone=False,
            copies=never,
            filters=same_weight,
            coded_roles=("slope",),
        ),
        folds_norm=False,
        clamps=False,
        kernel=KernelRule(
            routines={"prelu": plain_routine(32, one_per_element)},
            routine=routine_named("prelu"),
            weights=stored_constants,
            c_weights=one_per_channel,  # C stores slopes by channel, even where all are alike
            scales=nothing,
            macs=one_per_element,
            tables=no_tables,
            settings_bytes=one_record,
            in_place=convention("in_place_add"),
            windowed=False,
            carries_codes=never,
        ),
    ),
)

"""Parametric ReLU: one slope, or one a channel, for negative values."""

# ruff: noqa: ARG001 - the functions of a rule all take the same arguments

from dataclasses import replace

from torch import Tensor
from torch.fx import Node
from torch.nn import functional

from pruning.ir.operator import Operator
from pruning.ops.base import Conversion, OperatorKind, Tensors
from pruning.ops.fx_nodes import Arguments
from pruning.ops.rules import (
    CHANNEL_BY_CHANNEL,
    convention,
    never,
    one_per_channel,
    one_per_element,
    one_routine,
    parameters_of,
    stored_constants,
    without_weights,
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
        execution=replace(without_weights(_compute, never), coded_roles=("slope",)),
        folds_norm=False,
        clamps=False,
        kernel=replace(
            one_routine("prelu", 32, one_per_element),
            weights=stored_constants,
            c_weights=one_per_channel,  # C stores slopes by channel, even where all are alike
            in_place=convention("in_place_add"),
        ),
    ),
)

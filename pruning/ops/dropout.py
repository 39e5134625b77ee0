"""Dropout of elements or whole channels: it does not exist in inference."""

# ruff: noqa: ARG001 - the functions of a rule all take the same arguments

from dataclasses import replace

import torch
from torch import Tensor
from torch.fx import Node

from pruning.ir.operator import Operator
from pruning.ops.base import Conversion, OperatorKind, Tensors
from pruning.ops.fx_nodes import Arguments, functional_name
from pruning.ops.rules import CHANNEL_BY_CHANNEL, never, without_weights


def _dropout(node: Node, a: Arguments) -> Conversion:
    channels = functional_name(node) == "aten.feature_dropout.default"
    return Conversion("dropout", {"p": float(a["p"]), "channels": channels}, (a["input"],))


def _compute(o: Operator, inputs: list[Tensor], parameters: Tensors, training: bool) -> Tensor:
    drop = torch.feature_dropout if o.attributes.get("channels") else torch.dropout
    return drop(inputs[0], o.attributes["p"], training)


KINDS = (
    OperatorKind(
        name="dropout",
        converters=dict.fromkeys(
            ("aten.dropout.default", "aten.feature_dropout.default"), _dropout
        ),
        channels=CHANNEL_BY_CHANNEL,
        execution=replace(without_weights(_compute, never), each_element_alone=True),
        folds_norm=False,
        clamps=False,
        kernel=None,
    ),
)

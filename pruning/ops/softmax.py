"""Softmax and its logarithm over channels."""

# ruff: noqa: ARG001 - the functions of a rule all take the same arguments

from dataclasses import replace

from torch import Tensor
from torch.fx import Node

from pruning.ir.operator import Operator
from pruning.ops.base import (
    Conversion,
    Converter,
    OperatorKind,
    Tensors,
)
from pruning.ops.fx_nodes import Arguments, batched_shape, unsupported_error
from pruning.ops.rules import (
    CHANNEL_BY_CHANNEL,
    never,
    nothing,
    one_routine,
    without_weights,
)


def _softmax(log: bool) -> Converter:
    def convert(node: Node, a: Arguments) -> Conversion:
        if a["dim"] % len(batched_shape(node)) != 1:
            raise unsupported_error(node, f"a softmax along axis {a['dim']}; only along channels")
        return Conversion("softmax", {"log": True} if log else {}, (a["self"],))

    return convert


def _result(operator: Operator) -> tuple[str, ...]:
    """A removed channel would still count in the sum of the others."""
    return (operator.name,)


def _compute(o: Operator, inputs: list[Tensor], parameters: Tensors, training: bool) -> Tensor:
    return inputs[0].log_softmax(1) if o.attributes.get("log") else inputs[0].softmax(1)


KINDS = (
    OperatorKind(
        name="softmax",
        converters={
            "aten.softmax.int": _softmax(log=False),
            "aten.log_softmax.int": _softmax(log=True),
        },
        channels=replace(CHANNEL_BY_CHANNEL, whole=_result),
        execution=without_weights(_compute, never),
        folds_norm=False,
        clamps=False,
        kernel=one_routine("softmax", None, nothing),
    ),
)

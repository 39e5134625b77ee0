"""Softmax and its logarithm over channels."""

# ruff: noqa: ARG001 - the functions of a rule all take the same arguments

from torch import Tensor
from torch.fx import Node

from pruning.ir.operator import Operator
from pruning.ops.base import (
    ChannelRule,
    Conversion,
    Converter,
    ExecutionRule,
    KernelRule,
    OperatorKind,
    Remainder,
    Tensors,
)
from pruning.ops.fx_nodes import Arguments, batched_shape, unsupported_error
from pruning.ops.rules import (
    along_channels,
    convention,
    never,
    no_tables,
    nothing,
    one_record,
    plain_routine,
    routine_named,
    same_attributes,
    same_channels,
    same_weight,
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
        channels=ChannelRule(
            tie=same_channels,
            parameter_axes=along_channels,
            whole=_result,
            without_operand=Remainder.NOTHING,
            pruned_attributes=same_attributes,
        ),
        execution=ExecutionRule(
            compute=_compute,
            wakes_zeros=never,
            masks_weights=False,
            each_element_alone=False,
            copies=never,
            filters=same_weight,
            coded_roles=(),
        ),
        folds_norm=False,
        clamps=False,
        kernel=KernelRule(
            routines={"softmax": plain_routine(None, nothing)},
            routine=routine_named("softmax"),
            weights=nothing,
            c_weights=nothing,
            scales=nothing,
            macs=nothing,
            tables=no_tables,
            settings_bytes=one_record,
            in_place=convention(""),
            windowed=False,
            carries_codes=never,
        ),
    ),
)

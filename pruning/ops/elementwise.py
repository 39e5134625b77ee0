"""Functions of two operands, element by element; one may be a stored tensor or a number."""

# ruff: noqa: ARG001 - the functions of a rule all take the same arguments

from collections.abc import Callable, Mapping
from dataclasses import replace
from math import prod

import torch
from torch import Tensor
from torch.fx import Node

from pruning.ir.channel_ties import ChannelTies, Ids
from pruning.ir.operator import Operator
from pruning.ops.activation import affine, clamped
from pruning.ops.base import (
    Conversion,
    Converter,
    OperatorKind,
    Remainder,
    Tensors,
)
from pruning.ops.fx_nodes import (
    Arguments,
    ConstantRef,
    batched_shape,
    functional_name,
    unsupported_error,
)
from pruning.ops.rules import (
    CHANNEL_BY_CHANNEL,
    convention,
    never,
    no_values,
    one_per_element,
    one_routine,
    stored_constants,
    without_weights,
)

NEUTRAL = {
    "aten.add.Tensor": 0,
    "aten.sub.Tensor": 0,
    "aten.mul.Tensor": 1,
    "aten.div.Tensor": 1,
}
EXPANSIONS = {"aten.expand.default", "aten.expand_as.default"}
FUNCTIONS: Mapping[str, Callable[[Tensor, Tensor], Tensor]] = {
    "add": torch.add,
    "sub": torch.sub,
    "mul": torch.mul,
    "div": torch.div,
    "maximum": torch.maximum,
    "minimum": torch.minimum,
}


# -- converters


def is_broadcast(node: Node) -> bool:
    """Whether a node expands a tensor for readers that would do it by themselves."""
    return functional_name(node) in EXPANSIONS and all(_broadcasts(u, node) for u in node.users)


def is_neutral(node: Node) -> bool:
    """Whether a node adds nothing or multiplies by one, as Python's sum does at first."""
    neutral = NEUTRAL.get(functional_name(node))
    operand = node.args[1] if len(node.args) == 2 and not node.kwargs else None
    return neutral is not None and isinstance(operand, int | float) and operand == neutral


def _unexpanded_shape(node: Node) -> tuple[int, ...]:
    """The shape of a value before it was expanded for readers that would do it themselves."""
    while is_broadcast(node):
        (node,) = node.all_input_nodes[:1]
    return batched_shape(node)


def _broadcasts(reader: Node, expanded: Node) -> bool:
    if functional_name(reader) not in _CONVERTERS:
        return False
    others = [a for a in reader.args[:2] if isinstance(a, Node) and a is not expanded]
    return bool(others) and all(
        functional_name(o) not in EXPANSIONS and batched_shape(o) == batched_shape(reader)
        for o in others
    )


def _elementwise(kind: str, reverse: bool = False) -> Converter:
    def convert(node: Node, a: Arguments) -> Conversion:
        if a.get("alpha", 1) != 1:
            raise unsupported_error(node, f"an operand scaled by {a['alpha']}")
        operands = [a["other"], a["self"]] if reverse else [a["self"], a["other"]]
        if all(isinstance(operand, Node) for operand in operands):
            return _pair(node, kind, operands)
        first = not isinstance(operands[0], Node)
        constant, value = operands if first else operands[::-1]
        if first and kind == "div":
            raise unsupported_error(
                node, "a constant divided by a value; multiply by its reciprocal"
            )
        if isinstance(constant, ConstantRef):
            return _with_constant(node, kind, value, constant, first)
        return _with_number(kind, value, float(constant), first)

    return convert


def _pair(node: Node, kind: str, operands: list[Node]) -> Conversion:
    shapes = [_unexpanded_shape(operand) for operand in operands]
    if len(shapes[0]) != len(shapes[1]):
        raise unsupported_error(node, f"operands of different rank: {shapes[0]} and {shapes[1]}")
    if shapes[0][1] == shapes[1][1]:
        return Conversion(kind, {}, tuple(operands))
    widest = int(shapes[1][1] > shapes[0][1])
    return Conversion(kind, {"spread": True, "widest": widest}, tuple(operands))


def _with_number(kind: str, value: Node, number: float, first: bool) -> Conversion:
    match kind:
        case "add":
            return affine(value, 1.0, number)
        case "sub":
            return affine(value, -1.0, number) if first else affine(value, 1.0, -number)
        case "mul":
            return affine(value, number, 0.0)
        case "div":
            return affine(value, 1 / number, 0.0)
        case "maximum":
            return clamped(value, {"min_val": number})
        case _:
            return clamped(value, {"max_val": number})


def _with_constant(
    node: Node, kind: str, value: Node, constant: ConstantRef, first: bool
) -> Conversion:
    """A stored tensor that is broadcast to a value. `axis` is that of its channels, if any."""
    shape, stored = batched_shape(value), constant.own
    broadcast = (*[1] * (len(shape) - len(constant.shape)), *constant.shape)
    by_channel = len(broadcast) == len(shape) and broadcast[1] > 1
    axes = [k for k, n in enumerate(stored) if n == broadcast[1] and prod(stored[:k]) == 1]
    misfit = batched_shape(node) != shape or len(broadcast) > len(shape) or broadcast[0] != 1
    if misfit or (by_channel and not axes):
        raise unsupported_error(
            node, f"a constant shaped {constant.shape} that does not fit into {shape}"
        )
    attributes = {
        "shape": [1, -1, *broadcast[2:]] if by_channel else list(broadcast),
        "axis": axes[0] if by_channel else None,
        "elements": prod(stored) // (shape[1] if by_channel else 1),
        "first": first,
    }
    role = "operand" if constant.trained else "constant"
    return Conversion(kind, attributes, (value,), {role: constant})


_CONVERTERS: Mapping[str, tuple[str, Converter]] = {
    "aten.add.Tensor": ("add", _elementwise("add")),
    "aten.sub.Tensor": ("sub", _elementwise("sub")),
    "aten.rsub.Scalar": ("sub", _elementwise("sub", reverse=True)),
    "aten.mul.Tensor": ("mul", _elementwise("mul")),
    "aten.div.Tensor": ("div", _elementwise("div")),
    "aten.maximum.default": ("maximum", _elementwise("maximum")),
    "aten.max.other": ("maximum", _elementwise("maximum")),
    "aten.minimum.default": ("minimum", _elementwise("minimum")),
    "aten.min.other": ("minimum", _elementwise("minimum")),
}


# -- channels


def _tie_operands(operator: Operator, inputs: list[Ids], ties: ChannelTies) -> Ids:
    if operator.attributes.get("spread"):  # one channel meets all: it is tied to none of them
        return inputs[int(operator.attributes["widest"])]
    ties.tie(inputs[0], inputs[-1])
    return inputs[0]


def _divisor(operator: Operator) -> tuple[str, ...]:
    return operator.inputs[1:]


# -- execution


def _compute(o: Operator, inputs: list[Tensor], parameters: Tensors, training: bool) -> Tensor:
    a = o.attributes
    if not parameters:
        return FUNCTIONS[o.kind](inputs[0], inputs[1])
    (constant,) = parameters.values()
    operands = (inputs[0], constant.reshape(a["shape"]))
    return FUNCTIONS[o.kind](*(operands[::-1] if a["first"] else operands))


def _meets_others(operator: Operator) -> bool:
    """A zero meets a constant, or the one channel that is spread over all."""
    return bool(operator.attributes.get("spread") or operator.parameters)


def _kind(name: str, record_bytes: int | None) -> OperatorKind:
    return OperatorKind(
        name=name,
        converters={call: convert for call, (kind, convert) in _CONVERTERS.items() if kind == name},
        channels=replace(
            CHANNEL_BY_CHANNEL,
            tie=_tie_operands,
            whole=_divisor if name == "div" else no_values,
            without_operand=Remainder.SAME_SHAPE if name == "add" else Remainder.NOTHING,
        ),
        execution=replace(
            without_weights(_compute, never if name in ("mul", "div") else _meets_others),
            each_element_alone=True,
            coded_roles=("operand", "constant"),
            stores_reciprocals=name == "div",
        ),
        folds_norm=False,
        clamps=True,
        kernel=replace(
            one_routine(name, record_bytes, one_per_element),
            weights=stored_constants,
            c_weights=stored_constants,
            in_place=convention("in_place_add"),
        ),
    )


KINDS = (
    *(_kind(name, 76) for name in ("add", "sub", "mul", "div")),
    *(_kind(name, None) for name in ("maximum", "minimum")),
)

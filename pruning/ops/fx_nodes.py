"""Reading nodes of an exported program: names, arguments, shapes, places."""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.fx import Node

from pruning.errors import UnsupportedOperatorError
from pruning.ir.operator import Shape

BATCH = 2  # any batch above one, so that a batch axis is not mistaken for a broadcast one
Arguments = dict[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class ConstantRef:
    """A parameter or buffer as an argument. Its reader sees it in `shape`; `own` is its own."""

    name: str
    shape: Shape
    own: Shape
    trained: bool


def as_list(argument: Any) -> list[Any]:
    """A list of arguments, or one argument as a list."""
    return list(argument) if isinstance(argument, list | tuple) else [argument]


def arguments_of(node: Node) -> Arguments:
    """The call's arguments as its functional form names them, defaults filled in."""
    schema = functional_form(node)._schema
    named = {a.name: a.default_value for a in schema.arguments if a.has_default_value()}
    named.update(zip((a.name for a in schema.arguments), node.args, strict=False))
    return {**named, **node.kwargs}


ALIASES = {  # torch has several names for some operators
    "aten.absolute.default": "aten.abs.default",
    "aten.add.Scalar": "aten.add.Tensor",
    "aten.clip.default": "aten.clamp.default",
    "aten.concat.default": "aten.cat.default",
    "aten.concatenate.default": "aten.cat.default",
    "aten.div.Scalar": "aten.div.Tensor",
    "aten.divide.Scalar": "aten.div.Tensor",
    "aten.divide.Tensor": "aten.div.Tensor",
    "aten.moveaxis.int": "aten.movedim.int",
    "aten.moveaxis.intlist": "aten.movedim.intlist",
    "aten.mul.Scalar": "aten.mul.Tensor",
    "aten.multiply.Scalar": "aten.mul.Tensor",
    "aten.multiply.Tensor": "aten.mul.Tensor",
    "aten.negative.default": "aten.neg.default",
    "aten.pow_.Scalar": "aten.pow.Tensor_Scalar",
    "aten.sub.Scalar": "aten.sub.Tensor",
    "aten.subtract.Scalar": "aten.sub.Tensor",
    "aten.subtract.Tensor": "aten.sub.Tensor",
    "aten.swapaxes.default": "aten.transpose.int",
    "aten.swapdims.default": "aten.transpose.int",
    "aten.transpose_.default": "aten.transpose.int",
    "aten.true_divide.Scalar": "aten.div.Tensor",
    "aten.true_divide.Tensor": "aten.div.Tensor",
}


def functional_name(node: Node) -> str:
    """The operator's first name, without the underscore of its in-place form."""
    called = str(node.target)
    library, _, rest = called.partition(".")
    name, *overload = rest.split(".")
    full = ".".join([library, name.removesuffix("_"), *overload]) if rest else node.name
    return ALIASES.get(called) or ALIASES.get(full, full)


def functional_form(node: Node) -> Any:
    """The operator that computes what a node does and overwrites nothing.

    An in-place form may call its arguments otherwise (`dropout_`: self instead of input).
    """
    _, name, overload = functional_name(node).split(".")
    return getattr(getattr(torch.ops.aten, name), overload)


def in_place(node: Node) -> bool:
    """Whether the call overwrites its first argument."""
    return str(node.target).partition(".")[2].partition(".")[0].endswith("_")


def is_same_type(node: Node) -> bool:
    """Whether a node asks for a type or place that its argument has already."""
    if not functional_name(node).startswith("aten.to."):
        return False
    before, after = node.all_input_nodes[0].meta["val"], node.meta["val"]
    return bool(before.dtype == after.dtype)


def batched_shape(node: Any) -> Shape:
    """The shape of a node's result (the first of several) with its batch."""
    value: Tensor | list[Tensor] = node.meta["val"]
    return tuple((value[0] if isinstance(value, list | tuple) else value).shape)


def shape_of(node: Node) -> Shape:
    """The shape of a node's result, batch left out."""
    shape = batched_shape(node)
    if len(shape) < 2 or shape[0] != BATCH:
        raise unsupported_error(node, f"a result shaped {shape} that does not begin with the batch")
    return shape[1:]


def module_path(node: Node) -> str:
    """The path of the innermost module that the node belongs to."""
    stack = list((node.meta.get("nn_module_stack") or {}).values())
    return str(stack[-1][0]) if stack else ""


def unsupported_error(node: Node, what: str) -> UnsupportedOperatorError:
    """The error for a node that cannot be translated."""
    place = module_path(node) or "the top level"
    return UnsupportedOperatorError(
        f"operator {node.name} of type {node.target} in {place}: {what}."
    )

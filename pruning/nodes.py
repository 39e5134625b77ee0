"""Reading nodes of an exported program: names, arguments, shapes, places."""

from dataclasses import dataclass
from typing import Any

from torch import Tensor
from torch.fx import Node

from pruning.errors import UnsupportedOperatorError
from pruning.records import Shape

BATCH = 2  # any batch above one, so that a batch axis is not mistaken for a broadcast one
Arguments = dict[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Stored:
    """A parameter or buffer as an argument. Its reader sees it in `shape`; `own` is its own."""

    name: str
    shape: Shape
    own: Shape
    trained: bool


def listed(argument: Any) -> list[Any]:
    """A list of arguments, or one argument as a list."""
    return list(argument) if isinstance(argument, list | tuple) else [argument]


def arguments_of(node: Node) -> Arguments:
    """The call's arguments by name, defaults filled in."""
    schema = getattr(node.target, "_schema", None)
    if schema is None:
        raise unsupported(node, "not a tensor operator")
    named = {a.name: a.default_value for a in schema.arguments if a.has_default_value()}
    named.update(zip((a.name for a in schema.arguments), node.args, strict=False))
    return {**named, **node.kwargs}


ALIASES = {  # torch has several names for some operators
    "aten.absolute.default": "aten.abs.default",
    "aten.clip.default": "aten.clamp.default",
    "aten.concat.default": "aten.cat.default",
    "aten.concatenate.default": "aten.cat.default",
    "aten.divide.Tensor": "aten.div.Tensor",
    "aten.moveaxis.int": "aten.movedim.int",
    "aten.moveaxis.intlist": "aten.movedim.intlist",
    "aten.multiply.Tensor": "aten.mul.Tensor",
    "aten.negative.default": "aten.neg.default",
    "aten.subtract.Tensor": "aten.sub.Tensor",
    "aten.swapaxes.default": "aten.transpose.int",
    "aten.swapdims.default": "aten.transpose.int",
    "aten.true_divide.Tensor": "aten.div.Tensor",
}


def functional_name(node: Node) -> str:
    """The operator's first name, without the underscore of its in-place form."""
    library, _, rest = str(node.target).partition(".")
    name, *overload = rest.split(".")
    full = ".".join([library, name.removesuffix("_"), *overload]) if rest else node.name
    return ALIASES.get(full, full)


def in_place(node: Node) -> bool:
    """Whether the call overwrites its first argument."""
    return str(node.target).partition(".")[2].partition(".")[0].endswith("_")


def seen_shape(node: Any) -> Shape:
    """The shape of a node's result (the first of several) with its batch."""
    value: Tensor | list[Tensor] = node.meta["val"]
    return tuple((value[0] if isinstance(value, list | tuple) else value).shape)


def shape_of(node: Node) -> Shape:
    """The shape of a node's result, batch left out."""
    shape = seen_shape(node)
    if len(shape) < 2 or shape[0] != BATCH:
        raise unsupported(node, f"a result shaped {shape} that does not begin with the batch")
    return shape[1:]


def place_of(node: Node) -> str:
    """The path of the innermost module that the node belongs to."""
    stack = list((node.meta.get("nn_module_stack") or {}).values())
    return str(stack[-1][0]) if stack else ""


def unsupported(node: Node, what: str) -> UnsupportedOperatorError:
    """The error for a node that cannot be translated."""
    place = place_of(node) or "the top level"
    return UnsupportedOperatorError(
        f"operator {node.name} of type {node.target} in {place}: {what}."
    )

"""The operators that the engine knows, by their names in `torch.export`.

Each entry of `TABLE` says what a node becomes: its kind, its attributes as JSON values, and
the names of the arguments that are values of the network.
"""

# ruff: noqa: ARG001 - the rules of a table all take the same arguments

from collections.abc import Callable, Mapping
from typing import Any

from torch import Tensor
from torch.fx import Node

from pruning.errors import UnsupportedOperatorError

BATCH = 2  # any batch above one, so that a batch axis is not mistaken for a broadcast one
Arguments = dict[str, Any]
Built = tuple[str, dict[str, Any], tuple[str, ...]]  # kind, attributes, arguments to read

COPIES = {"aten.clone.default", "aten.lift_fresh_copy.default"}
ALIASES = {"aten.alias.default", "aten.contiguous.default", "aten.detach.default"}
SAME_SHAPE = {"aten.slice.Tensor", "aten.view_as.default"}
EXPANSIONS = {"aten.expand.default", "aten.expand_as.default"}
SUMS = {"aten.add.Tensor", "aten.mul.Tensor"}


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


def functional_name(node: Node) -> str:
    """The operator's name without the underscore of its in-place form."""
    library, name, *overload = str(node.target).split(".")
    return ".".join([library, name.removesuffix("_"), *overload])


def shape_of(node: Node) -> tuple[int, ...]:
    """The shape of a node's result, batch left out."""
    shape = tuple(int(size) for size in _meta(node).shape)
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
        f"operator {node.name} of type {node.target} in {place}: {what}. "
        f"Supported: {', '.join(sorted({name.split('.')[1] for name in TABLE}))}."
    )


def is_rename(node: Node) -> bool:
    """Whether a node's result is its first argument, as far as its readers can tell."""
    name = functional_name(node)
    if name in SAME_SHAPE:
        return bool(_meta(node).shape == _meta(node.args[0]).shape)
    return name in ALIASES or (
        name in EXPANSIONS and all(_broadcasts(u, node) for u in node.users)
    )


def _broadcasts(reader: Node, expanded: Node) -> bool:
    """Whether a reader would expand its operand by itself to meet the other one."""
    if functional_name(reader) not in SUMS:
        return False
    others = [a for a in reader.args[:2] if isinstance(a, Node) and a is not expanded]
    return bool(others) and all(
        functional_name(o) not in EXPANSIONS and _meta(o).shape == _meta(reader).shape
        for o in others
    )


def _meta(node: Any) -> Tensor:
    value = node.meta["val"]
    return value[0] if isinstance(value, list | tuple) else value  # type: ignore[no-any-return]


def _convolution(node: Node, a: Arguments) -> Built:
    dimensions = len(_meta(node).shape) - 2
    weight = _meta(a["weight"]).shape
    stride, dilation = _wide(a["stride"], dimensions), _wide(a["dilation"], dimensions)
    kernel = [int(size) for size in weight[2:]]
    padding = a["padding"]
    if padding == "same":
        total = [d * (k - 1) for d, k in zip(dilation, kernel, strict=True)]
        if any(t % 2 for t in total):
            raise unsupported(node, f"asymmetric 'same' padding of an even kernel {kernel}")
        padding = [t // 2 for t in total]
    elif padding == "valid":
        padding = [0] * dimensions
    return (
        "conv",
        {
            "kernel": kernel,
            "stride": stride,
            "padding": _wide(padding, dimensions),
            "dilation": dilation,
            "groups": int(a["groups"]),
            "depthwise": int(a["groups"]) > 1 and int(weight[1]) == 1,
        },
        ("input",),
    )


def _wide(value: Any, dimensions: int) -> list[int]:
    values = [int(v) for v in listed(value)]
    return values * dimensions if len(values) == 1 else values


def _linear(node: Node, a: Arguments) -> Built:
    if len(_meta(node).shape) != 2:
        raise unsupported(
            node, "a linear layer over more than one axis; flatten its input first"
        )
    return "linear", {}, ("input",)


def _batch_norm(node: Node, a: Arguments) -> Built:
    if a.get("weight") is None or a.get("bias") is None:
        raise unsupported(node, "a batch norm without scale and shift (affine=False)")
    if a.get("running_mean") is None:
        raise unsupported(node, "a batch norm without running statistics")
    if not a["momentum"]:
        raise unsupported(node, "a batch norm whose statistics never move; set its momentum")
    return (
        "batch_norm",
        {"epsilon": float(a["eps"]), "momentum": float(a["momentum"])},
        ("input",),
    )


def _activation(function: str, *settings: str) -> Callable[[Node, Arguments], Built]:
    def build(node: Node, a: Arguments) -> Built:
        return (
            "activation",
            {"function": function, **{s: float(a[s]) for s in settings}},
            ("self",),
        )

    return build


def _hardtanh(node: Node, a: Arguments) -> Built:
    low, high = float(a["min_val"]), float(a["max_val"])
    if (low, high) == (0.0, 6.0):
        return "activation", {"function": "relu6"}, ("self",)
    return "activation", {"function": "hardtanh", "min_val": low, "max_val": high}, ("self",)


def _pool(mode: str) -> Callable[[Node, Arguments], Built]:
    def build(node: Node, a: Arguments) -> Built:
        dimensions = len(_meta(node).shape) - 2
        kernel = _wide(a["kernel_size"], dimensions)
        if any(d != 1 for d in listed(a.get("dilation") or 1)):
            raise unsupported(node, f"a dilated pooling {a['dilation']}")
        if a.get("divisor_override") is not None:
            raise unsupported(node, "an average with its own divisor")
        attributes = {
            "mode": mode,
            "kernel": kernel,
            "stride": _wide(a["stride"] or kernel, dimensions),
            "padding": _wide(a["padding"], dimensions),
            "ceil": bool(a["ceil_mode"]),
            "count_padding": bool(a.get("count_include_pad", False)),
        }
        return "pool", attributes, ("self",)

    return build


def _adaptive(node: Node, a: Arguments) -> Built:
    before, after = _meta(a["self"]).shape[2:], _meta(node).shape[2:]
    if any(b % o for b, o in zip(before, after, strict=True)):
        raise unsupported(node, f"adaptive pooling from {tuple(before)} to {tuple(after)}")
    return _average([int(b // o) for b, o in zip(before, after, strict=True)])


def _mean(node: Node, a: Arguments) -> Built:
    before = _meta(a["self"]).shape
    axes = sorted(int(d) % len(before) for d in a["dim"])
    if len(before) < 3 or axes != list(range(2, len(before))):
        raise unsupported(node, f"a mean over axes {a['dim']}; only over all spatial axes")
    kind, attributes, inputs = _average([int(size) for size in before[2:]])
    return kind, {**attributes, "squeeze": not a["keepdim"]}, inputs


def _average(kernel: list[int]) -> Built:
    attributes = {
        "mode": "average",
        "kernel": kernel,
        "stride": kernel,
        "padding": [0] * len(kernel),
        "ceil": False,
        "count_padding": False,
    }
    return "pool", attributes, ("self",)


def _elementwise(kind: str) -> Callable[[Node, Arguments], Built]:
    def build(node: Node, a: Arguments) -> Built:
        if a.get("alpha", 1) != 1:
            raise unsupported(node, f"an addition scaled by {a['alpha']}")
        operands = [a["self"], a["other"]]
        if not all(isinstance(operand, Node) for operand in operands):
            raise unsupported(node, f"a constant operand ({a['other']})")
        shapes = [tuple(_meta(operand).shape) for operand in operands]
        if len(shapes[0]) != len(shapes[1]):
            raise unsupported(node, f"operands of different rank: {shapes[0]} and {shapes[1]}")
        if shapes[0][1] == shapes[1][1]:
            return kind, {}, ("self", "other")
        widest = int(shapes[1][1] > shapes[0][1])
        return kind, {"spread": True, "widest": widest}, ("self", "other")

    return build


def _concat(node: Node, a: Arguments) -> Built:
    if a["dim"] % len(_meta(node).shape) != 1:
        raise unsupported(node, f"a concatenation along axis {a['dim']}; only along channels")
    return "concat", {}, ("tensors",)


def _flatten(node: Node, a: Arguments) -> Built:
    before, after = _meta(a["self"]).shape, _meta(node).shape
    same_channels = len(before) > 1 and len(after) > 1 and before[1] == after[1]
    if before[0] != after[0] or not (len(after) == 2 or same_channels):
        raise unsupported(node, f"a reshape from {tuple(before)} to {tuple(after)}")
    return "flatten", {}, ("self",)


def _softmax(node: Node, a: Arguments) -> Built:
    if a["dim"] % len(_meta(node).shape) != 1:
        raise unsupported(node, f"a softmax along axis {a['dim']}; only along channels")
    return "softmax", {}, ("self",)


def _dropout(node: Node, a: Arguments) -> Built:
    whole = functional_name(node) == "aten.feature_dropout.default"
    return "dropout", {"p": float(a["p"]), "channels": whole}, ("input",)


TABLE: Mapping[str, Callable[[Node, Arguments], Built]] = {
    "aten.conv1d.default": _convolution,
    "aten.conv1d.padding": _convolution,
    "aten.conv2d.default": _convolution,
    "aten.conv2d.padding": _convolution,
    "aten.linear.default": _linear,
    "aten.batch_norm.default": _batch_norm,
    "aten.relu.default": _activation("relu"),
    "aten.relu6.default": _activation("relu6"),
    "aten.hardtanh.default": _hardtanh,
    "aten.hardswish.default": _activation("hardswish"),
    "aten.hardsigmoid.default": _activation("hardsigmoid"),
    "aten.sigmoid.default": _activation("sigmoid"),
    "aten.silu.default": _activation("silu"),
    "aten.tanh.default": _activation("tanh"),
    "aten.leaky_relu.default": _activation("leaky_relu", "negative_slope"),
    "aten.elu.default": _activation("elu", "alpha"),
    "aten.gelu.default": _activation("gelu"),
    "aten.max_pool1d.default": _pool("max"),
    "aten.max_pool2d.default": _pool("max"),
    "aten.avg_pool1d.default": _pool("average"),
    "aten.avg_pool2d.default": _pool("average"),
    "aten.adaptive_avg_pool1d.default": _adaptive,
    "aten.adaptive_avg_pool2d.default": _adaptive,
    "aten.mean.dim": _mean,
    "aten.add.Tensor": _elementwise("add"),
    "aten.mul.Tensor": _elementwise("multiply"),
    "aten.cat.default": _concat,
    "aten.flatten.using_ints": _flatten,
    "aten.view.default": _flatten,
    "aten.reshape.default": _flatten,
    "aten.squeeze.default": _flatten,
    "aten.squeeze.dims": _flatten,
    "aten.squeeze.dim": _flatten,
    "aten.unsqueeze.default": _flatten,
    "aten.dropout.default": _dropout,
    "aten.feature_dropout.default": _dropout,
    "aten.softmax.int": _softmax,
}
# Results that may lie in the memory of their first argument.
VIEWS = (
    {name for name, rule in TABLE.items() if rule in (_flatten, _dropout)}
    | ALIASES
    | SAME_SHAPE
    | EXPANSIONS
)

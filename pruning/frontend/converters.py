"""The operators that the engine knows, by their names in `torch.export`.

Each entry of `CONVERTERS` says what a node becomes. Its arguments are nodes where they are values
of the network, `ConstantRef` where they are parameters or buffers, and otherwise as they are
written. Calls that only move data are in `index_map.py`.
"""

# ruff: noqa: ARG001 - the rules of a table all take the same arguments

from collections.abc import Callable, Mapping
from math import prod
from typing import Any, NamedTuple

from torch.fx import Node

from pruning.frontend.fx_nodes import (
    Arguments,
    ConstantRef,
    as_list,
    batched_shape,
    functional_name,
    unsupported_error,
)


class Conversion(NamedTuple):
    """What a node becomes: `attributes` are JSON values, `parameters` are by their roles."""

    kind: str
    attributes: dict[str, Any]
    inputs: tuple[Node, ...]
    parameters: Mapping[str, ConstantRef] = {}


Converter = Callable[[Node, Arguments], Conversion]
NEUTRAL = {
    "aten.add.Tensor": 0,
    "aten.sub.Tensor": 0,
    "aten.mul.Tensor": 1,
    "aten.div.Tensor": 1,
}
EXPANSIONS = {"aten.expand.default", "aten.expand_as.default"}


def is_broadcast(node: Node) -> bool:
    """Whether a node expands a tensor for readers that would do it by themselves."""
    return functional_name(node) in EXPANSIONS and all(_broadcasts(u, node) for u in node.users)


def is_same_type(node: Node) -> bool:
    """Whether a node asks for a type or place that its argument has already."""
    if not functional_name(node).startswith("aten.to."):
        return False
    before, after = node.all_input_nodes[0].meta["val"], node.meta["val"]
    return bool(before.dtype == after.dtype)


def is_neutral(node: Node) -> bool:
    """Whether a node adds nothing or multiplies by one, as Python's sum does at first."""
    number = NEUTRAL.get(functional_name(node))
    given = node.args[1] if len(node.args) == 2 and not node.kwargs else None
    return number is not None and isinstance(given, int | float) and given == number


def _own_shape(node: Node) -> tuple[int, ...]:
    """The shape of a value before it was expanded for readers that would do it themselves."""
    while is_broadcast(node):
        (node,) = node.all_input_nodes[:1]
    return batched_shape(node)


def _broadcasts(reader: Node, expanded: Node) -> bool:
    if functional_name(reader) not in ELEMENTWISE_CONVERTERS:
        return False
    others = [a for a in reader.args[:2] if isinstance(a, Node) and a is not expanded]
    return bool(others) and all(
        functional_name(o) not in EXPANSIONS and batched_shape(o) == batched_shape(reader)
        for o in others
    )


def _parameters(node: Node, a: Arguments, **roles: str) -> dict[str, ConstantRef]:
    """Stored arguments by their roles: `_parameters(node, a, weight="scale")`."""
    found = {role: a[name] for name, role in roles.items() if a.get(name) is not None}
    for role, argument in found.items():
        if not isinstance(argument, ConstantRef) or argument.shape != argument.own:
            raise unsupported_error(node, f"a {role} that is computed; only parameters and buffers")
    return found


# -- layers


def _convolution(node: Node, a: Arguments) -> Conversion:
    parameters = _parameters(node, a, weight="weight", bias="bias")
    weight = parameters["weight"].shape
    return Conversion(
        "conv",
        {
            **_window(node, a, weight),
            "groups": int(a["groups"]),
            "depthwise": int(a["groups"]) > 1 and weight[1] == 1,
        },
        (a["input"],),
        parameters,
    )


def _transposed(node: Node, a: Arguments) -> Conversion:
    parameters = _parameters(node, a, weight="weight", bias="bias")
    weight, read = parameters["weight"].shape, batched_shape(a["input"])[2:]
    return Conversion(
        "conv_transpose",
        {
            **_window(node, a, weight),
            "output_padding": _wide(a["output_padding"], len(read)),
            "groups": int(a["groups"]),
            "depthwise": int(a["groups"]) > 1 and weight[0] == int(a["groups"]),
            "pixels": prod(read),  # positions that it reads, each once for every tap
        },
        (a["input"],),
        parameters,
    )


def _window(node: Node, a: Arguments, weight: tuple[int, ...]) -> dict[str, Any]:
    dimensions = len(weight) - 2
    if dimensions > 2 or len(batched_shape(a["input"])) != len(weight):
        raise unsupported_error(node, "a convolution over other than one or two axes")
    stride, dilation = _wide(a["stride"], dimensions), _wide(a["dilation"], dimensions)
    kernel = list(weight[2:])
    padding = a["padding"]
    if padding == "same":
        total = [d * (k - 1) for d, k in zip(dilation, kernel, strict=True)]
        if any(t % 2 for t in total):
            raise unsupported_error(node, f"asymmetric 'same' padding of an even kernel {kernel}")
        padding = [t // 2 for t in total]
    elif padding == "valid":
        padding = [0] * dimensions
    return {
        "kernel": kernel,
        "stride": stride,
        "padding": _wide(padding, dimensions),
        "dilation": dilation,
    }


def _wide(value: Any, dimensions: int) -> list[int]:
    values = [int(v) for v in as_list(value)]
    return values * dimensions if len(values) == 1 else values


def _linear(node: Node, a: Arguments) -> Conversion:
    parameters = _parameters(node, a, weight="weight", bias="bias")
    return Conversion("linear", _along_last(node), (a["input"],), parameters)


def _along_last(node: Node) -> dict[str, Any]:
    """Marks what works along the last of several axes: those are the channels to it."""
    return {"channels_last": True} if len(batched_shape(node)) > 2 else {}


def _batch_norm(node: Node, a: Arguments) -> Conversion:
    if a.get("weight") is None or a.get("bias") is None:
        raise unsupported_error(node, "a batch norm without scale and shift (affine=False)")
    if a.get("running_mean") is None:
        raise unsupported_error(node, "a batch norm without running statistics")
    if a["training"]:
        raise unsupported_error(node, "a batch norm that goes by its batch, even in inference")
    if not a["momentum"]:
        raise unsupported_error(node, "a batch norm whose statistics never move; set its momentum")
    parameters = _parameters(
        node, a, weight="weight", bias="bias", running_mean="mean", running_var="variance"
    )
    attributes = {"epsilon": float(a["eps"]), "momentum": float(a["momentum"])}
    return Conversion("batch_norm", attributes, (a["input"],), parameters)


def _group_norm(node: Node, a: Arguments) -> Conversion:
    return _normalised(node, a, batched_shape(node)[1] // int(a["num_groups"]))


def _layer_norm(node: Node, a: Arguments) -> Conversion:
    shape = batched_shape(node)
    over = tuple(a["normalized_shape"])
    if over not in (shape[1:], shape[-1:]):
        raise unsupported_error(
            node, f"a layer norm over {over} of {shape}; only over the last axis or a sample"
        )
    if over == shape[1:]:
        return _normalised(node, a, shape[1])
    built = _normalised(node, a, shape[-1])
    return built._replace(attributes={**built.attributes, "pixelwise": True, **_along_last(node)})


def _instance_norm(node: Node, a: Arguments) -> Conversion:
    if a["running_mean"] is not None or not a["use_input_stats"]:
        raise unsupported_error(node, "an instance norm with running statistics")
    return _normalised(node, a, 1)


def _normalised(node: Node, a: Arguments, together: int) -> Conversion:
    """Normalise by mean and variance of so many channels together."""
    parameters = _parameters(node, a, weight="scale", bias="shift")
    scale = parameters.get("scale")
    attributes = {
        "together": together,
        "epsilon": float(a["eps"]),
        "scales": prod(scale.shape[1:]) if scale else 0,  # of one channel
    }
    return Conversion("group_norm", attributes, (a["input"],), parameters)


def _prelu(node: Node, a: Arguments) -> Conversion:
    parameters = _parameters(node, a, weight="slope")
    axis = 0 if parameters["slope"].shape[0] > 1 else None
    return Conversion("prelu", {"axis": axis, "elements": 1}, (a["self"],), parameters)


# -- functions of one value


def _activation(function: str, *settings: str) -> Converter:
    def build(node: Node, a: Arguments) -> Conversion:
        numbers = {setting: float(a[setting]) for setting in settings}
        if others := {n: v for n, v in a.items() if n not in ("self", *settings) and v != 1}:
            raise unsupported_error(node, f"a function with {others}; both must be 1")
        return Conversion("activation", {"function": function, **numbers}, (a["self"],))

    return build


def _gelu(node: Node, a: Arguments) -> Conversion:
    function = "gelu" if a["approximate"] == "none" else "gelu_tanh"
    return Conversion("activation", {"function": function}, (a["self"],))


def _clamp(low: str, high: str) -> Converter:
    """A clamp between two arguments, either of which may be absent or None."""

    def build(node: Node, a: Arguments) -> Conversion:
        bounds = {"min_val": a.get(low), "max_val": a.get(high)}
        if any(isinstance(bound, Node | ConstantRef) for bound in bounds.values()):
            raise unsupported_error(node, "a clamp between tensors; use maximum and minimum")
        return _clamped(a["self"], {k: float(b) for k, b in bounds.items() if b is not None})

    return build


def _clamped(value: Node, bounds: dict[str, float]) -> Conversion:
    known = {(0.0, None): "relu", (0.0, 6.0): "relu6"}
    function = known.get((bounds.get("min_val", 0.5), bounds.get("max_val")))
    if function:
        return Conversion("activation", {"function": function}, (value,))
    return Conversion("activation", {"function": "hardtanh", **bounds}, (value,))


def _power(exponent: float | None = None) -> Converter:
    def build(node: Node, a: Arguments) -> Conversion:
        attributes = {"function": "power", "exponent": exponent or float(a["exponent"])}
        return Conversion("activation", attributes, (a["self"],))

    return build


def _negative(node: Node, a: Arguments) -> Conversion:
    return _affine(a["self"], -1.0, 0.0)


def _affine(value: Node, scale: float, shift: float) -> Conversion:
    attributes = {"function": "affine", "scale": scale, "shift": shift}
    return Conversion("activation", attributes, (value,))


def _softmax(log: bool) -> Converter:
    def build(node: Node, a: Arguments) -> Conversion:
        if a["dim"] % len(batched_shape(node)) != 1:
            raise unsupported_error(node, f"a softmax along axis {a['dim']}; only along channels")
        return Conversion("softmax", {"log": True} if log else {}, (a["self"],))

    return build


def _dropout(node: Node, a: Arguments) -> Conversion:
    whole = functional_name(node) == "aten.feature_dropout.default"
    return Conversion("dropout", {"p": float(a["p"]), "channels": whole}, (a["input"],))


# -- pooling and resizing


def _pool(mode: str) -> Converter:
    def build(node: Node, a: Arguments) -> Conversion:
        dimensions = _plane_axes(node)
        kernel = _wide(a["kernel_size"], dimensions)
        if any(d != 1 for d in as_list(a.get("dilation") or 1)):
            raise unsupported_error(node, f"a dilated pooling {a['dilation']}")
        if a.get("divisor_override") is not None:
            raise unsupported_error(node, "an average with its own divisor")
        attributes = {
            "mode": mode,
            "kernel": kernel,
            "stride": _wide(a["stride"] or kernel, dimensions),
            "padding": _wide(a["padding"], dimensions),
            "ceil": bool(a["ceil_mode"]),
            "count_padding": bool(a.get("count_include_pad", False)),
        }
        return Conversion("pool", attributes, (a["self"],))

    return build


def _plane_axes(node: Node) -> int:
    """How many axes a pooling works on. Without channels, torch takes the batch for them."""
    axes, shape = 1 if "1d" in functional_name(node) else 2, batched_shape(node)
    if len(shape) != axes + 2:
        raise unsupported_error(
            node, f"a pooling to {shape} without an axis of channels; unsqueeze(1) before it"
        )
    return axes


def _adaptive(mode: str) -> Converter:
    def build(node: Node, a: Arguments) -> Conversion:
        _plane_axes(node)
        before, after = batched_shape(a["self"])[2:], batched_shape(node)[2:]
        if any(b % o for b, o in zip(before, after, strict=True)):
            raise unsupported_error(node, f"adaptive pooling from {before} to {after}")
        kernel = [b // o for b, o in zip(before, after, strict=True)]
        return _whole_windows(mode, kernel, a["self"])

    return build


def _reduction(mode: str) -> Converter:
    """Along spatial axes a pooling with windows as long as they are; or along the channels."""

    def build(node: Node, a: Arguments) -> Conversion:
        before = batched_shape(a["self"])
        axes = {int(d) % len(before) for d in as_list(a["dim"])} if a["dim"] is not None else {0}
        if axes == {1} and a["keepdim"]:
            # The mean stays one over all channels that there were: removed ones are zero.
            divisor = {"divisor": before[1]} if mode == "average" else {}
            return Conversion("reduce", {"mode": mode, **divisor}, (a["self"],))
        if not axes or min(axes) < 2 or len(before) > 4:
            raise unsupported_error(
                node,
                f"the {mode} over axes {a['dim']}; only over one or two spatial axes, or with "
                "keepdim over the channels",
            )
        kernel = [size if axis in axes else 1 for axis, size in enumerate(before)][2:]
        built = _whole_windows(mode, kernel, a["self"])
        return built._replace(attributes={**built.attributes, "squeeze": not a["keepdim"]})

    return build


def _whole_windows(mode: str, kernel: list[int], value: Node) -> Conversion:
    attributes = {
        "mode": mode,
        "kernel": kernel,
        "stride": kernel,
        "padding": [0] * len(kernel),
        "ceil": False,
        "count_padding": False,
    }
    return Conversion("pool", attributes, (value,))


def _resize(node: Node, a: Arguments) -> Conversion:
    sizes, scales = a["output_size"], a["scale_factors"]
    attributes = {
        "kernel": [2] * (len(batched_shape(node)) - 2),  # neighbours between which it lies
        "size": None if sizes is None else [int(s) for s in sizes],
        "scales": None if scales is None else [float(s) for s in scales],
        "align_corners": bool(a["align_corners"]),
    }
    return Conversion("resize", attributes, (a["input"],))


# -- several operands


def _elementwise(kind: str, reverse: bool = False) -> Converter:
    def build(node: Node, a: Arguments) -> Conversion:
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

    return build


def _pair(node: Node, kind: str, operands: list[Node]) -> Conversion:
    shapes = [_own_shape(operand) for operand in operands]
    if len(shapes[0]) != len(shapes[1]):
        raise unsupported_error(node, f"operands of different rank: {shapes[0]} and {shapes[1]}")
    if shapes[0][1] == shapes[1][1]:
        return Conversion(kind, {}, tuple(operands))
    widest = int(shapes[1][1] > shapes[0][1])
    return Conversion(kind, {"spread": True, "widest": widest}, tuple(operands))


def _with_number(kind: str, value: Node, number: float, first: bool) -> Conversion:
    match kind:
        case "add":
            return _affine(value, 1.0, number)
        case "sub":
            return _affine(value, -1.0, number) if first else _affine(value, 1.0, -number)
        case "mul":
            return _affine(value, number, 0.0)
        case "div":
            return _affine(value, 1 / number, 0.0)
        case "maximum":
            return _clamped(value, {"min_val": number})
        case _:
            return _clamped(value, {"max_val": number})


def _with_constant(
    node: Node, kind: str, value: Node, constant: ConstantRef, first: bool
) -> Conversion:
    """A stored tensor that is broadcast to a value. `axis` is that of its channels, if any."""
    shape, own = batched_shape(value), constant.own
    seen = (*[1] * (len(shape) - len(constant.shape)), *constant.shape)
    by_channel = len(seen) == len(shape) and seen[1] > 1
    axes = [k for k, n in enumerate(own) if n == seen[1] and prod(own[:k]) == 1]
    misfit = batched_shape(node) != shape or len(seen) > len(shape) or seen[0] != 1
    if misfit or (by_channel and not axes):
        raise unsupported_error(
            node, f"a constant shaped {constant.shape} that does not fit into {shape}"
        )
    attributes = {
        "shape": [1, -1, *seen[2:]] if by_channel else list(seen),
        "axis": axes[0] if by_channel else None,
        "elements": prod(own) // (shape[1] if by_channel else 1),
        "first": first,
    }
    role = "operand" if constant.trained else "constant"
    return Conversion(kind, attributes, (value,), {role: constant})


def _concat(node: Node, a: Arguments) -> Conversion:
    axis = a["dim"] % len(batched_shape(node))
    if axis == 0:
        raise unsupported_error(node, "a concatenation along the batch")
    return Conversion("concat", {"axis": axis} if axis > 1 else {}, tuple(a["tensors"]))


ELEMENTWISE_CONVERTERS: Mapping[str, Converter] = {
    "aten.add.Tensor": _elementwise("add"),
    "aten.sub.Tensor": _elementwise("sub"),
    "aten.rsub.Scalar": _elementwise("sub", reverse=True),
    "aten.mul.Tensor": _elementwise("mul"),
    "aten.div.Tensor": _elementwise("div"),
    "aten.maximum.default": _elementwise("maximum"),
    "aten.max.other": _elementwise("maximum"),
    "aten.minimum.default": _elementwise("minimum"),
    "aten.min.other": _elementwise("minimum"),
}
CONVERTERS: Mapping[str, Converter] = {
    **ELEMENTWISE_CONVERTERS,
    "aten.conv1d.default": _convolution,
    "aten.conv1d.padding": _convolution,
    "aten.conv2d.default": _convolution,
    "aten.conv2d.padding": _convolution,
    "aten.conv_transpose1d.default": _transposed,
    "aten.conv_transpose2d.input": _transposed,
    "aten.linear.default": _linear,
    "aten.batch_norm.default": _batch_norm,
    "aten.group_norm.default": _group_norm,
    "aten.layer_norm.default": _layer_norm,
    "aten.instance_norm.default": _instance_norm,
    "aten.prelu.default": _prelu,
    "aten.relu.default": _activation("relu"),
    "aten.relu6.default": _activation("relu6"),
    "aten.hardtanh.default": _clamp("min_val", "max_val"),
    "aten.clamp.default": _clamp("min", "max"),
    "aten.clamp_min.default": _clamp("min", "absent"),
    "aten.clamp_max.default": _clamp("absent", "max"),
    "aten.hardswish.default": _activation("hardswish"),
    "aten.hardsigmoid.default": _activation("hardsigmoid"),
    "aten.sigmoid.default": _activation("sigmoid"),
    "aten.log_sigmoid.default": _activation("log_sigmoid"),
    "aten.silu.default": _activation("silu"),
    "aten.mish.default": _activation("mish"),
    "aten.tanh.default": _activation("tanh"),
    "aten.leaky_relu.default": _activation("leaky_relu", "negative_slope"),
    "aten.elu.default": _activation("elu", "alpha"),
    "aten.celu.default": _activation("celu", "alpha"),
    "aten.selu.default": _activation("selu"),
    "aten.gelu.default": _gelu,
    "aten.softplus.default": _activation("softplus", "beta", "threshold"),
    "aten.softshrink.default": _activation("softshrink", "lambd"),
    "aten.hardshrink.default": _activation("hardshrink", "lambd"),
    "aten.threshold.default": _activation("threshold", "threshold", "value"),
    "aten.abs.default": _activation("abs"),
    "aten.exp.default": _activation("exp"),
    "aten.neg.default": _negative,
    "aten.log.default": _activation("log"),
    "aten.pow.Tensor_Scalar": _power(),
    "aten.square.default": _power(2.0),
    "aten.sqrt.default": _power(0.5),
    "aten.rsqrt.default": _power(-0.5),
    "aten.reciprocal.default": _power(-1.0),
    "aten.max_pool1d.default": _pool("max"),
    "aten.max_pool2d.default": _pool("max"),
    "aten.max_pool2d_with_indices.default": _pool("max"),
    "aten.avg_pool1d.default": _pool("average"),
    "aten.avg_pool2d.default": _pool("average"),
    "aten.adaptive_avg_pool1d.default": _adaptive("average"),
    "aten.adaptive_avg_pool2d.default": _adaptive("average"),
    "aten.adaptive_max_pool1d.default": _adaptive("max"),
    "aten.adaptive_max_pool2d.default": _adaptive("max"),
    "aten.mean.dim": _reduction("average"),
    "aten.sum.dim_IntList": _reduction("sum"),
    "aten.amax.default": _reduction("max"),
    "aten.max.dim": _reduction("max"),
    "aten.upsample_linear1d.vec": _resize,
    "aten.upsample_bilinear2d.vec": _resize,
    "aten.cat.default": _concat,
    "aten.dropout.default": _dropout,
    "aten.feature_dropout.default": _dropout,
    "aten.softmax.int": _softmax(log=False),
    "aten.log_softmax.int": _softmax(log=True),
}

"""What every operator computes: one function a kind, for training, scoring and export alike."""

# ruff: noqa: ARG001 - the rules of a table all take the same arguments

from collections.abc import Callable, Mapping
from functools import partial
from math import prod

import torch
from torch import Tensor
from torch.nn import functional

from pruning.execution.batch_norm import batch_norm
from pruning.ir.gather import gather
from pruning.ir.kinds import OPERATORS, KindTable
from pruning.ir.operator import Operator

Tensors = Mapping[str, Tensor]
Execute = Callable[[Operator, list[Tensor], Tensors, bool], Tensor]


def execute(operator: Operator, inputs: list[Tensor], own: Tensors, training: bool) -> Tensor:
    """One operator on batched inputs; `own` maps parameter roles to tensors."""
    return EXECUTE.of(operator)(operator, inputs, own, training)


def filters(operator: Operator, weight: Tensor) -> Tensor:
    """A layer's weight with its output channels first. Done twice it gives the weight back."""
    if operator.kind != "conv_transpose":
        return weight
    groups = operator.attributes["groups"]
    by_group = weight.reshape(groups, -1, *weight.shape[1:])
    return by_group.transpose(1, 2).flatten(0, 1)


def _convolution(o: Operator, inputs: list[Tensor], own: Tensors, training: bool) -> Tensor:
    a = o.attributes
    convolve = functional.conv1d if len(a["kernel"]) == 1 else functional.conv2d
    settings = (a["stride"], a["padding"], a["dilation"], a["groups"])
    return convolve(inputs[0], own["weight"], own.get("bias"), *settings)


def _transposed(o: Operator, inputs: list[Tensor], own: Tensors, training: bool) -> Tensor:
    a = o.attributes
    flat = len(a["kernel"]) == 1
    convolve = functional.conv_transpose1d if flat else functional.conv_transpose2d
    settings = (a["stride"], a["padding"], a["output_padding"], a["groups"], a["dilation"])
    return convolve(inputs[0], own["weight"], own.get("bias"), *settings)


def _linear(o: Operator, inputs: list[Tensor], own: Tensors, training: bool) -> Tensor:
    if len(o.shape) == 1:
        return functional.linear(inputs[0], own["weight"], own.get("bias"))
    pixels = inputs[0].movedim(1, -1)
    return functional.linear(pixels, own["weight"], own.get("bias")).movedim(-1, 1)


def _batch_norm(o: Operator, inputs: list[Tensor], own: Tensors, training: bool) -> Tensor:
    statistics = own["mean"], own["variance"], own["weight"], own["bias"]
    if training:
        rates = o.attributes["momentum"], o.attributes["epsilon"]
        return batch_norm(inputs[0], *statistics, *rates)
    return functional.batch_norm(inputs[0], *statistics, eps=o.attributes["epsilon"])


def _group_norm(o: Operator, inputs: list[Tensor], own: Tensors, training: bool) -> Tensor:
    a, scale, shift = o.attributes, own.get("scale"), own.get("shift")
    if a.get("pixelwise"):
        pixels = inputs[0].movedim(1, -1)
        return functional.layer_norm(pixels, o.shape[:1], scale, shift, a["epsilon"]).movedim(-1, 1)
    own_scales = a["scales"] > 1 or (scale is not None and scale.dim() > 1)
    if own_scales:  # one for every element: all channels are normalised together
        return functional.layer_norm(inputs[0], o.shape, scale, shift, a["epsilon"])
    groups = inputs[0].shape[1] // a["together"]
    return torch.group_norm(inputs[0], groups, scale, shift, a["epsilon"])


def _pool(o: Operator, inputs: list[Tensor], own: Tensors, training: bool) -> Tensor:
    a = o.attributes
    flat = len(a["kernel"]) == 1
    window = (a["kernel"], a["stride"], a["padding"])
    if a["mode"] == "max":
        pool = functional.max_pool1d if flat else functional.max_pool2d
        result = pool(inputs[0], *window, ceil_mode=a["ceil"])
    else:
        average = functional.avg_pool1d if flat else functional.avg_pool2d
        result = average(
            inputs[0], *window, ceil_mode=a["ceil"], count_include_pad=a["count_padding"]
        )
    if a["mode"] == "sum":
        result = result * prod(a["kernel"])
    return _reshaped(result, o) if a.get("squeeze") else result


def _reduce(o: Operator, inputs: list[Tensor], own: Tensors, training: bool) -> Tensor:
    if o.attributes["mode"] == "max":
        return inputs[0].amax(1, keepdim=True)
    total = inputs[0].sum(1, keepdim=True)
    return total / o.attributes["divisor"] if "divisor" in o.attributes else total


def _activation(o: Operator, inputs: list[Tensor], own: Tensors, training: bool) -> Tensor:
    settings = {key: value for key, value in o.attributes.items() if key != "function"}
    return ACTIVATIONS[o.attributes["function"]](inputs[0], **settings)


def _prelu(o: Operator, inputs: list[Tensor], own: Tensors, training: bool) -> Tensor:
    return functional.prelu(inputs[0], own["slope"])


def _elementwise(o: Operator, inputs: list[Tensor], own: Tensors, training: bool) -> Tensor:
    a = o.attributes
    if not own:
        return BINARY[o.kind](inputs[0], inputs[1])
    (constant,) = own.values()
    operands = (inputs[0], constant.reshape(a["shape"]))
    return BINARY[o.kind](*(operands[::-1] if a["first"] else operands))


def _concat(o: Operator, inputs: list[Tensor], own: Tensors, training: bool) -> Tensor:
    return torch.cat(inputs, dim=o.attributes.get("axis", 1))


def _flatten(o: Operator, inputs: list[Tensor], own: Tensors, training: bool) -> Tensor:
    return _reshaped(inputs[0], o)


def _reshaped(value: Tensor, o: Operator) -> Tensor:
    return value.flatten(1) if len(o.shape) == 1 else value.reshape(-1, *o.shape)


def _move(o: Operator, inputs: list[Tensor], own: Tensors, training: bool) -> Tensor:
    return gather(inputs[0], o.attributes, o.shape)


def _resize(o: Operator, inputs: list[Tensor], own: Tensors, training: bool) -> Tensor:
    a = o.attributes
    return functional.interpolate(
        inputs[0],
        a["size"],
        a["scales"],
        mode="linear" if len(a["kernel"]) == 1 else "bilinear",
        align_corners=a["align_corners"],
    )


def _softmax(o: Operator, inputs: list[Tensor], own: Tensors, training: bool) -> Tensor:
    return inputs[0].log_softmax(1) if o.attributes.get("log") else inputs[0].softmax(1)


def _dropout(o: Operator, inputs: list[Tensor], own: Tensors, training: bool) -> Tensor:
    drop = torch.feature_dropout if o.attributes.get("channels") else torch.dropout
    return drop(inputs[0], o.attributes["p"], training)


def _hardtanh(value: Tensor, min_val: float | None = None, max_val: float | None = None) -> Tensor:
    return value.clamp(min_val, max_val)


def _affine(value: Tensor, scale: float, shift: float) -> Tensor:
    if abs(scale) == 1 and shift:
        return value + shift if scale > 0 else shift - value
    return value * scale + shift if shift else value * scale


ACTIVATIONS: Mapping[str, Callable[..., Tensor]] = {
    "relu": functional.relu,
    "relu6": functional.relu6,
    "hardtanh": _hardtanh,
    "hardswish": functional.hardswish,
    "hardsigmoid": functional.hardsigmoid,
    "sigmoid": torch.sigmoid,
    "log_sigmoid": functional.logsigmoid,
    "silu": functional.silu,
    "mish": functional.mish,
    "tanh": torch.tanh,
    "leaky_relu": functional.leaky_relu,
    "elu": functional.elu,
    "celu": functional.celu,
    "selu": functional.selu,
    "gelu": functional.gelu,
    "gelu_tanh": partial(functional.gelu, approximate="tanh"),
    "softplus": functional.softplus,
    "softshrink": functional.softshrink,
    "hardshrink": functional.hardshrink,
    "threshold": functional.threshold,
    "abs": torch.abs,
    "exp": torch.exp,
    "log": torch.log,
    "power": torch.pow,
    "affine": _affine,
}
BINARY: Mapping[str, Callable[[Tensor, Tensor], Tensor]] = {
    "add": torch.add,
    "sub": torch.sub,
    "mul": torch.mul,
    "div": torch.div,
    "maximum": torch.maximum,
    "minimum": torch.minimum,
}
_EXECUTE: Mapping[str, Execute] = {
    **dict.fromkeys(BINARY, _elementwise),
    "conv": _convolution,
    "conv_transpose": _transposed,
    "linear": _linear,
    "batch_norm": _batch_norm,
    "group_norm": _group_norm,
    "pool": _pool,
    "reduce": _reduce,
    "resize": _resize,
    "activation": _activation,
    "prelu": _prelu,
    "concat": _concat,
    "flatten": _flatten,
    "gather": _move,
    "softmax": _softmax,
    "dropout": _dropout,
}
EXECUTE = KindTable("what it computes", OPERATORS, _EXECUTE)

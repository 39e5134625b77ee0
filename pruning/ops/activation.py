"""Functions of one value without parameters."""

# ruff: noqa: ARG001 - the functions of a rule all take the same arguments

from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial

import torch
from torch import Tensor
from torch.fx import Node
from torch.nn import functional

from pruning.ir.kernel import Kernel
from pruning.ir.operator import Operator
from pruning.ops.base import (
    Conversion,
    Converter,
    OperatorKind,
    Tensors,
)
from pruning.ops.fx_nodes import Arguments, ConstantRef, unsupported_error
from pruning.ops.rules import (
    CHANNEL_BY_CHANNEL,
    convention,
    nothing,
    one_routine,
    without_weights,
)

CLAMPS = ("relu", "relu6")  # that a kernel may do at its end
TABLE_BYTES = 256  # a result for every code


# -- converters


def _activation(function: str, *settings: str) -> Converter:
    def convert(node: Node, a: Arguments) -> Conversion:
        numbers = {setting: float(a[setting]) for setting in settings}
        if others := {n: v for n, v in a.items() if n not in ("self", *settings) and v != 1}:
            raise unsupported_error(node, f"a function with {others}; both must be 1")
        return Conversion("activation", {"function": function, **numbers}, (a["self"],))

    return convert


def _gelu(node: Node, a: Arguments) -> Conversion:
    function = "gelu" if a["approximate"] == "none" else "gelu_tanh"
    return Conversion("activation", {"function": function}, (a["self"],))


def _clamp(low: str, high: str) -> Converter:
    """A clamp between two arguments, either of which may be absent or None."""

    def convert(node: Node, a: Arguments) -> Conversion:
        bounds = {"min_val": a.get(low), "max_val": a.get(high)}
        if any(isinstance(bound, Node | ConstantRef) for bound in bounds.values()):
            raise unsupported_error(node, "a clamp between tensors; use maximum and minimum")
        return clamped(a["self"], {k: float(b) for k, b in bounds.items() if b is not None})

    return convert


def clamped(value: Node, bounds: dict[str, float]) -> Conversion:
    """A clamp between `min_val` and `max_val`, either of which may be absent."""
    functions = {(0.0, None): "relu", (0.0, 6.0): "relu6"}
    function = functions.get((bounds.get("min_val", 0.5), bounds.get("max_val")))
    if function:
        return Conversion("activation", {"function": function}, (value,))
    return Conversion("activation", {"function": "hardtanh", **bounds}, (value,))


def _power(exponent: float | None = None) -> Converter:
    def convert(node: Node, a: Arguments) -> Conversion:
        attributes = {"function": "power", "exponent": exponent or float(a["exponent"])}
        return Conversion("activation", attributes, (a["self"],))

    return convert


def _negative(node: Node, a: Arguments) -> Conversion:
    return affine(a["self"], -1.0, 0.0)


def affine(value: Node, scale: float, shift: float) -> Conversion:
    """scale * value + shift."""
    attributes = {"function": "affine", "scale": scale, "shift": shift}
    return Conversion("activation", attributes, (value,))


# -- channels


def _steep(operator: Operator) -> tuple[str, ...]:
    """The result of a function that has no slope at zero."""
    a = operator.attributes
    return (operator.name,) if a["function"] == "log" or a.get("exponent", 1) < 1 else ()


# -- execution


def _compute(o: Operator, inputs: list[Tensor], parameters: Tensors, training: bool) -> Tensor:
    settings = {key: value for key, value in o.attributes.items() if key != "function"}
    return FUNCTIONS[o.attributes["function"]](inputs[0], **settings)


def _wakes_zero(operator: Operator) -> bool:
    zero = torch.zeros(1, 1, device="cpu")
    return bool(_compute(operator, [zero], {}, False) != 0)


def _hardtanh(value: Tensor, min_val: float | None = None, max_val: float | None = None) -> Tensor:
    return value.clamp(min_val, max_val)


def _affine(value: Tensor, scale: float, shift: float) -> Tensor:
    if abs(scale) == 1 and shift:
        return value + shift if scale > 0 else shift - value
    return value * scale + shift if shift else value * scale


FUNCTIONS: Mapping[str, Callable[..., Tensor]] = {
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


# -- cost


def _settings_bytes(kernel: Kernel, record_bytes: int) -> int:
    return record_bytes + TABLE_BYTES


KINDS = (
    OperatorKind(
        name="activation",
        converters={
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
        },
        channels=replace(CHANNEL_BY_CHANNEL, whole=_steep),
        execution=replace(without_weights(_compute, _wakes_zero), each_element_alone=True),
        folds_norm=False,
        clamps=False,
        kernel=replace(
            one_routine("activation", 8, nothing),
            settings_bytes=_settings_bytes,
            in_place=convention("in_place_add"),
        ),
    ),
)

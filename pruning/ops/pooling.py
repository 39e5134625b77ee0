"""Pooling over windows of a plane, and reductions over channels."""

# ruff: noqa: ARG001 - the functions of a rule all take the same arguments

from dataclasses import replace
from math import prod

from torch import Tensor
from torch.fx import Node
from torch.nn import functional

from pruning.ir.bilinear import BilinearForm
from pruning.ir.channel_ties import ChannelTies, Ids
from pruning.ir.kernel import Kernel
from pruning.ir.operator import Operator
from pruning.ops.base import Conversion, Converter, KernelRule, OperatorKind, Tensors, Windows
from pruning.ops.fx_nodes import (
    Arguments,
    as_list,
    batched_shape,
    functional_name,
    unsupported_error,
)
from pruning.ops.rules import (
    CHANNEL_BY_CHANNEL,
    convention,
    never,
    no_tables,
    nothing,
    one_record,
    one_routine,
    per_axis,
    plain_routine,
    window_per_element,
    without_weights,
)

# -- converters


def _pool(mode: str) -> Converter:
    def convert(node: Node, a: Arguments) -> Conversion:
        dimensions = _plane_axes(node)
        kernel = per_axis(a["kernel_size"], dimensions)
        if any(d != 1 for d in as_list(a.get("dilation") or 1)):
            raise unsupported_error(node, f"a dilated pooling {a['dilation']}")
        if a.get("divisor_override") is not None:
            raise unsupported_error(node, "an average with its own divisor")
        attributes = {
            "mode": mode,
            "kernel": kernel,
            "stride": per_axis(a["stride"] or kernel, dimensions),
            "padding": per_axis(a["padding"], dimensions),
            "ceil": bool(a["ceil_mode"]),
            "count_padding": bool(a.get("count_include_pad", False)),
        }
        return Conversion("pool", attributes, (a["self"],))

    return convert


def _plane_axes(node: Node) -> int:
    """How many axes a pooling works on. Without channels, torch takes the batch for them."""
    axes, shape = 1 if "1d" in functional_name(node) else 2, batched_shape(node)
    if len(shape) != axes + 2:
        raise unsupported_error(
            node, f"a pooling to {shape} without an axis of channels; unsqueeze(1) before it"
        )
    return axes


def _adaptive(mode: str) -> Converter:
    def convert(node: Node, a: Arguments) -> Conversion:
        _plane_axes(node)
        before, after = batched_shape(a["self"])[2:], batched_shape(node)[2:]
        if any(b % o for b, o in zip(before, after, strict=True)):
            raise unsupported_error(node, f"adaptive pooling from {before} to {after}")
        kernel = [b // o for b, o in zip(before, after, strict=True)]
        return _tiling_windows(mode, kernel, a["self"])

    return convert


def _reduction(mode: str) -> Converter:
    """Along spatial axes a pooling with windows as long as they are; or along the channels."""

    def convert(node: Node, a: Arguments) -> Conversion:
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
        pool = _tiling_windows(mode, kernel, a["self"])
        return pool._replace(attributes={**pool.attributes, "squeeze": not a["keepdim"]})

    return convert


def _tiling_windows(mode: str, kernel: list[int], value: Node) -> Conversion:
    """Windows side by side, without padding."""
    attributes = {
        "mode": mode,
        "kernel": kernel,
        "stride": kernel,
        "padding": [0] * len(kernel),
        "ceil": False,
        "count_padding": False,
    }
    return Conversion("pool", attributes, (value,))


# -- channels


def _one_channel(operator: Operator, inputs: list[Ids], ties: ChannelTies) -> Ids:
    return ties.fresh(1)


def _compared(operator: Operator) -> tuple[str, ...]:
    return operator.inputs if operator.attributes["mode"] == "max" else ()


# -- execution


def _compute_pool(o: Operator, inputs: list[Tensor], parameters: Tensors, training: bool) -> Tensor:
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
    return reshaped(result, o) if a.get("squeeze") else result


def reshaped(value: Tensor, o: Operator) -> Tensor:
    """A value in the shape of an operator's result, batch first."""
    return value.flatten(1) if len(o.shape) == 1 else value.reshape(-1, *o.shape)


def _compute_reduce(
    o: Operator, inputs: list[Tensor], parameters: Tensors, training: bool
) -> Tensor:
    if o.attributes["mode"] == "max":
        return inputs[0].amax(1, keepdim=True)
    total = inputs[0].sum(1, keepdim=True)
    return total / o.attributes["divisor"] if "divisor" in o.attributes else total


def _takes_maxima(operator: Operator) -> bool:
    return bool(operator.attributes["mode"] == "max")


# -- cost


def _carries_codes(kernel: Kernel) -> bool:
    """A sum, or a mean of whole planes, has a code of its own."""
    average = kernel.main.attributes["mode"] == "average" and not kernel.averages_planes
    return average or _takes_maxima(kernel.main)


def _pool_routine(kernel: Kernel) -> str:
    return "mean" if kernel.averages_planes else "pool"


def _channel_sums(kernel: Kernel) -> BilinearForm:
    return BilinearForm(input=kernel.pixels)


KINDS = (
    OperatorKind(
        name="pool",
        converters={
            **dict.fromkeys(
                (
                    "aten.max_pool1d.default",
                    "aten.max_pool2d.default",
                    "aten.max_pool2d_with_indices.default",
                ),
                _pool("max"),
            ),
            **dict.fromkeys(
                ("aten.avg_pool1d.default", "aten.avg_pool2d.default"), _pool("average")
            ),
            "aten.adaptive_avg_pool1d.default": _adaptive("average"),
            "aten.adaptive_avg_pool2d.default": _adaptive("average"),
            "aten.adaptive_max_pool1d.default": _adaptive("max"),
            "aten.adaptive_max_pool2d.default": _adaptive("max"),
            "aten.mean.dim": _reduction("average"),
            "aten.sum.dim_IntList": _reduction("sum"),
            "aten.amax.default": _reduction("max"),
            "aten.max.dim": _reduction("max"),
        },
        channels=CHANNEL_BY_CHANNEL,
        execution=replace(without_weights(_compute_pool, never), copies=_takes_maxima),
        folds_norm=False,
        clamps=True,
        kernel=KernelRule(
            routines={
                "pool": plain_routine(36, window_per_element),
                "mean": plain_routine(20, window_per_element),
            },
            routine=_pool_routine,
            weights=nothing,
            c_weights=nothing,
            scales=nothing,
            macs=window_per_element,
            tables=no_tables,
            settings_bytes=one_record,
            in_place=convention(""),
            windows=Windows.READ,
            carries_codes=_carries_codes,
        ),
    ),
    OperatorKind(
        name="reduce",
        converters={},  # from the same calls as a pooling
        channels=replace(CHANNEL_BY_CHANNEL, tie=_one_channel, whole=_compared),
        execution=without_weights(_compute_reduce, never),
        folds_norm=False,
        clamps=False,
        kernel=one_routine("reduce", None, _channel_sums),
    ),
)

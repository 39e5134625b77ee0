"""Norms: batch norm, and those that normalise a sample by itself (group, layer, instance norm)."""

# ruff: noqa: ARG001 - the functions of a rule all take the same arguments

from dataclasses import replace
from math import prod

import torch
from torch import Tensor
from torch.fx import Node
from torch.nn import functional

from pruning.ir.bilinear import BilinearForm
from pruning.ir.channel_ties import ChannelTies, Ids
from pruning.ir.kernel import Kernel
from pruning.ir.operator import Operator
from pruning.ops.base import Conversion, KernelRule, OperatorKind, Routine, Tensors, Windows
from pruning.ops.batch_norm import batch_norm
from pruning.ops.conv import RECORD_BYTES, lane_trip_counts
from pruning.ops.fx_nodes import Arguments, batched_shape, unsupported_error
from pruning.ops.linear import along_last
from pruning.ops.rules import (
    CHANNEL_BY_CHANNEL,
    convention,
    never,
    no_tables,
    one_per_channel,
    one_per_element,
    one_record,
    one_routine,
    parameters_of,
    routine_named,
    with_weights,
    without_weights,
)

# -- converters


def _batch_norm(node: Node, a: Arguments) -> Conversion:
    if a.get("weight") is None or a.get("bias") is None:
        raise unsupported_error(node, "a batch norm without scale and shift (affine=False)")
    if a.get("running_mean") is None:
        raise unsupported_error(node, "a batch norm without running statistics")
    if a["training"]:
        raise unsupported_error(node, "a batch norm that goes by its batch, even in inference")
    if not a["momentum"]:
        raise unsupported_error(node, "a batch norm whose statistics never move; set its momentum")
    parameters = parameters_of(
        node, a, weight="weight", bias="bias", running_mean="mean", running_var="variance"
    )
    attributes = {"epsilon": float(a["eps"]), "momentum": float(a["momentum"])}
    return Conversion("batch_norm", attributes, (a["input"],), parameters)


def _group_norm(node: Node, a: Arguments) -> Conversion:
    return _sample_norm(node, a, batched_shape(node)[1] // int(a["num_groups"]))


def _layer_norm(node: Node, a: Arguments) -> Conversion:
    shape = batched_shape(node)
    over = tuple(a["normalized_shape"])
    if over not in (shape[1:], shape[-1:]):
        raise unsupported_error(
            node, f"a layer norm over {over} of {shape}; only over the last axis or a sample"
        )
    if over == shape[1:]:
        return _sample_norm(node, a, shape[1])
    norm = _sample_norm(node, a, shape[-1])
    return norm._replace(attributes={**norm.attributes, "pixelwise": True, **along_last(node)})


def _instance_norm(node: Node, a: Arguments) -> Conversion:
    if a["running_mean"] is not None or not a["use_input_stats"]:
        raise unsupported_error(node, "an instance norm with running statistics")
    return _sample_norm(node, a, 1)


def _sample_norm(node: Node, a: Arguments, together: int) -> Conversion:
    """Normalises by mean and variance of so many channels together."""
    parameters = parameters_of(node, a, weight="scale", bias="shift")
    scale = parameters.get("scale")
    attributes = {
        "together": together,
        "epsilon": float(a["eps"]),
        "scales": prod(scale.shape[1:]) if scale else 0,  # of one channel
    }
    return Conversion("group_norm", attributes, (a["input"],), parameters)


# -- channels


def _tie_normalised(operator: Operator, inputs: list[Ids], ties: ChannelTies) -> Ids:
    together = inputs[0].reshape(-1, operator.attributes["together"])
    ties.tie(together, together[:, :1])  # statistics over several channels need all of them
    return inputs[0]


# -- execution


def _compute_batch_norm(
    o: Operator, inputs: list[Tensor], parameters: Tensors, training: bool
) -> Tensor:
    p = parameters
    statistics = p["mean"], p["variance"], p["weight"], p["bias"]
    if training:
        rates = o.attributes["momentum"], o.attributes["epsilon"]
        return batch_norm(inputs[0], *statistics, *rates)
    return functional.batch_norm(inputs[0], *statistics, eps=o.attributes["epsilon"])


def _compute_group_norm(
    o: Operator, inputs: list[Tensor], parameters: Tensors, training: bool
) -> Tensor:
    a, scale, shift = o.attributes, parameters.get("scale"), parameters.get("shift")
    if a.get("pixelwise"):
        pixels = inputs[0].movedim(1, -1)
        return functional.layer_norm(pixels, o.shape[:1], scale, shift, a["epsilon"]).movedim(-1, 1)
    if a["scales"] > 1 or (scale is not None and scale.dim() > 1):
        # One scale for every element: all channels are normalised together.
        return functional.layer_norm(inputs[0], o.shape, scale, shift, a["epsilon"])
    groups = inputs[0].shape[1] // a["together"]
    return torch.group_norm(inputs[0], groups, scale, shift, a["epsilon"])


def _has_parameters(operator: Operator) -> bool:
    return bool(operator.parameters)


# -- cost


def _scales(kernel: Kernel) -> BilinearForm:
    return BilinearForm(output=kernel.main.attributes["scales"])


def _three_passes(kernel: Kernel) -> BilinearForm:
    """The mean, the variance, and with both the result."""
    return BilinearForm(output=3 * kernel.pixels)


KINDS = (
    OperatorKind(
        name="batch_norm",
        converters={"aten.batch_norm.default": _batch_norm},
        channels=CHANNEL_BY_CHANNEL,
        execution=with_weights(_compute_batch_norm),
        folds_norm=False,
        clamps=True,
        kernel=KernelRule(  # one of its own is a depthwise convolution with a window of one pixel
            routines={
                "batch_norm": Routine(record_bytes=RECORD_BYTES, trip_counts=lane_trip_counts)
            },
            routine=routine_named("batch_norm"),
            weights=one_per_channel,
            c_weights=one_per_channel,
            scales=one_per_channel,
            macs=one_per_element,
            tables=no_tables,
            settings_bytes=one_record,
            in_place=convention(""),
            windows=Windows.READ,
            carries_codes=never,
        ),
    ),
    OperatorKind(
        name="group_norm",
        converters={
            "aten.group_norm.default": _group_norm,
            "aten.layer_norm.default": _layer_norm,
            "aten.instance_norm.default": _instance_norm,
        },
        channels=replace(CHANNEL_BY_CHANNEL, tie=_tie_normalised),
        execution=without_weights(_compute_group_norm, _has_parameters),
        folds_norm=False,
        clamps=True,
        kernel=replace(
            one_routine("group_norm", None, _three_passes),
            weights=_scales,
            c_weights=_scales,
            scales=_scales,
        ),
    ),
)

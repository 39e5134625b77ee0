"""Removing channels for real: the same network with smaller tensors."""

from collections.abc import Mapping
from dataclasses import replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from pruning.channels import Channels, Ids
from pruning.graph import Graph
from pruning.records import Operator

Kept = NDArray[np.bool_]  # one entry per unit
Axes = dict[str, tuple[Ids, ...]]  # tensor name -> the indices kept along its leading axes


def shrink_graph(graph: Graph, kept: Kept) -> Graph:
    """The graph that is left when only the units in `kept` stay.

    Fixed units must stay, and at least one unit of every group.
    """
    _check(graph.channels, kept)
    operators = tuple(_shrunk(graph.channels, operator, kept) for operator in graph.operators)
    return replace(graph, operators=operators)


def shrink_tensors(tensors: Mapping[str, Tensor], axes: Axes) -> dict[str, Tensor]:
    """Tensors with only the kept indices; works for weights and for optimizer state alike."""
    return {name: _take(tensor, axes.get(name, ())) for name, tensor in tensors.items()}


def kept_axes(graph: Graph, kept: Kept) -> Axes:
    """Which indices of each parameter stay."""
    layout = graph.channels.layout
    axes: Axes = {}
    for operator in graph.operators:
        if not operator.parameters:
            continue
        out = np.flatnonzero(kept[layout[operator.name]])
        for role, name in operator.parameters.items():
            if role == "weight" and operator.kind in ("conv", "linear"):
                axes[name] = (out, _kept_inputs(operator, kept[layout[operator.inputs[0]]]))
            else:
                axes[name] = (out,)
    return axes


def _kept_inputs(operator: Operator, kept_input: Kept) -> Ids:
    """Kept indices along a weight's input axis. The groups of a convolution keep the same."""
    if operator.attributes.get("depthwise"):
        return np.arange(1)
    groups = operator.attributes.get("groups", 1)
    return np.flatnonzero(kept_input.reshape(groups, -1)[0])


def _take(tensor: Tensor, axes: tuple[Ids, ...]) -> Tensor:
    for axis, index in enumerate(axes[: tensor.dim()]):
        if len(index) != tensor.shape[axis]:
            tensor = tensor.index_select(axis, torch.from_numpy(index).to(tensor.device))
    return tensor


def _shrunk(channels: Channels, operator: Operator, kept: Kept) -> Operator:
    count = int(kept[channels.layout[operator.name]].sum())
    attributes = dict(operator.attributes)
    if attributes.get("depthwise"):
        attributes["groups"] = int(kept[channels.layout[operator.inputs[0]]].sum())
    return replace(operator, shape=(count, *operator.shape[1:]), attributes=attributes)


def _check(channels: Channels, kept: Kept) -> None:
    for group in channels.groups:
        left = int(kept[group.units].sum())
        if left == 0 or (not group.prunable and left < group.size):
            raise ValueError(f"group {group.name}: {left} of {group.size} channels kept")

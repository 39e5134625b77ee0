"""Removing channels for real: the same network with smaller tensors."""

from collections.abc import Mapping
from dataclasses import replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from pruning.channels import Channels, Ids, parameter_axes
from pruning.graph import Graph
from pruning.movement import without
from pruning.records import Operator

Kept = NDArray[np.bool_]  # one entry per unit
Indices = tuple[Ids | None, ...]  # kept along the leading axes of a tensor; None: all of them


def shrink_graph(graph: Graph, kept: Kept) -> Graph:
    """The graph that is left when only the units in `kept` stay.

    Fixed units must stay, and at least one unit of every group.
    """
    _check(graph.channels, kept)
    operators = tuple(_shrunk(graph.channels, operator, kept) for operator in graph.operators)
    return replace(graph, operators=operators)


def shrink_tensors(
    tensors: Mapping[str, Tensor], axes: Mapping[str, Indices]
) -> dict[str, Tensor]:
    """Tensors with only the kept indices; works for weights and for optimizer state alike."""
    return {name: _take(tensor, axes.get(name, ())) for name, tensor in tensors.items()}


def kept_axes(graph: Graph, kept: Kept) -> dict[str, Indices]:
    """Which indices of each parameter stay."""
    layout = graph.channels.layout
    axes: dict[str, Indices] = {}
    for operator in graph.operators:
        inputs = [layout[name] for name in operator.inputs]
        runs = parameter_axes(operator, inputs, layout[operator.name])
        for role, name in operator.parameters.items():
            axes[name] = tuple(
                None if ids is None else np.flatnonzero(kept[ids]) for ids in runs[role]
            )
    return axes


def _take(tensor: Tensor, axes: Indices) -> Tensor:
    for axis, index in enumerate(axes[: tensor.dim()]):
        if index is not None and len(index) != tensor.shape[axis]:
            tensor = tensor.index_select(axis, torch.from_numpy(index).to(tensor.device))
    return tensor


def _shrunk(channels: Channels, operator: Operator, kept: Kept) -> Operator:
    left = kept[channels.layout[operator.name]]
    read = kept[channels.layout[operator.inputs[0]]]
    attributes = dict(operator.attributes)
    if attributes.get("depthwise"):
        attributes["groups"] = int(read.sum())
    if operator.kind == "move":
        attributes = without(attributes, operator.shape, left, read)
    return replace(
        operator, shape=(int(left.sum()), *operator.shape[1:]), attributes=attributes
    )


def _check(channels: Channels, kept: Kept) -> None:
    for group in channels.groups:
        left = int(kept[group.units].sum())
        if left == 0 or (not group.prunable and left < group.size):
            raise ValueError(f"group {group.name}: {left} of {group.size} channels kept")

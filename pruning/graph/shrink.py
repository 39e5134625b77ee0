"""Removing channels for real: the same network with smaller tensors."""

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from pruning.graph.channel_groups import ChannelGroups, parameter_axes
from pruning.graph.graph import Graph
from pruning.ir.channel_ties import Ids
from pruning.ir.operator import INPUT, Operator
from pruning.ops import kind_of
from pruning.ops.base import Remainder

Kept = NDArray[np.bool_]  # one entry per unit
Indices = tuple[Ids | None, ...]  # kept along the leading axes of a tensor; None: all of them


def shrink_graph(graph: Graph, kept: Kept) -> Graph:
    """The graph that is left when only the units in `kept` stay.

    Fixed units must stay. A group of which nothing stays takes with it whatever can no longer
    be computed: a residual branch becomes its skip, a concatenation loses an operand.

    Raises:
        ValueError: a fixed unit is missing, no path leads from the input to an output, or an
            operator would go that somebody asked to keep.
    """
    _check(graph.channels, kept)
    left = _left(graph, kept)
    if left is None:
        raise ValueError(
            "an output, or an operator named in ignored_layers or min_channels, depends on a "
            "group of which no channel is kept"
        )
    operators, names = left
    return replace(
        graph,
        operators=tuple(_shrunk(graph, operator, kept) for operator in operators),
        outputs=tuple(names[name] for name in graph.outputs),
    )


def shrink_tensors(tensors: Mapping[str, Tensor], axes: Mapping[str, Indices]) -> dict[str, Tensor]:
    """The tensors that `axes` names, with only the kept indices: weights or optimizer state."""
    return {name: _take(tensors[name], kept) for name, kept in axes.items() if name in tensors}


def kept_axes(graph: Graph, kept: Kept) -> dict[str, Indices]:
    """Which indices stay of each parameter that stays."""
    layout = graph.channels.layout
    left = _left(graph, kept)
    staying = {operator.name for operator in left[0]} if left else set()
    axes: dict[str, Indices] = {}
    for operator in graph.operators:
        if operator.name not in staying:
            continue
        inputs = [layout[name] for name in operator.inputs]
        runs = parameter_axes(operator, inputs, layout[operator.name])
        for role, name in operator.parameters.items():
            axes[name] = tuple(
                None if ids is None else np.flatnonzero(kept[ids]) for ids in runs[role]
            )
    return axes


def units_left(graph: Graph, smaller: Graph, kept: Kept) -> Ids:
    """For every unit of the shrunk graph, the unit of `graph` that it was."""
    old, new = graph.channels.layout, smaller.channels.layout
    units = np.zeros(smaller.channels.units, dtype=np.int64)
    for name, ids in new.items():
        units[ids] = old[name][kept[old[name]]]
    return units


def group_shares(before: ChannelGroups, after: ChannelGroups, units: Ids) -> Tensor:
    """(groups after, groups before) float64: which share of each old group a new one holds.

    All ones and zeros, unless a branch that vanished was what held groups apart or together.
    """
    share = torch.zeros(len(after.groups), len(before.groups), dtype=torch.float64)
    left = [np.isin(np.arange(g.start, g.start + g.size), units).sum() for g in before.groups]
    starts = np.array([group.start for group in before.groups])
    for row, group in enumerate(after.groups):
        owners = np.searchsorted(starts, units[group.units], side="right") - 1
        for owner, count in zip(*np.unique(owners, return_counts=True), strict=True):
            share[row, owner] = float(count / left[owner])
    return share


def without(graph: Graph, groups: Sequence[int]) -> Kept:
    """The mask that keeps everything but these groups."""
    kept = np.ones(graph.channels.units, dtype=bool)
    for index in groups:
        kept[graph.channels.groups[index].units] = False
    return kept


def stays_connected(graph: Graph, kept: Kept) -> bool:
    """Whether every output, and whatever somebody asked to keep, can still be computed from the
    units in `kept`.
    """
    return _left(graph, kept) is not None


def _left(graph: Graph, kept: Kept) -> tuple[list[Operator], dict[str, str]] | None:
    """The operators that stay, reading what stays, and what every value is called now.

    A value is lost when none of its channels stays, or when what makes it is lost. A sum goes
    on with an operand that is left, if it has the sum's shape, and a concatenation with those
    that are left, if none of the channels of the lost one are kept; everything else needs all.
    None if an output is lost, or an operator named in `ignored_layers` or `min_channels`.
    """
    layout = graph.channels.layout
    shapes = {INPUT: graph.input_shape, **{o.name: o.shape for o in graph.operators}}
    names = {INPUT: INPUT}
    operators: list[Operator] = []

    def alike(sum_: Operator) -> list[str]:
        return [n for n in sum_.inputs if n in names and shapes[n] == sum_.shape]

    for operator in graph.operators:
        remainder = kind_of(operator).channels.without_operand
        inputs = tuple(names[name] for name in operator.inputs if name in names)
        whole = len(inputs) == len(operator.inputs)
        if not kept[layout[operator.name]].any() or not inputs:
            continue
        lost = [layout[name] for name in operator.inputs if name not in names]
        if remainder is Remainder.OTHERS and any(kept[ids].any() for ids in lost):
            return None
        if whole or (remainder is Remainder.OTHERS and len(inputs) > 1):
            operators.append(replace(operator, inputs=inputs))
            names[operator.name] = operator.name
        elif remainder is Remainder.OTHERS:
            names[operator.name] = inputs[0]
        elif remainder is Remainder.SAME_SHAPE and alike(operator):
            names[operator.name] = names[alike(operator)[0]]
    if not names.keys() >= set(graph.outputs):
        return None
    read = _read(operators, {names[name] for name in graph.outputs})
    promised = {*graph.ignored_layers, *graph.min_channels}
    return (read, names) if promised <= {operator.name for operator in read} else None


def _read(operators: Sequence[Operator], outputs: set[str]) -> list[Operator]:
    """The operators on which outputs depend."""
    needed = set(outputs)
    for operator in reversed(operators):
        if operator.name in needed:
            needed.update(operator.inputs)
    return [operator for operator in operators if operator.name in needed]


def _take(tensor: Tensor, axes: Indices) -> Tensor:
    for axis, index in enumerate(axes[: tensor.dim()]):
        # An axis of one in what an optimizer remembers is a mean over the parameter's.
        if index is not None and len(index) != tensor.shape[axis] > 1:
            tensor = tensor.index_select(axis, torch.from_numpy(index).to(tensor.device))
    return tensor


def _shrunk(graph: Graph, operator: Operator, kept: Kept) -> Operator:
    layout = graph.channels.layout
    written = kept[layout[operator.name]]
    # What it read at first: a value that stands in for a lost one may be laid out otherwise.
    read = kept[layout[graph[operator.name].inputs[0]]]
    attributes = kind_of(operator).channels.pruned_attributes(operator, written, read)
    return replace(operator, shape=(int(written.sum()), *operator.shape[1:]), attributes=attributes)


def _check(channels: ChannelGroups, kept: Kept) -> None:
    for group in channels.groups:
        left = int(kept[group.units].sum())
        if not group.prunable and left < group.size:
            raise ValueError(f"group {group.name}: {left} of {group.size} channels kept")

"""The attributes of a gather: for every element of an output, the element of the input it is.

Reshapes, permutations, slices, padding and nearest-neighbour upsampling become one such
operator: lists of source channels and of source positions.
"""

from collections.abc import Mapping
from math import prod
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from pruning.ir.operator import Shape

Integers = NDArray[np.int64]
PAD = -1


def source_indices(attributes: Mapping[str, Any], shape: Shape) -> tuple[Integers, Integers]:
    """Source channels, (channels, 1 or pixels), and source positions, (1 or channels, pixels),
    of a "gather" with an output of this shape.
    """
    channels = np.asarray(attributes["channels"], dtype=np.int64).reshape(shape[0], -1)
    positions = np.asarray(attributes["positions"], dtype=np.int64)
    return channels, positions.reshape(-1, prod(shape[1:]))


class IndexTables(NamedTuple):
    """The sources of a "gather" that treats all channels alike and all positions alike.

    The source position is the sum of an entry of `rows` and one of `columns`, a hole where
    either is one; `channels` holds source channels, or is empty where they follow `first`.
    """

    channels: Integers
    first: int
    rows: Integers
    columns: Integers


def index_tables(attributes: Mapping[str, Any], shape: Shape) -> IndexTables | None:
    """The sources of a "gather" with an output of this shape as tables, if they can be."""
    channels, positions = source_indices(attributes, shape)
    if channels.shape[1] > 1 or len(positions) > 1:
        return None
    which = channels[:, 0]
    if is_contiguous(which) and not attributes.get("scattered"):
        which = which[:0]
    return IndexTables(which, max(int(channels[0, 0]), 0), *_rows_and_columns(positions[0], shape))


def is_contiguous(channels: Integers) -> bool:
    """Whether channels follow each other, without holes."""
    first = int(channels[0])
    return first != PAD and np.array_equal(channels, np.arange(first, first + len(channels)))


def _rows_and_columns(positions: Integers, shape: Shape) -> tuple[Integers, Integers]:
    """Two tables whose sums are the positions: one entry a row and one a column of a plane,
    or as many rows as there are positions.
    """
    plane = positions.reshape(-1, shape[-1] if len(shape) > 1 else 1)
    there = plane != PAD
    below, across = there.any(1), there.any(0)
    if there.any() and np.array_equal(there, below[:, None] & across):
        first = plane[below.argmax()]
        start = first[across].min()
        rows = plane[:, (first == start).argmax()]
        columns = np.where(across, first - start, PAD)
        sums = np.where(there, rows[:, None] + columns, PAD)
        if np.array_equal(sums, plane):
            return rows, columns
    return positions, np.zeros(1, dtype=np.int64)


def keep_channels(
    attributes: Mapping[str, Any],
    shape: Shape,
    kept: NDArray[np.bool_],
    kept_input: NDArray[np.bool_],
) -> dict[str, Any]:
    """The attributes of a "gather" between the channels that are kept; `shape` is from before."""
    channels, positions = source_indices(attributes, shape)
    renumbered = np.append(np.cumsum(kept_input) - 1, PAD)  # a hole stays one
    if len(positions) > 1:
        positions = positions[kept]
    return {
        **attributes,
        "channels": renumbered[channels[kept]].ravel().tolist(),
        "positions": positions.ravel().tolist(),
    }


def gather(value: Tensor, attributes: Mapping[str, Any], shape: Shape) -> Tensor:
    """Carry out a "gather": (batch, channels, *positions) -> (batch, *shape)."""
    channels, positions = source_indices(attributes, shape)
    value = value.reshape(*value.shape[:2], -1)
    fill = float(attributes.get("fill", 0.0))
    if channels.shape[1] == 1 and len(positions) == 1:
        value = _picked(value, 1, channels.ravel(), fill)
        return _picked(value, 2, positions.ravel(), fill).reshape(-1, *shape)
    hole = (channels == PAD) | (positions == PAD)
    elements = np.where(hole, PAD, channels * value.shape[2] + positions)
    return _picked(value.flatten(1), 1, elements.ravel(), fill).reshape(-1, *shape)


def _picked(value: Tensor, axis: int, index: Integers, fill: float) -> Tensor:
    """Elements along an axis by their numbers, and `fill` where there is none."""
    if np.array_equal(index, np.arange(value.shape[axis])):
        return value
    if (index == PAD).any():  # one more element holds the filling
        index = np.where(index == PAD, value.shape[axis], index)
        behind = [0, 0] * (value.dim() - 1 - axis)
        value = functional.pad(value, [*behind, 0, 1], value=fill)
    return value.index_select(axis, torch.from_numpy(index).to(value.device))

"""Data movement, understood by running it on numbered elements.

Reshapes, permutations, slices, padding, shuffles, repetition and nearest-neighbour upsampling
only carry elements around. A chain of such calls is run on a tensor that holds the number of
every element of its source; what comes out says where each element of the result is from.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from math import prod
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.fx import Node
from torch.nn import functional

from pruning.ir.gather import PAD, is_contiguous
from pruning.ir.operator import Shape
from pruning.ops.fx_nodes import (
    BATCH,
    arguments_of,
    as_list,
    functional_form,
    functional_name,
)

# Calls whose result lies in the memory of their argument, or may.
VIEWS = {
    "aten." + name
    for name in (
        "alias.default", "chunk.default", "contiguous.default", "detach.default",
        "expand.default", "expand_as.default", "flatten.using_ints", "mT.default",
        "movedim.int", "movedim.intlist", "narrow.default", "permute.default",
        "reshape.default", "reshape_as.default", "select.int", "slice.Tensor",
        "split.Tensor", "split_with_sizes.default", "squeeze.default", "squeeze.dim",
        "squeeze.dims", "transpose.int", "unbind.int",
        "unflatten.int", "unsqueeze.default", "view.default", "view_as.default",
    )
}  # fmt: skip
COPIES = {
    "aten." + name
    for name in (
        "_upsample_nearest_exact1d.vec", "_upsample_nearest_exact2d.vec",
        "channel_shuffle.default", "clone.default", "constant_pad_nd.default",
        "flip.default", "im2col.default", "index.Tensor", "index_select.default",
        "lift_fresh_copy.default", "pad.default", "pixel_shuffle.default",
        "pixel_unshuffle.default", "repeat.default", "repeat_interleave.self_int",
        "roll.default", "rot90.default", "stack.default", "tile.default",
        "upsample_nearest1d.vec", "upsample_nearest2d.vec",
    )
}  # fmt: skip
DATA_MOVEMENT = VIEWS | COPIES
PADS = ("aten.pad.default", "aten.constant_pad_nd.default")
STACK = "aten.stack.default"


@dataclass(frozen=True, slots=True, kw_only=True)
class IndexMap:
    """Where the elements of a result are from.

    `numbers` is shaped like the result and holds the number of an element of `source`, counted
    from one, or zero for a hole that `fill` fills. `source` is a value of the network or, if
    `stored`, a tensor; `shape` is its shape, without the batch if it is a value.
    """

    source: str
    shape: Shape
    numbers: Tensor
    stored: bool = False
    fill: float = 0.0

    @staticmethod
    def identity(source: str, shape: Shape, stored: bool = False) -> "IndexMap":
        """Everything where it was. Elements of a value are numbered over its whole batch."""
        batched = shape if stored else (BATCH, *shape)
        # Not all calls know integers; doubles count exactly far enough.
        numbers = torch.arange(1, prod(batched) + 1, dtype=torch.float64, device="cpu")
        return IndexMap(source=source, shape=shape, numbers=numbers.reshape(batched), stored=stored)

    @property
    def is_reshape(self) -> bool:
        """Whether all elements are there in their order: at most the shape has changed."""
        flat = self.numbers.flatten()
        elements = prod(self.shape) * (1 if self.stored else BATCH)
        return len(flat) == elements and bool((flat.diff() == 1).all()) and flat[0].item() == 1

    @property
    def is_identity(self) -> bool:
        """Whether the result is the source."""
        batched = self.shape if self.stored else (BATCH, *self.shape)
        return tuple(self.numbers.shape) == batched and self.is_reshape

    @property
    def is_permutation(self) -> bool:
        """Whether every element of the source is in the result, once."""
        count = prod(self.shape) * (1 if self.stored else BATCH)
        return sorted(self.numbers.flatten().tolist()) == list(range(1, count + 1))

    @property
    def is_per_sample(self) -> bool:
        """Whether every sample of the result is made of the same elements of its own sample."""
        if self.numbers.dim() < 2 or self.numbers.shape[0] != BATCH:
            return False
        first, second = self.numbers[0], self.numbers[1]
        size = prod(self.shape)
        moved = torch.where(first == 0, 0.0, first + size)
        return bool((first <= size).all()) and torch.equal(second, moved)

    @property
    def has_padding(self) -> bool:
        """Whether some elements of the result are from nowhere."""
        return bool((self.numbers == 0).any())


def apply(node: Node, movement: IndexMap, others: Sequence[Any]) -> list[IndexMap]:
    """What a call in `DATA_MOVEMENT` makes of its argument; several results of one that splits.

    `others` are the arguments behind the first, tensors in the place of nodes.
    """
    name, numbers = functional_name(node), movement.numbers
    fill = movement.fill if movement.has_padding else pad_value(node)
    if name in PADS:
        a = arguments_of(node)
        results: Any = functional.pad(numbers, a["pad"], a.get("mode", "constant"))
    elif name == STACK:  # the source is what it stacks, channels behind channels
        parts = numbers.chunk(len(as_list(node.args[0])), 1)
        results = functional_form(node)(parts, *others, **node.kwargs)
    else:
        results = functional_form(node)(numbers, *others, **node.kwargs)
    return [replace(movement, numbers=part, fill=fill) for part in as_list(results)]


def has_fill_conflict(node: Node, movement: IndexMap) -> bool:
    """Whether a call makes holes to be filled with something else than those there are."""
    makes = functional_name(node) in (*PADS, "aten.im2col.default")
    return makes and movement.has_padding and pad_value(node) != movement.fill


def pad_value(node: Node) -> float:
    """What a call puts into the holes that it makes."""
    padding = functional_name(node) in PADS
    return float(arguments_of(node).get("value") or 0.0) if padding else 0.0


def gather_attributes(movement: IndexMap) -> dict[str, Any]:
    """The attributes of a "gather" operator: for every output channel its source channel, and
    for every position its source position, as flat lists.

    Where all positions of a channel have one source channel, and all channels the same source
    positions, each of them is listed once; -1 stands for a hole. "scattered" tells that source
    channels do not follow each other, whether or not those that are left of them do: so the
    cost of a network does not depend on which channels it keeps.
    """
    elements = movement.numbers[0].numpy().astype(np.int64) - 1
    elements = elements.reshape(len(elements), -1)
    pixels = prod(movement.shape[1:])
    hole = elements == PAD
    channels = np.where(hole, PAD, elements // pixels)
    empty = hole.all(1)
    # A hole lies in its channel, at no position; a channel of holes looks like any other.
    channels = np.where(hole, channels.max(1, keepdims=True), channels)
    positions = np.where(hole, PAD, elements % pixels)
    if not empty.all():
        positions[empty] = positions[~empty][0]
    if (channels == channels[:, :1]).all():
        channels = channels[:, :1]
    if (positions == positions[:1]).all():
        positions = positions[:1]
    fill = {"fill": movement.fill} if hole.any() and movement.fill else {}
    scattered = {"scattered": True} if not is_contiguous(channels[:, 0]) else {}
    return {
        "channels": channels.ravel().tolist(),
        "positions": positions.ravel().tolist(),
        **fill,
        **scattered,
    }

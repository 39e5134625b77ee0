"""What only carries elements around: gathers, and reshapes that leave all in their order.

No converter makes them: `pruning.frontend` runs chains of such calls on numbered elements.
"""

# ruff: noqa: ARG001 - the functions of a rule all take the same arguments

from dataclasses import replace
from math import isfinite
from typing import Any

import numpy as np
from torch import Tensor

from pruning.ir.bilinear import BilinearForm
from pruning.ir.channel_ties import ChannelTies, Ids
from pruning.ir.gather import PAD, gather, index_tables, keep_channels, source_indices
from pruning.ir.kernel import Kernel
from pruning.ir.loops import TripCounts
from pruning.ir.operator import Operator
from pruning.ops.base import (
    Counts,
    Kept,
    KernelRule,
    OperatorKind,
    Routine,
    Tensors,
    TripCounter,
    Windows,
)
from pruning.ops.pooling import reshaped
from pruning.ops.rules import (
    CHANNEL_BY_CHANNEL,
    always,
    convention,
    never,
    nothing,
    routine_named,
    without_weights,
)

TABLES_BYTES = 24  # how much longer the record of a gather by rows, columns and channels is
INDEX_BYTES = 2  # one index for every row, column and channel, or for every element


# -- channels


def _tie_sources(operator: Operator, inputs: list[Ids], ties: ChannelTies) -> Ids:
    channels, _ = source_indices(operator.attributes, operator.shape)
    empty = channels[:, 0] == PAD  # a channel of zeros is nobody's
    out = np.where(empty, 0, inputs[0][channels[:, 0]])
    out[empty] = ties.fresh(int(empty.sum()))
    ties.tie(out[~empty, None], inputs[0][channels[~empty]])
    return out


def _tie_reshaped(operator: Operator, inputs: list[Ids], ties: ChannelTies) -> Ids:
    channels = operator.shape[0]
    if channels >= len(inputs[0]):
        return np.repeat(inputs[0], channels // len(inputs[0]))
    together = inputs[0].reshape(channels, -1)  # a vector becomes a map: its pixels are tied
    ties.tie(together, together[:, :1])
    return together[:, 0]


def _pruned_sources(operator: Operator, kept: Kept, kept_input: Kept) -> dict[str, Any]:
    return keep_channels(operator.attributes, operator.shape, kept, kept_input)


# -- execution


def _gather(o: Operator, inputs: list[Tensor], parameters: Tensors, training: bool) -> Tensor:
    return gather(inputs[0], o.attributes, o.shape)


def _flatten(o: Operator, inputs: list[Tensor], parameters: Tensors, training: bool) -> Tensor:
    return reshaped(inputs[0], o)


def _fills(operator: Operator) -> bool:
    """A border of infinity stays one; the rest of a removed channel is zero before."""
    fill = operator.attributes.get("fill", 0.0)
    return isfinite(fill) and fill != 0


def _copies(operator: Operator) -> bool:
    return not operator.attributes.get("fill")


# -- cost


def _tables(kernel: Kernel) -> tuple[BilinearForm, ...]:
    """Tables of rows, columns and channels, or one of all elements."""
    tables = index_tables(kernel.main.attributes, kernel.main.shape)
    if tables is None:
        return (BilinearForm(output=INDEX_BYTES * kernel.pixels),)
    return (
        BilinearForm(constant=INDEX_BYTES * len(tables.rows)),
        BilinearForm(constant=INDEX_BYTES * len(tables.columns)),
        BilinearForm(output=INDEX_BYTES * bool(len(tables.channels))),
    )


def _settings_bytes(kernel: Kernel, record_bytes: int) -> int:
    return record_bytes + (TABLES_BYTES if len(_tables(kernel)) > 1 else 0)


def _trip_counts(kernel: Kernel) -> TripCounter:
    """An element with an entry of its own in a table counts as a multiply-accumulate."""
    pixels, tables = kernel.pixels, index_tables(kernel.main.attributes, kernel.main.shape)
    by_element = tables is None or len(tables.channels) > 0

    def count(_: Counts, c_out: Counts) -> TripCounts:
        return TripCounts(
            mac=pixels * by_element * c_out,
            element=pixels * c_out,
            pixel=pixels * (tables is not None),
            call=1,
        )

    return count


KINDS = (
    OperatorKind(
        name="gather",
        converters={},
        channels=replace(CHANNEL_BY_CHANNEL, tie=_tie_sources, pruned_attributes=_pruned_sources),
        execution=replace(without_weights(_gather, _fills), copies=_copies),
        folds_norm=False,
        clamps=False,
        kernel=KernelRule(
            routines={"gather": Routine(record_bytes=12, trip_counts=_trip_counts)},
            routine=routine_named("gather"),
            weights=nothing,
            c_weights=nothing,
            scales=nothing,
            macs=nothing,
            tables=_tables,
            settings_bytes=_settings_bytes,
            in_place=convention(""),
            windows=Windows.NONE,
            carries_codes=always,  # what fills holes is in the code
        ),
    ),
    OperatorKind(
        name="flatten",
        converters={},
        channels=replace(CHANNEL_BY_CHANNEL, tie=_tie_reshaped),
        execution=without_weights(_flatten, never),
        folds_norm=False,
        clamps=False,
        kernel=None,
    ),
)

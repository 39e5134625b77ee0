"""The record that a kind of operator is: all that the engine has to know of it.

One module of this package holds each family of operators. It ends with `KINDS`, the records of
its kinds, which `pruning.ops` collects. Whoever adds a kind fills in every field: a record that
lacks one is refused when its module is imported.
"""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Any, NamedTuple, final

import numpy as np
from numpy.typing import NDArray
from torch import Tensor
from torch.fx import Node

from pruning.ir.bilinear import BilinearForm
from pruning.ir.channel_ties import ChannelTies, Ids
from pruning.ir.complete import Complete
from pruning.ir.kernel import Kernel
from pruning.ir.loops import TripCounts
from pruning.ir.operator import Operator
from pruning.ops.fx_nodes import Arguments, ConstantRef

Axes = tuple[Ids | None, ...]
Counts = NDArray[np.float64]  # of channels, or of instructions
Kept = NDArray[np.bool_]  # one entry a channel
Tensors = Mapping[str, Tensor]


class Conversion(NamedTuple):
    """What a node of an exported program becomes.

    `attributes` are JSON values; `parameters` are stored tensors by their roles.
    """

    kind: str
    attributes: dict[str, Any]
    inputs: tuple[Node, ...]
    parameters: Mapping[str, ConstantRef] = {}


Compute = Callable[[Operator, list[Tensor], Tensors, bool], Tensor]
Converter = Callable[[Node, Arguments], Conversion]
TripCounter = Callable[[Counts, Counts], TripCounts]  # from channels read and written


class Remainder(Enum):
    """What is left of an operator whose operand was removed."""

    NOTHING = "nothing"
    SAME_SHAPE = "another operand of the same shape"
    OTHERS = "the other operands"


class Windows(Enum):
    """How a kernel that works row by row goes over a plane, so that its output may overlap its
    input.
    """

    NONE = "not row by row"
    READ = "each result reads one"
    WRITTEN = "each input is added to one"


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class ChannelRule(Complete):
    """How an operator's channels belong together, and what pruning them does to it.

    tie: ties channels of the operands, and gives the channels of the result as atoms,
        (channels,), from those of every operand.
    parameter_axes: for a parameter by its role, what its leading axes run over: the atoms of
        operands or of the result, or None where an axis is not one of channels.
    whole: the values of which no channel may be zero or removed, because others would change.
    without_operand: what is left when an operand is removed.
    pruned_attributes: the attributes after pruning, from which channels of the result and of
        the first operand are kept.
    """

    tie: Callable[[Operator, list[Ids], ChannelTies], Ids]
    parameter_axes: Callable[[Operator, str, Sequence[Ids], Ids], Axes]
    whole: Callable[[Operator], tuple[str, ...]]
    without_operand: Remainder
    pruned_attributes: Callable[[Operator, Kept, Kept], dict[str, Any]]


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class ExecutionRule(Complete):
    """What an operator computes in torch, and what that does to masks and to int8 codes.

    compute: the result, (batch, *shape), from batched operands, the parameters by their roles,
        and whether the network is training.
    wakes_zeros: whether a channel of zeros, or one whose filter is removed, comes out as
        something else, so that it has to be masked behind the operator.
    masks_weights: whether the mask is applied to weight and bias, which is less work.
    each_element_alone: whether an element of the result depends on the same element alone.
    copies: whether all results are among the operands, or zero: they keep their codes.
    filters: a weight with its output channels first; applied twice it gives the weight back.
    coded_roles: the roles of parameters, besides weights, that are stored as int8 codes of one
        scale.
    stores_reciprocals: whether these are stored as their reciprocals.
    """

    compute: Compute
    wakes_zeros: Callable[[Operator], bool]
    masks_weights: bool
    each_element_alone: bool
    copies: Callable[[Operator], bool]
    filters: Callable[[Operator, Tensor], Tensor]
    coded_roles: tuple[str, ...]
    stores_reciprocals: bool


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Routine(Complete):
    """A loop nest of generated C.

    record_bytes: what C stores of one call, as kernels.h declares the record; None where there
        is no C for it.
    trip_counts: how often each loop runs, from the numbers of channels read and written.
    """

    record_bytes: int | None
    trip_counts: Callable[[Kernel], TripCounter]


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class KernelRule(Complete):
    """What an operator costs once it is a kernel.

    routines: the loop nests that may compute it, by name; `routine` tells which one does.
    weights: weights and constants that are stored, one byte each; `c_weights` the same in
        generated C.
    scales: channels that have a bias and a scale.
    macs: multiply-accumulates; a pooled or added element counts as one (as uNAS counts).
    tables: index tables that generated C stores, in bytes.
    settings_bytes: what generated C stores besides, from the kernel and the bytes of one record
        with the step that names it.
    in_place: the convention that lets it write over an operand; empty where none does.
    windows: those of a plane which it reads or writes.
    carries_codes: whether the result has the int8 code of what it reads.
    """

    routines: Mapping[str, Routine]
    routine: Callable[[Kernel], str]
    weights: Callable[[Kernel], BilinearForm]
    c_weights: Callable[[Kernel], BilinearForm]
    scales: Callable[[Kernel], BilinearForm]
    macs: Callable[[Kernel], BilinearForm]
    tables: Callable[[Kernel], tuple[BilinearForm, ...]]
    settings_bytes: Callable[[Kernel, int], int]
    in_place: Callable[[Kernel], str]
    windows: Windows
    carries_codes: Callable[[Kernel], bool]


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class OperatorKind(Complete):
    """A kind of operator.

    converters: what calls of torch.export become it, by their names ("aten.relu.default").
    folds_norm: whether a batch norm behind it is folded into its weights.
    clamps: whether a ReLU behind it becomes a clamp of its results.
    kernel: None where nothing is executed: a reshape renames a buffer, a dropout is for
        training alone.
    """

    name: str
    converters: Mapping[str, Converter]
    channels: ChannelRule
    execution: ExecutionRule
    folds_norm: bool
    clamps: bool
    kernel: KernelRule | None


Kinds = Collection[OperatorKind]

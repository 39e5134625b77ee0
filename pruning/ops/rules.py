"""Rules that several families share."""

# ruff: noqa: ARG001 - the functions of a rule all take the same arguments

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

from torch import Tensor
from torch.fx import Node

from pruning.ir.bilinear import BilinearForm
from pruning.ir.channel_ties import ChannelTies, Ids
from pruning.ir.kernel import Kernel
from pruning.ir.loops import TripCounts
from pruning.ir.operator import Operator
from pruning.ops.base import (
    Axes,
    ChannelRule,
    Compute,
    Counts,
    ExecutionRule,
    Kept,
    KernelRule,
    Remainder,
    Routine,
    TripCounter,
    Windows,
)
from pruning.ops.fx_nodes import Arguments, ConstantRef, as_list, unsupported_error

# -- converters


def parameters_of(node: Node, a: Arguments, **roles: str) -> dict[str, ConstantRef]:
    """Stored arguments by their roles: `parameters_of(node, a, weight="scale")`.

    Raises:
        UnsupportedOperatorError: an argument is computed.
    """
    stored = {role: a[name] for name, role in roles.items() if a.get(name) is not None}
    for role, argument in stored.items():
        if not isinstance(argument, ConstantRef) or argument.shape != argument.own:
            raise unsupported_error(node, f"a {role} that is computed; only parameters and buffers")
    return stored


def per_axis(value: Any, dimensions: int) -> list[int]:
    """A setting with one number an axis, as torch takes it with one for all."""
    values = [int(v) for v in as_list(value)]
    return values * dimensions if len(values) == 1 else values


# -- channels


def same_channels(operator: Operator, inputs: list[Ids], ties: ChannelTies) -> Ids:
    """The result has the channels of the first operand."""
    return inputs[0]


def along_channels(operator: Operator, role: str, inputs: Sequence[Ids], out: Ids) -> Axes:
    """A parameter with one axis of channels, which `axis` numbers, or without any."""
    axis = operator.attributes.get("axis", 0)
    return () if axis is None else (*[None] * axis, out)


def no_values(operator: Operator) -> tuple[str, ...]:
    """No value has to stay whole."""
    return ()


def same_attributes(operator: Operator, kept: Kept, kept_input: Kept) -> dict[str, Any]:
    """Pruning changes no attribute."""
    return dict(operator.attributes)


CHANNEL_BY_CHANNEL = ChannelRule(
    tie=same_channels,
    parameter_axes=along_channels,
    whole=no_values,
    without_operand=Remainder.NOTHING,
    pruned_attributes=same_attributes,
)

# -- execution


def always(one: Operator | Kernel) -> bool:
    """Of every one."""
    return True


def never(one: Operator | Kernel) -> bool:
    """Of none."""
    return False


def same_weight(operator: Operator, weight: Tensor) -> Tensor:
    """The output channels of the weight come first as they are."""
    return weight


def without_weights(compute: Compute, wakes_zeros: Callable[[Operator], bool]) -> ExecutionRule:
    """An operator without weights, whose results depend on several elements and get int8 codes
    of their own. One that differs in a field is a `replace` of it.
    """
    return ExecutionRule(
        compute=compute,
        wakes_zeros=wakes_zeros,
        masks_weights=False,
        each_element_alone=False,
        copies=never,
        filters=same_weight,
        coded_roles=(),
        stores_reciprocals=False,
    )


def with_weights(compute: Compute) -> ExecutionRule:
    """A layer whose weight has its output channels first, masked there instead of behind it."""
    return replace(without_weights(compute, always), masks_weights=True)


# -- cost


def nothing(kernel: Kernel) -> BilinearForm:
    """No work, or no bytes."""
    return BilinearForm()


def one_per_channel(kernel: Kernel) -> BilinearForm:
    """One for every channel that is written."""
    return BilinearForm(output=1)


def one_per_element(kernel: Kernel) -> BilinearForm:
    """One for every element that is written."""
    return BilinearForm(output=kernel.pixels)


def window_per_element(kernel: Kernel) -> BilinearForm:
    """A window of its own channel for every element that is written."""
    return BilinearForm(output=kernel.taps * kernel.windows)


def stored_constants(kernel: Kernel) -> BilinearForm:
    """A stored operand, by channel or altogether."""
    elements = kernel.main.attributes.get("elements", 0)  # none where both operands are values
    by_channel = kernel.main.attributes.get("axis") is not None
    return BilinearForm(output=elements) if by_channel else BilinearForm(constant=elements)


def no_tables(kernel: Kernel) -> tuple[BilinearForm, ...]:
    """No index tables."""
    return ()


def one_record(kernel: Kernel, record_bytes: int) -> int:
    """One record with its step."""
    return record_bytes


def convention(name: str) -> Callable[[Kernel], str]:
    """The same in-place convention for all kernels of a kind."""
    return lambda _: name


def routine_named(name: str) -> Callable[[Kernel], str]:
    """The same routine for all kernels of a kind."""
    return lambda _: name


def channel_by_channel(macs: Callable[[Kernel], BilinearForm]) -> Callable[[Kernel], TripCounter]:
    """Trip counts of loops over channels one by one, with so many multiply-accumulates."""

    def trip_counts(kernel: Kernel) -> TripCounter:
        pixels, taps, form = kernel.pixels, kernel.taps, macs(kernel)

        def count(c_in: Counts, c_out: Counts) -> TripCounts:
            return TripCounts(
                mac=form.at(c_in, c_out),
                element=pixels * c_out,
                pixel=pixels,
                call=1,
                tap=taps * pixels,
            )

        return count

    return trip_counts


def plain_routine(record_bytes: int | None, macs: Callable[[Kernel], BilinearForm]) -> Routine:
    """A routine that works channel by channel."""
    return Routine(record_bytes=record_bytes, trip_counts=channel_by_channel(macs))


def one_routine(
    name: str, record_bytes: int | None, macs: Callable[[Kernel], BilinearForm]
) -> KernelRule:
    """A kernel with one routine, channel by channel, that stores nothing but its record, writes
    to a buffer of its own, and gives results int8 codes of their own. One that differs in a
    field is a `replace` of it.
    """
    return KernelRule(
        routines={name: plain_routine(record_bytes, macs)},
        routine=routine_named(name),
        weights=nothing,
        c_weights=nothing,
        scales=nothing,
        macs=macs,
        tables=no_tables,
        settings_bytes=one_record,
        in_place=convention(""),
        windows=Windows.NONE,
        carries_codes=never,
    )

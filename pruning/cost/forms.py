"""How much one kernel stores and computes: bytes of flash, multiply-accumulates.

Pure functions from a kernel to its `BilinearForm`, a form that is bilinear in the channels it reads
and writes. A kind that no function knows raises: nothing counts as zero by accident.
"""

# ruff: noqa: ARG001 - the rules of a table all take the same arguments

from collections.abc import Callable
from enum import StrEnum
from typing import Any, NamedTuple

from pruning.cost.cores import core_named
from pruning.graph.fusion import Kernel
from pruning.ir.gather import index_tables
from pruning.ir.kinds import ELEMENTWISE, KERNELS, ROUTINES, WITHOUT_C, KindTable


class BilinearForm(NamedTuple):
    """product * c_in * c_out + output * c_out + input * c_in + constant."""

    product: float = 0.0
    output: float = 0.0
    input: float = 0.0
    constant: float = 0.0

    def plus(self, other: "BilinearForm") -> "BilinearForm":
        """Both."""
        return BilinearForm(*(a + b for a, b in zip(self, other, strict=True)))

    def times(self, factor: float) -> "BilinearForm":
        """So many of it."""
        return BilinearForm(*(factor * part for part in self))

    def at(self, c_in: Any, c_out: Any) -> Any:
        """The number at so many channels read and written, or many such in arrays."""
        return self.product * c_in * c_out + self.output * c_out + self.input * c_in + self[3]


class Encoding(StrEnum):
    """How weights are stored.

    int8: int8 weights; per output channel an int32 bias, an int32 multiplier and an int8 shift.
    c: the same, with all else that generated C stores of a network: its kernels' settings and
    calls, tables of functions and of places.
    published: one byte per weight and per bias and no scales, as uNAS counts.
    """

    INT8 = "int8"
    C = "c"
    PUBLISHED = "published"


BYTES_PER_CHANNEL = {Encoding.INT8: 4 + 4 + 1, Encoding.C: 4 + 4 + 1, Encoding.PUBLISHED: 1}
# What generated C stores of a kernel besides its numbers: a record of settings, as kernels.h
# declares it, and a step that names it.
RECORD_BYTES: KindTable[str, int | None] = KindTable(
    "how long its record is",
    ROUTINES,
    {
        **dict.fromkeys(("conv", "grouped", "depthwise", "multiplied", "linear"), 56),
        **dict.fromkeys(("batch_norm", "conv_transpose"), 56),
        **dict.fromkeys(("add", "sub", "mul", "div"), 76),
        "pool": 36,
        "mean": 20,
        "prelu": 32,
        "activation": 8,
        "gather": 12,
        "concat": 12,
        **dict.fromkeys(WITHOUT_C, None),
    },
)
STEP_BYTES = 16
GATHER_BYTES = 24  # of a move by rows, columns and channels: how much longer its record is
TABLE_BYTES = 256  # of an activation: a result for every code
PLACE_BYTES = 2  # of a move: one place for every row, column and channel, or element
OUTPUT_BYTES = 4  # of a network with several outputs: what is stored to tell them apart


def flash(kernel: Kernel, encoding: Encoding) -> BilinearForm:
    """Bytes that are stored of a kernel, but for `rounded_up`."""
    scaled = SCALED.of(kernel)(kernel).times(BYTES_PER_CHANNEL[encoding])
    if encoding is not Encoding.C:
        return NUMBERS.of(kernel)(kernel).plus(scaled)
    work = _stored(kernel).plus(scaled).plus(BilinearForm(constant=_settings(kernel)))
    for table in _places(kernel):
        work = work.plus(table)
    return work


def rounded_up(kernel: Kernel, encoding: Encoding) -> tuple[BilinearForm, ...]:
    """Bytes of each array of a kernel that generated C stores, where they may end within a
    word: the next array begins with a whole one.
    """
    if encoding is not Encoding.C:
        return ()
    return (_stored(kernel), SCALED.of(kernel)(kernel), *_places(kernel))


def overhead(encoding: Encoding, core: str, outputs: int) -> int:
    """Bytes that are stored of a network besides its kernels.

    Raises:
        PruningError: the core is unknown.
    """
    if encoding is not Encoding.C:
        return 0
    table = OUTPUT_BYTES * (1 + outputs) if outputs > 1 else 0
    return core_named(core).network_bytes + table


def _settings(kernel: Kernel) -> int:
    """Bytes of records, steps and tables of results; nothing of kernels that have no C."""
    record = RECORD_BYTES.at(kernel.routine, kernel.name)
    if record is None:
        return 0
    own = record + STEP_BYTES
    match kernel.kind:
        case "activation":
            return own + TABLE_BYTES
        case "concat":
            return own * len(kernel.inputs)
        case "gather" if len(_places(kernel)) > 1:
            return own + GATHER_BYTES
        case _:
            return own


def _places(kernel: Kernel) -> tuple[BilinearForm, ...]:
    """Bytes of the tables of a move: of rows, columns and channels, or of all elements."""
    if kernel.kind != "gather":
        return ()
    found = index_tables(kernel.main.attributes, kernel.main.shape)
    if found is None:
        return (BilinearForm(output=PLACE_BYTES * kernel.pixels),)
    return (
        BilinearForm(constant=PLACE_BYTES * len(found.rows)),
        BilinearForm(constant=PLACE_BYTES * len(found.columns)),
        BilinearForm(output=PLACE_BYTES * bool(len(found.channels))),
    )


def _constants(kernel: Kernel) -> BilinearForm:
    """An operand or slopes, by channel or altogether."""
    elements = kernel.main.attributes.get("elements", 0)  # none where both operands are values
    by_channel = kernel.main.attributes.get("axis") is not None
    return BilinearForm(output=elements) if by_channel else BilinearForm(constant=elements)


def _filters(kernel: Kernel) -> BilinearForm:
    return BilinearForm(product=kernel.taps / kernel.groups)


def _each(kernel: Kernel) -> BilinearForm:
    return BilinearForm(output=1)


def _scales(kernel: Kernel) -> BilinearForm:
    return BilinearForm(output=kernel.main.attributes["scales"])


def _nothing(kernel: Kernel) -> BilinearForm:
    return BilinearForm()


_Table = KindTable[str, Callable[[Kernel], BilinearForm]]
_COPYING = ("activation", "concat", "gather", "softmax")
# Weights and constants that are stored, one byte each.
NUMBERS: _Table = KindTable(
    "how many numbers it stores",
    KERNELS,
    {
        **dict.fromkeys(("conv", "conv_transpose"), _filters),
        "linear": lambda _: BilinearForm(product=1),
        "depthwise": lambda kernel: BilinearForm(output=kernel.taps),
        "batch_norm": _each,  # a scale and a shift of its own
        "group_norm": _scales,
        **dict.fromkeys((*ELEMENTWISE, "prelu"), _constants),
        **dict.fromkeys(("pool", "reduce", "resize", *_COPYING), _nothing),
    },
)
# Channels that have a bias and a scale.
SCALED: _Table = KindTable(
    "how many scales it stores",
    KERNELS,
    {
        **dict.fromkeys(("conv", "conv_transpose", "linear", "depthwise", "batch_norm"), _each),
        "group_norm": _scales,
        **dict.fromkeys((*ELEMENTWISE, "prelu"), _nothing),
        **dict.fromkeys(("pool", "reduce", "resize", *_COPYING), _nothing),
    },
)


def _stored(kernel: Kernel) -> BilinearForm:
    """The numbers as generated C stores them: slopes by channel, even where all are alike."""
    return BilinearForm(output=1) if kernel.kind == "prelu" else NUMBERS.of(kernel)(kernel)


def _windows(kernel: Kernel) -> BilinearForm:
    return BilinearForm(product=kernel.taps * kernel.windows / kernel.groups)


def _own_windows(kernel: Kernel) -> BilinearForm:
    return BilinearForm(output=kernel.taps * kernel.windows)


def _pixels(kernel: Kernel) -> BilinearForm:
    return BilinearForm(output=kernel.pixels)


MACS: _Table = KindTable(
    "how much it multiplies",
    KERNELS,
    {
        **dict.fromkeys(("conv", "conv_transpose"), _windows),
        "linear": lambda kernel: BilinearForm(product=kernel.pixels),
        "reduce": lambda kernel: BilinearForm(input=kernel.pixels),
        **dict.fromkeys(("depthwise", "pool", "resize"), _own_windows),
        **dict.fromkeys(("batch_norm", "prelu", *ELEMENTWISE), _pixels),
        # The mean, the variance, and with both the result.
        "group_norm": lambda kernel: BilinearForm(output=3 * kernel.pixels),
        **dict.fromkeys(_COPYING, _nothing),
    },
)


def macs(kernel: Kernel) -> BilinearForm:
    """Multiply-accumulates; a pooled or added element counts as one (as uNAS counts)."""
    return MACS.of(kernel)(kernel)

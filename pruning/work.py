"""How much one kernel does: bytes of weights, multiply-accumulates, instructions.

Pure functions from a kernel to its `Work`, a form that is bilinear in the channels it reads
and writes. A kind that no function knows raises: nothing counts as zero by accident.
"""

from collections.abc import Mapping, Sequence
from enum import StrEnum
from math import prod
from typing import NamedTuple

from pruning.errors import PruningError
from pruning.kernels import ELEMENTWISE, Kernel
from pruning.movement import tables
from pruning.records import INPUT


class Work(NamedTuple):
    """product * c_in * c_out + output * c_out + input * c_in + constant."""

    product: float = 0.0
    output: float = 0.0
    input: float = 0.0
    constant: float = 0.0

    def plus(self, other: "Work") -> "Work":
        """Both."""
        return Work(*(a + b for a, b in zip(self, other, strict=True)))

    def times(self, factor: float) -> "Work":
        """So many of it."""
        return Work(*(factor * part for part in self))

    def at(self, c_in: float, c_out: float) -> float:
        """The number at so many channels that are read and written."""
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
RECORD_BYTES = {
    **dict.fromkeys(("conv", "grouped", "depthwise", "multiplied", "linear"), 56),
    **dict.fromkeys(("batch_norm", "transposed"), 56),
    **dict.fromkeys(("add", "subtract", "multiply", "divide"), 76),
    "pool": 36,
    "mean": 20,
    "prelu": 32,
    "activation": 8,
    "move": 12,
    "concat": 12,
}
STEP_BYTES = 16
GATHER_BYTES = 24  # of a move by rows, columns and channels: how much longer its record is
TABLE_BYTES = 256  # of an activation: a result for every code
PLACE_BYTES = 2  # of a move: one place for every row, column and channel, or element
# A network's own three functions, as arm-none-eabi-gcc 12.2 -O2 links them, and what it stores
# besides to tell its outputs apart, where it has several.
NETWORK_BYTES = dict.fromkeys(("cortex-m3", "cortex-m4", "cortex-m7", "cortex-m33"), 36)
NETWORK_BYTES |= {"cortex-m0+": 40}
OUTPUT_BYTES = 4
PATCH = 64  # codes of a window that is gathered, as in kernels.c


def _pixels(kernel: Kernel) -> int:
    return kernel.main.elements_per_channel


def _groups(kernel: Kernel) -> int:
    return int(kernel.main.attributes.get("groups", 1))


def flash(kernel: Kernel, encoding: Encoding) -> Work:
    """Bytes that are stored of a kernel, but for `rounded_up`."""
    scaled = _scaled(kernel).times(BYTES_PER_CHANNEL[encoding])
    if encoding is not Encoding.C:
        return _numbers(kernel).plus(scaled)
    work = _stored(kernel).plus(scaled).plus(Work(constant=_settings(kernel)))
    for table in _places(kernel):
        work = work.plus(table)
    return work


def rounded_up(kernel: Kernel, encoding: Encoding) -> tuple[Work, ...]:
    """Bytes of each array of a kernel that generated C stores, where they may end within a
    word: the next array begins with a whole one.
    """
    if encoding is not Encoding.C:
        return ()
    return (_stored(kernel), _scaled(kernel), *_places(kernel))


def overhead(encoding: Encoding, core: str, outputs: int) -> int:
    """Bytes that are stored of a network besides its kernels."""
    if encoding is not Encoding.C:
        return 0
    table = OUTPUT_BYTES * (1 + outputs) if outputs > 1 else 0
    return NETWORK_BYTES[core] + table


def _settings(kernel: Kernel) -> int:
    """Bytes of records, steps and tables of results; nothing of kernels that have no C."""
    if kernel.routine not in RECORD_BYTES:
        return 0
    own = RECORD_BYTES[kernel.routine] + STEP_BYTES
    match kernel.kind:
        case "activation":
            return own + TABLE_BYTES
        case "concat":
            return own * len(kernel.inputs)
        case "move" if len(_places(kernel)) > 1:
            return own + GATHER_BYTES
        case _:
            return own


def _places(kernel: Kernel) -> tuple[Work, ...]:
    """Bytes of the tables of a move: of rows, columns and channels, or of all elements."""
    if kernel.kind != "move":
        return ()
    found = tables(kernel.main.attributes, kernel.main.shape)
    if found is None:
        return (Work(output=PLACE_BYTES * _pixels(kernel)),)
    return (
        Work(constant=PLACE_BYTES * len(found.rows)),
        Work(constant=PLACE_BYTES * len(found.columns)),
        Work(output=PLACE_BYTES * bool(len(found.channels))),
    )


def _numbers(kernel: Kernel) -> Work:
    """Weights and constants that are stored, one byte each."""
    match kernel.kind:
        case "conv" | "transposed":
            return Work(product=kernel.taps / _groups(kernel))
        case "linear":
            return Work(product=1)
        case "depthwise":
            return Work(output=kernel.taps)
        case "batch_norm":  # a scale and a shift of its own
            return Work(output=1)
        case "group_norm":
            return Work(output=kernel.main.attributes["scales"])
        case _:  # an operand or slopes, by channel or altogether
            elements = kernel.main.attributes.get("elements", 0)
            by_channel = kernel.main.attributes.get("axis") is not None
            return Work(output=elements) if by_channel else Work(constant=elements)


def _stored(kernel: Kernel) -> Work:
    """The numbers as generated C stores them: slopes by channel, even where all are alike."""
    return Work(output=1) if kernel.kind == "prelu" else _numbers(kernel)


def _scaled(kernel: Kernel) -> Work:
    """Channels that have a bias and a scale."""
    if kernel.kind == "group_norm":
        return Work(output=kernel.main.attributes["scales"])
    own = kernel.kind in ("conv", "transposed", "linear", "depthwise", "batch_norm")
    return Work(output=float(own))


def macs(kernel: Kernel) -> Work:
    """Multiply-accumulates; a pooled or added element counts as one (as uNAS counts)."""
    pixels = _pixels(kernel)
    match kernel.kind:
        case "conv" | "transposed":
            return Work(product=kernel.taps * kernel.windows / _groups(kernel))
        case "linear":
            return Work(product=pixels)
        case "reduce":
            return Work(input=pixels)
        case "depthwise" | "pool" | "resize":
            return Work(output=kernel.taps * kernel.windows)
        case "batch_norm" | "prelu":
            return Work(output=pixels)
        case kind if kind in ELEMENTWISE:
            return Work(output=pixels)
        case "group_norm":  # the mean, the variance, and with both the result
            return Work(output=3 * pixels)
        case "concat" | "move" | "activation" | "softmax":
            return Work()
    raise PruningError(f"kernel {kernel.name}: no MACs known for kind {kernel.kind}")


class Loops(NamedTuple):
    """A number for each loop of a kernel in generated C: instructions that a pass takes.

    Per multiply-accumulate, in windows that lie inside and in those that hang over (all those
    of transposed convolutions); per tap and channel of the latter; per output element (bias,
    requantisation, store), per pixel over all channels, per call, and per tap of every pixel,
    over all channels.
    """

    mac: float = 0.0
    cut_mac: float = 0.0
    cut_tap: float = 0.0
    element: float = 0.0
    pixel: float = 0.0
    call: float = 0.0
    tap: float = 0.0


# Fitted by `paring calibrate networks=64` to generated C, built by arm-none-eabi-gcc 12.2 -O2
# and counted kernel by kernel on an emulated core: half of 64 random prunings of ResNet-8,
# DS-CNN, MobileNetV1, VGG-16, two autoencoders and networks of all other kinds. On the other
# half, whole networks are 2.2 % off in the mean and 6.5 % at worst on an M4, 2.4 % and 9.9 % on
# an M3, 2.1 % and 6.5 % on an M7, 2.8 % and 17 % (too much) on an M0+. "grouped", "multiplied"
# and "transposed" were fitted in the same way to half of 70 single layers; on the others layers
# are 9 % off in the mean and 27 % at worst. "pool" and "mean" were fitted to 40 single layers:
# 7 % and 0.3 % in the mean, 16 % and 0.6 % at worst (M4). Kinds without C are a guess.
M4 = {
    "conv": Loops(1.450, 1.660, 10.54, 46.00, 159.1, 278.2, 17.98),
    "depthwise": Loops(2.471, 0.0, 7.607, 45.35, 144.2, 0.0, 19.18),
    "grouped": Loops(1.958, 3.01, element=82.17, tap=36.36),
    "multiplied": Loops(20.76, 16.74, element=115.3, call=3328.0),
    "linear": Loops(1.827, element=71.88, pixel=331.3),
    "transposed": Loops(0.0, 6.472, 17.65, 171.0, call=15520.0),
    "batch_norm": Loops(element=47.1, pixel=90.0),
    "pool": Loops(13.88, element=73.88, pixel=26.66),
    "mean": Loops(7.051, element=28.83, pixel=22.03),
    "add": Loops(element=75.98),
    "subtract": Loops(element=76.97),
    "multiply": Loops(element=47.98, pixel=8.0, call=80.0),
    "divide": Loops(element=47.98, pixel=8.0, call=80.0),
    "prelu": Loops(element=40.5, pixel=6.0),
    "activation": Loops(element=6.0, call=11.0),
    "move": Loops(9.5, element=0.93, pixel=41.0, call=60.0),
    "concat": Loops(element=0.94, pixel=54.2, call=140.0),
    "maximum": Loops(element=14.0, call=100.0),
    "minimum": Loops(element=14.0, call=100.0),
    "group_norm": Loops(element=40.0, call=200.0),
    "reduce": Loops(4.0, element=20.0, call=100.0),
    "resize": Loops(3.0, element=20.0, call=100.0),
    "softmax": Loops(element=60.0, call=300.0),
}
M3 = M4 | {
    "conv": Loops(2.564, 2.937, 16.03, 56.53, 155.9, 257.3, 21.98),
    "depthwise": Loops(2.189, 0.0, 9.388, 50.83, 136.4, 0.0, 22.80),
    "linear": Loops(3.523, element=73.32, pixel=349.8),
    "grouped": Loops(2.996, 5.711, element=97.56, tap=35.98),
    "multiplied": Loops(20.77, 16.74, element=118.2, call=3301.0),
    "transposed": Loops(0.0, 6.471, 17.64, 174.1, call=15570.0),
    "batch_norm": Loops(element=48.3, pixel=93.0),
    "pool": Loops(13.88, element=72.79, pixel=27.24),
    "mean": Loops(7.051, element=33.84, pixel=22.02),
    "add": Loops(element=85.99),
    "subtract": Loops(element=86.97),
    "multiply": Loops(element=50.98, pixel=8.0, call=86.0),
    "divide": Loops(element=50.98, pixel=8.0, call=86.0),
    "prelu": Loops(element=42.6, pixel=6.0),
}
M0 = {kind: Loops(*(1.5 * value for value in loops)) for kind, loops in M3.items()} | {
    "conv": Loops(7.445, 7.961, 22.96, 116.8, 285.1, 139.3, 56.41),
    "depthwise": Loops(8.033, 0.0, 14.78, 115.5, 55.35, 0.0, 56.44),
    "linear": Loops(5.536, element=136.7, pixel=599.9),
    "grouped": Loops(8.281, 13.43, element=168.5, tap=50.0),
    "multiplied": Loops(32.68, 23.21, element=231.9, call=2057.0),
    "transposed": Loops(0.0, 8.777, 48.84, 389.0, call=8270.0, tap=1.136),
    "batch_norm": Loops(element=117.9, pixel=218.0),
    "pool": Loops(18.73, element=131.1, pixel=40.79, tap=0.8053),
    "mean": Loops(8.062, element=89.78, pixel=37.61),
    "add": Loops(element=252.2),
    "subtract": Loops(element=253.3),
    "multiply": Loops(element=116.9, pixel=21.0, call=2100.0),
    "divide": Loops(element=116.9, pixel=21.0, call=2100.0),
    "prelu": Loops(element=100.1, pixel=16.0),
    "activation": Loops(element=9.0, call=10.0),
    "move": Loops(8.5, element=5.56, pixel=39.4, call=80.0),
    "concat": Loops(element=5.57, pixel=43.0, call=110.0),
}
LOOPS: Mapping[str, Mapping[str, Loops]] = {
    "cortex-m0+": M0,
    "cortex-m3": M3,
    "cortex-m4": M4,
    "cortex-m7": M4,  # within 1 % of the M4's counts
    "cortex-m33": M4,  # the same
}


def loops_of(core: str, own: Mapping[str, Sequence[float]]) -> Mapping[str, Loops]:
    """Instructions of each loop by kind of kernel: a core's, or a device's own if it has any.

    Raises:
        PruningError: the core is unknown.
    """
    if core not in LOOPS:
        raise PruningError(
            f"no instruction counts for core {core!r}; known: {', '.join(LOOPS)}"
        )
    return {**LOOPS[core], **{kind: Loops(*rates) for kind, rates in own.items()}}


def instructions(kernel: Kernel, loops: Mapping[str, Loops]) -> Work:
    """Executed instructions, given those of each loop by kind of kernel."""
    work = Work()
    for rate, passes in zip(loops[kernel.routine], loop_passes(kernel), strict=True):
        work = work.plus(passes.times(rate))
    return work


def loop_passes(kernel: Kernel) -> tuple[Work, ...]:
    """How often each of the `Loops` is passed."""
    if kernel.kind == "move":
        return _carried(kernel)
    pixels, cut, work = _pixels(kernel), _cut(kernel), macs(kernel)
    times = _groups(kernel) if kernel.routine == "grouped" else 1  # one group after the other
    return (
        work.times(1 - cut / pixels),
        work.times(cut / pixels),
        Work(output=kernel.taps * cut),
        Work(output=pixels),
        Work(constant=pixels * times),
        Work(constant=1),
        Work(constant=kernel.taps * pixels * times),
    )


def _carried(kernel: Kernel) -> tuple[Work, ...]:
    """The passes of a move, in which each element that has a place of its own in a table is
    what a multiply-accumulate is elsewhere.
    """
    pixels, found = _pixels(kernel), tables(kernel.main.attributes, kernel.main.shape)
    alone = Work(output=pixels * (found is None or len(found.channels) > 0))
    by_pixel = Work(constant=pixels * (found is not None))
    return (alone, Work(), Work(), Work(output=pixels), by_pixel, Work(constant=1), Work())


def _cut(kernel: Kernel) -> int:
    """Pixels whose windows hang over the input, or are taken tap by tap for another reason.

    Convolutions compute two pixels of a row at a time, and rows beyond the input cost nothing
    extra; what reads the network's input, or works in groups, has few channels, whose windows
    are gathered first, if they are small.
    """
    a, shape = kernel.main.attributes, kernel.main.shape[1:]
    if kernel.routine == "transposed":
        return prod(shape)
    if kernel.kind not in ("conv", "depthwise") or kernel.taps == 1:
        return 0
    axes = zip(shape, a["kernel"], a["stride"], a["padding"], a["dilation"], strict=True)
    over = [_over(*axis) for axis in axes]
    if kernel.kind == "depthwise":
        return prod(shape) - prod(n - m for n, m in zip(shape, over, strict=True))
    window = kernel.taps * kernel.channels // _groups(kernel)
    if (kernel.inputs == (INPUT,) or kernel.routine == "grouped") and window <= PATCH:
        return 0
    if _groups(kernel) > 1 or a["dilation"][-1] > 1:
        return prod(shape)
    return prod(shape[:-1]) * min(shape[-1], 2 * over[-1])


def _over(count: int, taps: int, stride: int, padding: int, dilation: int) -> int:
    """Windows of one axis that hang over an input as long as their strides need."""
    reach = dilation * (taps - 1) + 1
    starts = (index * stride - padding for index in range(count))
    return sum(start < 0 or start + reach > count * stride for start in starts)

"""How many instructions one kernel of generated C takes, at any number of channels.

A kernel is a nest of loops. How often each is passed follows from kernels.c, to the channel:
two channels of a convolution are computed at once, and four codes are read at once. What a
pass takes is fitted to what was counted on emulated cores.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from math import prod
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import nnls

from pruning.access import along_two
from pruning.errors import PruningError
from pruning.kernels import Kernel
from pruning.movement import tables
from pruning.work import Work, macs

Counts = NDArray[np.float64]  # of channels, or of instructions
# As in kernels.c: codes of a window that is gathered, taps of one that is spread over lanes,
# channels of a convolution and of a depthwise one that are computed at once, codes in a word.
PATCH, FEW_TAPS = 64, 25
PAIR, LANES, WORD = 2, 4, 4
GRID = 8  # numbers of channels, read and written, at which a form has to agree


class Loops(NamedTuple):
    """A number for each loop of a kernel: how often it is passed, or what a pass takes.

    Per multiply-accumulate, in windows that lie inside and in those that hang over (all those
    of transposed convolutions); per tap and channel of the latter; per output element (bias,
    requantisation, store), per pixel over all channels, per call, and per tap of every pixel,
    over all channels. Of convolutions also per run of codes that follow each other and channel,
    and per multiply-accumulate that is beyond the last whole word of a run; where a window is
    copied first, per tap and per code that is copied by itself, and per line that is copied as
    a whole.
    """

    mac: Any = 0.0
    cut_mac: Any = 0.0
    cut_tap: Any = 0.0
    element: Any = 0.0
    pixel: Any = 0.0
    call: Any = 0.0
    tap: Any = 0.0
    run: Any = 0.0
    tail: Any = 0.0
    copy: Any = 0.0
    line: Any = 0.0


Counter = Callable[[Counts, Counts], Counts]  # from channels read and written to instructions
Passes = Callable[[Counts, Counts], Loops]


# Fitted to generated C, built by arm-none-eabi-gcc 12.2 -O2 and counted kernel by kernel on an
# emulated core. "conv", "depthwise", "linear" and "batch_norm" to half of 64 random prunings of
# ResNet-8, DS-CNN, MobileNetV1, VGG-16, two autoencoders and networks of all other kinds, and
# of 127 single layers; make bench-estimates tells how far off others are. "grouped",
# "multiplied", "transposed", "pool" and "mean" to half of 118 single layers: on the other half
# they are 2, 0, 1, 7 and 0.3 % off in the mean, 7, 0, 3, 16 and 0.6 % at worst (M4). Kinds
# without C are a guess.
M4 = {
    "conv": Loops(
        mac=1.318,
        cut_mac=1.565,
        cut_tap=18.06,
        element=37.43,
        pixel=144.9,
        call=391.6,
        tap=35.74,
        run=9.587,
        tail=1.136,
        copy=1.895,
        line=29.71,
    ),
    "depthwise": Loops(
        mac=3.205, cut_tap=6.916, element=48.33, pixel=85.67, tap=16.14, copy=14.58
    ),
    "grouped": Loops(
        mac=1.47,
        cut_mac=1.34,
        cut_tap=19.84,
        element=47.47,
        pixel=86.85,
        call=912,
        tap=25.88,
        run=1.219,
        tail=1.21,
        copy=5.29,
    ),
    "multiplied": Loops(mac=16.98, element=137.1, pixel=70.74, call=46.96),
    "linear": Loops(mac=1.814, element=31.39, pixel=261.6, run=40.04, tail=1.481),
    "transposed": Loops(cut_mac=6.003, cut_tap=17.28, element=113.1, pixel=39.4, run=21.05),
    "batch_norm": Loops(mac=44.22, pixel=87.91),
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
M7 = M4 | {
    "conv": Loops(
        mac=1.316,
        cut_mac=1.568,
        cut_tap=17.86,
        element=38.37,
        pixel=145.4,
        call=387.7,
        tap=36.34,
        run=9.564,
        tail=1.132,
        copy=1.932,
        line=32.44,
    ),
    "depthwise": Loops(
        mac=3.32, cut_tap=6.414, element=48.39, pixel=87.27, tap=17.54, copy=14.05
    ),
    "linear": Loops(mac=1.814, element=33.39, pixel=264.6, run=38.04, tail=1.481),
    "batch_norm": Loops(mac=45.2, pixel=88.55),
}
M3 = M4 | {
    "conv": Loops(
        mac=2.315,
        cut_mac=2.85,
        cut_tap=24.74,
        element=39.19,
        pixel=122.6,
        call=378.5,
        tap=37.9,
        run=21.93,
        tail=0.9668,
        copy=2.025,
        line=36.93,
    ),
    "depthwise": Loops(
        mac=3.124, cut_tap=8.563, element=53.74, pixel=84.41, call=49.76, tap=23.75, copy=11.18
    ),
    "linear": Loops(mac=3.498, element=29.98, pixel=261.5, run=43.97),
    "grouped": Loops(
        mac=2.599,
        cut_mac=2.379,
        cut_tap=28.86,
        element=53.17,
        pixel=69.07,
        call=2001,
        tap=26.53,
        run=5.93,
        tail=1.439,
        copy=5.238,
    ),
    "multiplied": Loops(mac=17.1, element=142, pixel=69.95, call=50.28),
    "transposed": Loops(cut_mac=6.003, cut_tap=17.28, element=116.1, pixel=39.44, run=21.04),
    "batch_norm": Loops(mac=46.2, pixel=86.56),
    "pool": Loops(13.88, element=72.79, pixel=27.24),
    "mean": Loops(7.051, element=33.84, pixel=22.02),
    "add": Loops(element=85.99),
    "subtract": Loops(element=86.97),
    "multiply": Loops(element=50.98, pixel=8.0, call=86.0),
    "divide": Loops(element=50.98, pixel=8.0, call=86.0),
    "prelu": Loops(element=42.6, pixel=6.0),
}
M0 = {kind: Loops(*(1.5 * value for value in loops)) for kind, loops in M3.items()} | {
    "conv": Loops(
        mac=6.967,
        cut_mac=7.781,
        cut_tap=38.04,
        element=93.83,
        pixel=185.8,
        call=338.6,
        tap=32.96,
        run=32.9,
        tail=2.661,
        copy=11.26,
        line=64.24,
    ),
    "depthwise": Loops(
        mac=9.46, cut_tap=14.36, element=114.5, pixel=150.3, call=28.25, tap=38.95, copy=18.2
    ),
    "linear": Loops(mac=5.497, element=93.31, pixel=465.5, run=44.46),
    "grouped": Loops(
        mac=7.144,
        cut_mac=7.079,
        cut_tap=43.25,
        element=119.0,
        pixel=120.0,
        call=4296,
        tap=38.98,
        tail=3.476,
        copy=8.949,
    ),
    "multiplied": Loops(mac=24.36, element=279.3, pixel=50.84, tap=0.2694),
    "transposed": Loops(
        cut_mac=7.972, cut_tap=55.87, element=263.3, pixel=37.28, call=3147, run=22.93
    ),
    "batch_norm": Loops(mac=113.1, pixel=141.2),
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
    "cortex-m7": M7,
    "cortex-m33": M4,  # within 1 % of the M4's counts
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


def instructions(kernel: Kernel, loops: Mapping[str, Loops]) -> Counter:
    """Executed instructions, given those of each loop by kind of kernel."""
    rates, passed = loops[kernel.routine], passes(kernel)

    def count(c_in: Counts, c_out: Counts) -> Counts:
        times = passed(c_in, c_out)
        taken = (rate * n for rate, n in zip(rates, times, strict=True) if rate)
        return sum(taken, np.zeros(np.shape(c_out)))

    return count


def posynomial(count: Counter, least: Sequence[float], most: Sequence[float]) -> Work:
    """The form without negative coefficients that is nearest to a count, in relative terms,
    between the `least` and the `most` channels that are read and written.
    """
    read, written = (
        np.unique(np.linspace(low, high, GRID).round())
        for low, high in zip(least, most, strict=True)
    )
    c_in, c_out = (axis.ravel() for axis in np.meshgrid(read, written))
    taken = np.maximum(count(c_in, c_out), 1e-9)
    terms = np.stack([c_in * c_out, c_out, c_in, np.ones(len(taken))], axis=1)
    scale = terms.max(0)
    found, _ = nnls(terms / scale / taken[:, None], np.ones(len(taken)))
    return Work(*(found / scale).tolist())


def passes(kernel: Kernel) -> Passes:
    """How often each loop is passed."""
    match kernel.routine:
        case "conv" | "grouped" | "linear":
            return _convolution(kernel)
        case "depthwise" | "batch_norm":  # a batch norm of its own has a window of one pixel
            return _depthwise(kernel)
        case "transposed":
            return _transposed(kernel)
        case "move":
            return _move(kernel)
        case _:
            return _plain(kernel)


def _convolution(kernel: Kernel) -> Passes:
    """Channels in pairs, the last perhaps alone at the price of two. Codes come in words along
    the runs of a window, and one by one behind the last whole word.
    """
    pixels, taps, groups = _pixels(kernel), kernel.taps, _groups(kernel)
    whole, (within, over) = _is_whole(kernel), _split(kernel)
    rows, columns = (1, taps) if whole else _window(kernel)
    copies = taps > 1 and not whole
    lines = _lines(kernel) if copies else 0
    alone = pixels * taps - lines * columns

    def count(c_in: Counts, c_out: Counts) -> Loops:
        inputs = c_in / groups
        made = groups * PAIR * np.ceil(c_out / groups / PAIR)
        gathered = copies & (taps * inputs <= PATCH)
        cut = np.where(gathered, 0, over)
        inside = np.where(gathered, pixels, within)
        runs = np.where(gathered, 1, rows)
        rest = np.where(gathered, taps * inputs, columns * inputs) % WORD
        return Loops(
            mac=inside * taps * inputs * made,
            cut_mac=cut * taps * inputs * made,
            cut_tap=cut * taps * made,
            element=pixels * c_out,
            pixel=pixels * groups,
            call=1,
            tap=gathered * alone * groups,
            run=inside * runs * made,
            tail=(inside * runs * rest + cut * taps * (inputs % WORD)) * made,
            copy=gathered * pixels * taps * c_in,
            line=gathered * lines * groups,
        )

    return count


def _depthwise(kernel: Kernel) -> Passes:
    """Channels in fours, the last perhaps computed twice. Where there are fewer, windows are
    copied first.
    """
    pixels, taps = _pixels(kernel), kernel.taps
    whole = prod(map(sum, _inside(kernel))) if taps > 1 else pixels

    def count(_: Counts, c_out: Counts) -> Loops:
        few = (c_out < LANES) & (taps <= FEW_TAPS)
        made = np.where(few, c_out, LANES * np.ceil(c_out / LANES))
        return Loops(
            mac=~few * whole * taps * made,
            cut_tap=~few * (pixels - whole) * taps * made,
            element=pixels * made,
            pixel=pixels,
            call=1,
            tap=few * pixels * taps,
            copy=few * pixels * taps * c_out,
        )

    return count


def _move(kernel: Kernel) -> Passes:
    """Each element that has a place of its own in a table is what a multiply-accumulate is
    elsewhere.
    """
    pixels, found = _pixels(kernel), tables(kernel.main.attributes, kernel.main.shape)
    alone = found is None or len(found.channels) > 0

    def count(_: Counts, c_out: Counts) -> Loops:
        return Loops(
            mac=pixels * alone * c_out,
            element=pixels * c_out,
            pixel=pixels * (found is not None),
            call=1,
        )

    return count


def _transposed(kernel: Kernel) -> Passes:
    """All windows are taken tap by tap, and channel by channel; most taps meet no input."""
    pixels, taps, met, groups = _pixels(kernel), kernel.taps, _met(kernel), _groups(kernel)
    alone = kernel.kind == "depthwise"  # of which there are as many groups as channels are left

    def count(c_in: Counts, c_out: Counts) -> Loops:
        return Loops(
            cut_mac=met * (1 if alone else c_in / groups) * c_out,
            cut_tap=taps * pixels * c_out,
            element=pixels * c_out,
            pixel=pixels,
            call=1,
            run=met * c_out,
        )

    return count


def _plain(kernel: Kernel) -> Passes:
    """Channel by channel."""
    pixels, taps, work = _pixels(kernel), kernel.taps, macs(kernel)

    def count(c_in: Counts, c_out: Counts) -> Loops:
        return Loops(
            mac=work.at(c_in, c_out),
            element=pixels * c_out,
            pixel=pixels,
            call=1,
            tap=taps * pixels,
        )

    return count


def _pixels(kernel: Kernel) -> int:
    return kernel.main.elements_per_channel


def _groups(kernel: Kernel) -> int:
    return int(kernel.main.attributes.get("groups", 1))


def _window(kernel: Kernel) -> tuple[int, int]:
    """Rows and columns; a linear layer has one of each."""
    return along_two(kernel.main.attributes.get("kernel", (1,)), 1)


def _is_whole(kernel: Kernel) -> bool:
    """Whether the one window of a convolution covers a plane: all its codes are one run."""
    a = kernel.main.attributes
    if kernel.kind != "conv" or _groups(kernel) > 1 or any(a["padding"]):
        return False
    return tuple(a["kernel"]) == kernel.plane and _pixels(kernel) == 1


def _split(kernel: Kernel) -> tuple[int, int]:
    """Pixels of a convolution whose windows are read line by line, and those that are computed
    tap by tap, for hanging over the input or because the taps are apart.

    Two pixels of a row are computed at a time, tap by tap even where there is only one; rows
    beyond the input cost nothing extra.
    """
    pixels = _pixels(kernel)
    if kernel.taps == 1:
        return pixels, 0
    row = _inside(kernel)[-1]
    pairs = [row[place : place + PAIR] for place in range(0, len(row), PAIR)]
    whole = [len(pair) for pair in pairs if all(pair) and _in_line(kernel)]
    rows = pixels // len(row)
    return rows * sum(whole), rows * PAIR * (len(pairs) - len(whole))


def _in_line(kernel: Kernel) -> bool:
    """Whether the columns of a window follow each other in memory."""
    apart = _groups(kernel) > 1 or kernel.main.attributes["dilation"][-1] > 1
    return not apart or _window(kernel)[1] == 1


def _lines(kernel: Kernel) -> int:
    """Rows of all windows that are gathered as a whole: they exist, and their columns do."""
    within, _ = _split(kernel)
    if len(kernel.plane) == 1:
        return within
    extent, made, taps, stride, padding, dilation = next(_axes(kernel))
    return (
        within
        // made
        * sum(
            0 <= place * stride - padding + tap * dilation < extent
            for place in range(made)
            for tap in range(taps)
        )
    )


def _axes(kernel: Kernel) -> Iterator[tuple[int, ...]]:
    """Of every axis: input, output, taps, stride, padding and dilation."""
    a = kernel.main.attributes
    names = ("kernel", "stride", "padding", "dilation")
    settings = (a[name] for name in names)
    return zip(kernel.plane, kernel.main.shape[1:], *settings, strict=True)


def _inside(kernel: Kernel) -> list[list[bool]]:
    """By axis and place of a window: whether it lies inside the input."""
    return [
        [
            first >= 0 and first + dilation * (taps - 1) < extent
            for first in range(-padding, made * stride - padding, stride)
        ]
        for extent, made, taps, stride, padding, dilation in _axes(kernel)
    ]


def _met(kernel: Kernel) -> int:
    """Pairs of a pixel that a transposed convolution writes and a tap that meets an input."""
    return prod(
        sum(
            place % stride == 0 and 0 <= place < extent * stride
            for pixel in range(made)
            for tap in range(taps)
            for place in (pixel + padding - tap * dilation,)
        )
        for extent, made, taps, stride, padding, dilation in _axes(kernel)
    )

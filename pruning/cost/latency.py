"""How many instructions one kernel of generated C takes, at any number of channels.

A kernel is a nest of loops. How often each is passed follows from kernels.c, to the channel:
two channels of a convolution are computed at once, and four codes are read at once. What a
pass takes is a core's own, in `pruning.cost.cores`.
"""

from collections.abc import Callable, Iterator, Sequence
from math import prod

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import nnls

from pruning.cost.forms import BilinearForm, macs
from pruning.cost.memory.overlap import along_two
from pruning.cost.trip_counts import LoopCosts
from pruning.graph.fusion import Kernel
from pruning.ir.gather import index_tables
from pruning.ir.kinds import ELEMENTWISE, ROUTINES, KindTable

Counts = NDArray[np.float64]  # of channels, or of instructions
# As in kernels.c: codes of a window that is gathered, taps of one that is spread over lanes,
# channels of a convolution and of a depthwise one that are computed at once, codes in a word.
PATCH, FEW_TAPS = 64, 25
PAIR, LANES, WORD = 2, 4, 4
GRID = 8  # numbers of channels, read and written, at which a form has to agree
Counter = Callable[[Counts, Counts], Counts]  # from channels read and written to instructions
TripCounts = Callable[[Counts, Counts], LoopCosts]


def instruction_count(kernel: Kernel, loops: KindTable[str, LoopCosts]) -> Counter:
    """Executed instructions, given those of each loop by kind of kernel."""
    rates, passed = loops.at(kernel.routine, kernel.name), trip_counts(kernel)

    def count(c_in: Counts, c_out: Counts) -> Counts:
        times = passed(c_in, c_out)
        taken = (rate * n for rate, n in zip(rates, times, strict=True) if rate)
        return sum(taken, np.zeros(np.shape(c_out)))

    return count


def posynomial(count: Counter, least: Sequence[float], most: Sequence[float]) -> BilinearForm:
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
    return BilinearForm(*(found / scale).tolist())


def trip_counts(kernel: Kernel) -> TripCounts:
    """How often each loop is passed."""
    return TRIP_COUNTS.at(kernel.routine, kernel.name)(kernel)


def _convolution(kernel: Kernel) -> TripCounts:
    """Channels in pairs, the last perhaps alone at the price of two. Codes come in words along
    the runs of a window, and one by one behind the last whole word.
    """
    pixels, taps, groups = kernel.pixels, kernel.taps, kernel.groups
    whole, (within, over) = _is_whole(kernel), _split(kernel)
    rows, columns = (1, taps) if whole else _window(kernel)
    copies = taps > 1 and not whole
    lines = _lines(kernel) if copies else 0
    alone = pixels * taps - lines * columns

    def count(c_in: Counts, c_out: Counts) -> LoopCosts:
        inputs = c_in / groups
        made = groups * PAIR * np.ceil(c_out / groups / PAIR)
        gathered = copies & (taps * inputs <= PATCH)
        cut = np.where(gathered, 0, over)
        inside = np.where(gathered, pixels, within)
        runs = np.where(gathered, 1, rows)
        rest = np.where(gathered, taps * inputs, columns * inputs) % WORD
        return LoopCosts(
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


def _depthwise(kernel: Kernel) -> TripCounts:
    """Channels in fours, the last perhaps computed twice. Where there are fewer, windows are
    copied first.
    """
    pixels, taps = kernel.pixels, kernel.taps
    whole = prod(map(sum, _inside(kernel))) if taps > 1 else pixels

    def count(_: Counts, c_out: Counts) -> LoopCosts:
        few = (c_out < LANES) & (taps <= FEW_TAPS)
        made = np.where(few, c_out, LANES * np.ceil(c_out / LANES))
        return LoopCosts(
            mac=~few * whole * taps * made,
            cut_tap=~few * (pixels - whole) * taps * made,
            element=pixels * made,
            pixel=pixels,
            call=1,
            tap=few * pixels * taps,
            copy=few * pixels * taps * c_out,
        )

    return count


def _move(kernel: Kernel) -> TripCounts:
    """Each element that has a place of its own in a table is what a multiply-accumulate is
    elsewhere.
    """
    pixels, found = kernel.pixels, index_tables(kernel.main.attributes, kernel.main.shape)
    alone = found is None or len(found.channels) > 0

    def count(_: Counts, c_out: Counts) -> LoopCosts:
        return LoopCosts(
            mac=pixels * alone * c_out,
            element=pixels * c_out,
            pixel=pixels * (found is not None),
            call=1,
        )

    return count


def _transposed(kernel: Kernel) -> TripCounts:
    """All windows are taken tap by tap, and channel by channel; most taps meet no input."""
    pixels, taps, met, groups = kernel.pixels, kernel.taps, _met(kernel), kernel.groups
    alone = kernel.kind == "depthwise"  # of which there are as many groups as channels are left

    def count(c_in: Counts, c_out: Counts) -> LoopCosts:
        return LoopCosts(
            cut_mac=met * (1 if alone else c_in / groups) * c_out,
            cut_tap=taps * pixels * c_out,
            element=pixels * c_out,
            pixel=pixels,
            call=1,
            run=met * c_out,
        )

    return count


def _plain(kernel: Kernel) -> TripCounts:
    """Channel by channel."""
    pixels, taps, work = kernel.pixels, kernel.taps, macs(kernel)

    def count(c_in: Counts, c_out: Counts) -> LoopCosts:
        return LoopCosts(
            mac=work.at(c_in, c_out),
            element=pixels * c_out,
            pixel=pixels,
            call=1,
            tap=taps * pixels,
        )

    return count


TRIP_COUNTS: KindTable[str, Callable[[Kernel], TripCounts]] = KindTable(
    "how often its loops are passed",
    ROUTINES,
    {
        **dict.fromkeys(("conv", "grouped", "linear"), _convolution),
        # A batch norm of its own has a window of one pixel.
        **dict.fromkeys(("depthwise", "batch_norm"), _depthwise),
        "conv_transpose": _transposed,
        "gather": _move,
        **dict.fromkeys(("multiplied", "pool", "mean", "activation", "prelu", "concat"), _plain),
        **dict.fromkeys((*ELEMENTWISE, "group_norm", "reduce", "resize", "softmax"), _plain),
    },
)


def _window(kernel: Kernel) -> tuple[int, int]:
    """Rows and columns; a linear layer has one of each."""
    return along_two(kernel.main.attributes.get("kernel", (1,)), 1)


def _is_whole(kernel: Kernel) -> bool:
    """Whether the one window of a convolution covers a plane: all its codes are one run."""
    a = kernel.main.attributes
    if kernel.kind != "conv" or kernel.groups > 1 or any(a["padding"]):
        return False
    return tuple(a["kernel"]) == kernel.plane and kernel.pixels == 1


def _split(kernel: Kernel) -> tuple[int, int]:
    """Pixels of a convolution whose windows are read line by line, and those that are computed
    tap by tap, for hanging over the input or because the taps are apart.

    Two pixels of a row are computed at a time, tap by tap even where there is only one; rows
    beyond the input cost nothing extra.
    """
    pixels = kernel.pixels
    if kernel.taps == 1:
        return pixels, 0
    row = _inside(kernel)[-1]
    pairs = [row[place : place + PAIR] for place in range(0, len(row), PAIR)]
    whole = [len(pair) for pair in pairs if all(pair) and _in_line(kernel)]
    rows = pixels // len(row)
    return rows * sum(whole), rows * PAIR * (len(pairs) - len(whole))


def _in_line(kernel: Kernel) -> bool:
    """Whether the columns of a window follow each other in memory."""
    apart = kernel.groups > 1 or kernel.main.attributes["dilation"][-1] > 1
    return not apart or _window(kernel)[1] == 1


def _lines(kernel: Kernel) -> int:
    """Rows of all windows that are gathered as a whole: they exist, and their columns do."""
    within, _ = _split(kernel)
    if len(kernel.plane) == 1:
        return within
    extent, made, taps, stride, padding, dilation = next(_axes(kernel))
    there = [
        0 <= place * stride - padding + tap * dilation < extent
        for place in range(made)
        for tap in range(taps)
    ]
    return within // made * sum(there)


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

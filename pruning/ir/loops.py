"""The loops of a kernel in generated C: how often each runs, and what one pass costs.

Both records have the same fields, one a loop:

mac, cut_mac: multiply-accumulates of windows inside the input, and of windows that hang over
    its border (of a transposed convolution: all);
cut_tap: taps of windows that hang over, per output channel;
element: output elements (bias, requantisation, store);
pixel: output pixels, over all channels;
call: calls of the kernel;
tap: taps of every pixel, over all channels; of a convolution that copies its window: taps that
    are copied one by one;
run: of a convolution: runs of input values that lie next to each other, per output channel;
tail: multiply-accumulates behind the last whole word of a run;
copy, line: input values, and rows of a window, that are copied before they are multiplied.
"""

from typing import Any, NamedTuple


class TripCounts(NamedTuple):
    """How often each loop of a kernel runs: numbers, or arrays over numbers of channels."""

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


class LoopCosts(NamedTuple):
    """Instructions that one pass of each loop takes on a core."""

    mac: float = 0.0
    cut_mac: float = 0.0
    cut_tap: float = 0.0
    element: float = 0.0
    pixel: float = 0.0
    call: float = 0.0
    tap: float = 0.0
    run: float = 0.0
    tail: float = 0.0
    copy: float = 0.0
    line: float = 0.0

"""How a kernel goes about its buffers, and what that saves.

Kernels of windows write their output pixel by pixel, row by row, and never read again what
lies before the first window that is still to come. So their output may lie over the part of
their input that has been read, if nobody else needs it: a little lower in memory than the
input, never overtaking what is unread; or a little higher, if they run backward, from the last
pixel to the first. (Diagonal memory optimisation: Blacker et al., arXiv 2010.01668.)
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from math import prod
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from pruning.ir.kernel import Pair

AHEAD = 2  # output pixels that may be written before all is read that the first of them needs
NOWHERE = 1 << 30  # no position


class ConvWindow(NamedTuple):
    """The windows of a kernel: planes and settings as (height, width)."""

    read: Pair
    made: Pair
    kernel: Pair
    stride: Pair
    padding: Pair
    dilation: Pair = (1, 1)
    transposed: bool = False

    @property
    def backward(self) -> "ConvWindow":
        """The same ones, seen from the last pixel."""
        wide, narrow = (self.read, self.made) if self.transposed else (self.made, self.read)
        first, second = (
            (wide[n] - 1) * self.stride[n]
            + (self.kernel[n] - 1) * self.dilation[n]
            + (1 - narrow[n] - self.padding[n])
            for n in (0, 1)
        )
        return self._replace(padding=(first, second))


class OverlapPoint(NamedTuple):
    """While a kernel runs: pixels of its input that are still to be read, and pixels of its
    output that may be written.
    """

    unread: int
    written: int


@dataclass(frozen=True, slots=True, kw_only=True)
class BufferUse:
    """The buffers that a kernel reads and the one that it writes.

    in_place: it reads every element before it writes the same one, so that it may write into an
    operand of the same size. windows: those of a kernel that may write over what it has read of
    its only input.
    """

    inputs: tuple[str, ...]
    output: str
    in_place: bool = False
    windows: ConvWindow | None = None


def overlapped(windows: ConvWindow, read: int, written: int) -> int:
    """Bytes that an input of `read` bytes and an output of `written` bytes occupy together, when
    they overlap as far as the windows allow.
    """
    pixel_in, pixel_out = read // prod(windows.read), written // prod(windows.made)
    return max(unread * pixel_in + done * pixel_out for unread, done in overlap_points(windows))


def best_direction(windows: ConvWindow, read: int, written: int) -> ConvWindow:
    """The windows from the end where input and output overlap most."""
    directions = (windows, windows.backward)
    return min(directions, key=lambda way: overlapped(way, read, written))


@lru_cache(maxsize=4096)
def overlap_points(windows: ConvWindow) -> tuple[OverlapPoint, ...]:
    """When a kernel may need most of its input and its output together, whatever their
    channels. Bytes are linear in the pixels, so the corners of the convex hull are enough.
    """
    rows, columns = (_first(windows, axis) for axis in (0, 1))
    height, width = windows.read
    first = np.minimum(rows[:, None] * width + columns, height * width).ravel()
    needed = np.minimum.accumulate(first[::-1])[::-1]  # by this pixel or a later one
    written = np.minimum(np.arange(len(needed)) + AHEAD, len(needed))
    unread = height * width - needed
    return tuple(_hull([(height * width, 0), *zip(unread.tolist(), written.tolist(), strict=True)]))


def _first(windows: ConvWindow, axis: int) -> NDArray[np.int64]:
    """Along one axis, the first position that the window of each result reads."""
    read, outputs, kernel, stride, padding, dilation = (setting[axis] for setting in windows[:-1])
    results, taps = np.arange(outputs)[:, None], np.arange(kernel) * dilation
    if windows.transposed:
        places, rest = np.divmod(results + padding - taps, stride)
        places = np.where(rest, NOWHERE, places)
    else:
        places = results * stride - padding + taps
    position: NDArray[np.int64] = np.where((places >= 0) & (places < read), places, NOWHERE).min(1)
    return position


def _hull(points: Iterable[tuple[int, int]]) -> Sequence[OverlapPoint]:
    """The corners that are largest in some direction between the two axes. The points come
    with the first number falling and the second one rising.
    """
    hull: list[OverlapPoint] = []
    for point in points:
        while hull and (hull[-1].unread <= point[0] or _inside(hull, point)):
            hull.pop()
        hull.append(OverlapPoint(*point))
    return hull


def _inside(hull: Sequence[OverlapPoint], point: tuple[int, int]) -> bool:
    """Whether the last corner lies on or below the line from the one before to a point."""
    if len(hull) < 2:
        return False
    (u, w), (v, x) = hull[-2:]
    return (v - u) * (point[1] - w) <= (x - w) * (point[0] - u)

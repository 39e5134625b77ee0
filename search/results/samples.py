"""Samples of a data set as people look at them: pictures of few pixels, lines of few points.

And numbers as they are stored: of few digits, or counted in bars.
"""

import io
from collections.abc import Sequence
from math import ceil

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from tracking.evaluation import Histogram, Picture, Sample, Signal

WORST = 20  # mistakes that are kept of a split
_COLORS = 3
_PIXELS = 32 * 32  # of a picture in colour; one in grey may have as many values
_LINES = 8  # channels that are drawn as lines; more of them are rows of a picture
_POINTS = 256  # of one line, or of several together
_LEAST_POINTS = 32  # of a line
_DARK = 127  # photographs have brighter values than this somewhere
_DIGITS = 6  # of a number
_SIGNAL_DIGITS = 4
Array = NDArray[np.float64]


def shown(inputs: Tensor, indices: list[int]) -> list[Sample]:
    """Some of the inputs [N, C, *spatial], in raw units.

    Images, spectra and the like, [1 or 3, H, W], are pictures; other planes stand side by side,
    and many channels of a signal are the rows of one. What else has one axis is a signal.
    """
    photographs = not inputs.is_floating_point() and int(inputs.max()) > _DARK
    return [_shown(inputs[index].double().cpu().numpy(), photographs) for index in indices]


def _shown(sample: Array, photographs: bool) -> Sample:
    plane = _plane(sample)
    return _signal(plane) if plane.ndim == 2 else _picture(plane, photographs)


def _plane(sample: Array) -> Array:
    """A sample as lines [channels, length], or as an image [1 or 3, H, W]."""
    if sample.ndim == 1:
        return sample[None]
    if sample.ndim == 3 and 1 not in sample.shape[1:]:
        alone = sample.shape[0] in (1, _COLORS)
        return sample if alone else np.concatenate([*sample[:_LINES]], axis=1)[None]
    lines = sample.reshape(sample.shape[0], -1)
    return lines if len(lines) <= _LINES else lines[None]


def _picture(image: Array, photographs: bool) -> Picture:
    step = ceil((image.size / (_COLORS * _PIXELS)) ** 0.5)
    small = _means(image, step)
    low, high = (0.0, 255.0) if photographs else (float(image.min()), float(image.max()))
    levels = 255 * (small - low) / ((high - low) or 1.0)
    pixels = np.rint(levels).astype(np.uint8)
    file = io.BytesIO()
    picture = Image.fromarray(pixels[0] if len(pixels) == 1 else pixels.transpose(1, 2, 0))
    picture.save(file, format="PNG", optimize=True)
    return Picture(png=file.getvalue(), low=low, high=high, reduced=step)


def _means(image: Array, step: int) -> Array:
    """Means of squares of pixels; the last row and column repeat where squares need more."""
    rows, columns = (-side % step for side in image.shape[1:])
    whole = np.pad(image, ((0, 0), (0, rows), (0, columns)), mode="edge")
    channels, height, width = whole.shape
    squares = whole.reshape(channels, height // step, step, width // step, step)
    means: Array = squares.mean((2, 4))
    return means


def _signal(lines: Array) -> Signal:
    points = max(_LEAST_POINTS, _POINTS // len(lines))
    series = tuple(
        tuple(short(value, _SIGNAL_DIGITS) for value in _extremes(line, points)) for line in lines
    )
    return Signal(series=series, length=lines.shape[1], channels=len(lines))


def _extremes(line: Array, points: int) -> list[float]:
    """A line of at most so many points: the smallest and the largest value of each part, in
    their order, so that no peak is lost.
    """
    if len(line) <= points:
        return [float(value) for value in line]
    parts = np.array_split(line, points // 2)
    ends = (sorted((int(part.argmin()), int(part.argmax()))) for part in parts)
    return [float(part[end]) for part, pair in zip(parts, ends, strict=True) for end in pair]


def short(value: float, digits: int = _DIGITS) -> float:
    """A number of few digits, as it is stored."""
    return float(f"{value:.{digits}g}")


def histogram(values: Array, edges: Sequence[float]) -> Histogram:
    """How many of some values lie between two edges each; none lies outside."""
    counts, _ = np.histogram(values, bins=np.array(edges))
    return Histogram(edges=tuple(map(short, edges)), counts=tuple(map(int, counts)))

"""Small SVG charts of answers: confidence against accuracy, numbers, errors of reconstruction."""

from collections.abc import Sequence
from dataclasses import dataclass
from math import floor, log10
from typing import NamedTuple

from tracking.evaluation import Classification, Detection, Histogram, Residuals
from tracking.pages.curves import round_step
from tracking.tables import count, short

WIDTH, HEIGHT = 340, 260
LEFT, RIGHT, TOP, BOTTOM = 46, 332, 10, 218  # the edges within which is drawn
_STRIP = 34  # pixels below the reliability diagram for how many answers there are
_TICKS = 6
_RADIUS = 2.4


class Layer(NamedTuple):
    """A shape of a chart: its class in CSS, its path, and what pointing at it tells."""

    kind: str
    path: str
    title: str = ""


class Chart(NamedTuple):
    """A chart. Ticks are pairs of a place and a text; a key names layers."""

    title: str
    x_label: str
    y_label: str
    x_ticks: list[tuple[float, str]]
    y_ticks: list[tuple[float, str]]
    layers: list[Layer]
    key: list[tuple[str, str]]


@dataclass(frozen=True, slots=True)
class _Axis:
    """From values to pixels, by their logarithms where that is asked for."""

    low: float
    high: float
    start: float
    end: float
    logarithmic: bool = False

    def at(self, value: float) -> float:
        value, low, high = map(self._scaled, (value, self.low, self.high))
        return round(self.start + (self.end - self.start) * (value - low) / (high - low), 1)

    def ticks(self) -> list[tuple[float, str]]:
        if self.logarithmic:
            powers = range(floor(log10(self.low)), floor(log10(self.high)) + 1)
            values = [digit * 10.0**power for power in powers for digit in (1, 2, 5)]
        else:
            step = round_step(self.high - self.low, _TICKS)
            first = floor(self.low / step)
            values = [step * number for number in range(first, first + _TICKS + 4)]
        slack = 1e-9 * (self.high - self.low)
        inside = (value for value in values if self.low - slack <= value <= self.high + slack)
        return [(self.at(value), short(value)) for value in inside]

    def _scaled(self, value: float) -> float:
        return log10(value) if self.logarithmic else value


def _across(low: float, high: float, *, logarithmic: bool = False) -> _Axis:
    return _Axis(low, high, LEFT, RIGHT, logarithmic)


def _upwards(low: float, high: float) -> _Axis:
    return _Axis(low, high, BOTTOM, TOP)


def reliability_chart(evaluation: Classification) -> Chart:
    """Return how often answers are right by their confidence, and how many there are."""
    x, y = _across(0, 1), _Axis(0, 1, BOTTOM - _STRIP - 6, TOP)
    most = max(one.count for one in evaluation.calibration)
    strip = _Axis(0, most, BOTTOM, BOTTOM - _STRIP)
    layers = []
    for one in evaluation.calibration:
        if one.accuracy is None or one.confidence is None:
            continue
        left, right = x.at(one.lower) + 1, x.at(one.upper) - 1
        told = (
            f"confidence {one.lower:.1f} to {one.upper:.1f}: {count(one.count, 'answer')}, "
            f"{100 * one.accuracy:.1f} % right, mean confidence {100 * one.confidence:.1f} %"
        )
        layers += [
            Layer("right", _bar(left, right, y.at(0), y.at(one.accuracy)), told),
            Layer("sure", f"M{left} {y.at(one.confidence)}H{right}", told),
            Layer("faint", _bar(left, right, BOTTOM, strip.at(one.count)), told),
        ]
    diagonal = f"M{x.at(0)} {y.at(0)}L{x.at(1)} {y.at(1)}"
    return Chart(
        title=f"{evaluation.split}: error {short(evaluation.calibration_error)}",
        x_label="confidence of the answer",
        y_label="share that is right",
        x_ticks=x.ticks(),
        y_ticks=y.ticks(),
        layers=[*layers, Layer("ideal", diagonal)],
        key=[("right", "right"), ("sure", "mean confidence"), ("faint", "answers")],
    )


def scatter_chart(split: str, residuals: Residuals) -> Chart:
    """Return answers against targets; on the diagonal they are right."""
    values = [value for point in residuals.points for value in point]
    low, high = _widened(min(values), max(values))
    x, y = _across(low, high), _upwards(low, high)
    dots = "".join(_dot(x.at(target), y.at(answer)) for target, answer in residuals.points)
    return Chart(
        title=f"{split}: {residuals.name}",
        x_label="target",
        y_label="answer",
        x_ticks=x.ticks(),
        y_ticks=y.ticks(),
        layers=[
            Layer("ideal", f"M{x.at(low)} {y.at(low)}L{x.at(high)} {y.at(high)}"),
            Layer("dots", dots, f"{len(residuals.points)} samples"),
        ],
        key=[("dots", "sample")],
    )


def residuals_chart(split: str, residuals: Residuals) -> Chart:
    """Return how many samples are missed by how much."""
    edges, counts = residuals.histogram.edges, residuals.histogram.counts
    x = _across(*_widened(min(edges[0], 0.0), max(edges[-1], 0.0)))
    y = _upwards(0, max(counts))
    return Chart(
        title=f"{split}: {residuals.name}, answer less target",
        x_label="answer less target",
        y_label="samples",
        x_ticks=x.ticks(),
        y_ticks=y.ticks(),
        layers=[
            *_bars("right", residuals.histogram, [float(number) for number in counts], x, y),
            Layer("ideal", f"M{x.at(0)} {BOTTOM}V{TOP}"),
            Layer("sure", f"M{x.at(residuals.bias)} {BOTTOM}V{TOP}", "bias"),
        ],
        key=[("right", "samples"), ("sure", "bias")],
    )


def errors_chart(evaluation: Detection) -> Chart:
    """Return how errors spread over normal and over anomalous samples, and the threshold."""
    kinds = {"right": evaluation.normal_errors, "wrong": evaluation.anomalous_errors}
    shares = {kind: _shares(histogram) for kind, histogram in kinds.items()}
    edges = evaluation.normal_errors.edges
    x = _across(edges[0], edges[-1], logarithmic=True)
    y = _upwards(0, max(max(values) for values in shares.values()))
    layers = [
        layer for kind, histogram in kinds.items()
        for layer in _bars(kind, histogram, shares[kind], x, y)
    ]  # fmt: skip
    limit = min(max(evaluation.threshold, edges[0]), edges[-1])
    told = f"threshold {short(evaluation.threshold)}"
    return Chart(
        title=evaluation.split,
        x_label="error in giving back the sample",
        y_label="share of the samples of a kind",
        x_ticks=x.ticks(),
        y_ticks=y.ticks(),
        layers=[*layers, Layer("sure", f"M{x.at(limit)} {BOTTOM}V{TOP}", told)],
        key=[("right", "normal"), ("wrong", "anomalous"), ("sure", told)],
    )


def _shares(histogram: Histogram) -> list[float]:
    total = sum(histogram.counts) or 1
    return [number / total for number in histogram.counts]


def _bars(
    kind: str, histogram: Histogram, heights: Sequence[float], x: _Axis, y: _Axis
) -> list[Layer]:
    edges = histogram.edges
    return [
        Layer(
            kind,
            _bar(x.at(edges[place]), x.at(edges[place + 1]), y.at(0), y.at(height)),
            f"{short(edges[place])} to {short(edges[place + 1])}: "
            + count(histogram.counts[place], "sample"),
        )
        for place, height in enumerate(heights)
        if height
    ]


def _bar(left: float, right: float, bottom: float, top: float) -> str:
    return f"M{left:.1f} {bottom}V{top}H{right:.1f}V{bottom}Z"


def _dot(x: float, y: float) -> str:
    arc = f"a{_RADIUS} {_RADIUS} 0 1 0"
    return f"M{x - _RADIUS:.1f} {y}{arc} {2 * _RADIUS} 0{arc} {-2 * _RADIUS} 0"


def _widened(low: float, high: float) -> tuple[float, float]:
    margin = 0.05 * (high - low) or 0.5
    return low - margin, high + margin

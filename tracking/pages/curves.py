"""How a trial was trained, as small SVG charts: score, loss and costs, its phases shaded."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby
from math import floor, isfinite, log10
from typing import NamedTuple

from markupsafe import Markup

from tracking.pages.page import render
from tracking.pages.plot_layout import FRONT
from tracking.records import EpochRow, Limits, TrialRecord
from tracking.tables import NAMES, shares_of, short

_PHASE_COLORS = {
    "dense": "#eef2f5", "prune": "#fdf0e2", "finetune": "#e8f3f6", "quantize": "#efeaf6"
}  # fmt: skip
_PHASE_NAMES = {"finetune": "fine-tune", "quantize": "int8-aware"}
_COLORS = {"flash_bytes": "#0072b2", "sram_bytes": "#d55e00", "latency_ms": "#009e73"}
_NARROW = 0.11  # of the width, below which a phase's name has no room


class _Frame(NamedTuple):
    """A chart in pixels, and the edges within which curves are drawn."""

    width: int = 420
    height: int = 210
    left: int = 46
    end: int = 410
    top: int = 22
    bottom: int = 186

    @property
    def inner_height(self) -> int:
        return self.bottom - self.top


_FRAME = _Frame()


class _Curve(NamedTuple):
    """A value for each epoch. The only curve of a chart needs no name."""

    name: str
    color: str
    points: str


class _Phase(NamedTuple):
    x: float
    width: float
    color: str
    name: str
    has_room: bool


class _Tick(NamedTuple):
    y: float
    label: str


class _Chart(NamedTuple):
    """Curves over the epochs, with what is behind them; epochs are pairs of number and x."""

    title: str
    phases: list[_Phase]
    ticks: list[_Tick]
    epochs: list[tuple[int, float]]
    limit_y: float | None
    curves: list[_Curve]


@dataclass(frozen=True, slots=True)
class _Scale:
    """From values to pixels. Where values span much, by their logarithms."""

    low: float
    high: float
    logarithmic: bool = False

    @classmethod
    def around(cls, values: Sequence[float], *, shares: bool) -> "_Scale":
        finite = [value for value in values if isfinite(value)] or [0.0, 1.0]
        low, high = min(finite), max(finite)
        if shares and low > 0 and high > 4 * low:
            return cls(low / 1.15, high * 1.15, logarithmic=True)
        margin = 0.08 * (high - low) or 0.05 * abs(high) or 0.5
        return cls(low - margin, high + margin)

    def y(self, value: float) -> float:
        position, low, high = value, self.low, self.high
        if self.logarithmic:
            position, low, high = log10(value), log10(low), log10(high)
        return round(_FRAME.top + _FRAME.inner_height * (high - position) / (high - low), 1)

    def ticks(self, *, shares: bool) -> list[_Tick]:
        """Return ticks at a few round values."""
        if self.logarithmic:
            values = [digit * 10.0**power for power in range(-3, 5) for digit in (1, 2, 5)]
        else:
            step = round_step(self.high - self.low, 6)
            first = int(self.low // step)
            values = [step * number for number in range(first, first + 9)]
        return [
            _Tick(self.y(value), f"{100 * value:.4g} %" if shares else short(value))
            for value in values
            if self.low <= value <= self.high
        ]


class _Epochs(NamedTuple):
    """From epochs to pixels. `before` is the end of the epoch before the first."""

    before: int
    last: int

    def x(self, epoch: float) -> float:
        width, span = _FRAME.end - _FRAME.left, self.last - self.before
        return round(_FRAME.left + width * (epoch - self.before) / span, 1)

    def marks(self) -> list[tuple[int, float]]:
        step = max(1, round(round_step(self.last - self.before, 8)))
        return [
            (epoch, self.x(epoch))
            for epoch in range(self.before, self.last + 1)
            if epoch % step == 0
        ]


def round_step(span: float, most: int) -> float:
    """Return the smallest of 1, 2, 5, 10, ... that divides a span into at most so many."""
    unit = 10.0 ** (floor(log10(span)) - 1)
    return next(m * unit for m in (1, 2, 5, 10, 20, 50, 100) if span <= m * unit * most)


Series = tuple[str, str, Sequence[float]]  # name, colour, a value for each epoch


def curves_card(trial: TrialRecord, metric: str) -> Markup:
    """Return charts of the score, the loss and the costs by epoch, as HTML without a script.

    Costs are shares of their limits: at 100 % a limit holds. Without two epochs it is empty.
    """
    rows = [row for row in trial.epochs if isfinite(row.score) and isfinite(row.loss)]
    if len(rows) < 2:
        return Markup()
    charts = [
        _chart(f"{metric} on validation", rows, [("", FRONT, [row.score for row in rows])]),
        _chart("training loss", rows, [("", FRONT, [row.loss for row in rows])]),
    ]
    if shares := _shares(rows, trial.budget):
        charts.append(_chart("costs as shares of their limits", rows, shares, shares=True))
    return render("curves.html.j2", frame=_FRAME, charts=charts)


def _shares(rows: Sequence[EpochRow], budget: Limits) -> list[Series]:
    shares = [shares_of(row.costs, budget) for row in rows]
    return [(NAMES[name], _COLORS[name], [share[name] for share in shares]) for name in shares[0]]


def _chart(
    title: str, rows: Sequence[EpochRow], series: Sequence[Series], *, shares: bool = False
) -> _Chart:
    values = [value for _, _, line in series for value in line]
    scale = _Scale.around([*values, *([1.0] if shares else [])], shares=shares)
    epochs = _Epochs(rows[0].epoch - 1, rows[-1].epoch)
    return _Chart(
        title=title,
        phases=_phases(rows, epochs),
        ticks=scale.ticks(shares=shares),
        epochs=epochs.marks(),
        limit_y=scale.y(1.0) if shares else None,
        curves=[
            _Curve(name, color, " ".join(
                f"{epochs.x(row.epoch)},{scale.y(value)}"
                for row, value in zip(rows, line, strict=True)
            ))
            for name, color, line in series
        ],
    )  # fmt: skip


def _phases(rows: Sequence[EpochRow], epochs: _Epochs) -> list[_Phase]:
    """Return a shade for every phase, with its name where there is room."""
    phases = []
    for name, group in groupby(rows, key=lambda row: row.phase):
        members = list(group)
        left, right = epochs.x(members[0].epoch - 1), epochs.x(members[-1].epoch)
        phases.append(
            _Phase(
                x=left,
                width=round(right - left, 1),
                color=_PHASE_COLORS.get(name, "#f4f6f8"),
                name=_PHASE_NAMES.get(name, name),
                has_room=right - left > _NARROW * _FRAME.width,
            )
        )
    return phases

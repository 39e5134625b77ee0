"""How a trial was trained, as small SVG charts: score, loss and costs, its phases shaded."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from html import escape
from itertools import groupby
from math import floor, isfinite, log10

from tracking.pages.plot_layout import FRONT, LIMIT
from tracking.records import EpochRow, Limits, TrialRecord
from tracking.tables import NAMES, shares_of, short

_WIDTH, _HEIGHT = 420, 210
_LEFT, _RIGHT, _TOP, _BOTTOM = 46, 10, 22, 24
_SHADES = {"dense": "#eef2f5", "prune": "#fdf0e2", "finetune": "#e8f3f6", "quantize": "#efeaf6"}
_WORDS = {"finetune": "fine-tune", "quantize": "int8-aware"}
_COLORS = {"flash_bytes": "#0072b2", "sram_bytes": "#d55e00", "latency_ms": "#009e73"}
_LIMIT_LINE = f"<path d='M{_LEFT} {{}}H{_WIDTH - _RIGHT}' stroke='{LIMIT}' stroke-dasharray='4 3'/>"
_NARROW = 0.11  # of the width, below which a phase's name has no room

CURVES_STYLE = """
.curves { grid-template-columns: repeat(auto-fit, minmax(300px, 1fr)); }
.curves svg { width: 100%; height: auto; font: 11px system-ui, sans-serif; }
.curves figcaption { color: #3e4c59; font-size: 13px; }
.curves figure { margin: 6px 0 0; }
.curves .grid-line { stroke: #e8edf2; }
.curves text { fill: #52606d; }
"""

Line = tuple[str, str, Sequence[float]]  # name, colour, a value for each epoch


@dataclass(frozen=True, slots=True)
class _Scale:
    """From values to pixels. Where values span much, by their logarithms."""

    low: float
    high: float
    logarithmic: bool = False

    @classmethod
    def around(cls, values: Sequence[float], *, shares: bool) -> "_Scale":
        known = [value for value in values if isfinite(value)] or [0.0, 1.0]
        low, high = min(known), max(known)
        if shares and low > 0 and high > 4 * low:
            return cls(low / 1.15, high * 1.15, logarithmic=True)
        margin = 0.08 * (high - low) or 0.05 * abs(high) or 0.5
        return cls(low - margin, high + margin)

    def y(self, value: float) -> float:
        place, low, high = value, self.low, self.high
        if self.logarithmic:
            place, low, high = log10(value), log10(low), log10(high)
        inside = _HEIGHT - _TOP - _BOTTOM
        return round(_TOP + inside * (high - place) / (high - low), 1)

    def ticks(self) -> list[float]:
        """Return a few round values."""
        if self.logarithmic:
            some = [digit * 10.0**power for power in range(-3, 5) for digit in (1, 2, 5)]
        else:
            step = _step(self.high - self.low, 6)
            first = int(self.low // step)
            some = [step * number for number in range(first, first + 9)]
        return [value for value in some if self.low <= value <= self.high]


def _step(span: float, most: int) -> float:
    """Return the smallest of 1, 2, 5, 10, ... that divides a span into at most so many."""
    unit = 10.0 ** (floor(log10(span)) - 1)
    return next(m * unit for m in (1, 2, 5, 10, 20, 50, 100) if span <= m * unit * most)


def curves_card(trial: TrialRecord, metric: str) -> str:
    """Return charts of the score, the loss and the costs by epoch, as HTML without a script.

    Costs are shares of their limits: at 100 % a limit holds.
    """
    rows = [row for row in trial.epochs if isfinite(row.score) and isfinite(row.loss)]
    if len(rows) < 2:
        return ""
    charts = [
        _chart(f"{escape(metric)} on validation", rows, [("", FRONT, [r.score for r in rows])]),
        _chart("training loss", rows, [("", FRONT, [r.loss for r in rows])]),
    ]
    if shares := _shares(rows, trial.budget):
        charts.append(_chart("costs as shares of their limits", rows, shares, shares=True))
    return (
        "<div class='card'><h2>How it was trained, by epoch</h2>"
        f"<div class='grid curves'>{''.join(charts)}</div></div>\n"
    )


def _shares(rows: Sequence[EpochRow], budget: Limits) -> list[Line]:
    shares = [shares_of(row.costs, budget) for row in rows]
    return [(NAMES[name], _COLORS[name], [share[name] for share in shares]) for name in shares[0]]


def _chart(
    title: str, rows: Sequence[EpochRow], lines: Sequence[Line], *, shares: bool = False
) -> str:
    values = [value for _, _, line in lines for value in line]
    scale = _Scale.around([*values, *([1.0] if shares else [])], shares=shares)
    first, last = rows[0].epoch - 1, rows[-1].epoch

    def x(epoch: float) -> float:
        return round(_LEFT + (_WIDTH - _LEFT - _RIGHT) * (epoch - first) / (last - first), 1)

    def drawn(line: Sequence[float]) -> str:
        pairs = zip(rows, line, strict=True)
        return " ".join(f"{x(row.epoch)},{scale.y(value)}" for row, value in pairs)

    marks = [*_phases(rows, x), *_ticks(scale, shares=shares), *_epochs(first, last, x)]
    marks += [_LIMIT_LINE.format(scale.y(1.0))] if shares else []
    marks += [
        f"<polyline points='{drawn(line)}' fill='none' stroke='{color}' stroke-width='2'>"
        f"<title>{name or title}</title></polyline>"
        for name, color, line in lines
    ]
    names = "".join(f" <b style='color:{color}'>{name}</b>" for name, color, _ in lines if name)
    return (
        f"<figure><figcaption>{title}{names}</figcaption>"
        f"<svg viewBox='0 0 {_WIDTH} {_HEIGHT}' role='img' aria-label='{title}'>"
        f"{''.join(marks)}</svg></figure>"
    )


def _phases(rows: Sequence[EpochRow], x: Callable[[float], float]) -> list[str]:
    """Return a shade for every phase, with its name where there is room."""
    marks, inside = [], _HEIGHT - _TOP - _BOTTOM
    for phase, group in groupby(rows, key=lambda row: row.phase):
        part = list(group)
        left, right = x(part[0].epoch - 1), x(part[-1].epoch)
        name = escape(_WORDS.get(phase, phase))
        shade = _SHADES.get(phase, "#f4f6f8")
        marks.append(
            f"<rect x='{left}' y='{_TOP}' width='{round(right - left, 1)}' height='{inside}' "
            f"fill='{shade}'><title>{name}</title></rect>"
        )
        if right - left > _NARROW * _WIDTH:
            marks.append(f"<text x='{left + 4}' y='{_TOP - 6}'>{name}</text>")
    return marks


def _ticks(scale: _Scale, *, shares: bool) -> list[str]:
    marks = []
    for value in scale.ticks():
        text = f"{100 * value:.4g} %" if shares else short(value)
        marks.append(
            f"<path class='grid-line' d='M{_LEFT} {scale.y(value)}H{_WIDTH - _RIGHT}'/>"
            f"<text x='{_LEFT - 6}' y='{scale.y(value) + 4}' text-anchor='end'>{text}</text>"
        )
    return marks


def _epochs(first: int, last: int, x: Callable[[float], float]) -> list[str]:
    step = max(1, round(_step(last - first, 8)))
    return [
        f"<text x='{x(epoch)}' y='{_HEIGHT - 8}' text-anchor='middle'>{epoch}</text>"
        for epoch in range(first, last + 1)
        if epoch % step == 0
    ]

"""What figures share: panels, ranges and ticks of axes, colours and marks."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape
from math import log10
from typing import Any

from tracking.tables import NAMES

Figure = dict[str, Any]

INK, FAINT, FRONT, DENSE, LIMIT = "#1f2933", "#9fb0c0", "#0b7285", "#d9730d", "#c92a2a"
MEAN = "#7048e8"
COLORS = ("#0b7285", "#d9730d", "#7048e8", "#2b8a3e", "#c2255c", "#5c940d")  # of studies
_MARKS = (  # symbol, its path around (9, 7), and the line's dashes: one more for each round
    ("circle", "M4 7a5 5 0 1 0 10 0a5 5 0 1 0 -10 0", "solid"),
    ("square", "M4.5 2.5h9v9h-9z", "dash"),
    ("diamond", "M9 1.5l5.5 5.5l-5.5 5.5l-5.5 -5.5z", "dot"),
    ("triangle-up", "M9 1.5l5.5 10h-11z", "dashdot"),
)
_GRID, _RULE = "#e8edf2", "#b8c4ce"
_LOG_SPAN = 5  # largest over smallest value from which an axis is logarithmic
REACH = 2.5  # a limit above this many times the largest value is only mentioned


@dataclass(frozen=True, slots=True)
class Look:
    """The colour, mark and dashes of a study in a figure; `path` is the mark in SVG."""

    color: str
    symbol: str
    dash: str
    path: str


def looks(count: int) -> list[Look]:
    """Return different looks for so many studies: all colours, then those with another mark."""
    marks = [_MARKS[n // len(COLORS) % len(_MARKS)] for n in range(count)]
    return [
        Look(COLORS[n % len(COLORS)], symbol, dash, path)
        for n, (symbol, path, dash) in enumerate(marks)
    ]


def literal(text: str) -> str:
    """Return text for Plotly's titles, ticks and hover labels, in which it reads tags such as
    <b>. It takes quotes as they are, and knows no &quot;.
    """
    return escape(text, quote=False)


@dataclass(frozen=True, slots=True)
class Panel:
    """One plane: score against a resource. `scale` converts its unit into the one shown."""

    resource: str
    unit: str
    scale: float

    @property
    def title(self) -> str:
        """The resource as a heading."""
        name = NAMES[self.resource]
        return name[0].upper() + name[1:]


PANELS = (
    Panel("flash_bytes", "KiB", 1 / 1024),
    Panel("sram_bytes", "KiB", 1 / 1024),
    Panel("latency_ms", "ms", 1.0),
)


@dataclass(frozen=True, slots=True)
class Card:
    """A figure's place on a page: a card with a heading.

    `name` is the id of the element that the figure is drawn in. Where there is no room for
    `width` pixels it scrolls; `kind` is a CSS class for how far the card reaches.
    """

    name: str
    title: str
    figure: Figure
    kind: str = ""
    width: int = 0


def score_cards(figures: Mapping[str, Figure]) -> list[Card]:
    """Return a card for each resource's figure of the score against it."""
    return [
        Card(resource, f"Score against {NAMES[resource]}", figure)
        for resource, figure in figures.items()
    ]


@dataclass(frozen=True, slots=True)
class Axis:
    """The range of an x axis, in the unit shown."""

    low: float
    high: float
    logarithmic: bool

    @classmethod
    def around(cls, values: Sequence[float], limit: float | None) -> "Axis":
        """Return an axis that shows the values, and the limit if it is not far above them."""
        low, high = min(values, default=1.0), max(values, default=1.0)
        if limit is not None and limit <= REACH * high:
            low, high = min(low, limit), max(high, limit)
        if low > 0 and high > _LOG_SPAN * low:
            margin = (high / low) ** 0.08
            return cls(low / margin, high * margin, True)
        margin = 0.08 * (high - low) or 0.5 * abs(high) or 1.0
        return cls(max(0.0, low - margin), high + margin, False)

    def layout(self, panel: Panel) -> dict[str, Any]:
        """Return Plotly's settings of this axis."""
        if not self.logarithmic:
            return {"range": [self.low, self.high]}
        settings: dict[str, Any] = {
            "type": "log",
            "range": [log10(self.low), log10(self.high)],
        }
        ticks = self._ticks(panel)
        if len(ticks) >= 2:
            settings |= {"tickvals": ticks, "ticktext": [f"{tick:g}" for tick in ticks]}
        return settings

    def share(self, value: float) -> float:
        """Return the position of a value on the axis, from 0 to 1."""
        if self.logarithmic:
            return log10(value / self.low) / log10(self.high / self.low) if value > 0 else 0.0
        return (value - self.low) / (self.high - self.low)

    def _ticks(self, panel: Panel) -> list[float]:
        """Return round values: powers of two for sizes, 1-2-5 for times; at most eight."""
        if panel.unit == "ms":
            values = [digit * 10.0**power for power in range(-4, 7) for digit in (1, 2, 5)]
        else:
            values = [2.0**power for power in range(-10, 21)]
        ticks = [value for value in values if self.low <= value <= self.high]
        return ticks[:: 1 + (len(ticks) - 1) // 8]


def layout(y_title: str, x_title: str) -> Figure:
    """Return Plotly's layout of a figure, without the ranges of its axes."""

    def axis(title: str) -> Figure:
        return {
            "title": {"text": title, "font": {"size": 12}, "standoff": 8},
            "gridcolor": _GRID,
            "linecolor": _RULE,
            "ticks": "outside",
            "tickcolor": _RULE,
            "ticklen": 4,
            "showline": True,
            "zeroline": False,
            "automargin": True,
        }

    return {
        "xaxis": axis(x_title),
        "yaxis": axis(y_title),
        "margin": {"l": 56, "r": 16, "t": 26, "b": 44},
        "font": {"family": "system-ui, sans-serif", "size": 12, "color": INK},
        "paper_bgcolor": "white",
        "plot_bgcolor": "white",
        "showlegend": False,
        "hovermode": "closest",
        "hoverlabel": {"bgcolor": "white", "bordercolor": _RULE, "align": "left",
                       "font": {"color": INK, "size": 12}},
    }  # fmt: skip

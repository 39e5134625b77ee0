"""Plotly figures of a whole study: its progress, all its trials, its hyperparameters."""

from collections.abc import Iterable, Sequence
from itertools import cycle
from math import ceil, floor, isfinite, log10

from tracking.pages.labels import shortened
from tracking.pages.plot_layout import COLORS, FRONT, PANELS, Figure, layout, literal
from tracking.records import Scalar, StudyRecord
from tracking.tables import NAMES, finished_trials, limit_of

_HEADING_LENGTH = 18  # characters, so that headings do not overlap
_SCALE = ((0.0, "#c2410c"), (0.5, "#7048e8"), (1.0, "#0b7285"))  # all readable on white


def hypervolume_figure(study: StudyRecord) -> Figure:
    """Return the hypervolume after each finished trial."""
    values = [value if isfinite(value) else None for value in study.hypervolumes]
    steps = list(range(1, len(values) + 1))
    trace = {
        "type": "scatter",
        "name": "hypervolume",
        "x": steps,
        "y": values,
        "mode": "lines+markers" if len(values) <= 60 else "lines",
        "line": {"color": FRONT, "width": 2, "shape": "hv"},
        "marker": {"size": 5},
        "hovertemplate": "%{y:.4f} after %{x}<extra></extra>",
    }
    frame = layout("hypervolume", "finished trials")
    frame["xaxis"] |= {"rangemode": "tozero", "tickformat": "d"}
    if len(values) < 10:
        frame["xaxis"]["dtick"] = 1
        frame["yaxis"]["rangemode"] = "tozero"
    return {"data": [trace], "layout": frame}


def parallel_figure(study: StudyRecord) -> Figure:
    """Return every finished trial as a line through its budget, hyperparameters and score."""
    trials = finished_trials(study)
    columns: list[tuple[str, Sequence[Scalar]]] = [
        (f"{panel.title} limit ({panel.unit})", [limit * panel.scale for limit in limits])
        for panel in PANELS
        if len(limits := _given(limit_of(trial.budget, panel.resource) for trial in trials))
        == len(trials)
    ]
    names = dict.fromkeys(name for trial in trials for name in trial.params)
    columns += [
        (name, [trial.params[name] for trial in trials])
        for name in names
        if all(trial.params.get(name) is not None for trial in trials)
    ]
    scores = [trial.score for trial in trials]
    headings = shortened([name for name, _ in columns], _HEADING_LENGTH)
    # Unlike in other figures, Plotly reads no tags in these texts.
    trace = {
        "type": "parcoords",
        "dimensions": [
            *(_dimension(headings[name], values) for name, values in columns),
            _dimension(study.metric, scores),
        ],
        "line": {
            "color": scores,
            "colorscale": [list(stop) for stop in _SCALE],
            "reversescale": not study.scores_rise,
        },
        "labelfont": {"size": 12},
        "unselected": {"line": {"opacity": 0.06}},
    }
    frame = layout("", "") | {"margin": {"l": 70, "r": 50, "t": 56, "b": 24}}
    return {"data": [trace], "layout": frame}


def _given(values: Iterable[float | None]) -> list[float]:
    return [value for value in values if value is not None]


def _dimension(label: str, values: Sequence[Scalar]) -> Figure:
    """Return one axis: logarithmic where values span much, categorical where they are words."""
    numbers = [float(v) for v in values if isinstance(v, int | float) and not isinstance(v, bool)]
    if len(numbers) < len(values):
        words = sorted({str(value) for value in values})
        positions = [words.index(str(value)) for value in values]
        ticks = list(range(len(words)))
        return {"label": label, "values": positions, "tickvals": ticks, "ticktext": words}
    low, high = min(numbers), max(numbers)
    if low <= 0 or high < 8 * low:
        return {"label": label, "values": numbers, "range": _round_ends(low, high),
                "tickformat": ".4~g"}  # fmt: skip
    values_1_2_5 = [d * 10.0**power for power in range(-12, 13) for d in (1, 2, 5)]
    first = max((tick for tick in values_1_2_5 if tick <= low), default=low)
    last = min((tick for tick in values_1_2_5 if tick >= high), default=high)
    tick_values = [tick for tick in values_1_2_5 if first <= tick <= last]
    return {
        "label": label,
        "values": [log10(number) for number in numbers],
        "range": [log10(first), log10(last)],
        "tickvals": [log10(tick) for tick in tick_values],
        "ticktext": [f"{tick:g}" for tick in tick_values],
    }


def _round_ends(low: float, high: float) -> list[float]:
    """Return a round range around values: its ends are multiples of a power of ten that is at
    most a tenth of their span.
    """
    span = high - low or abs(high) or 1.0
    step = 10.0 ** floor(log10(span / 10) + 1e-9)
    ends = (floor(low / step + 1e-9), ceil(high / step - 1e-9))
    return [round(end * step, 12) for end in ends]


def importance_figure(study: StudyRecord) -> Figure:
    """Return how much each hyperparameter matters for each objective, as bars."""
    names = list(dict.fromkeys(name for shares in study.importances.values() for name in shares))
    traces = [
        {
            "type": "bar",
            "orientation": "h",
            "name": literal(NAMES.get(objective, objective)),
            "x": [shares.get(name, 0.0) for name in names],
            "y": [literal(name) for name in names],
            "marker": {"color": color},
            "hovertemplate": "%{y}: %{x:.0%}<extra>%{fullData.name}</extra>",
        }
        for (objective, shares), color in zip(
            study.importances.items(), cycle(COLORS), strict=False
        )
    ]
    frame = layout("", "share in being among the best tenth of the trials of one budget")
    frame["xaxis"] |= {"rangemode": "tozero", "tickformat": ".0%"}
    frame |= {"showlegend": True, "legend": {"orientation": "h", "y": 1.12}, "bargap": 0.3}
    return {"data": traces, "layout": frame}

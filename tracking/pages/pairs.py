"""A pairs plot: the score and the three costs, each against each."""

from tracking.pages.plot_layout import (
    FAINT,
    FRONT,
    PANELS,
    Axis,
    Figure,
    Panel,
    layout,
    literal,
)
from tracking.pages.tooltips import hover_text
from tracking.pages.traces import Trace, by_variant, shown_cost
from tracking.records import StudyRecord, TrialRecord
from tracking.tables import finished_trials

_GAP = 0.03  # between two planes, as a share of the figure
_SCORE = "score"
_COLUMNS = PANELS
_ROWS = (*PANELS[1:], None)  # None: the score
MARKS: dict[str, Figure] = {
    "dominated": {"size": 5, "color": FAINT, "opacity": 0.6},
    "front": {"size": 7, "color": FRONT, "line": {"color": "white", "width": 1}},
}


def pairs_figure(study: StudyRecord) -> Figure:
    """Return SRAM, latency and score in rows, against flash, SRAM and latency in columns.

    Trials that are on any front are marked; all of a trial is said when it is pointed at.
    """
    trials = finished_trials(study)
    frame = layout("", "")
    base_x, base_y = frame.pop("xaxis"), frame.pop("yaxis")
    for place, panel in enumerate(_COLUMNS):
        frame[f"xaxis{_suffix(place)}"] = {
            **base_x, **_axis(trials, panel), "domain": _domain(place), "anchor": f"y{len(_ROWS)}",
        }  # fmt: skip
    for place, row in enumerate(_ROWS):
        given = (
            {"title": {"text": literal(study.metric), "font": {"size": 12}}}
            if row is None
            else _axis(trials, row)
        )
        domain = _domain(len(_ROWS) - 1 - place)
        frame[f"yaxis{_suffix(place)}"] = {**base_y, **given, "domain": domain, "anchor": "x"}
    traces = [
        _points(study, name, [trial for trial in trials if bool(trial.planes) is on], row, column)
        for name, on in (("dominated", False), ("front", True))
        for row in range(len(_ROWS))
        for column in range(row + 1)
    ]
    return {"data": traces, "layout": frame | {"margin": {"l": 64, "r": 16, "t": 10, "b": 44}}}


def _suffix(place: int) -> str:
    """Return the number by which Plotly tells axes apart; the first has none."""
    return "" if place == 0 else str(place + 1)


def _domain(place: int) -> list[float]:
    width = (1 - _GAP * (len(_COLUMNS) - 1)) / len(_COLUMNS)
    start = place * (width + _GAP)
    return [round(start, 4), round(start + width, 4)]


def _axis(trials: list[TrialRecord], panel: Panel) -> Figure:
    axis = Axis.around([shown_cost(trial, panel) for trial in trials], None)
    title = {"text": f"{panel.title} ({panel.unit})", "font": {"size": 12}}
    return {"title": title, **axis.layout(panel)}


def _points(
    study: StudyRecord, name: str, trials: list[TrialRecord], row: int, column: int
) -> Trace:
    across, up = _COLUMNS[column], _ROWS[row]
    return {
        "type": "scatter",
        "name": name,
        "mode": "markers",
        "marker": by_variant(MARKS[name], study, trials),
        "x": [shown_cost(trial, across) for trial in trials],
        "y": [trial.score if up is None else shown_cost(trial, up) for trial in trials],
        "xaxis": f"x{_suffix(column)}",
        "yaxis": f"y{_suffix(row)}",
        "customdata": [trial.number for trial in trials],
        "meta": {"x": across.resource, "y": _SCORE if up is None else up.resource},
        "hovertext": [hover_text(study, trial) for trial in trials],
        "hoverinfo": "text",
    }

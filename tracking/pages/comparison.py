"""Several studies over each other: one HTML file with everything in it, as the study's page."""

from collections.abc import Sequence
from typing import NamedTuple

from tracking.pages.page import render
from tracking.pages.plot_layout import (
    PANELS,
    Axis,
    Figure,
    Look,
    Panel,
    layout,
    literal,
    looks,
    score_cards,
)
from tracking.pages.traces import Trace, front_of, points, score_title, shown_cost, staircase
from tracking.records import StudyRecord, TrialRecord
from tracking.tables import count, front_trials


class _LegendEntry(NamedTuple):
    look: Look
    study: str
    points: str


def comparison_page(studies: Sequence[StudyRecord]) -> str:
    """Return a whole HTML page with the fronts of several studies over each other."""
    cards = score_cards({panel.resource: comparison_figure(studies, panel) for panel in PANELS})
    legend = [
        _LegendEntry(look, study.name, count(len(front_trials(study)), "point"))
        for study, look in zip(studies, looks(len(studies)), strict=True)
    ]
    page = render(
        "comparison.html.j2",
        names=" and ".join(study.name for study in studies),
        facts=[f"{studies[0].metric} ({studies[0].precision})"],
        legend=legend,
        cards=cards,
        figures={card.name: card.figure for card in cards},
    )
    return str(page)


def comparison_figure(studies: Sequence[StudyRecord], panel: Panel) -> Figure:
    """Return the fronts of several studies against one resource, each in its colour."""
    fronts = [front_of(study, panel) for study in studies]
    axis = Axis.around([shown_cost(trial, panel) for front in fronts for trial in front], None)
    traces = [
        trace
        for study, front, look in zip(studies, fronts, looks(len(studies)), strict=True)
        for trace in _traces(study, front, look, panel, axis)
    ]
    frame = layout(score_title(studies[0]), f"{panel.title} ({panel.unit})")
    frame["xaxis"] |= axis.layout(panel)
    if not any(fronts):
        frame["annotations"] = [{"text": "no point yet", "showarrow": False, "x": 0.5, "y": 0.5,
                                 "xref": "paper", "yref": "paper"}]  # fmt: skip
        for axis_name in ("xaxis", "yaxis"):
            frame[axis_name] |= {"showticklabels": False, "ticks": ""}
    return {"data": traces, "layout": frame}


def _traces(
    study: StudyRecord, front: Sequence[TrialRecord], look: Look, panel: Panel, axis: Axis
) -> tuple[Trace, Trace]:
    """Return the front of one study: its staircase, and its points with the study's name."""
    name = literal(study.name)
    steps, marks = staircase(front, panel, axis), points(name, study, front, panel)
    heading = f"<b>{name}</b><br>"
    line = {**steps["line"], "color": look.color, "dash": look.dash}
    marker = {"size": 8, "color": look.color, "symbol": look.symbol,
              "line": {"color": "white", "width": 1}}  # fmt: skip
    return (
        steps | {"line": line, "name": name},
        marks
        | {"mode": "markers", "marker": marker}
        | {"hovertext": [heading + text for text in marks["hovertext"]]},
    )

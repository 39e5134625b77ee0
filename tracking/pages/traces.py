"""Parts of Plotly's figures that show trials: points, and the staircase of a front."""

from collections.abc import Sequence

from tracking.pages.plot_layout import FRONT, Axis, Figure, Look, Panel, literal, looks
from tracking.pages.tooltips import hover_text
from tracking.records import StudyRecord, TrialRecord
from tracking.tables import cost_of, finished_trials

Trace = Figure


def shown_cost(trial: TrialRecord, panel: Panel) -> float:
    """Return what a trial takes of the panel's resource, in the unit shown."""
    return cost_of(trial.known_costs, panel.resource) * panel.scale


def front_of(study: StudyRecord, panel: Panel) -> list[TrialRecord]:
    """Return the trials on the front of the panel's resource, the smallest first."""
    return sorted(
        (trial for trial in finished_trials(study) if panel.resource in trial.planes),
        key=lambda trial: (shown_cost(trial, panel), trial.number),
    )


def score_title(study: StudyRecord) -> str:
    """Return the title of the axis of scores."""
    return f"{literal(study.metric)} ({literal(study.precision)})"


def points(name: str, study: StudyRecord, trials: Sequence[TrialRecord], panel: Panel) -> Trace:
    """Return a point for each trial, which says all of it when pointed at."""
    return {
        "type": "scatter",
        "name": name,
        "x": [shown_cost(trial, panel) for trial in trials],
        "y": [trial.score for trial in trials],
        "customdata": [trial.number for trial in trials],
        "meta": {"x": panel.resource, "y": "score"},
        "hovertext": [hover_text(study, trial) for trial in trials],
        "hoverinfo": "text",
    }


def variant_looks(study: StudyRecord) -> dict[str, Look]:
    """Return the look of every variant's points; none where the study has one network."""
    names = list(dict.fromkeys(trial.variant for trial in finished_trials(study)))
    return dict(zip(names, looks(len(names)), strict=True)) if len(names) > 1 else {}


def by_variant(marker: Figure, study: StudyRecord, trials: Sequence[TrialRecord]) -> Figure:
    """Return a marker whose colour and symbol tell variants apart, where there are several."""
    if not (known := variant_looks(study)):
        return marker
    chosen = [known[trial.variant] for trial in trials]
    return marker | {
        "color": [one.color for one in chosen],
        "symbol": [one.symbol for one in chosen],
    }


def staircase(front: Sequence[TrialRecord], panel: Panel, axis: Axis) -> Trace:
    """Return the best score within each bound: flat until the next point of the front."""
    xs = [shown_cost(trial, panel) for trial in front]
    ys = [trial.score for trial in front]
    return {
        "type": "scatter",
        "name": "staircase",
        "x": [*xs, axis.high] if front else [],
        "y": [*ys, ys[-1]] if front else [],
        "meta": {"x": panel.resource, "y": "score"},
        "mode": "lines",
        "line": {"color": FRONT, "width": 2, "shape": "hv"},
        "hoverinfo": "skip",
    }

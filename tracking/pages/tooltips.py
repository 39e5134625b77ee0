"""Plotly's hover texts of trials: pseudo-HTML, in which names of users are escaped."""

from collections.abc import Sequence

from tracking.pages.plot_layout import PANELS, literal
from tracking.records import RESOURCES, Costs, StudyRecord, TrialRecord
from tracking.tables import (
    NAMES,
    cost_of,
    count,
    duration,
    limit_of,
    score_text,
    shares_of,
    size,
    work,
)

_WIDTHS_SHOWN = 24


def hover_text(study: StudyRecord, trial: TrialRecord) -> str:
    """Return a trial's hover text: its score, each cost with its limit, widths and params."""
    fronts = ", ".join(NAMES.get(plane, plane) for plane in trial.planes)
    lines = [
        f"<b>trial {trial.number}</b>" + (f", on the front: {literal(fronts)}" if fronts else "")
    ]
    lines.append(score_line(study, trial.score))
    if trial.test_score is not None:
        lines[-1] += f", test {score_text(trial.test_score)}"
    if trial.costs is not None:
        lines += cost_lines(trial.costs, trial)
    lines += _wrapped("widths", [f"{name} {width}" for name, width in trial.widths.items()])
    lines += _wrapped("params", [f"{name}={value}" for name, value in trial.params.items()])
    return "<br>".join(lines)


def score_line(study: StudyRecord, score: float | None) -> str:
    """Return a score and its name, escaped."""
    return f"{literal(study.metric)} {score_text(score)}"


def cost_lines(costs: Costs, trial: TrialRecord | None = None) -> list[str]:
    """Return one line per cost, with its share of the limit if a trial is given."""
    lines, shares = [], {} if trial is None else shares_of(costs, trial.budget)
    for resource, panel in zip(RESOURCES, PANELS, strict=True):
        shown = duration if panel.unit == "ms" else size
        line = f"{panel.title} {shown(cost_of(costs, resource))}"
        if trial is not None and resource in shares:
            line += f" of {shown(limit_of(trial.budget, resource))} ({shares[resource]:.0%})"
        lines.append(line)
    return [*lines, f"{work(costs.macs)} MACs"]


def _wrapped(title: str, items: Sequence[str], width: int = 4) -> list[str]:
    """Return items as a few lines of a hover label, escaped."""
    if not items:
        return []
    texts = [literal(item) for item in items[:_WIDTHS_SHOWN]]
    lines = [", ".join(texts[start : start + width]) for start in range(0, len(texts), width)]
    if len(items) > _WIDTHS_SHOWN:
        lines.append(f"and {count(len(items) - _WIDTHS_SHOWN, 'other')}")
    return [f"{title}: {lines[0]}", *lines[1:]]

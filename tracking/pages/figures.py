"""The front as a Plotly figure: plain dictionaries, a pure function of the study's record."""

from collections.abc import Iterable, Sequence
from math import log10
from statistics import fmean

from tracking.pages.plot_layout import (
    DENSE,
    FAINT,
    FRONT,
    LIMIT,
    MEAN,
    Axis,
    Figure,
    Panel,
    layout,
    literal,
)
from tracking.pages.tooltips import cost_lines, score_line
from tracking.pages.traces import (
    Trace,
    by_variant,
    front_of,
    points,
    score_title,
    shown_cost,
    staircase,
    variant_looks,
)
from tracking.records import DenseRecord, StudyRecord, TrialRecord
from tracking.seeds import repeats
from tracking.tables import cost_of, count, finished_trials, limit_of, score_text, short

_BUDGET = "rgba(70, 90, 110, {})"
_LABEL_SPACE = 0.06  # of a panel's width or height, between two numbers


def front_figure(study: StudyRecord, panel: Panel) -> Figure:
    """Return score against one resource: front, budgets, dense network, device limit."""
    trials = finished_trials(study)
    front = front_of(study, panel)
    dominated = [trial for trial in trials if panel.resource not in trial.planes]
    axis = Axis.around(_extents(study, trials, panel), _limit(study, panel))
    y_range = _y_range(study, trials)
    opacity = 0.22 if len(dominated) <= 60 else 0.12
    traces = [
        _budgets(dominated, panel, opacity, "budgets of dominated trials"),
        _budgets(front, panel, 0.6, "budgets of the front"),
        _dominated(study, dominated, panel),
        staircase(front, panel, axis),
        *_means(study, panel),
        _points(study, front, panel) | {"text": _labels(front, panel, axis, y_range)},
        *_dense(study, panel),
    ]
    frame = layout(score_title(study), f"{panel.title} ({panel.unit})")
    frame["xaxis"] |= axis.layout(panel)
    frame["yaxis"]["range"] = y_range
    frame["shapes"], frame["annotations"] = _lines(study, panel, axis)
    return {"data": traces, "layout": frame}


def _extents(study: StudyRecord, trials: Iterable[TrialRecord], panel: Panel) -> list[float]:
    """Return all values that the axis must show: points, their budgets, the dense network."""
    values = []
    for trial in trials:
        values.append(shown_cost(trial, panel))
        limit = limit_of(trial.budget, panel.resource)
        if limit is not None:
            values.append(limit * panel.scale)
    values += [cost_of(dense.costs, panel.resource) * panel.scale for dense in study.dense]
    return values


def _limit(study: StudyRecord, panel: Panel) -> float | None:
    limit = limit_of(study.device.limits, panel.resource) if study.device else None
    return None if limit is None else limit * panel.scale


def _budgets(trials: Iterable[TrialRecord], panel: Panel, opacity: float, name: str) -> Trace:
    """Return a thin line from each point to its budget, with a tick at the budget."""
    xs: list[float | None] = []
    ys: list[float | None] = []
    for trial in trials:
        limit = limit_of(trial.budget, panel.resource)
        if limit is not None:
            xs += [shown_cost(trial, panel), limit * panel.scale, None]
            ys += [trial.score, trial.score, None]
    sizes = [0, 9, 0] * (len(xs) // 3)
    color = _BUDGET.format(opacity)
    return {
        "type": "scatter",
        "name": name,
        "x": xs,
        "y": ys,
        "mode": "lines+markers",
        "line": {"color": color, "width": 1},
        "marker": {
            "symbol": "line-ns",
            "size": sizes,
            "line": {"width": 1.4, "color": color},
        },
        "hoverinfo": "skip",
    }


def _dominated(study: StudyRecord, trials: Sequence[TrialRecord], panel: Panel) -> Trace:
    marker = by_variant({"size": 7, "color": FAINT, "opacity": 0.55}, study, trials)
    return points("dominated", study, trials, panel) | {"mode": "markers", "marker": marker}


def _points(study: StudyRecord, trials: Sequence[TrialRecord], panel: Panel) -> Trace:
    usual = {"size": 10, "color": FRONT, "line": {"color": "white", "width": 1.5}}
    marker = by_variant(usual, study, trials)
    return points("front", study, trials, panel) | {
        "mode": "markers+text",
        "cliponaxis": False,
        "textposition": "top left" if study.scores_rise else "bottom left",
        "textfont": {"size": 10, "color": FRONT},
        "marker": marker,
    }


def _labels(
    front: Sequence[TrialRecord], panel: Panel, axis: Axis, y_range: Sequence[float]
) -> list[str]:
    """Return the trials' numbers, without those that would overlap the one before."""
    labels, last = [], (-1.0, -1.0)
    for trial in front:
        position = (
            axis.share(shown_cost(trial, panel)),
            ((trial.score or 0.0) - y_range[0]) / (y_range[1] - y_range[0]),
        )
        has_room = max(abs(position[0] - last[0]), abs(position[1] - last[1])) > _LABEL_SPACE
        labels.append(str(trial.number) if has_room else "")
        last = position if has_room else last
    return labels


def _means(study: StudyRecord, panel: Panel) -> list[Trace]:
    """Return the means of trials that differ in their seeds alone, with standard deviations."""
    groups = repeats(study)
    if not groups:
        return []
    return [
        {
            "type": "scatter",
            "name": "mean over seeds",
            "x": [fmean(shown_cost(trial, panel) for trial in group.trials) for group in groups],
            "y": [group.mean for group in groups],
            "mode": "markers",
            "marker": {"symbol": "line-ew-open", "size": 13, "color": MEAN,
                       "line": {"width": 2.5}},
            "error_y": {"type": "data", "array": [group.spread for group in groups],
                        "color": MEAN, "thickness": 1.5, "width": 0},
            "hovertext": [
                f"<b>{count(len(group.trials), 'seed')}</b>: trials "
                f"{', '.join(str(trial.number) for trial in group.trials)}<br>"
                f"{score_line(study, group.mean)} \u00b1 {score_text(group.spread)}"
                for group in groups
            ],
            "hoverinfo": "text",
        }
    ]  # fmt: skip


def _dense(study: StudyRecord, panel: Panel) -> list[Trace]:
    if not study.dense:
        return []
    return [
        {
            "type": "scatter",
            "name": "dense",
            "meta": {"x": panel.resource, "y": "score"},
            "x": [cost_of(d.costs, panel.resource) * panel.scale for d in study.dense],
            "y": [d.score for d in study.dense],
            "mode": "markers",
            "marker": {"symbol": "diamond", "size": 12, "color": _dense_colors(study),
                       "line": {"color": "white", "width": 1.5}},
            "hovertext": [_dense_text(study, dense) for dense in study.dense],
            "hoverinfo": "text",
        }
    ]  # fmt: skip


def _dense_colors(study: StudyRecord) -> list[str] | str:
    """Return a colour for each of several dense networks: that of the trials which start there."""
    known = variant_looks(study)
    if not known:
        return DENSE
    return [known[dense.name].color if dense.name in known else DENSE for dense in study.dense]


def _dense_text(study: StudyRecord, dense: DenseRecord) -> str:
    which = f"<br>{literal(dense.name)}" if dense.name else ""
    head = f"<b>dense network</b>, not pruned{which}<br>{score_line(study, dense.score)}"
    return "<br>".join([head, *cost_lines(dense.costs)])


def _lines(study: StudyRecord, panel: Panel, axis: Axis) -> tuple[list[Figure], list[Figure]]:
    """Return the score of the dense network, if there is one, as a horizontal line, and the
    device's limit as a vertical one with its label.
    """
    shapes, labels = [], []
    for dense in study.dense if len(study.dense) == 1 else ():
        horizontal = {"xref": "paper", "x0": 0, "x1": 1, "y0": dense.score, "y1": dense.score}
        shapes.append(_line(horizontal, DENSE, "dot", 1.0))
    limit = _limit(study, panel)
    if limit is not None and study.device is not None:
        label = f"{literal(study.device.name)}: {short(limit)} {panel.unit}"
        is_shown = limit <= axis.high
        if is_shown:
            vertical = {"yref": "paper", "x0": limit, "x1": limit, "y0": 0, "y1": 1}
            line = _line(vertical, LIMIT, "dash", 1.4)
            shapes += [line | {"name": "limit"}, _beyond(limit, axis) | {"name": "limit"}]
        labels.append(_label(label if is_shown else f"{label} →", limit, axis, is_shown))
    return shapes, labels


def _line(ends: Figure, color: str, dash: str, width: float) -> Figure:
    style = {"color": color, "dash": dash, "width": width}
    return {"type": "line", "layer": "below", "line": style, **ends}


def _beyond(limit: float, axis: Axis) -> Figure:
    """Return a tint over the range beyond the device's limit."""
    extent = {"yref": "paper", "x0": limit, "x1": axis.high, "y0": 0, "y1": 1}
    style = {"fillcolor": LIMIT, "opacity": 0.05, "line": {"width": 0}}
    return {"type": "rect", "layer": "below", **extent, **style}


def _label(text: str, limit: float, axis: Axis, is_shown: bool) -> Figure:
    """Return the label of a device limit: at its line, or at the right edge if it is beyond."""
    position = log10(limit) if axis.logarithmic and limit > 0 else limit
    near_the_end = not is_shown or axis.share(limit) > 0.7
    return {
        "name": "limit",
        "text": text,
        "x": position if is_shown else 1,
        "xref": "x" if is_shown else "paper",
        "y": 1,
        "yref": "paper",
        "yanchor": "bottom",
        "xanchor": "right" if near_the_end else "center",
        "showarrow": False,
        "font": {"size": 11, "color": LIMIT},
    }


def _y_range(study: StudyRecord, trials: Sequence[TrialRecord]) -> list[float]:
    scores = [trial.score for trial in trials if trial.score is not None]
    scores += [g.mean + side * g.spread for g in repeats(study) for side in (-1, 1)]
    scores += [dense.score for dense in study.dense]
    low, high = min(scores, default=0.0), max(scores, default=1.0)
    margin = 0.08 * (high - low) or 0.05 * abs(high) or 0.05
    return [low - margin, high + margin]

"""The front as pictures that print: score against each resource, as coordinates for SVG."""

from collections.abc import Sequence
from dataclasses import dataclass
from math import log10

from tracking.pages.chooser import is_crowded
from tracking.pages.plot_layout import PANELS, Axis, Panel
from tracking.pages.traces import front_of, shown_cost
from tracking.records import Limits, StudyRecord, TrialRecord
from tracking.tables import NAMES, cost_of, finished_trials, limit_of, short

WIDTH, HEIGHT = 320, 250
LEFT, RIGHT, TOP, BOTTOM = 46, 10, 18, 36
_TICKS = 5  # on the axis of scores


@dataclass(frozen=True, slots=True)
class Tick:
    """A tick of an axis: where, and what it says."""

    at: float
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Picture:
    """One plane, in pixels from the upper left corner; None where there is nothing to draw."""

    title: str
    label: str
    front: tuple[tuple[float, float], ...]
    dominated: tuple[tuple[float, float], ...]
    staircase: str
    chosen: tuple[float, float] | None
    dense: tuple[tuple[float, float], ...]
    limit: float | None
    x_ticks: tuple[Tick, ...]
    y_ticks: tuple[Tick, ...]


def front_pictures(study: StudyRecord, chosen: TrialRecord, limits: Limits) -> list[Picture]:
    """Return a picture for each resource, with the chosen trial and the limits marked."""
    scale = _Scores(study)
    return [_picture(study, panel, scale, chosen, limits) for panel in PANELS]


def score_label(study: StudyRecord) -> str:
    """Return what the axis of scores shows."""
    return study.metric + (", by its log distance from the best" if is_crowded(study) else "")


class _Scores:
    """The axis of scores: linear, or by the distance from the best where scores crowd there."""

    def __init__(self, study: StudyRecord) -> None:
        scores = [trial.score for trial in finished_trials(study) if trial.score is not None]
        scores += [dense.score for dense in study.dense]
        self._best = study.best if is_crowded(study) else None
        self._ends: tuple[float, float]
        if self._best is None:
            low, high = min(scores), max(scores)
            margin = 0.06 * (high - low) or 0.05
            self._ends = (low - margin, high + margin)
            return
        errors = [error for score in scores if (error := abs(score - self._best)) > 0]
        self._floor = min(errors) / (2 if len(errors) < len(scores) else 1)
        self._ends = (log10(1.2 * max(errors)), log10(self._floor / 1.2))
        self._sign = -1 if study.scores_rise else 1

    def share(self, score: float) -> float:
        """Return a score's position, from 0 at the bottom to 1 at the top."""
        value = score
        if self._best is not None:
            value = log10(max(abs(score - self._best), self._floor))
        return (value - self._ends[0]) / (self._ends[1] - self._ends[0])

    def ticks(self) -> list[Tick]:
        """Return round scores on the axis, at their shares."""
        if self._best is not None:
            errors = (digit * 10.0**power for power in range(-9, 10) for digit in (1, 2, 5))
            within = [e for e in errors if 10 ** self._ends[1] <= e <= 10 ** self._ends[0]]
            scores = [self._best + self._sign * error for error in within]
        else:
            step = _round_step((self._ends[1] - self._ends[0]) / _TICKS)
            first = int(self._ends[0] / step) - 1
            scores = [step * (first + n) for n in range(_TICKS + 8)]
        shown = [Tick(self.share(score), f"{score:.6g}") for score in scores]
        return [tick for tick in shown if 0 <= tick.at <= 1]


def _round_step(step: float) -> float:
    power = 10.0 ** (int(log10(step)) - 2)
    choices = [digit * power * 10**n for n in range(4) for digit in (1, 2, 5)]
    return float(next(choice for choice in choices if choice >= step))


def _picture(
    study: StudyRecord, panel: Panel, scores: _Scores, chosen: TrialRecord, limits: Limits
) -> Picture:
    trials, front = finished_trials(study), front_of(study, panel)
    costs = [shown_cost(trial, panel) for trial in trials]
    unpruned = [cost_of(dense.costs, panel.resource) * panel.scale for dense in study.dense]
    given = limit_of(limits, panel.resource)
    limit = None if given is None else given * panel.scale
    axis = Axis.around([*costs, *unpruned], limit)

    def at(cost: float, score: float | None) -> tuple[float, float]:
        return _x(axis.share(cost)), _y(scores.share(score or 0.0))

    def place(trial: TrialRecord) -> tuple[float, float]:
        return at(shown_cost(trial, panel), trial.score)

    return Picture(
        title=f"Score against {NAMES[panel.resource]}",
        label=f"{panel.title} ({panel.unit})",
        front=tuple(map(place, front)),
        dominated=tuple(place(t) for t in trials if panel.resource not in t.planes),
        staircase=_staircase([place(trial) for trial in front]),
        chosen=place(chosen),
        dense=tuple(at(x, one.score) for x, one in zip(unpruned, study.dense, strict=True)),
        limit=_x(axis.share(limit)) if limit is not None and limit <= axis.high else None,
        x_ticks=tuple(_x_ticks(axis, panel)),
        y_ticks=tuple(Tick(_y(tick.at), tick.text) for tick in scores.ticks()),
    )


def _x(share: float) -> float:
    return round(LEFT + share * (WIDTH - LEFT - RIGHT), 1)


def _y(share: float) -> float:
    return round(HEIGHT - BOTTOM - share * (HEIGHT - TOP - BOTTOM), 1)


def _staircase(points: Sequence[tuple[float, float]]) -> str:
    """Return the path that stays level until the next point of the front."""
    if not points:
        return ""
    (x, y), *rest = points
    return f"M{x} {y}" + "".join(f"H{x}V{y}" for x, y in rest) + f"H{WIDTH - RIGHT}"


def _x_ticks(axis: Axis, panel: Panel) -> list[Tick]:
    if axis.logarithmic:
        values = axis.layout(panel).get("tickvals", [axis.low, axis.high])
    else:
        step = _round_step((axis.high - axis.low) / _TICKS)
        values = [step * n for n in range(1000) if axis.low <= step * n <= axis.high]
    values = values[:: 1 + (len(values) - 1) // 6]
    return [Tick(_x(axis.share(value)), short(value)) for value in values]

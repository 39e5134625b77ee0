"""Which trials are worth having: fronts, hypervolume, and the best one for a budget."""

from collections.abc import Sequence
from dataclasses import dataclass

import moocore
import numpy as np
from numpy.typing import NDArray
from optuna.trial import FrozenTrial, TrialState

from pruning.budget import RESOURCES, Budget, Cost
from search.errors import NothingFitsError
from search.storage.trial_record import result_of
from search.study.scale import normalized_score
from search.study.study import Study

OVERALL = "overall"
Matrix = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Point:
    """A finished trial as the front sees it. `fits` tells whether it respects the device."""

    number: int
    score: float
    cost: Cost
    fits: bool


def points_of(trials: Sequence[FrozenTrial], device_limits: Budget) -> list[Point]:
    """The trials that were trained to the end in objective space, in the order in which they
    finished.
    """
    complete = [trial for trial in trials if trial.state is TrialState.COMPLETE]
    complete.sort(key=lambda t: (t.datetime_complete is None, t.datetime_complete))
    # By the stored result alone: a constraint in Optuna may be that of an attempt that was
    # killed before it could tell the trial.
    return [
        Point(trial.number, result.score, result.cost, device_limits.holds(result.cost))
        for trial in complete
        if (result := result_of(trial)) is not None
    ]


def planes(points: Sequence[Point], rises: bool) -> dict[int, tuple[str, ...]]:
    """For every point the fronts it is on: overall, and score against each resource."""
    feasible = [p for p in points if p.fits]
    found: dict[int, list[str]] = {p.number: [] for p in points}
    for plane in (OVERALL, *RESOURCES):
        resources = RESOURCES if plane == OVERALL else (plane,)
        table = np.array([losses(p, resources, rises) for p in feasible])
        for p, best in zip(feasible, non_dominated(table), strict=True):
            if best:
                found[p.number].append(plane)
    return {number: tuple(names) for number, names in found.items()}


def losses(p: Point, resources: Sequence[str], rises: bool) -> list[float]:
    """A point as numbers of which less is better: its score, then these resources."""
    return [-p.score if rises else p.score, *(getattr(p.cost, name) for name in resources)]


def non_dominated(table: Matrix) -> list[bool]:
    """Which rows no other row dominates, smaller being better; of equal rows the first."""
    if not len(table):
        return []
    return [bool(b) for b in moocore.is_nondominated(table, keep_weakly=False)]


def front_trials(study: Study) -> list[FrozenTrial]:
    """The trials on any front, by number."""
    trials = study.trials()
    on = planes(points_of(trials, study.facts.device_limits), study.facts.rises)
    return [trial for trial in trials if on.get(trial.number)]


def hypervolumes(points: Sequence[Point], dense: Cost, chance: float, best: float) -> list[float]:
    """The hypervolume after each point, between 0 and 1 (see `hypervolume`)."""
    rows: list[list[float]] = []
    volumes = [0.0]
    for p in points:
        if (row := _row(p, dense, chance, best)) is not None:
            rows.append(row)
        volumes.append(volumes[-1] if row is None else volume(np.array(rows)))
    return volumes[1:]


def hypervolume(points: Sequence[Point], dense: Cost, chance: float, best: float) -> float:
    """The hypervolume of points, between 0 and 1.

    The score counts from chance (0) to the best possible (1), every cost as a share of the
    dense one; the reference point is chance at dense cost.
    """
    rows = [row for p in points if (row := _row(p, dense, chance, best)) is not None]
    return volume(np.array(rows)) if rows else 0.0


def _row(p: Point, dense: Cost, chance: float, best: float) -> list[float] | None:
    """A point as losses below 1, or None where it adds no volume."""
    share = normalized_score(p.score, chance, best)
    shares = [getattr(p.cost, name) / getattr(dense, name) for name in RESOURCES]
    adds = p.fits and share > 0 and all(each < 1 for each in shares)
    return [1 - share, *shares] if adds else None


def volume(table: Matrix) -> float:
    """The volume dominated by rows below the reference point (1, ..., 1)."""
    return float(moocore.hypervolume(table, ref=np.ones(table.shape[1])))


def ranked(points: Sequence[Point], rises: bool) -> list[Point]:
    """Points, the best score first; of equal scores the cheapest."""
    return sorted(points, key=lambda p: losses(p, RESOURCES, rises))


def best_within(points: Sequence[Point], limits: Budget, rises: bool) -> Point:
    """The best score within limits; of equal scores the cheapest.

    Raises:
        NothingFitsError: naming each limit that the nearest point misses, and by how much.
    """
    if not points:
        raise NothingFitsError("no trial has finished yet; see: paring status")
    best = next((p for p in ranked(points, rises) if limits.holds(p.cost)), None)
    if best is not None:
        return best
    nearest = min(points, key=lambda p: max(limits.overshoot(p.cost).values()))
    missed = "; ".join(
        f"{name} {_number(getattr(nearest.cost, name))} exceeds {_number(limits.limits[name])} "
        f"by {_number(getattr(nearest.cost, name) - limits.limits[name])} ({over:.1%})"
        for name, over in limits.overshoot(nearest.cost).items()
        if over > 0
    )
    raise NothingFitsError(
        f"none of {len(points)} finished trials is within the limits; the nearest is trial "
        f"{nearest.number}: {missed}. Raise the limit, or start a study with tighter budgets."
    )


def _number(value: float) -> str:
    """Bytes whole, milliseconds with four digits."""
    return str(int(value)) if value == int(value) else f"{value:.4g}"

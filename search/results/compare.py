"""Several studies held against each other, on one scale."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from pruning.budget import RESOURCES, Budget
from search.errors import StudyError
from search.results.front import OVERALL, Point, hypervolume, losses, planes, points_of
from search.study.study import Study
from search.study.study_record import StudyFacts

# What must be equal for scores and costs to mean the same.
_ALIKE = ("metric", "data_digest", "device_limits", "precision")


@dataclass(frozen=True, slots=True)
class Side:
    """One study. `hypervolume` is on the scale of the first study's dense network; `beaten`
    counts the points of its `front` that a point of another study's front dominates.
    """

    study: str
    finished: int
    front: int
    best_score: float | None
    hypervolume: float
    beaten: int


def compare(studies: Sequence[Study]) -> list[Side]:
    """The studies side by side, in the order given.

    Raises:
        StudyError: fewer than two, or they measured different things.
    """
    if len({study.key for study in studies}) < 2:
        raise StudyError("compare: name two studies or more, such as study=[A,B]")
    first = studies[0].facts
    for study in studies[1:]:
        if differences := _differences(study.facts, first):
            raise StudyError(
                f"study={study.name}: {'; '.join(differences)} in {studies[0].name}, so scores "
                "and costs do not mean the same; compare studies that are alike in these"
            )
    points = {study.key: points_of(study.trials(), study.facts.device_limits) for study in studies}
    fronts = {study.key: _front(points[study.key], first.rises) for study in studies}
    return [_side(study, first, points[study.key], fronts) for study in studies]


def _differences(facts: StudyFacts, first: StudyFacts) -> list[str]:
    """What differs between two studies that must be equal, with both values."""
    pairs = {name: (getattr(facts, name), getattr(first, name)) for name in _ALIKE}
    return [
        f"{name} is {_shown(value)}, but {_shown(other)}"
        for name, (value, other) in pairs.items()
        if value != other
    ]


def _shown(value: str | Budget) -> str:
    if isinstance(value, Budget):
        return ", ".join(f"{limit:g} {name}" for name, limit in value.limits.items()) or "unlimited"
    return value[:12] if len(value) == 64 else value  # of a digest the first digits


def _front(points: list[Point], rises: bool) -> list[Point]:
    on = planes(points, rises)
    return [point for point in points if OVERALL in on[point.number]]


def _side(
    study: Study,
    scale: StudyFacts,
    points: list[Point],
    fronts: Mapping[str, list[Point]],
) -> Side:
    others = [p for key, front in fronts.items() if key != study.key for p in front]
    own = fronts[study.key]
    scores = [point.score for point in points if point.fits]
    best = (max if scale.rises else min)(scores) if scores else None
    return Side(
        study=study.name,
        finished=len(points),
        front=len(own),
        best_score=best,
        hypervolume=hypervolume(points, scale.dense_cost, scale.chance, scale.best),
        beaten=sum(any(_beats(other, point, scale.rises) for other in others) for point in own),
    )


def _beats(one: Point, other: Point, rises: bool) -> bool:
    """Whether a point is nowhere worse than another, and somewhere better."""
    mine, theirs = (losses(point, RESOURCES, rises) for point in (one, other))
    pairs = list(zip(mine, theirs, strict=True))
    return all(a <= b for a, b in pairs) and any(a < b for a, b in pairs)

"""Trials that differ in their seeds alone: their mean score, and how far apart they are."""

from collections.abc import Mapping
from dataclasses import dataclass
from statistics import fmean, stdev

from tracking.records import Limits, State, StudyRecord, TrialRecord


@dataclass(frozen=True, slots=True)
class Repeats:
    """Finished trials of one budget and one draw of the hyperparameters, two or more.

    `mean` is that of their scores, `spread` the standard deviation of a sample.
    """

    trials: tuple[TrialRecord, ...]
    mean: float
    spread: float


def repeats(study: StudyRecord) -> tuple[Repeats, ...]:
    """Return the trials that repeat one another, by budget and draw; copies count once."""
    groups: dict[tuple[Limits, int], list[TrialRecord]] = {}
    for trial in study.trials:
        own = trial.copy_of is None and trial.state is State.COMPLETE
        known = trial.score is not None and trial.costs is not None  # not all are measured
        if own and known and trial.draw is not None:
            groups.setdefault((trial.budget, trial.draw), []).append(trial)
    return tuple(_summed(group) for group in groups.values() if len(group) > 1)


def repeats_of(study: StudyRecord) -> Mapping[int, Repeats]:
    """Return for every trial that has repeats all of them, itself included, by its number."""
    return {trial.number: group for group in repeats(study) for trial in group.trials}


def _summed(group: list[TrialRecord]) -> Repeats:
    scores = [trial.score for trial in group if trial.score is not None]
    return Repeats(tuple(group), fmean(scores), stdev(scores))

"""Trials that differ in their seeds alone: their mean score and its standard deviation."""

from collections.abc import Mapping
from dataclasses import dataclass
from statistics import fmean, stdev

from tracking.records import Limits, State, StudyRecord, TrialRecord


@dataclass(frozen=True, slots=True)
class Repeats:
    """Finished trials of one budget and one draw of the hyperparameters, two or more.

    `mean` is the mean of their scores, `spread` their sample standard deviation.
    """

    trials: tuple[TrialRecord, ...]
    mean: float
    spread: float


def repeats(study: StudyRecord) -> tuple[Repeats, ...]:
    """Return the groups of two or more trials of one budget and draw, copies left out."""
    groups: dict[tuple[Limits, int], list[TrialRecord]] = {}
    for trial in study.trials:
        trained = trial.copy_of is None and trial.state is State.COMPLETE
        has_numbers = trial.score is not None and trial.costs is not None  # not all are measured
        if trained and has_numbers and trial.draw is not None:
            groups.setdefault((trial.budget, trial.draw), []).append(trial)
    return tuple(_summary(group) for group in groups.values() if len(group) > 1)


def repeats_of(study: StudyRecord) -> Mapping[int, Repeats]:
    """Return the group of each trial that is in one, by the trial's number."""
    return {trial.number: group for group in repeats(study) for trial in group.trials}


def _summary(group: list[TrialRecord]) -> Repeats:
    scores = [trial.score for trial in group if trial.score is not None]
    return Repeats(tuple(group), fmean(scores), stdev(scores))

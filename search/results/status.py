"""The status of a sweep as plain records: for the terminal, JSON and web hooks."""

import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime

from optuna.trial import FrozenTrial, TrialState

from pruning.budget import Budget
from search.results.front import hypervolume, points_of
from search.results.report import counts, failures
from search.storage.trial_record import Progress, TrialNotes
from search.study.command import Command
from search.study.control import current_command
from search.study.limits import limits_of
from search.study.study import Study
from tracking.records import Costs, Limits
from tracking.tables import shares_of

FEWEST = 3  # finished trials before a rate means anything


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkerView:
    """A worker and its trial. `silent_s`: since its last sign of life; `shares`: each cost as a
    share of the trial's budget, as in MLflow. What is not known yet is None.
    """

    host: str
    pid: int
    trial: int
    attempt: int
    budget: Budget
    epoch: int | None = None
    of: int | None = None
    phase: str | None = None
    score: float | None = None
    shares: Mapping[str, float] | None = None
    silent_s: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class StudyStatus:
    """A sweep at one moment. `trials_per_hour` and `left_s` are None while they are unknown."""

    study: str
    command: Command
    why: str
    trials: Mapping[str, int]
    failures: Mapping[int, str]
    workers: Sequence[WorkerView]
    hypervolume: float
    trials_per_hour: float | None
    left_s: float | None


def study_status(study: Study) -> StudyStatus:
    """The status of a study now."""
    current, trials = current_command(study), study.trials()
    per_hour = _rate(trials)
    unfinished = sum(not trial.state.is_finished() for trial in trials)
    facts = study.facts
    points = points_of(trials, facts.device_limits)
    return StudyStatus(
        study=study.name,
        command=current.command,
        why=current.why,
        trials=counts(trials),
        failures=failures(trials),
        workers=[_worker(trial) for trial in trials if trial.state is TrialState.RUNNING],
        hypervolume=hypervolume(points, facts.dense_cost, facts.chance, facts.best),
        trials_per_hour=per_hour,
        left_s=3600 * unfinished / per_hour if per_hour and unfinished else None,
    )


def _rate(trials: Sequence[FrozenTrial]) -> float | None:
    """Finished trials per hour, over the last ones, so that a pause is soon forgotten."""
    ended = (trial.datetime_complete for trial in trials)
    ends: list[datetime] = sorted(end for end in ended if end is not None)[-20:]
    if len(ends) < FEWEST:
        return None
    hours = (ends[-1] - ends[0]).total_seconds() / 3600
    return (len(ends) - 1) / hours if hours > 0 else None


def _worker(trial: FrozenTrial) -> WorkerView:
    notes = TrialNotes.of(trial)
    owner, progress, last_seen = notes.owner, notes.progress, notes.last_seen
    return WorkerView(
        host=owner.host if owner else "?",
        pid=owner.pid if owner else 0,
        trial=trial.number,
        attempt=notes.attempt,
        budget=notes.budget,
        epoch=progress.epoch if progress else None,
        of=progress.of if progress else None,
        phase=progress.phase if progress else None,
        score=progress.score if progress else None,
        shares=_shares(progress, notes.budget),
        silent_s=None if last_seen is None else max(0.0, time.time() - last_seen),
    )


def _shares(progress: Progress | None, budget: Budget) -> dict[str, float] | None:
    """What the network of a run takes of a budget; None while its cost is not known."""
    if progress is None or progress.cost is None:
        return None
    return shares_of(Costs(**asdict(progress.cost)), Limits(**limits_of(budget)))

"""How a sweep stands, as plain records: for the terminal, for JSON, for whoever asks."""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from optuna.trial import FrozenTrial, TrialState

from pruning.budget import Budget, Cost
from search.results.front import hypervolume, points_of
from search.results.report import counts, failures
from search.study.control import Command, current_command
from search.study.limits import limits_of
from search.study.study import Study
from search.study.trials import trial_budget
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
    """A sweep at one moment. `trials_per_hour` and `left_s` are None while nobody can know."""

    study: str
    order: Command
    why: str
    trials: Mapping[str, int]
    failures: Mapping[int, str]
    workers: Sequence[WorkerView]
    hypervolume: float
    trials_per_hour: float | None
    left_s: float | None


def study_status(study: Study) -> StudyStatus:
    """How a study stands now."""
    order, trials = current_command(study), study.trials()
    per_hour = _rate(trials)
    left = sum(not trial.state.is_finished() for trial in trials)
    facts, finished = study.facts, points_of(study)
    dense = Cost(**facts["dense_cost"])
    return StudyStatus(
        study=study.name,
        order=order.order,
        why=order.why,
        trials=counts(study),
        failures=failures(study),
        workers=[_worker(trial) for trial in trials if trial.state is TrialState.RUNNING],
        hypervolume=hypervolume(finished, dense, facts["chance"], facts["best"]),
        trials_per_hour=per_hour,
        left_s=3600 * left / per_hour if per_hour and left else None,
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
    known = trial.user_attrs
    owner: Mapping[str, Any] = known.get("owner", {"host": "?", "pid": 0})
    now: Mapping[str, Any] = known.get("progress", {})
    seen, budget = known.get("seen"), trial_budget(trial)
    return WorkerView(
        host=owner["host"],
        pid=owner["pid"],
        trial=trial.number,
        attempt=known.get("attempt", 1),
        budget=budget,
        shares=_shares(now, budget),
        silent_s=None if seen is None else max(0.0, time.time() - seen),
        **{key: now.get(key) for key in ("epoch", "of", "phase", "score")},
    )


def _shares(now: Mapping[str, Any], budget: Budget) -> dict[str, float] | None:
    """What a run that told its cost takes of a budget."""
    if "cost" not in now:
        return None
    return shares_of(Costs(**now["cost"]), Limits(**limits_of(budget)))

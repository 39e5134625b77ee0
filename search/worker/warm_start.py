"""Continuation: a trial starts from the finished trial with the nearest looser budget.

A network that was pruned a little less is a better start than the dense one, and needs only a
few more epochs. Without such a trial the dense network is the start.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from math import inf, log

import optuna
from optuna.trial import TrialState

from pruning.budget import Budget
from pruning.training.checkpoint import StoredNetwork, unpack_network
from search.storage.trial_record import TrialNotes, WarmStart
from search.study.limits import limits_of
from search.study.start import start_digest
from search.study.study import Study
from search.study.trials import trial_budget
from search.study.variants import facts_of


@dataclass(frozen=True, slots=True)
class Start:
    """The network that a trial starts from, and the digest of its blob."""

    digest: str
    network: StoredNetwork


def start_of(study: Study, trial: optuna.Trial, key: str, dense: StoredNetwork) -> Start:
    """The network that a trial starts from; the choice is noted once, for every attempt. `key`
    is that of its dense network.

    Raises:
        StoreError: the parent's network is lost or damaged.
    """
    if study.spec["continuation"] and (parent := _parent(study, trial)) is not None:
        digest = start_digest(study, key, parent)
        return Start(digest, unpack_network(study.workspace.store.read(digest)))
    return Start(start_digest(study, key, None), dense)


def _parent(study: Study, trial: optuna.Trial) -> int | None:
    """The trial from which another one starts; None: it starts from the dense network."""
    notes = TrialNotes.of(trial)
    choice = notes.warm_start
    if choice is None:
        complete = study.optuna.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))
        variant = facts_of(study, trial.params)
        finished = {
            other.number: trial_budget(other)
            for other in complete
            if facts_of(study, other.params) == variant
        }
        choice = WarmStart(nearest_looser(notes.budget, finished))
        study.table.note(trial, warm_start=choice)
    return choice.parent


def nearest_looser(budget: Budget, finished: Mapping[int, Budget]) -> int | None:
    """The trial whose limits are nowhere smaller and somewhere larger, by the smallest step.

    The step to another budget is the largest log-ratio of their limits, where no limit counts
    as an infinite one. Of several trials at the same step, the first is taken.
    """
    steps = {number: _step(budget, other) for number, other in finished.items()}
    looser = {number: step for number, step in steps.items() if step is not None}
    return min(looser, key=lambda number: (looser[number], number), default=None)


def _step(budget: Budget, other: Budget) -> float | None:
    """From `budget` up to `other`; None if `other` is not looser."""
    limits, others = limits_of(budget), limits_of(other)
    ratios = [_log_ratio(others[name], limits[name]) for name in limits]
    return max(ratios) if min(ratios) >= 0 < max(ratios) else None


def _log_ratio(wide: float | None, narrow: float | None) -> float:
    if wide is None:
        return 0.0 if narrow is None else inf
    return -inf if narrow is None else log(wide / narrow)

"""Continuation: a trial starts from the finished trial with the nearest looser budget.

A network that was pruned a little less is a better start than the dense one, and a cheaper one:
it needs few epochs more. Without such a trial the dense network is the start.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from math import inf, log

import optuna
from optuna.trial import TrialState

from pruning.budget import Budget
from pruning.training.checkpoint import StoredNetwork, unpack_network
from search.study.limits import limits_of
from search.study.study import Study
from search.study.trials import trial_budget


@dataclass(frozen=True, slots=True)
class Start:
    """The network that a trial starts from, and the digest of its blob."""

    digest: str
    network: StoredNetwork


def start_of(study: Study, trial: optuna.Trial, dense: StoredNetwork) -> Start:
    """The network that a trial starts from; the choice is noted once, for every attempt.

    Raises:
        StoreError: the parent's network is lost or damaged.
    """
    from_dense = Start(study.note("dense")["digest"], dense)
    if not study.spec["continuation"]:
        return from_dense
    if "parent" not in trial.user_attrs:
        done = study.optuna.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))
        finished = {other.number: trial_budget(other) for other in done}
        trial.set_user_attr("parent", nearest_looser(trial_budget(trial), finished))
    parent = trial.user_attrs["parent"]
    if parent is None:
        return from_dense
    known = study.optuna.get_trials(deepcopy=False)[parent].user_attrs
    digest = known["result"]["files"]["model.safetensors"]
    return Start(digest, unpack_network(study.workspace.store.read(digest)))


def nearest_looser(budget: Budget, finished: Mapping[int, Budget]) -> int | None:
    """The trial whose limits are nowhere smaller and somewhere larger, by the least step.

    The step to another budget is its largest log-ratio of limits; no limit is an infinite one.
    Among equals the earliest trial wins.
    """
    steps = {number: _step(budget, other) for number, other in finished.items()}
    looser = {number: step for number, step in steps.items() if step is not None}
    return min(looser, key=lambda number: (looser[number], number), default=None)


def _step(budget: Budget, other: Budget) -> float | None:
    """From `budget` up to `other`; None if `other` is not looser."""
    own, their = limits_of(budget), limits_of(other)
    ratios = [_log_ratio(their[name], own[name]) for name in own]
    return max(ratios) if min(ratios) >= 0 < max(ratios) else None


def _log_ratio(wide: float | None, narrow: float | None) -> float:
    if wide is None:
        return 0.0 if narrow is None else inf
    return -inf if narrow is None else log(wide / narrow)

"""Which hyperparameters matter, by Optuna's PED-ANOVA over the finished trials."""

import warnings
from collections.abc import Sequence
from statistics import fmean, pstdev

import optuna
from optuna.trial import FrozenTrial

from pruning.budget import Budget
from search.storage.trial_record import TrialNotes

FEWEST = 20  # trials, below which the best tenth says nothing
ALIKE = 3  # trials of one budget, from which they can be compared with one another


def importances(
    trials: Sequence[FrozenTrial], objectives: Sequence[str], rises: bool
) -> dict[str, dict[str, float]]:
    """For every objective, each hyperparameter's share in being among the best tenth.

    Trials are compared with those of their own budget only: what a budget allows would hide
    everything else. Empty where too few are comparable, or where nothing was searched.
    """
    comparable = _by_budget([trial for trial in trials if trial.params and trial.values])
    if sum(map(len, comparable)) < FEWEST:
        return {}
    signs = [-1.0 if name == "score" and rises else 1.0 for name in objectives]
    relative = [trial for group in comparable for trial in _relative(group, signs)]
    study = optuna.create_study(directions=["minimize"] * len(objectives))
    study.add_trials(relative)
    return {name: _shares(study, place) for place, name in enumerate(objectives)}


def _by_budget(trials: Sequence[FrozenTrial]) -> list[list[FrozenTrial]]:
    groups: dict[Budget, list[FrozenTrial]] = {}
    for trial in trials:
        groups.setdefault(TrialNotes.of(trial).budget, []).append(trial)
    return [group for group in groups.values() if len(group) >= ALIKE]


def _relative(group: Sequence[FrozenTrial], signs: Sequence[float]) -> list[FrozenTrial]:
    """Trials with standardised values, less being better: how they stand within their group.

    Otherwise the budget whose trials differ most would decide alone.
    """
    columns = [*zip(*(trial.values for trial in group), strict=True)]
    scales = [
        (fmean(column), sign / (pstdev(column) or 1.0))
        for column, sign in zip(columns, signs, strict=True)
    ]
    return [
        optuna.create_trial(
            params=trial.params,
            distributions=trial.distributions,
            values=[
                (value - mean) * scale
                for value, (mean, scale) in zip(trial.values, scales, strict=True)
            ],
        )
        for trial in group
    ]


def _shares(study: optuna.Study, place: int) -> dict[str, float]:
    # Two seconds to import, for scikit-learn; every process of a sweep would pay them.
    from optuna.importance import PedAnovaImportanceEvaluator, get_param_importances

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it reminds of what `signs` sees to
        return {
            name: float(share)
            for name, share in get_param_importances(
                study,
                evaluator=PedAnovaImportanceEvaluator(),
                target=lambda trial: trial.values[place],
            ).items()
        }

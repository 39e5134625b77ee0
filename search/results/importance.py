"""Which hyperparameters matter, by Optuna's PED-ANOVA over the finished slots."""

import warnings
from collections.abc import Sequence
from statistics import fmean, pstdev

import optuna
from optuna.trial import FrozenTrial

FEWEST = 20  # slots, below which the best tenth says nothing
ALIKE = 3  # slots of one budget, from which they can be compared with one another


def importances(
    slots: Sequence[FrozenTrial], objectives: Sequence[str], rises: bool
) -> dict[str, dict[str, float]]:
    """For every objective, each hyperparameter's share in being among the best tenth.

    Slots are compared with those of their own budget only: what a budget allows would hide
    everything else. Empty where too few are comparable, or where nothing was searched.
    """
    comparable = _by_budget([slot for slot in slots if slot.params and slot.values])
    if sum(map(len, comparable)) < FEWEST:
        return {}
    signs = [-1.0 if name == "score" and rises else 1.0 for name in objectives]
    relative = [trial for group in comparable for trial in _relative(group, signs)]
    study = optuna.create_study(directions=["minimize"] * len(objectives))
    study.add_trials(relative)
    return {name: _shares(study, place) for place, name in enumerate(objectives)}


def _by_budget(slots: Sequence[FrozenTrial]) -> list[list[FrozenTrial]]:
    groups: dict[str, list[FrozenTrial]] = {}
    for slot in slots:
        groups.setdefault(repr(slot.user_attrs["slot"]["budget"]), []).append(slot)
    return [group for group in groups.values() if len(group) >= ALIKE]


def _relative(group: Sequence[FrozenTrial], signs: Sequence[float]) -> list[FrozenTrial]:
    """Trials with standardised values, less being better: how they stand within their group.

    Otherwise the budget whose slots differ most would decide alone.
    """
    columns = [*zip(*(slot.values for slot in group), strict=True)]
    scales = [
        (fmean(column), sign / (pstdev(column) or 1.0))
        for column, sign in zip(columns, signs, strict=True)
    ]
    return [
        optuna.create_trial(
            params=slot.params,
            distributions=slot.distributions,
            values=[
                (value - mean) * scale
                for value, (mean, scale) in zip(slot.values, scales, strict=True)
            ],
        )
        for slot in group
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

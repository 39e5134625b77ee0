"""Which hyperparameters are said to matter."""

import random
from math import log10
from typing import Any

import optuna
import pytest
from optuna.distributions import CategoricalDistribution, FloatDistribution
from optuna.trial import FrozenTrial, TrialState

from pruning.budget import RESOURCES, Budget
from search.results.importance import importances
from search.storage.trial_record import creation_attributes
from search.study.trials import trial_budget

RATE = FloatDistribution(1e-3, 1.0, log=True)
KIND = CategoricalDistribution(["a", "b"])
OBJECTIVES = ("score", "flash_bytes")


def trials(count: int, budgets: int = 1, seed: int = 0) -> list[FrozenTrial]:
    """Trials whose score within a budget depends on the rate, and whose flash on the kind."""
    drawn = random.Random(seed)
    made = []
    for number in range(count):
        rate, kind, budget = 10 ** drawn.uniform(-3, 0), drawn.choice("ab"), number % budgets
        score = 10 * budget - abs(log10(rate) + 1.5)
        made.append(
            optuna.create_trial(
                params={"rate": rate, "kind": kind},
                distributions={"rate": RATE, "kind": KIND},
                values=[score, 1000 * budget + (kind == "a") + 0.1 * drawn.random()],
                user_attrs=creation_attributes(
                    number, Budget(**dict.fromkeys(RESOURCES, budget)), seed=0
                ),
            )
        )
    return made


@pytest.mark.parametrize("budgets", [1, 8])
def test_what_matters_is_found_whatever_the_budgets_allow(budgets: int) -> None:
    found = importances(trials(160, budgets), OBJECTIVES, rises=True)
    assert set(found) == set(OBJECTIVES)
    assert found["score"]["rate"] > 0.8
    assert found["flash_bytes"]["kind"] > 0.6
    for shares in found.values():
        assert sum(shares.values()) == pytest.approx(1)


def test_a_budget_whose_trials_differ_most_does_not_decide_alone() -> None:
    """Where the kind decides, by much, in one budget, and the rate in the seven others."""
    mixed = trials(160, budgets=8)
    for trial in mixed:
        if trial_budget(trial).flash_bytes == 0:
            trial.values = [1000.0 * (trial.params["kind"] == "a"), trial.values[1]]
    found = importances(mixed, OBJECTIVES, rises=True)
    assert found["score"]["rate"] > found["score"]["kind"]


def test_a_score_that_falls_is_judged_from_its_own_side() -> None:
    turned = trials(160)
    for trial in turned:
        trial.values = [-trial.values[0], trial.values[1]]
    assert importances(turned, OBJECTIVES, rises=False) == importances(
        trials(160), OBJECTIVES, rises=True
    )


@pytest.mark.parametrize(
    "few",
    [[], trials(19), trials(40, budgets=20), [optuna.create_trial(state=TrialState.FAIL)] * 40],
    ids=["none", "nineteen", "two of each budget", "failed"],
)
def test_too_few_to_compare_say_nothing(few: list[Any]) -> None:
    assert importances(few, OBJECTIVES, rises=True) == {}


def test_a_space_that_became_narrower_still_tells() -> None:
    first, drawn = trials(80), trials(160, seed=1)
    rest = [trial for trial in drawn if 0.01 <= trial.params["rate"] <= 0.1]
    for trial in rest:
        trial.distributions = trial.distributions | {"rate": FloatDistribution(0.01, 0.1, log=True)}
    assert len(rest) > 20
    assert importances([*first, *rest], OBJECTIVES, rises=True)["score"]["rate"] > 0.8

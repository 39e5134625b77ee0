"""Budgets that place themselves: a coarse ladder, then where the score falls most."""

from collections.abc import Callable
from dataclasses import replace
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pruning.budget import Budget, Cost
from search.config.schema import BudgetConfig
from search.config.spec import Spec
from search.errors import ConfigError
from search.results.report import counts
from search.storage.workspace import Workspace
from search.study import create
from search.study.budgets import loosest, tightened
from search.study.placement import STEP, Tried, between, next_budget, tightness
from search.study.study import require_study
from search.study.trials import UNPLACED, claim, hand_back, trial_budget
from search.worker.worker import work

Composed = Callable[..., Spec]
DENSE = Cost(flash_bytes=80_000, sram_bytes=10_000, latency_ms=40.0, macs=1_000_000)


def flash(limit: int) -> Budget:
    return Budget(flash_bytes=limit)


def line(*points: tuple[int, float | None], trials: int = 1) -> list[Tried]:
    return [Tried(flash(limit), gain, trials) for limit, gain in points]


def test_the_widest_step_of_the_score_is_halved() -> None:
    tried = line((40_000, 0.95), (10_000, 0.9), (2_500, 0.6), (600, 0.55))
    assert next_budget(tried, DENSE) == flash(5_000)
    tried = line((40_000, 0.95), (10_000, 0.7), (2_500, 0.6), (600, 0.55))
    assert next_budget(tried, DENSE) == flash(20_000)


def test_no_step_is_halved_where_scores_have_collapsed() -> None:
    """Between 0.55 and 0.2 the score falls most, but hardly a network there is worth having."""
    tried = line((40_000, 0.95), (10_000, 0.8), (2_500, 0.55), (700, 0.2))
    assert next_budget(tried, DENSE) == flash(5_000)


def test_a_budget_reaches_what_a_tighter_one_has_reached() -> None:
    tried = line((40_000, 0.95), (10_000, 0.6), (2_500, 0.9), (700, 0.7))
    assert next_budget(tried, DENSE) == flash(1_322)  # not between 0.95 and 0.6


def test_trials_that_run_count_as_placed() -> None:
    before = line((40_000, 0.95), (10_000, 0.9), (2_500, 0.6))
    placed = next_budget([*before, *line((5_000, None))], DENSE)
    assert placed in (flash(7_071), flash(3_535))


def test_every_other_trial_goes_where_the_hypervolume_may_grow_most() -> None:
    """A large step at tight budgets adds little volume, a small one at loose ones adds much."""
    tried = line((40_000, 0.95), (10_000, 0.8), (700, 0.6))
    assert next_budget(tried, DENSE) == flash(20_000)
    even = [*tried[:2], replace(tried[2], trials=2)]
    assert next_budget(even, DENSE) == flash(2_645)
    again = line((20_000, 0.95), (18_000, 0.6), (16_500, 0.5), trials=3)
    assert next_budget(again, DENSE) in [one.budget for one in again]


def test_where_steps_are_small_the_hypervolume_decides_alone() -> None:
    tried = line((40_000, 0.95), (10_000, 0.94), (2_500, 0.93), (600, 0.92))
    odd = [*tried[:3], Tried(flash(600), 0.92, 2)]
    assert next_budget(tried, DENSE) == next_budget(odd, DENSE)


def test_neighbours_that_are_too_near_are_not_halved() -> None:
    tried = line((10_000, 0.9), (9_500, 0.5))
    assert next_budget(tried, DENSE) in (flash(10_000), flash(9_500))


points = st.lists(
    st.tuples(st.integers(500, 80_000), st.none() | st.floats(0, 1)), min_size=1, max_size=20
)


@given(points)
def test_the_next_budget_lies_on_the_line(made: list[tuple[int, float | None]]) -> None:
    tried = line(*dict(made).items())
    limits = [one.budget.flash_bytes or 0 for one in tried]
    placed = next_budget(tried, DENSE).flash_bytes
    assert placed is not None
    assert min(limits) <= placed <= max(limits)


@given(st.floats(0.02, 1.0), st.floats(0.3, 3.0))
def test_steps_above_half_of_the_best_become_small(scale: float, power: float) -> None:
    """Of a score that falls smoothly, no step is left that is wide."""

    def gain(limit: int) -> float:
        return 1 - 2.0 ** -((limit / (scale * 20_000)) ** power)

    tried = line(*((limit, gain(limit)) for limit in (80_000, 16_000, 3_200, 640)))
    for _ in range(80):
        budget = next_budget(tried, DENSE)
        at = next((n for n, one in enumerate(tried) if one.budget == budget), None)
        if at is None:
            tried.append(Tried(budget, gain(budget.flash_bytes or 0), 1))
        else:
            tried[at] = replace(tried[at], trials=tried[at].trials + 1)
    tried.sort(key=lambda one: tightness(one.budget))
    floor = 0.5 * max(one.gain or 0 for one in tried)
    for loose, tight in pairwise(tried):
        near = (loose.budget.flash_bytes or 0) / (tight.budget.flash_bytes or 1) < 1.2
        assert near or max(loose.gain or 0, floor) - max(tight.gain or 0, floor) <= STEP


def test_the_middle_of_two_budgets_is_geometric() -> None:
    loose = Budget(flash_bytes=40_000, latency_ms=8.0)
    tight = Budget(flash_bytes=10_000, latency_ms=2.0)
    assert between(loose, tight) == Budget(flash_bytes=20_000, latency_ms=4.0)


# --- the line


def test_the_loosest_is_half_of_the_dense_cost_or_what_the_device_has() -> None:
    config = BudgetConfig(kind="auto", exponents={"latency": 0.0})
    device = Budget(flash_bytes=30_000, sram_bytes=20_000)
    assert loosest(config, DENSE, device) == Budget(flash_bytes=30_000, sram_bytes=5_000)
    given_limit = BudgetConfig(kind="auto", exponents={"latency": 0.0}, latency="20ms", sram="60 %")
    assert loosest(given_limit, DENSE, device) == Budget(
        flash_bytes=30_000, sram_bytes=6_000, latency_ms=20.0
    )
    with pytest.raises(ConfigError, match=r"budget\.flash: budget=auto takes one limit"):
        loosest(BudgetConfig(kind="auto", flash=[1000, 2000]), DENSE, device)


def test_limits_shrink_in_the_proportions_of_their_exponents() -> None:
    config = BudgetConfig(kind="auto", exponents={"sram": 0.5})
    whole = Budget(flash_bytes=40_000, sram_bytes=10_000)
    assert tightened(whole, 0.25, config) == Budget(flash_bytes=10_000, sram_bytes=5_000)


# --- studies


@pytest.fixture
def spec(compose_spec: Composed, tiny: list[str]) -> Spec:
    words = [word for word in tiny if not word.startswith("shares")]
    return compose_spec(*words, "budget=auto", "budget.count=3")


@pytest.mark.slow
def test_a_study_places_its_budgets(workspace: Workspace, spec: Spec) -> None:
    study = create.prepare(workspace, "s", spec, 6)
    assert [trial_budget(trial) for trial in study.trials()] == [*study.budgets, *3 * [UNPLACED]]
    work(workspace.config, "s", threads=1)
    study = require_study(workspace, "s")
    trials = study.trials()
    assert counts(trials)["complete"] == 6
    loose, *_, tight = study.budgets
    for trial in trials:
        budget = trial_budget(trial)
        assert tightness(loose) <= tightness(budget) <= tightness(tight)
        assert budget.holds(Cost(**trial.user_attrs["result"]["cost"]))
    study = create.prepare(workspace, "s", spec, 8)  # it grows
    assert len(study.trials()) == 8


@pytest.mark.slow
def test_a_trial_keeps_its_budget_when_it_is_handed_back(workspace: Workspace, spec: Spec) -> None:
    study = create.prepare(workspace, "s", spec, 4)
    claimed = [claim(study) for _ in range(4)]
    assert claimed[3] is not None
    budget = trial_budget(claimed[3])
    assert budget.limits
    hand_back(study)
    again = [claim(study) for _ in range(4)]
    assert again[3] is not None
    assert trial_budget(again[3]) == budget


@pytest.mark.slow
def test_what_makes_no_line_is_refused(workspace: Workspace, spec: Spec) -> None:
    for changes, said in (({"count": 1}, "budget.count=1"), ({"shares": [0.5]}, "not used by")):
        wrong = Spec({**spec.values, "budget": {**spec["budget"], **changes}})
        with pytest.raises(ConfigError, match=said):
            create.prepare(workspace, "s", wrong, None)
    with pytest.raises(ConfigError, match="seeds=2: budget=auto"):
        create.prepare(workspace, "s", Spec({**spec.values, "seeds": 2}), None)


@pytest.mark.slow
def test_without_a_number_there_are_24_trials(workspace: Workspace, spec: Spec) -> None:
    assert len(create.prepare(workspace, "s", spec, None).trials()) == 24

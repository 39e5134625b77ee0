"""Budgets from ladders, grids and ranges; what a sampler may draw from."""

from itertools import pairwise
from typing import Any

import optuna
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pruning.budget import RESOURCES, Budget, Cost
from pruning.errors import BudgetError
from search.config.schema import BudgetConfig
from search.errors import ConfigError
from search.study.budgets import budgets
from search.study.space import check_space, suggest

DENSE = Cost(flash_bytes=80_000, sram_bytes=10_000, latency_ms=40.0, macs=1_000_000)
POWER = {"flash": 1.0, "sram": 0.5, "latency": 0.0}


def made(**settings: Any) -> tuple[Budget, ...]:
    return budgets(BudgetConfig(**settings), DENSE)


@pytest.mark.parametrize(
    "path", ["device.flash", "accelerator.precision", "task.metric._target_", "seed"]
)
def test_what_all_trials_share_cannot_be_searched(path: str) -> None:
    with pytest.raises(ConfigError, match=f"'{path}' is not a setting that trials may differ in"):
        check_space({path: [1, 2]})


def test_a_ladder_is_shares_of_the_dense_cost() -> None:
    assert made(kind="ladder", shares=[0.25, 0.5], exponents=POWER) == (
        Budget(flash_bytes=40_000, sram_bytes=7_071),  # 10,000 x sqrt(0.5), rounded down
        Budget(flash_bytes=20_000, sram_bytes=5_000),
    )


def test_without_powers_all_resources_shrink_alike() -> None:
    (one,) = made(kind="ladder", shares=[0.1])
    assert one == Budget(flash_bytes=8_000, sram_bytes=1_000, latency_ms=4.0)


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"kind": "ladder", "shares": [0.5], "flash": 5}, "flash is not used by budget=ladder"),
        ({"kind": "grid", "flash": 5, "shares": [0.5]}, "shares .*; leave .*budget=ladder$"),
        ({"kind": "grid", "flash": 5, "count": 3}, "count .*choose budget=range or budget=auto$"),
    ],
)
def test_settings_of_other_kinds_of_budgets_are_refused(
    settings: dict[str, Any], said: str
) -> None:
    with pytest.raises(ConfigError, match=said):
        made(**settings)


def test_a_grid_is_every_combination_in_any_unit() -> None:
    grid = made(kind="grid", flash=["24 KiB", "12 %"], latency=["20ms", 5])
    assert set(grid) == {
        Budget(flash_bytes=flash, latency_ms=latency)
        for flash in (24 * 1024, 9_600)
        for latency in (20.0, 5.0)
    }
    assert grid[0] == Budget(flash_bytes=24 * 1024, latency_ms=20.0)
    assert grid[-1] == Budget(flash_bytes=9_600, latency_ms=5.0)


def test_one_value_is_a_list_of_one() -> None:
    assert made(kind="grid", sram="8 kB") == (Budget(sram_bytes=8_000),)


def test_equal_budgets_are_one() -> None:
    assert len(made(kind="grid", flash=["50 %", 40_000, "40000 B"])) == 1


def test_a_range_is_geometric_in_all_resources_together() -> None:
    assert made(kind="range", flash=[64_000, 4_000], sram=["80 %", "20 %"], count=3) == (
        Budget(flash_bytes=64_000, sram_bytes=8_000),
        Budget(flash_bytes=16_000, sram_bytes=4_000),
        Budget(flash_bytes=4_000, sram_bytes=2_000),
    )


factors = st.lists(st.floats(0.01, 1.0), min_size=1, max_size=8)


@given(factors, st.fixed_dictionaries({name: st.floats(0.1, 1.5) for name in POWER}))
def test_ladders_are_loosest_first_and_never_above_the_share(
    shares: list[float], exponents: dict[str, float]
) -> None:
    ladder = made(kind="ladder", shares=shares, exponents=exponents)
    for name in RESOURCES:
        limits = [getattr(budget, name) for budget in ladder]
        assert limits == sorted(limits, reverse=True)
        exact = max(shares) ** exponents[name.partition("_")[0]] * getattr(DENSE, name)
        assert exact - 1 < limits[0] <= exact + 1e-6
    assert all(isinstance(b.flash_bytes, int) and isinstance(b.sram_bytes, int) for b in ladder)
    assert len(ladder) <= len(set(shares))


@given(
    st.lists(st.integers(1, 10**6), min_size=1, max_size=4),
    st.lists(st.integers(1, 10**6), min_size=1, max_size=4),
)
def test_a_looser_budget_comes_before_a_tighter_one(flash: list[int], sram: list[int]) -> None:
    grid = made(kind="grid", flash=flash, sram=sram)
    assert len(grid) == len(set(flash)) * len(set(sram))
    for earlier, later in pairwise(budget.limits for budget in grid):
        assert any(later[name] < earlier[name] for name in ("flash_bytes", "sram_bytes"))


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"kind": "stair"}, "stair.*ladder, grid, range"),
        ({"kind": "ladder"}, r"shares=\[\]"),
        ({"kind": "ladder", "shares": [1.5]}, "1.5"),
        ({"kind": "ladder", "shares": [0.0]}, "above 0"),
        ({"kind": "ladder", "shares": [float("nan")]}, "nan"),
        (
            {"kind": "ladder", "shares": [1e-9]},
            "flash_bytes, sram_bytes, latency_ms below 1 byte",
        ),
        ({"kind": "ladder", "shares": [0.5], "exponents": {"flash": -1.0}}, "exponents"),
        ({"kind": "ladder", "shares": [0.5], "exponents": {"flsh": 1.0}}, "flsh"),
        ({"kind": "ladder", "shares": [0.5], "exponents": dict.fromkeys(POWER, 0.0)}, "limited"),
        ({"kind": "grid"}, "nothing is limited"),
        ({"kind": "range"}, "loosest, tightest"),
        ({"kind": "range", "flash": [1000]}, "count"),
        ({"kind": "range", "flash": [1000, 10], "count": 1}, "count=1"),
    ],
)
def test_what_makes_no_budget_is_refused(settings: dict[str, Any], said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        made(**settings)


@pytest.mark.parametrize("limit", ["12 parsec", "-4", "0", "nan", "", "1.2.3 KiB", "5 ms"])
def test_an_unreadable_limit_is_refused(limit: str) -> None:
    with pytest.raises(BudgetError, match="flash_bytes"):
        made(kind="grid", flash=[limit])


# --- the space of hyperparameters


@pytest.mark.parametrize(
    "how",
    [
        3,
        "x",
        [],
        None,
        {"low": 1},
        {"low": 2, "high": 1},
        {"low": 0, "high": 1, "log": True},
        {"low": 0, "high": 1, "most": 3},
        {"low": "a", "high": "b"},
        {"low": "a", "high": "b", "log": True},
        {"low": False, "high": True},
        {"low": 0.0, "high": 1.0, "step": -1},
        {"low": 1.0, "high": 2.0, "log": True, "step": 0.5},
        {"low": 16, "high": 64, "step": 0.5},
    ],
)
def test_a_space_that_nobody_can_draw_from_is_refused(how: Any) -> None:
    with pytest.raises(ConfigError, match=r"task\.optimizer\.lr"):
        check_space({"task.optimizer.lr": how})


SPACE = {
    "task.a": {"low": 0.1, "high": 10.0, "log": True},
    "task.b": {"low": 2, "high": 8, "step": 2},
    "task.c": ["x", "y"],
    "task.d": {"low": 0.0, "high": 1.0, "step": 0.25},
}


def test_every_path_of_a_space_gets_one_value() -> None:
    check_space(SPACE)
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0))
    for _ in range(20):
        trial = study.ask()
        drawn = suggest(trial, SPACE)
        assert list(drawn) == list(SPACE)
        assert 0.1 <= float(drawn["task.a"]) <= 10
        assert drawn["task.b"] in (2, 4, 6, 8)
        assert isinstance(drawn["task.b"], int)
        assert drawn["task.c"] in ("x", "y")
        assert float(drawn["task.d"]) in (0, 0.25, 0.5, 0.75, 1)
        assert suggest(trial, SPACE) == drawn == trial.params


def test_no_space_no_values() -> None:
    check_space({})
    assert suggest(optuna.create_study().ask(), {}) == {}

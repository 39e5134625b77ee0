"""Fronts and hypervolumes against brute force, and the best point within limits."""

from itertools import combinations, pairwise, product

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pruning.budget import RESOURCES, Budget, Cost
from search.errors import NothingFitsError
from search.results.front import Point, best_within, hypervolumes, non_dominated, planes, volume

GRID = 4
DENSE = Cost(flash_bytes=1000, sram_bytes=100, latency_ms=10.0, macs=1)


def point(
    number: int,
    score: float,
    flash: int = 500,
    sram: int = 50,
    ms: float = 5.0,
    fits: bool = True,
) -> Point:
    cost = Cost(flash_bytes=flash, sram_bytes=sram, latency_ms=ms, macs=1)
    return Point(number, score, cost, fits)


cells = st.integers(0, GRID)
tables = st.integers(2, 4).flatmap(
    lambda width: st.lists(st.tuples(*[cells] * width), min_size=1, max_size=9)
)


def dominates(a: tuple[int, ...], b: tuple[int, ...]) -> bool:
    return a != b and all(x <= y for x, y in zip(a, b, strict=True))


@given(tables)
def test_non_dominated_rows(rows: list[tuple[int, ...]]) -> None:
    expected = [
        not any(dominates(other, row) for other in rows) and row not in rows[:index]
        for index, row in enumerate(rows)
    ]
    assert non_dominated(np.array(rows, dtype=float)) == expected


def test_no_rows_no_front() -> None:
    assert non_dominated(np.array([])) == []
    assert planes([], rises=True) == {}


@given(tables)
def test_the_volume_counts_dominated_cells(rows: list[tuple[int, ...]]) -> None:
    """A cell of the grid counts when a row is at or below its lower corner."""
    width = len(rows[0])
    dominated = sum(
        any(all(x <= c for x, c in zip(row, corner, strict=True)) for row in rows)
        for corner in product(range(GRID), repeat=width)
    )
    exact = dominated / GRID**width
    assert volume(np.array(rows, dtype=float) / GRID) == pytest.approx(exact, abs=1e-12)


shares = st.floats(0.01, 0.99)
points = st.lists(st.tuples(st.floats(0.0, 1.0), shares, shares, shares), min_size=1, max_size=5)


@given(points)
def test_hypervolumes_by_inclusion_and_exclusion(
    rows: list[tuple[float, float, float, float]],
) -> None:
    chance = 0.25
    made = [
        Point(i, score, Cost(flash_bytes=round(f * 1000), sram_bytes=round(s * 100),
              latency_ms=ms * 10, macs=1), True)
        for i, (score, f, s, ms) in enumerate(rows)
    ]  # fmt: skip
    boxes = [
        np.array(
            [
                max(0.0, (p.score - chance) / (1 - chance)),
                *(1 - getattr(p.cost, name) / getattr(DENSE, name) for name in RESOURCES),
            ]
        )
        for p in made
    ]
    expected = [
        sum(
            (-1) ** (size + 1) * np.prod(np.min(chosen, axis=0))
            for size in range(1, count + 1)
            for chosen in combinations(boxes[:count], size)
        )
        for count in range(1, len(boxes) + 1)
    ]
    found = hypervolumes(made, DENSE, chance, best=1.0)
    assert found == pytest.approx(expected, abs=1e-9)
    assert all(0 <= value <= 1 for value in found)
    assert all(later >= earlier - 1e-12 for earlier, later in pairwise(found))


def test_a_falling_score_counts_from_chance_to_zero() -> None:
    made = [point(0, score=1.0)]  # halfway from 2 to 0, and half of every cost
    assert hypervolumes(made, DENSE, chance=2.0, best=0.0) == [pytest.approx(0.5**4)]


@pytest.mark.parametrize(
    "worthless",
    [
        point(0, 0.2),
        point(0, 0.9, flash=1000),
        point(0, 0.9, ms=11.0),
        point(0, 0.9, fits=False),
    ],
)
def test_what_is_beyond_the_reference_point_adds_nothing(worthless: Point) -> None:
    assert hypervolumes([worthless], DENSE, 0.25, 1.0) == [0.0]


def test_planes_of_score_against_each_resource() -> None:
    best = point(0, 0.9, flash=800, sram=80, ms=8.0)
    small = point(1, 0.8, flash=400, sram=80, ms=8.0)
    fast = point(2, 0.7, flash=800, sram=80, ms=1.0)
    poor = point(3, 0.6, flash=900, sram=90, ms=9.0)
    unfit = point(4, 0.99, flash=1, sram=1, ms=0.1, fits=False)
    found = planes([best, small, fast, poor, unfit], rises=True)
    assert found == {
        0: ("overall", "flash_bytes", "sram_bytes", "latency_ms"),
        1: ("overall", "flash_bytes"),
        2: ("overall", "latency_ms"),
        3: (),
        4: (),
    }


def test_planes_of_a_falling_score() -> None:
    found = planes([point(0, 0.9), point(1, 0.1)], rises=False)
    assert found[0] == ()
    assert "overall" in found[1]


def test_of_equal_points_the_first_is_on_the_front() -> None:
    found = planes([point(3, 0.9), point(1, 0.9)], rises=True)
    assert (len(found[3]), found[1]) == (4, ())


# --- the best within limits


def test_the_best_score_within_limits_wins() -> None:
    made = [point(0, 0.9, flash=600), point(1, 0.8, flash=300), point(2, 0.7, flash=100)]
    assert best_within(made, Budget(flash_bytes=300), True).number == 1
    assert best_within(made, Budget(flash_bytes=299), True).number == 2
    assert best_within(made, Budget(), True).number == 0
    assert best_within(made, Budget(flash_bytes=600), False).number == 2


def test_of_equal_scores_the_cheapest_wins() -> None:
    made = [point(0, 0.9, flash=600), point(1, 0.9, flash=500), point(2, 0.9, flash=501)]
    assert best_within(made, Budget(flash_bytes=600), True).number == 1


def test_what_misses_is_told_with_by_how_much() -> None:
    made = [point(7, 0.9, flash=40_000, sram=300, ms=2.5), point(8, 0.9, flash=90_000, sram=50)]
    with pytest.raises(NothingFitsError) as raised:
        best_within(made, Budget(flash_bytes=32_768, sram_bytes=200, latency_ms=2.5), True)
    said = str(raised.value)
    assert "none of 2 finished trials" in said
    assert "the nearest is trial 7" in said
    assert "flash_bytes 40000 exceeds 32768 by 7232 (22.1%)" in said
    assert "sram_bytes 300 exceeds 200 by 100 (50.0%)" in said
    assert "latency" not in said


def test_large_numbers_are_whole() -> None:
    with pytest.raises(NothingFitsError, match=r"1234567 exceeds 1234566 by 1 \(0\.0%\)"):
        best_within([point(0, 0.5, flash=1_234_567)], Budget(flash_bytes=1_234_566), True)


def test_before_anything_has_finished() -> None:
    with pytest.raises(NothingFitsError, match="no trial has finished"):
        best_within([], Budget(), True)

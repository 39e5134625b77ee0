"""Sizes as people write them, and limits."""

from dataclasses import replace
from math import nextafter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pruning.budget import Budget, Cost, Device, parse_limit
from pruning.catalogue.devices import device as named
from pruning.errors import BudgetError

COST = Cost(flash_bytes=2000, sram_bytes=1000, latency_ms=5.0, macs=1)


@pytest.mark.parametrize(
    ("resource", "text", "limit"),
    [
        ("flash_bytes", "24 KiB", 24 * 1024),
        ("flash_bytes", "24kib", 24 * 1024),
        ("flash_bytes", "24k", 24 * 1024),
        ("sram_bytes", "1.5M", 1.5 * 1024**2),
        ("flash_bytes", "24 kB", 24_000),
        ("sram_bytes", "1.5 MiB", 1.5 * 1024**2),
        ("sram_bytes", "2 MB", 2_000_000),
        ("flash_bytes", "4096", 4096),
        ("flash_bytes", 4096, 4096),
        ("flash_bytes", " 4096 B ", 4096),
        ("flash_bytes", "0.3 KiB", 307),  # 307.2, rounded down
        ("flash_bytes", "1e4", 10_000),
        ("latency_ms", "20 ms", 20),
        ("latency_ms", "1.5 s", 1500),
        ("latency_ms", "250 us", 0.25),
        ("latency_ms", 12.5, 12.5),
    ],
)
def test_limits_are_read(resource, text, limit):
    assert parse_limit(resource, text) == pytest.approx(limit, abs=1e-12)


def test_shares_of_the_dense_cost():
    assert parse_limit("flash_bytes", "12 %", dense=1000) == 120
    assert parse_limit("flash_bytes", "0.25%", dense=1000) == 2
    assert parse_limit("latency_ms", "50%", dense=3.0) == 1.5
    for dense in (29, 57, 58, 113, 115_011):  # a hundredth of which is a little less
        assert parse_limit("flash_bytes", "100 %", dense) == dense


@pytest.mark.parametrize(
    ("resource", "text"),
    [
        ("flash_bytes", "24 ms"),
        ("latency_ms", "24 KiB"),
        ("flash_bytes", "much"),
        ("flash_bytes", ""),
        ("flash_bytes", "0"),
        ("flash_bytes", "-5 KiB"),
        ("flash_bytes", "1.2.3 KiB"),
        ("flash_bytes", "12 %"),  # of what?
        ("flash_bytes", "5 KiB 3"),
        ("latency_ms", "nan"),
        ("latency_ms", "inf"),
    ],
)
def test_nonsense_is_refused(resource, text):
    with pytest.raises(BudgetError, match=resource):
        parse_limit(resource, text)


def test_a_limit_holds_up_to_equality():
    exact = Budget(flash_bytes=2000, sram_bytes=1000, latency_ms=5.0)
    assert exact.holds(COST)
    assert exact.overshoot(COST) == {"flash_bytes": 0, "sram_bytes": 0, "latency_ms": 0}
    assert not Budget(flash_bytes=1999).holds(COST)
    assert not Budget(latency_ms=4.999).holds(COST)
    assert Budget(flash_bytes=1000).overshoot(COST) == {"flash_bytes": 1.0}
    assert Budget().holds(COST)
    assert Budget(sram_bytes=3).limits == {"sram_bytes": 3}


def test_a_device_leaves_what_it_does_not_reserve(device: Device):
    assert device.budget == Budget(flash_bytes=(1 << 20) - 40_000, sram_bytes=(128 << 10) - 8000)
    assert device.milliseconds(80e6) == pytest.approx(1500)


@given(
    flash=st.integers(1, 10**7),
    sram=st.integers(1, 10**7),
    latency=st.floats(1e-3, 1e5),
    margins=st.tuples(st.floats(0, 0.99), st.floats(0, 0.99)),
)
def test_what_is_needed_is_the_least_limit_that_admits(
    flash: int, sram: int, latency: float, margins: tuple[float, float]
) -> None:
    device = replace(named("stm32f446"), flash_margin=margins[0], latency_margin=margins[1])
    cost = Cost(flash_bytes=flash, sram_bytes=sram, latency_ms=latency, macs=1)
    steps = {"flash_bytes": 1, "sram_bytes": 1, "latency_ms": None}
    for name, step in steps.items():
        least = device.needed(name, getattr(cost, name))
        less = least - step if step else nextafter(least, 0.0)
        assert device.guarded(Budget.from_limits({name: least})).holds(cost)
        if less > 0:
            assert not device.guarded(Budget.from_limits({name: less})).holds(cost)

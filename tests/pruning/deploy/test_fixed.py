"""Fixed-point products against the published arithmetic, one number at a time."""

import numpy as np
import pytest
import torch
from hypothesis import example, given
from hypothesis import strategies as st

from pruning.deploy.fixed_point import fixed_point_multiplier, requantize

SUMS = st.integers(-(1 << 31), (1 << 31) - 1)


def doubled_high(a: int, b: int) -> int:
    """The high word of 2ab as gemmlowp rounds it: a nudge by sign, then C's division."""
    product = a * b
    nudge = 1 << 30 if product >= 0 else 1 - (1 << 30)
    total = product + nudge
    return total // (1 << 31) if total >= 0 else -(-total // (1 << 31))


def divided(x: int, exponent: int) -> int:
    """x / 2 ** exponent as gemmlowp rounds it: half away from zero."""
    mask = (1 << exponent) - 1
    return (x >> exponent) + ((x & mask) > (mask >> 1) + (x < 0))


@given(SUMS, st.floats(2.0**-31, 0.999))
@example(-(1 << 30), 0.5)
@example(3, 0.5)
@example(-3, 0.5)
def test_a_product_is_rounded_as_the_reference_kernels_round(total, factor):
    scaling = fixed_point_multiplier(factor)
    assert scaling.left == 0
    found = requantize(np.array([total]), *(np.atleast_1d(part) for part in scaling))
    assert found[0] == divided(doubled_high(total, int(scaling.mantissa)), int(scaling.right))


@given(st.integers(-(1 << 20), 1 << 20), st.floats(1.0, 500.0))
def test_a_factor_above_one_shifts_first(total, factor):
    scaling = fixed_point_multiplier(factor)
    found = requantize(np.array([total]), *(np.atleast_1d(part) for part in scaling))
    assert found[0] == doubled_high(total << int(scaling.left), int(scaling.mantissa))
    assert abs(found[0] - total * factor) <= 1


def test_what_leaves_32_bits_is_clipped():
    scaling = [np.atleast_1d(part) for part in fixed_point_multiplier(6.0)]
    assert requantize(np.array([1 << 30]), *scaling)[0] > 1 << 29
    assert requantize(np.array([-(1 << 30)]), *scaling)[0] < -(1 << 29)


@given(st.lists(st.floats(2.0**-30, 1000.0), min_size=1, max_size=5))
def test_factors_are_held_to_31_bits(factors):
    mantissa, left, right = fixed_point_multiplier(factors)
    assert ((mantissa >= 1 << 30) & (mantissa < 1 << 31)).all()
    held = mantissa * 2.0 ** (left - right - 31)
    np.testing.assert_allclose(held, factors, rtol=2.0**-31)


def test_a_mantissa_that_rounds_up_to_the_next_power_is_carried():
    mantissa, left, right = fixed_point_multiplier(1.0 - 2.0**-40)
    assert (mantissa, left, right) == (1 << 30, 1, 0)
    assert fixed_point_multiplier(2.0**-40).mantissa == 0


@pytest.mark.parametrize("factor", [1e-6, 0.003, 0.7, 3.0])
def test_torch_and_numpy_agree(factor):
    totals = np.random.default_rng(0).integers(-(1 << 22), 1 << 22, 1000)
    scaling = [np.atleast_1d(part) for part in fixed_point_multiplier(factor)]
    other = requantize(torch.from_numpy(totals), *map(torch.from_numpy, scaling))
    np.testing.assert_array_equal(requantize(totals, *scaling), other.numpy())

"""Products of integers and real numbers, rounded as TensorFlow Lite's reference kernels round.

A real factor is held as a mantissa of 31 bits and a power of two. Two roundings follow each
other: the high word of the doubled product (ties go up), then the shift (ties go away from
zero).
"""

from typing import NamedTuple, TypeVar

import numpy as np
from numpy.typing import ArrayLike, NDArray
from torch import Tensor

Integers = NDArray[np.int64]
Array = TypeVar("Array", NDArray[np.int64], Tensor)
WORD = 31  # bits of a mantissa
LOWEST, HIGHEST = -(1 << 31), (1 << 31) - 1


class FixedPointMultiplier(NamedTuple):
    """Real factors: mantissa * 2 ** (left - right - 31), one or several.

    Mantissas are below 2 ** 31, none below zero; left or right is zero.
    """

    mantissa: Integers
    left: Integers
    right: Integers


def fixed_point_multiplier(factors: ArrayLike) -> FixedPointMultiplier:
    """Real factors, none below zero, in fixed point; those below 2 ** -32 become zero."""
    fractions, exponents = np.frexp(np.asarray(factors, dtype=np.float64))
    mantissas = np.floor(fractions * 2.0**WORD + 0.5).astype(np.int64)
    full = mantissas == 1 << WORD
    mantissas = np.where(full, 1 << (WORD - 1), mantissas)
    exponents = exponents.astype(np.int64) + full
    gone = exponents < -WORD
    mantissas, exponents = np.where(gone, 0, mantissas), np.where(gone, 0, exponents)
    return FixedPointMultiplier(mantissas, np.maximum(exponents, 0), np.maximum(-exponents, 0))


def requantize(value: Array, mantissa: Array, left: Array, right: Array) -> Array:
    """Integers times a `FixedPointMultiplier`, rounded.

    All arguments are arrays of int64, of numpy or of torch alike, that fit together. What
    leaves 32 bits on its way is clipped there.
    """
    value = (value << left).clip(LOWEST, HIGHEST)
    high: Array = (value * mantissa + (1 << (WORD - 1))) >> WORD
    mask = (1 << right) - 1
    rounded: Array = (high >> right) + ((high & mask) > (mask >> 1) + (high < 0))
    return rounded

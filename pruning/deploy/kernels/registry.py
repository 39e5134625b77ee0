"""All kernels of integers: which one a fused kernel becomes, and what is decided of each."""

from collections.abc import Iterable
from typing import Any, TypeVar

from pruning.deploy.context.lowering import LoweringContext
from pruning.deploy.integer_ir import IntegerKernel
from pruning.deploy.kernels import (
    add,
    concat,
    conv,
    conv_transpose,
    gather,
    lut,
    mean,
    mul,
    pool,
    prelu,
)
from pruning.deploy.kernels.base import KernelFamily
from pruning.graph.fusion import Kernel
from pruning.ir.kinds import ROUTINES, WITHOUT_C, KindTable

Family = KernelFamily[Any]
Key = TypeVar("Key")

FAMILIES: tuple[Family, ...] = (
    conv.FAMILY, conv_transpose.FAMILY, add.FAMILY, mul.FAMILY, pool.FAMILY, mean.FAMILY,
    lut.FAMILY, prelu.FAMILY, gather.FAMILY, concat.FAMILY,
)  # fmt: skip


def by_routine(families: Iterable[Family]) -> dict[str, Family]:
    """The family that each routine of a fused kernel becomes.

    Raises:
        TypeError: two families claim one routine.
    """
    return _distinct((routine, family) for family in families for routine in family.lowerings)


def by_record(families: Iterable[Family]) -> dict[type, Family]:
    """The family of each class of integer kernels.

    Raises:
        TypeError: two families have one class.
    """
    return _distinct((family.record, family) for family in families)


def _distinct(pairs: Iterable[tuple[Key, Family]]) -> dict[Key, Family]:
    table: dict[Key, Family] = {}
    for key, family in pairs:
        if key in table:
            name = getattr(key, "__name__", key)
            raise TypeError(f"{name} is of two kernel families: {table[key].name}, {family.name}")
        table[key] = family
    return table


BY_ROUTINE: KindTable[str, Family] = KindTable(
    "its integer kernel",
    [routine for routine in ROUTINES if routine not in WITHOUT_C],
    by_routine(FAMILIES),
)
BY_RECORD: KindTable[type, Family] = KindTable(
    "what is decided of it", [family.record for family in FAMILIES], by_record(FAMILIES)
)


def family_of(kernel: IntegerKernel) -> Family:
    """What is decided of a kernel of an integer network.

    Raises:
        UnsupportedOperatorError: its class has no family.
    """
    return BY_RECORD.at(type(kernel), kernel.name)


def obstacle(kernel: Kernel) -> str:
    """What keeps a fused kernel from being deployed, in words behind its name; "" for nothing.

    Raises:
        UnsupportedOperatorError: its routine is not known.
    """
    if kernel.routine in WITHOUT_C:
        return "has no integer kernel"
    return BY_ROUTINE.at(kernel.routine, kernel.name).obstacle(kernel)


def lower_kernel(kernel: Kernel, context: LoweringContext) -> IntegerKernel:
    """The integer kernel that a fused kernel without obstacles becomes.

    Raises:
        UnsupportedOperatorError: there is none.
    """
    family = BY_ROUTINE.at(kernel.routine, kernel.name)
    lowered: IntegerKernel = family.lowerings[kernel.routine](kernel, context)
    return lowered

"""All kernels of integers: which one a fused kernel becomes, and what is decided of each.

A family is a module of this package with its record in `FAMILY`; it is found here.
"""

from collections.abc import Iterable, Iterator
from importlib import import_module
from pkgutil import iter_modules
from typing import Any, TypeVar

from pruning.deploy import kernels
from pruning.deploy.context.lowering import LoweringContext
from pruning.deploy.integer_ir import IntegerKernel
from pruning.deploy.kernels.base import KernelFamily
from pruning.ir.kernel import Kernel
from pruning.ir.kinds import KindTable
from pruning.ops import ROUTINES, kernel_rule, routine_of

Family = KernelFamily[Any]
Key = TypeVar("Key")


def _collected() -> Iterator[Family]:
    for module in iter_modules(kernels.__path__, f"{kernels.__name__}."):
        if family := getattr(import_module(module.name), "FAMILY", None):
            yield family


FAMILIES: tuple[Family, ...] = tuple(_collected())


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
    [name for name, routine in ROUTINES.items() if routine.record_bytes is not None],
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
    if routine_of(kernel).record_bytes is None:
        return "has no integer kernel"
    return BY_ROUTINE.at(_routine(kernel), kernel.name).obstacle(kernel)


def lower_kernel(kernel: Kernel, context: LoweringContext) -> IntegerKernel:
    """The integer kernel that a fused kernel without obstacles becomes.

    Raises:
        UnsupportedOperatorError: there is none.
    """
    routine = _routine(kernel)
    family = BY_ROUTINE.at(routine, kernel.name)
    lowered: IntegerKernel = family.lowerings[routine](kernel, context)
    return lowered


def _routine(kernel: Kernel) -> str:
    return kernel_rule(kernel).routine(kernel)

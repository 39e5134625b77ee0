"""The operators that the engine knows: one module a family, one record a kind.

To add a family, write a module in this package that ends with `KINDS` (see `pruning.ops.base`);
it is found here, and no other module of the engine has to know of it.
"""

import importlib
import pkgutil
from collections.abc import Mapping

from torch import Tensor

from pruning.errors import UnsupportedOperatorError
from pruning.ir.kernel import Kernel
from pruning.ir.operator import Operator
from pruning.ops.base import Converter, KernelRule, OperatorKind, Routine, Tensors

__all__ = [
    "CONVERTERS",
    "OPERATORS",
    "ROUTINES",
    "execute",
    "filters",
    "kernel_rule",
    "kind_of",
    "routine_of",
]


def _collected() -> dict[str, OperatorKind]:
    kinds: dict[str, OperatorKind] = {}
    for module in pkgutil.iter_modules(__path__, f"{__name__}."):
        for kind in getattr(importlib.import_module(module.name), "KINDS", ()):
            if kind.name in kinds:
                raise TypeError(f"{kind.name}: two records of one kind, one in {module.name}")
            kinds[kind.name] = kind
    return kinds


OPERATORS: Mapping[str, OperatorKind] = _collected()
CONVERTERS: Mapping[str, Converter] = {
    call: converter for kind in OPERATORS.values() for call, converter in kind.converters.items()
}
ROUTINES: Mapping[str, Routine] = {
    name: routine
    for kind in OPERATORS.values()
    if kind.kernel
    for name, routine in kind.kernel.routines.items()
}


def kind_of(operator: Operator) -> OperatorKind:
    """The record of an operator's kind.

    Raises:
        UnsupportedOperatorError: there is no such kind.
    """
    if operator.kind not in OPERATORS:
        raise UnsupportedOperatorError(
            f"{operator.name}: no operator is of kind {operator.kind}; "
            f"known: {', '.join(sorted(OPERATORS))}"
        )
    return OPERATORS[operator.kind]


def kernel_rule(kernel: Kernel) -> KernelRule:
    """What a kernel costs, by its main operator.

    Raises:
        UnsupportedOperatorError: there is no such kind, or none that is executed.
    """
    if rule := kind_of(kernel.main).kernel:
        return rule
    raise UnsupportedOperatorError(f"{kernel.name}: no kernel is of kind {kernel.main.kind}")


def routine_of(kernel: Kernel) -> Routine:
    """The loop nest of generated C that computes a kernel; raises as `kernel_rule` does."""
    rule = kernel_rule(kernel)
    return rule.routines[rule.routine(kernel)]


def execute(
    operator: Operator, inputs: list[Tensor], parameters: Tensors, training: bool
) -> Tensor:
    """The result of one operator on batched inputs, (batch, *operator.shape).

    `parameters` maps roles ("weight", "bias", ...) to tensors. Raises as `kind_of` does.
    """
    return kind_of(operator).execution.compute(operator, inputs, parameters, training)


def filters(operator: Operator, weight: Tensor) -> Tensor:
    """A layer's weight with its output channels first; applied twice it gives the weight back."""
    return kind_of(operator).execution.filters(operator, weight)

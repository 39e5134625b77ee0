"""Budgeted channel pruning of convolutional networks while they train; torch only.

Whoever imports this package pays for a name when it is first used: worker processes import
rooms of it that need neither a solver nor a compiler.
"""

from importlib import import_module
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pruning import data, models, tasks
    from pruning.api.inspection import Inspection, inspect
    from pruning.api.pruned import PrunedModel, prune
    from pruning.budget import Budget, Cost, Device
    from pruning.catalogue.devices import device, devices
    from pruning.errors import (
        BudgetError,
        DataError,
        DeployError,
        DeviceError,
        OutputError,
        PruningError,
        UnsupportedOperatorError,
    )
    from pruning.training.recipes import recipe

    __version__: str

__all__ = [
    "Budget",
    "BudgetError",
    "Cost",
    "DataError",
    "DeployError",
    "Device",
    "DeviceError",
    "Inspection",
    "OutputError",
    "PrunedModel",
    "PruningError",
    "UnsupportedOperatorError",
    "__version__",
    "data",
    "device",
    "devices",
    "inspect",
    "models",
    "prune",
    "recipe",
    "tasks",
]

_ROOMS = frozenset({"data", "models", "tasks"})
_HOMES = {
    "Budget": "budget",
    "BudgetError": "errors",
    "Cost": "budget",
    "DataError": "errors",
    "DeployError": "errors",
    "Device": "budget",
    "DeviceError": "errors",
    "Inspection": "api.inspection",
    "OutputError": "errors",
    "PrunedModel": "api.pruned",
    "PruningError": "errors",
    "UnsupportedOperatorError": "errors",
    "device": "catalogue.devices",
    "devices": "catalogue.devices",
    "inspect": "api.inspection",
    "prune": "api.pruned",
    "recipe": "training.recipes",
}


def __getattr__(name: str) -> Any:
    if name == "__version__":
        return version("paring")
    if name in _ROOMS:
        return import_module(f"{__name__}.{name}")
    if name in _HOMES:
        return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})

"""The cores that paring knows: a module each, with its record in `CORE`.

A module that is added here is known everywhere: there is no list to keep.
"""

from collections.abc import Mapping
from importlib import import_module
from pkgutil import iter_modules

from pruning.cost.core import Core
from pruning.errors import PruningError


def _shipped() -> dict[str, Core]:
    modules = [import_module(f"{__name__}.{entry.name}") for entry in iter_modules(__path__)]
    cores: list[Core] = [module.CORE for module in modules]
    return {core.name: core for core in sorted(cores, key=lambda core: core.name)}


CORES: Mapping[str, Core] = _shipped()


def core_named(name: str) -> Core:
    """The record of a core.

    Raises:
        PruningError: there is none of that name.
    """
    if name not in CORES:
        raise PruningError(f"no core is called {name!r}; known: {', '.join(CORES)}")
    return CORES[name]

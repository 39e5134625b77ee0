"""Sweeps: Hydra configs become Optuna studies whose trials prune a network as it trains.

Whoever imports this package pays for a name when it is first used: worker processes need no
frames and no figures.
"""

from importlib import import_module
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from search.api.models import TrialModel
    from search.api.study import SweepStudy
    from search.api.sweeps import compare, load_study, sweep
    from search.api.upkeep import calibrate, collect, doctor, serve, work
    from search.errors import ConfigError, NothingFitsError, SearchError, StoreError, StudyError

    __version__: str

__all__ = [
    "ConfigError",
    "NothingFitsError",
    "SearchError",
    "StoreError",
    "StudyError",
    "SweepStudy",
    "TrialModel",
    "__version__",
    "calibrate",
    "collect",
    "compare",
    "doctor",
    "load_study",
    "serve",
    "sweep",
    "work",
]

_HOMES = {
    "ConfigError": "errors",
    "NothingFitsError": "errors",
    "SearchError": "errors",
    "StoreError": "errors",
    "StudyError": "errors",
    "SweepStudy": "api.study",
    "TrialModel": "api.models",
    "calibrate": "api.upkeep",
    "collect": "api.upkeep",
    "compare": "api.sweeps",
    "doctor": "api.upkeep",
    "load_study": "api.sweeps",
    "serve": "api.upkeep",
    "sweep": "api.sweeps",
    "work": "api.upkeep",
}


def __getattr__(name: str) -> Any:
    if name == "__version__":
        return version("paring")
    if name in _HOMES:
        return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})

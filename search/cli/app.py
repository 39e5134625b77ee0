"""What makes a function a verb: a Hydra app whose errors reach the command line whole."""

import contextlib
import functools
import logging
import traceback
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import hydra
from hydra.core.hydra_config import HydraConfig
from hydra.types import RunMode
from omegaconf import DictConfig

from search.config.settings import require_known
from search.errors import ConfigError

OURS = Path(__file__).parents[1]
log = logging.getLogger("paring")


class Raised(BaseException):
    """Carries an error past Hydra, which would print every `Exception` in its own words."""

    def __init__(self, error: Exception) -> None:
        super().__init__(str(error))
        self.error = error


def _elsewhere(hydra_config: Any) -> bool:
    """Whether a launcher runs the verb in another process."""
    launcher = str(hydra_config.launcher._target_)
    return hydra_config.mode is RunMode.MULTIRUN and not launcher.endswith(".BasicLauncher")


def _theirs(error: Exception | SystemExit) -> Exception:
    """What a verb raised; where code of the user's would end the program, who did it."""
    if isinstance(error, Exception):
        return error
    place = traceback.extract_tb(error.__traceback__)[-1]
    if Path(place.filename).is_relative_to(OURS):
        raise error
    return ConfigError(
        f"{place.filename}:{place.lineno} ended the program with sys.exit({error.code!r}); a "
        "model, data set or task must return or raise an error"
    )


@contextlib.contextmanager
def warnings_as_lines() -> Iterator[None]:
    """Log the warnings of the engine, which are meant for whoever reads the terminal."""
    with warnings.catch_warnings():
        others = warnings.showwarning

        def show(message: Warning | str, kind: type[Warning], *place: Any) -> None:
            if kind.__module__.startswith("pruning."):
                log.warning("%s", message)
            else:
                others(message, kind, *place)

        warnings.showwarning = show  # type: ignore[assignment]
        yield


def verb(name: str) -> Callable[[Callable[[DictConfig], None]], Callable[[], Any]]:
    """Decorate a function of a composed config as the Hydra app `name`."""

    def decorate(function: Callable[[DictConfig], None]) -> Callable[[], Any]:
        @functools.wraps(function)
        def guarded(config: DictConfig) -> None:
            try:
                with warnings_as_lines():
                    require_known(config, name)
                    function(config)
            except (Exception, SystemExit) as error:
                error = _theirs(error)
                if _elsewhere(HydraConfig.get()):
                    raise  # it travels back from wherever the launcher ran it
                raise Raised(error) from error

        app = hydra.main(version_base="1.3", config_path="pkg://search.conf", config_name=name)
        started: Callable[[], Any] = app(guarded)
        return started

    return decorate

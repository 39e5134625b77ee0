"""What makes a function a verb: a Hydra app whose errors reach the command line whole."""

import functools
from collections.abc import Callable
from typing import Any

import hydra
from hydra.core.hydra_config import HydraConfig
from hydra.types import RunMode
from omegaconf import DictConfig


class Raised(BaseException):
    """Carries an error past Hydra, which would print every `Exception` in its own words."""

    def __init__(self, error: Exception) -> None:
        super().__init__(str(error))
        self.error = error


def _elsewhere(hydra_config: Any) -> bool:
    """Whether a launcher runs the verb in another process."""
    launcher = str(hydra_config.launcher._target_)
    return hydra_config.mode is RunMode.MULTIRUN and not launcher.endswith(".BasicLauncher")


def verb(name: str) -> Callable[[Callable[[DictConfig], None]], Callable[[], Any]]:
    """Decorate a function of a composed config as the Hydra app `name`."""

    def decorate(function: Callable[[DictConfig], None]) -> Callable[[], Any]:
        @functools.wraps(function)
        def guarded(config: DictConfig) -> None:
            try:
                function(config)
            except Exception as error:
                if _elsewhere(HydraConfig.get()):
                    raise  # it travels back from wherever the launcher ran it
                raise Raised(error) from error

        app = hydra.main(version_base="1.3", config_path="pkg://search.conf", config_name=name)
        started: Callable[[], Any] = app(guarded)
        return started

    return decorate

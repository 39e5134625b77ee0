"""Removing files that no study names, as a config asks for it."""

from math import inf

from omegaconf import DictConfig

from search.api.opened import workspace_of
from search.config.parse import flag
from search.errors import ConfigError
from search.study.collect import Orphans, collect

HOUR_S = 3600.0


def collected(config: DictConfig) -> Orphans:
    """Remove the old files that no study names; returns what there was.

    Raises:
        ConfigError: the age is no number of hours. StoreError: the store is another database's,
            too.
    """
    hours = config.older_h
    if isinstance(hours, bool) or not isinstance(hours, int | float) or not 0 <= hours < inf:
        raise ConfigError(f"older_h={hours}: a number of hours, at least 0")
    return collect(workspace_of(config), HOUR_S * hours, flag(config.force, "force"))

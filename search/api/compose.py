"""Configs composed without a command line, from the same files and with the same words."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from hydra import compose, initialize_config_module
from hydra.core.global_hydra import GlobalHydra
from hydra.errors import HydraException
from omegaconf import DictConfig
from omegaconf.errors import OmegaConfBaseException

from search.config.messages import cause_of, in_words
from search.config.settings import require_known
from search.errors import ConfigError

CATALOGUE = "pkg://pruning.catalogue"  # as in the files of the verbs


def composed(
    verb: str, overrides: Sequence[str], config_dir: str | Path | None = None
) -> DictConfig:
    """What `paring VERB OVERRIDES --config-dir DIR` would be told.

    Raises:
        ConfigError: there is no such setting or choice, or a value is missing.
    """
    words = list(overrides)
    if config_dir is not None:
        folder = Path(config_dir).expanduser().resolve()
        words.append(f"hydra.searchpath=['{CATALOGUE}','file://{folder}']")
    try:
        with _hydra():
            config = compose(verb, words)
    except (HydraException, OmegaConfBaseException) as error:
        raise ConfigError(in_words(cause_of(error))) from error
    require_known(config, verb)
    return config


@contextmanager
def _hydra() -> Iterator[None]:
    """Hydra on the files of `conf`; one of the caller's own comes back afterwards."""
    theirs = GlobalHydra.instance().hydra
    GlobalHydra.instance().clear()
    try:
        with initialize_config_module(version_base="1.3", config_module="search.conf"):
            yield
    finally:
        GlobalHydra.instance().hydra = theirs

"""Configs composed without a command line, from the same files and with the same words."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any

from hydra import compose, initialize_config_module
from hydra.core.global_hydra import GlobalHydra
from hydra.errors import HydraException
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from search.config.messages import cause_of, in_words
from search.config.settings import require_known
from search.errors import ConfigError
from search.study.space import GROUPS, parameters

CATALOGUE = "pkg://pruning.catalogue"  # as in the files of the verbs


def composed(
    verb: str, overrides: Sequence[str], config_dir: str | Path | None = None
) -> DictConfig:
    """What `paring VERB OVERRIDES --config-dir DIR` would be told.

    Raises:
        ConfigError: there is no such setting or choice, or a value is missing.
    """
    with _hydra():
        config = _composed(verb, [*overrides, *searched(config_dir)])
    require_known(config, verb)
    return config


def searched(config_dir: str | Path | None) -> list[str]:
    """The override that makes Hydra look for choices in a folder, too; none without one."""
    if config_dir is None:
        return []
    folder = Path(config_dir).expanduser().resolve()
    return [f"hydra.searchpath=['{CATALOGUE}','file://{folder}']"]


def choices_of(
    space: Mapping[str, Any], overrides: Sequence[str], verb: str = "sweep"
) -> dict[str, dict[str, Any]]:
    """The files of config groups that a space names, each composed with the same overrides.

    Raises:
        ConfigError: a group has no such file, or an override does not fit one of them.
    """
    names = {p.name: p.domain for p in parameters(space) if p.name in GROUPS}
    if not names:
        return {}
    live = GlobalHydra.instance().is_initialized()  # with the folders that the command line names
    with nullcontext() if live else _hydra():
        return {group: _files(verb, group, files, overrides) for group, files in names.items()}


def _files(verb: str, group: str, names: Sequence[str], overrides: Sequence[str]) -> dict[str, Any]:
    others = [word for word in overrides if word.lstrip("+").partition("=")[0] != group]
    files: dict[str, Any] = {}
    for name in names:
        try:
            config = _composed(verb, [*others, f"{group}={name}"])
            files[name] = OmegaConf.to_container(config[group], resolve=True)
        except ConfigError as error:
            raise ConfigError(f"space: {group}={name}: {error}") from error
    return files


def _composed(verb: str, words: Sequence[str]) -> DictConfig:
    try:
        return compose(verb, list(words))
    except (HydraException, OmegaConfBaseException) as error:
        raise ConfigError(in_words(cause_of(error))) from error


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

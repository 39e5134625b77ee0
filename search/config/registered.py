"""What a setting names by a word that paring knows, or describes by a `_target_` of the user's."""

from collections.abc import Mapping
from typing import TypeVar

from omegaconf import DictConfig

from pruning.spelling import nearest
from search.config.instantiate import instantiated
from search.config.validate import resolved
from search.errors import ConfigError

Kind = TypeVar("Kind")


def registered(value: object, known: Mapping[str, Kind], kind: type[Kind], what: str) -> Kind:
    """The object that a setting stands for: `format=c`, or `format={_target_: mine.make}`.

    Raises:
        ConfigError: there is none of that name, or it cannot be made.
    """
    if isinstance(value, DictConfig):
        return instantiated(resolved(value), kind, what)
    if isinstance(value, str) and value in known:
        return known[value]
    raise ConfigError(
        f"{what}={value}: write one of {', '.join(nearest(str(value), known))}; or for your own "
        f"'{what}={{_target_: package.module.function}}'"
    )

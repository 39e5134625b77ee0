"""Objects from configs. `_target_` names any importable class or function, and making it runs
that code: whoever writes the config decides what runs.
"""

from collections.abc import Mapping
from typing import Any, TypeVar

from hydra.errors import InstantiationException
from hydra.utils import instantiate

from pruning.errors import PruningError
from search.errors import ConfigError

Kind = TypeVar("Kind")


def made(config: Mapping[str, Any], kind: type[Kind], what: str) -> Kind:
    """What a config describes, checked to be of a kind. `what` names it in messages.

    Raises:
        ConfigError: no `_target_`, it cannot be imported or called, or gives something else.
    """
    if "_target_" not in config:
        raise ConfigError(f"{what}: no _target_; choose a {what} group or set {what}._target_")
    try:
        made = instantiate(dict(config), _convert_="all")
    except InstantiationException as error:
        if isinstance(cause := _root(error), PruningError):
            raise cause from error
        said = " ".join(str(error).partition(", set env var")[0].split())
        why = "" if str(cause) in said else f": {cause}"
        raise ConfigError(f"{what}: {said}{why}") from error
    if not isinstance(made, kind):
        raise ConfigError(
            f"{what}: {config['_target_']} gives a {type(made).__name__}, not a {kind.__name__}"
        )
    return made


def _root(error: BaseException) -> BaseException:
    while error.__cause__ is not None:
        error = error.__cause__
    return error

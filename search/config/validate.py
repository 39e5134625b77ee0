"""The one crossing from YAML to Python: composed configs become checked dataclasses."""

import re
from typing import Any, TypeVar

from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import ConfigKeyError, OmegaConfBaseException

from pruning.spelling import nearest
from search.config.migration import new_name
from search.errors import ConfigError

Shape = TypeVar("Shape")


def validated(config: Any, shape: type[Shape], what: str) -> Shape:
    """A composed config as an instance of a dataclass; keys of its fields only.

    Raises:
        ConfigError: a missing, unknown or mistyped value, named by its path.
    """
    try:
        merged = OmegaConf.merge(OmegaConf.structured(shape), config)
        if missing := sorted(OmegaConf.missing_keys(merged)):
            raise ConfigError(
                f"{what}: no value for {', '.join(missing)}; give it on the command line"
            )
        result = OmegaConf.to_object(merged)
    except OmegaConfBaseException as error:
        raise ConfigError(f"{what}: {_told(error)}") from error
    if not isinstance(result, shape):
        raise ConfigError(f"{what}: {result!r} is not a group of settings; write KEY=VALUE pairs")
    return result


def _told(error: OmegaConfBaseException) -> str:
    """The first line of an error, with the path of the value."""
    line, path, parent = str(error).splitlines()[0], error.full_key, error.parent_node
    if isinstance(error, ConfigKeyError) and isinstance(parent, DictConfig):
        known = ", ".join(nearest(str(error.key), map(str, parent)))
        unknown = str(path or error.key)
        return new_name(unknown) or f"there is no setting '{unknown}'; there are {known}"
    if "is not a ListConfig" in line or "is not a list" in line:
        line = "write a list, such as [a,b]"
    if line.startswith("Cannot assign") and "Dict[" in line:
        line = "write a mapping, such as {stem: 8}"
    if whole := re.match(r"Value (\S+) \(int\) is incompatible with type hint 'float'", line):
        line = f"write {whole[1]}.0 for {whole[1]}"
    return f"{path}: {line}" if path and path not in line else line


def selected(config: DictConfig, shape: type[Shape]) -> Shape:
    """The fields of `shape` out of a larger config, interpolations resolved."""
    try:
        values = resolved(config)
    except OmegaConfBaseException as error:
        raise ConfigError(f"config: {_told(error)}") from error
    fields = shape.__dataclass_fields__  # type: ignore[attr-defined]
    chosen = {name: value for name, value in values.items() if name in fields}
    return validated(OmegaConf.create(chosen), shape, "config")


def resolved(config: DictConfig) -> dict[str, Any]:
    """All values below a config, interpolations resolved.

    Raises:
        ConfigError: it is a list.
    """
    values = OmegaConf.to_container(config, resolve=True)
    if not isinstance(values, dict):
        raise ConfigError(f"config: {values!r} is not a group of settings; write KEY: VALUE lines")
    return {str(key): value for key, value in values.items()}

"""Which settings there are, and what to say of one that there is not."""

import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import is_dataclass
from importlib.resources import files
from typing import Any, get_type_hints

from hydra.errors import MissingConfigException
from omegaconf import DictConfig, OmegaConf

from pruning.spelling import meant, nearest
from search.config.instantiate import TARGET, parameters_of
from search.config.migration import new_name
from search.config.schema import BUDGET_KINDS, SpecConfig, StorageConfig
from search.errors import ConfigError

ALIKE = 0.8  # how like a name must be that stands elsewhere
MANY = 8  # settings that a message can name
SCHEMAS = {**get_type_hints(SpecConfig), "storage": StorageConfig}
OVERRIDDEN = re.compile(r"Could not override '([^']+)'")
TWICE = re.compile(r"Multiple values for (\S+)\. To override")


def require_known(config: DictConfig, verb: str) -> None:
    """Refuse keys that a verb does not have: +foo=3 would be taken, and do nothing.

    Raises:
        ConfigError: naming the key and those most like it.
    """
    if config.get("experiment"):
        raise ConfigError(
            "experiment: no setting of the chosen file is used; its first line must be "
            "# @package _global_"
        )
    for key, inner in _declared(verb).items():
        if isinstance(inner, Mapping) and isinstance(config.get(key), DictConfig):
            _refuse(f"{key}.", config[key], inner)
    _refuse("", config, _declared(verb))


def _refuse(prefix: str, config: DictConfig, declared: Mapping[str, Any]) -> None:
    for key in map(str, config):
        if key not in declared:
            offer = ", ".join(prefix + each for each in nearest(key, declared)[:MANY])
            path = f"{prefix}{key}"
            raise ConfigError(new_name(path) or f"there is no setting '{path}'; there are {offer}")


def _declared(verb: str) -> dict[str, Any]:
    """What a verb's file and the one of all verbs set, and the groups that they choose from."""
    declared: dict[str, Any] = {}
    for name in ("common", verb):
        text = (files("search.conf") / f"{name}.yaml").read_text("utf-8")
        own: Any = OmegaConf.to_container(OmegaConf.create(text))
        chosen = [each for each in own.pop("defaults") if isinstance(each, dict)]
        groups = [str(group) for each in chosen for group in each]
        declared |= dict.fromkeys(group for group in groups if " " not in group)
        declared |= {str(key): value for key, value in own.items()}
    return declared


def unknown_setting(error: Exception) -> str | None:
    """What to say instead of Hydra's advice to add an unknown key; None for other errors."""
    if isinstance(error, MissingConfigException) and error.options and error.missing_cfg_file:
        return _no_choice(error.missing_cfg_file, error.options)
    if twice := TWICE.search(str(error)):
        return f"{twice[1]} has a choice already; write {twice[1]}=... without a +, and once"
    if not (found := OVERRIDDEN.search(str(error))):
        return None
    path, override = found[1], str(error).rpartition(" +")[2]
    if (renamed := new_name(path)) is not None:
        return renamed
    parent = getattr(error.__cause__, "parent_node", None)
    if not isinstance(parent, DictConfig):
        return f"{path}: this verb has no such group of settings to choose from"
    inside = str(getattr(error.__cause__, "full_key", ""))
    if inside.startswith(f"{path}."):  # a key of what was given as {key: value}
        path, override = inside, f"{inside}=..."
    return _instead(path, parent._get_root(), override)


def _no_choice(path: str, options: Sequence[str]) -> str:
    group, _, choice = path.rpartition("/")
    own = (
        "; for another chip copy the file of one like it to FOLDER/device and add "
        "--config-dir FOLDER"
    )
    offer = ", ".join(nearest(choice, options))
    return f"{path}: no such {group}; choose {offer}{own if group == 'device' else ''}"


def _instead(path: str, root: Any, override: str) -> str:
    """Which setting may have been meant by a path that has no value."""
    above, _, key = path.rpartition(".")
    offered = _offered(root, above)
    if above == "budget" and (
        kinds := [kind for kind, used in BUDGET_KINDS.items() if key in used]
    ):
        return f"{path} is a setting of {' and '.join(f'budget={kind}' for kind in kinds)}"
    if offered.get(key) == f"+{path}":
        return f"{path} can be set, but has no value yet; write +{override}"
    if right := _alike(root, path, offered):
        return f"there is no setting {path!r}; did you mean {right}?"
    there = ", ".join(offered[each] for each in nearest(key, offered)[:MANY])
    return f"there is no setting {path!r}; there are {there}"


def _alike(root: Any, path: str, offered: Mapping[str, str]) -> str | None:
    """The setting that a path is a misspelling of: of its last part, if what is above exists,
    or of the whole; or one of the same last part elsewhere.
    """
    above, _, key = path.rpartition(".")
    if not above or isinstance(OmegaConf.select(root, above), DictConfig):
        right = offered.get(meant(key, offered) or "")
    else:
        right = meant(path, [each for each in _paths(root) if not path.startswith(f"{each}.")])
    ends: dict[str, list[str]] = {}
    for each in _paths(root):
        ends.setdefault(each.rpartition(".")[2], []).append(each)
    return right or next(iter(nearest(path, ends.get(meant(key, ends, ALIKE) or "", ()))), None)


def _offered(root: DictConfig, above: str) -> dict[str, str]:
    """What may be set at a path, or above it where it does not exist: each key as it is
    written, with a + where it has no value yet.
    """
    node = OmegaConf.select(root, above) if above else root
    if not isinstance(node, DictConfig):
        return _offered(root, above.rpartition(".")[0])
    prefix = f"{above}." if above else ""
    more = [*(parameters_of(node.get(TARGET)) or ()), *_fields(above)]
    missing = {name: f"+{prefix}{name}" for name in more}
    return missing | {key: f"{prefix}{key}" for key in map(str, node) if key != "hydra"}


def _fields(path: str) -> Collection[str]:
    """What the schema knows at a path, if it has one there."""
    known: Mapping[str, Any] = SCHEMAS
    for key in path.split("."):
        known = get_type_hints(kind) if is_dataclass(kind := known.get(key)) else {}
    return known


def _paths(node: DictConfig, prefix: str = "") -> Iterator[str]:
    """Every setting, by its dotted path."""
    for key in map(str, node):
        yield f"{prefix}{key}"
        inner = node._get_node(key)
        if isinstance(inner, DictConfig) and not inner._is_none() and key != "hydra":
            yield from _paths(inner, f"{prefix}{key}.")

"""The resolved configuration of a study, as it is stored."""

import json
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field
from math import isfinite
from typing import Any

from omegaconf import DictConfig, OmegaConf

from pruning.spelling import meant
from search.config.instantiate import TARGET, parameters_of
from search.config.schema import SpecConfig
from search.config.validate import resolved, selected, validated
from search.errors import ConfigError


@dataclass(frozen=True, slots=True)
class Spec:
    """The resolved configuration of a study: JSON values, no secrets.

    `renamed` maps the paths that trials of an earlier version draw to those of `values`.
    """

    values: Mapping[str, Any]
    renamed: Mapping[str, str] = field(default_factory=dict)

    @staticmethod
    def from_config(config: DictConfig, choices: Mapping[str, Any] | None = None) -> "Spec":
        """Validate what decides a sweep's result out of a composed config, with the files of
        config groups that its space names.
        """
        values = asdict(selected(config, SpecConfig)) | {"choices": dict(choices or {})}
        _require_finite(values, "")
        return Spec(json.loads(json.dumps(values, default=str)))

    def __getitem__(self, name: str) -> Any:
        return self.values[name]

    def typed(self) -> SpecConfig:
        """The values as attributes."""
        return validated(OmegaConf.create(dict(self.values)), SpecConfig, "study")

    def yaml(self) -> str:
        """The values as YAML text."""
        return OmegaConf.to_yaml(OmegaConf.create(dict(self.values)), sort_keys=True)

    def replaced(self, params: Mapping[str, Any]) -> "Spec":
        """The spec with the values of hyperparameters put in place; see `search.study.space`.

        Raises:
            ConfigError: a path that does not exist in the spec.
        """
        tree = OmegaConf.create(dict(self.values))
        for path, value in self._settings(params):
            above, _, key = path.rpartition(".")
            node = OmegaConf.select(tree, above) if above else tree
            if not isinstance(node, DictConfig) or not (key in node or _takes(node, key)):
                right = meant(path, [name for name, _ in flattened(self.values)])
                raise ConfigError(
                    f"space: {path!r} is not a setting of this study; write the path of a value, "
                    f"such as {right or 'task.optimizer.lr'}"
                )
            OmegaConf.update(tree, path, value, merge=False, force_add=True)
        return Spec(resolved(tree), self.renamed)

    def _settings(self, params: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
        """What hyperparameters change: paths and their values, whole groups first."""
        choices: Mapping[str, Any] = self.values.get("choices") or {}
        chosen = {group: params[group] for group in choices if group in params}
        yield from ((group, choices[group][name]) for group, name in chosen.items())
        for name, value in params.items():
            if name in chosen:
                continue
            path = self.renamed.get(name, name)
            for group, choice in chosen.items():
                if path.startswith(f"{group}.{choice}."):
                    path = f"{group}.{path.removeprefix(f'{group}.{choice}.')}"
            yield path, value

    def drawn_as(self, space: Mapping[str, Any]) -> dict[str, Any]:
        """A space of hyperparameters by the paths that the study's trials draw."""
        earlier = {now: before for before, now in self.renamed.items()}
        return {earlier.get(path, path): choice for path, choice in space.items()}


def _takes(node: DictConfig, key: str) -> bool:
    """Whether what a config describes takes a setting that has no value in it yet."""
    return TARGET in node and key in (parameters_of(node[TARGET]) or ())


def flattened(value: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    """Every value in nested mappings that is none itself, by its dotted path."""
    if not isinstance(value, Mapping):
        yield path, value
        return
    for key, inner in value.items():
        yield from flattened(inner, f"{path}.{key}" if path else str(key))


def _require_finite(value: Any, path: str) -> None:
    """Refuse NaN and infinity anywhere in a config."""
    if isinstance(value, float) and not isfinite(value):
        raise ConfigError(f"config: {path}={value}: write a finite number")
    if isinstance(value, list):
        value = dict(enumerate(value))
    if isinstance(value, dict):
        for key, each in value.items():
            _require_finite(each, f"{path}.{key}" if path else str(key))

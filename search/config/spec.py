"""The resolved configuration of a study, as it is stored."""

import json
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field
from math import isfinite
from typing import Any

from omegaconf import DictConfig, OmegaConf

from pruning.spelling import meant
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
    def from_config(config: DictConfig) -> "Spec":
        """Validate what decides a sweep's result out of a composed config."""
        values = asdict(selected(config, SpecConfig))
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
        """The spec with the values at dotted paths replaced.

        Raises:
            ConfigError: a path that does not exist in the spec.
        """
        tree = OmegaConf.create(dict(self.values))
        for name, value in params.items():
            path = self.renamed.get(name, name)
            above, _, key = path.rpartition(".")
            node = OmegaConf.select(tree, above) if above else tree
            if not isinstance(node, DictConfig) or key not in node:
                right = meant(path, [name for name, _ in flattened(self.values)])
                raise ConfigError(
                    f"space: {path!r} is not a setting of this study; write the path of a value, "
                    f"such as {right or 'task.optimizer.lr'}"
                )
            OmegaConf.update(tree, path, value)
        return Spec(resolved(tree), self.renamed)

    def drawn_as(self, space: Mapping[str, Any]) -> dict[str, Any]:
        """A space of hyperparameters by the paths that the study's trials draw."""
        earlier = {now: before for before, now in self.renamed.items()}
        return {earlier.get(path, path): choice for path, choice in space.items()}


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

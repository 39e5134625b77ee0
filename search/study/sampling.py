"""Who chooses hyperparameters: the configured sampler, held to a narrower space if need be."""

import warnings
from collections.abc import Mapping, Sequence
from typing import Any, final

import optuna
from optuna.distributions import BaseDistribution
from optuna.samplers import BaseSampler
from optuna.study import Study
from optuna.trial import FrozenTrial, TrialState

from pruning.training.seeds import hashed_seed
from search.config.instantiate import instantiated
from search.config.spec import Spec

DRAWS = 100


def sampler_for(spec: Spec, number: int, space: Mapping[str, Any] | None = None) -> BaseSampler:
    """The configured sampler for one trial, seeded by the study's seed and the trial.

    Raises:
        ConfigError: the sampler group makes no sampler.
    """
    config = {**spec["sampler"], "seed": hashed_seed(spec["seed"], number, bits=32)}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        sampler = instantiated(config, BaseSampler, "sampler")  # type: ignore[type-abstract]
    choices = {path: how for path, how in (space or {}).items() if isinstance(how, list)}
    fewer = {path: how for path, how in choices.items() if how != spec["space"][path]}
    return Chosen(sampler, fewer) if fewer else sampler


@final
class Chosen(BaseSampler):
    """A sampler that takes only some of a path's choices.

    Optuna's choices can never change in a study, so those that a space has lost stay in the
    distribution, and are not taken.
    """

    def __init__(self, inner: BaseSampler, choices: Mapping[str, Sequence[Any]]) -> None:
        self._inner, self._choices = inner, choices

    def infer_relative_search_space(
        self, study: Study, trial: FrozenTrial
    ) -> dict[str, BaseDistribution]:
        """As the sampler inside."""
        return self._inner.infer_relative_search_space(study, trial)

    def sample_relative(
        self, study: Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, Any]:
        """What the sampler inside chooses together, but for lost choices."""
        values = self._inner.sample_relative(study, trial, search_space)
        return {path: value for path, value in values.items() if self._allowed(path, value)}

    def sample_independent(
        self,
        study: Study,
        trial: FrozenTrial,
        param_name: str,
        param_distribution: BaseDistribution,
    ) -> Any:
        """What the sampler inside chooses, again and again until it is no lost choice."""
        for _ in range(DRAWS):
            value = self._inner.sample_independent(study, trial, param_name, param_distribution)
            if self._allowed(param_name, value):
                return value
        return self._choices[param_name][trial.number % len(self._choices[param_name])]

    def before_trial(self, study: Study, trial: FrozenTrial) -> None:
        """As the sampler inside."""
        self._inner.before_trial(study, trial)

    def after_trial(
        self,
        study: Study,
        trial: FrozenTrial,
        state: TrialState,
        values: Sequence[float] | None,
    ) -> None:
        """As the sampler inside."""
        self._inner.after_trial(study, trial, state, values)

    def _allowed(self, path: str, value: Any) -> bool:
        return path not in self._choices or value in self._choices[path]

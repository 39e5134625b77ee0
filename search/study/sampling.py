"""The sampler that chooses hyperparameters, restricted to a narrower space if there is one."""

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

DRAWS = 100  # of a value, until one is among the choices that are left


def sampler_for(spec: Spec, number: int, space: Mapping[str, Any] | None = None) -> BaseSampler:
    """The configured sampler for one trial, seeded by the study's seed and the trial.

    Raises:
        ConfigError: the `sampler` group gives no sampler.
    """
    config = {**spec["sampler"], "seed": hashed_seed(spec["seed"], number, bits=32)}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        sampler = instantiated(config, BaseSampler, "sampler")  # type: ignore[type-abstract]
    choices = {path: values for path, values in (space or {}).items() if isinstance(values, list)}
    fewer = {path: values for path, values in choices.items() if values != spec["space"][path]}
    return Chosen(sampler, fewer) if fewer else sampler


@final
class Chosen(BaseSampler):
    """A sampler that takes only some of the choices of a hyperparameter.

    In Optuna the choices of a study cannot change, so those that have been dropped from the space
    stay in the distribution; this sampler does not take them.
    """

    def __init__(self, inner: BaseSampler, choices: Mapping[str, Sequence[Any]]) -> None:
        self._inner, self._choices = inner, choices

    def infer_relative_search_space(
        self, study: Study, trial: FrozenTrial
    ) -> dict[str, BaseDistribution]:
        """As the inner sampler."""
        return self._inner.infer_relative_search_space(study, trial)

    def sample_relative(
        self, study: Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, Any]:
        """The values that the inner sampler chooses jointly, without dropped choices."""
        values = self._inner.sample_relative(study, trial, search_space)
        return {path: value for path, value in values.items() if self._allowed(path, value)}

    def sample_independent(
        self,
        study: Study,
        trial: FrozenTrial,
        param_name: str,
        param_distribution: BaseDistribution,
    ) -> Any:
        """A value of the inner sampler, which is asked again until it is no dropped choice."""
        for _ in range(DRAWS):
            value = self._inner.sample_independent(study, trial, param_name, param_distribution)
            if self._allowed(param_name, value):
                return value
        return self._choices[param_name][trial.number % len(self._choices[param_name])]

    def before_trial(self, study: Study, trial: FrozenTrial) -> None:
        """As the inner sampler."""
        self._inner.before_trial(study, trial)

    def after_trial(
        self,
        study: Study,
        trial: FrozenTrial,
        state: TrialState,
        values: Sequence[float] | None,
    ) -> None:
        """As the inner sampler."""
        self._inner.after_trial(study, trial, state, values)

    def _allowed(self, path: str, value: Any) -> bool:
        return path not in self._choices or value in self._choices[path]

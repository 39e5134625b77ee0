"""The sampler that chooses a trial's hyperparameters, kept to what its budget and a narrower space
leave of the choices.
"""

# ruff: noqa: ARG002 - all samplers take the same arguments

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, final

import optuna
from optuna.distributions import BaseDistribution, CategoricalDistribution
from optuna.samplers import BaseSampler
from optuna.trial import FrozenTrial, TrialState

from pruning.training.seeds import hashed_seed
from search.config.instantiate import TARGET, instantiated
from search.config.spec import Spec
from search.errors import ConfigError
from search.storage.trial_record import TrialNotes
from search.study.space import Scalar, combinations, parameters
from search.study.study import Study
from search.study.variants import able

DRAWS = 100  # of a value, until one is allowed
AUTO = "search.study.sampling.auto"  # the `_target_` of conf/sampler/auto.yaml
GRID = {TARGET: "search.study.sampling.GridSampler"}
TPE = {
    TARGET: "optuna.samplers.TPESampler",
    "multivariate": True,
    "group": True,
    "n_startup_trials": 12,
}


def sampler_for(study: Study, trial: FrozenTrial) -> BaseSampler:
    """The configured sampler for one trial, seeded by the study's seed and the trial."""
    sampler, choices = configured(study.spec, trial.number), _choices_for(study, trial)
    if isinstance(sampler, GridSampler):
        return GridSampler(row=_row(study, trial, choices))
    return ChosenSampler(sampler, choices) if choices.limited else sampler


def configured(spec: Spec, number: int) -> BaseSampler:
    """The sampler of the `sampler` group; a seed of its own stays, as a sequence needs it.

    Raises:
        ConfigError: the group gives no sampler.
    """
    config = {"seed": hashed_seed(spec["seed"], number, bits=32), **spec["sampler"]}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        return instantiated(config, BaseSampler, "sampler")  # type: ignore[type-abstract]


def auto(seed: int) -> BaseSampler:
    """What stands for the sampler that `chosen_sampler` puts in its place when a study begins."""
    return optuna.samplers.TPESampler(seed=seed)


def chosen_sampler(space: Mapping[str, Any], budgets: int, trials: int | None) -> dict[str, Any]:
    """The sampler that `sampler=auto` stands for.

    A grid where all parameters have choices and every combination can meet every budget within
    the trials; else TPE, which models parameters jointly and knows conditional ones.
    """
    domains = [parameter.domain for parameter in parameters(space)]
    if not domains or not all(isinstance(domain, list) for domain in domains):
        return dict(TPE)
    rows = len(combinations(parameters(space)))
    return dict(GRID) if trials is None or budgets * rows <= trials else dict(TPE)


@dataclass(frozen=True, slots=True)
class Choices:
    """What a trial may draw. `lists`: the choices that are left of those parameters that have
    lost some; `variants`: those that can meet the trial's budget, of `names`.
    """

    lists: Mapping[str, Sequence[Any]]
    variants: Sequence[Mapping[str, Scalar]]
    names: frozenset[str]
    limited: bool

    def allow(self, values: Mapping[str, Any]) -> bool:
        """Whether values of some parameters can stand together."""
        if any(value not in self.lists.get(name, (value,)) for name, value in values.items()):
            return False
        chosen = {name: value for name, value in values.items() if name in self.names}
        return any(chosen.items() <= variant.items() for variant in self.variants)


def _choices_for(study: Study, trial: FrozenTrial) -> Choices:
    now, first = (
        {p.name: p.domain for p in parameters(space) if isinstance(p.domain, list)}
        for space in (study.space, study.spec["space"])
    )
    lists = {name: now.get(name, []) for name, all_of in first.items() if now.get(name) != all_of}
    known = study.facts.all_variants
    variants = [facts.params for facts in able(study, TrialNotes.of(trial).budget)]
    names = frozenset(name for facts in known for name in facts.params)
    return Choices(lists, variants, names, bool(lists) or len(variants) < len(known))


def _row(study: Study, trial: FrozenTrial, choices: Choices) -> Mapping[str, Scalar]:
    """The combination of a grid that is a trial's: for every budget all of them in turn, each
    budget beginning at another one, so that all variants are met early.
    """
    notes = TrialNotes.of(trial)
    earlier = (other for other in study.trials() if other.number < trial.number)
    rank = sum(TrialNotes.of(other).budget == notes.budget for other in earlier)
    rows = [row for row in combinations(parameters(study.space)) if choices.allow(row)]
    place = study.budgets.index(notes.budget) if notes.budget in study.budgets else 0
    return rows[((rank if notes.draw is None else notes.draw) + place) % len(rows)]


@final
class GridSampler(BaseSampler):
    """Every combination of the choices of a space in turn, for every budget."""

    def __init__(self, seed: int = 0, row: Mapping[str, Scalar] | None = None) -> None:
        self._row = dict(row or {})

    def infer_relative_search_space(
        self, study: optuna.Study, trial: FrozenTrial
    ) -> dict[str, BaseDistribution]:
        """Empty: the combination is known before."""
        return {}

    def sample_relative(
        self, study: optuna.Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, Any]:
        """Nothing besides the combination."""
        return {}

    def sample_independent(
        self,
        study: optuna.Study,
        trial: FrozenTrial,
        param_name: str,
        param_distribution: BaseDistribution,
    ) -> Any:
        """The parameter's value in the trial's combination."""
        if param_name in self._row:
            return self._row[param_name]
        if isinstance(param_distribution, CategoricalDistribution):
            return param_distribution.choices[0]
        raise ConfigError(
            f"sampler=grid: {param_name} has a range; give a list of values, or choose sampler=tpe"
        )


@final
class ChosenSampler(BaseSampler):
    """A sampler that takes only some of the choices.

    In Optuna the choices of a study cannot change, so those that have been dropped from the space,
    and those that cannot meet a trial's budget, stay in the distribution; this sampler does not
    take them.
    """

    def __init__(self, inner: BaseSampler, choices: Choices) -> None:
        self._inner, self._choices = inner, choices

    def infer_relative_search_space(
        self, study: optuna.Study, trial: FrozenTrial
    ) -> dict[str, BaseDistribution]:
        """As the inner sampler."""
        return self._inner.infer_relative_search_space(study, trial)

    def sample_relative(
        self, study: optuna.Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, Any]:
        """The values that the inner sampler chooses jointly, without those that are not allowed:
        of a variant all or none.
        """
        values = self._inner.sample_relative(study, trial, search_space)
        allow, names = self._choices.allow, self._choices.names
        variant = {name: value for name, value in values.items() if name in names}
        joint = variant if allow(variant) else {}
        alone = {n: v for n, v in values.items() if n not in names and allow({n: v})}
        return joint | alone

    def sample_independent(
        self,
        study: optuna.Study,
        trial: FrozenTrial,
        param_name: str,
        param_distribution: BaseDistribution,
    ) -> Any:
        """A value of the inner sampler, which is asked again until it is allowed."""
        for _ in range(DRAWS):
            value = self._inner.sample_independent(study, trial, param_name, param_distribution)
            if self._choices.allow({**trial.params, param_name: value}):
                return value
        return self._any(trial, param_name, param_distribution)

    def _any(self, trial: FrozenTrial, name: str, distribution: BaseDistribution) -> Any:
        if not isinstance(distribution, CategoricalDistribution):
            raise ConfigError(f"space: {name}: {distribution} has nothing that is allowed")
        left = [c for c in distribution.choices if self._choices.allow({**trial.params, name: c})]
        return left[trial.number % len(left)]

    def before_trial(self, study: optuna.Study, trial: FrozenTrial) -> None:
        """As the inner sampler."""
        self._inner.before_trial(study, trial)

    def after_trial(
        self,
        study: optuna.Study,
        trial: FrozenTrial,
        state: TrialState,
        values: Sequence[float] | None,
    ) -> None:
        """As the inner sampler."""
        self._inner.after_trial(study, trial, state, values)

"""What a sampler chooses: hyperparameters of the pruning, and settings of which each combination
has a dense network of its own.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import optuna
from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
)

from search.errors import ConfigError

Scalar = str | int | float | bool
GROUPS = ("model", "data", "task", "method")  # of configs, of which a space may choose a file
SEARCHED = ("task", "method")  # settings of the pruning of a trial are below these
DENSE = ("model", "data", "weights", "round_to")  # the dense network depends on these
DENSE_PHASES = ("method.phases.dense_epochs", "method.phases.warmup_epochs")
FIXED = ("task.metric._target_",)  # scores of several metrics cannot be compared
RANGE = {"low", "high", "log", "step"}


@dataclass(frozen=True, slots=True)
class Parameter:
    """One hyperparameter: `name` is what Optuna and MLflow call it, `domain` a list of choices or
    a range, and `condition` the name and the value of the choice that it belongs to, if any.
    """

    name: str
    domain: Any
    condition: tuple[str, Scalar] | None = None

    @property
    def path(self) -> str:
        """The setting that it changes: that of `model.resnet8.filters` is `model.filters`."""
        if self.condition is None:
            return self.name
        group, choice = self.condition
        return f"{group}.{self.name.removeprefix(f'{group}.{choice}.')}"

    @property
    def decides_dense(self) -> bool:
        """Whether each of its values needs a dense network of its own."""
        return self.path.partition(".")[0] in DENSE or self.path in DENSE_PHASES

    def applies(self, values: Mapping[str, Scalar]) -> bool:
        """Whether it is drawn beside these values of others."""
        return self.condition is None or values.get(self.condition[0]) == self.condition[1]


def parameters(space: Mapping[str, Any]) -> Iterator[Parameter]:
    """The hyperparameters of a space.

    Every key is the dotted path of a setting, or a config group. The choices of a group may
    have spaces of their own, which hold where they are chosen:
    `{model: {resnet8: {filters: [8, 16]}, ds_cnn: {}}}`.
    """
    for path, domain in space.items():
        if path not in GROUPS or not isinstance(domain, Mapping):
            yield Parameter(path, domain)
            continue
        yield Parameter(path, list(domain))
        for choice, inner in domain.items():
            for below, values in (inner or {}).items():
                yield Parameter(f"{path}.{choice}.{below}", values, (path, choice))


def suggest(
    trial: optuna.Trial, space: Mapping[str, Any], first: Mapping[str, Any] | None = None
) -> dict[str, Scalar]:
    """One value for every hyperparameter of the space that applies; a trial that was handed back
    keeps its values.

    `first` is the space that the study began with. Its lists of choices cannot change in Optuna;
    the sampler takes only those that are left (see `search.study.sampling`).
    """
    began = {p.name: p.domain for p in parameters(first or {}) if isinstance(p.domain, list)}
    values: dict[str, Scalar] = {}
    for parameter in parameters(space):
        if parameter.applies(values):
            domain = began.get(parameter.name, parameter.domain)
            values[parameter.name] = _suggest(trial, parameter.name, domain)
    return values


def variants(space: Mapping[str, Any]) -> tuple[dict[str, Scalar], ...]:
    """Every combination of the choices that decide the dense network: one that is empty where
    the space has none.
    """
    return combinations(p for p in parameters(space) if p.decides_dense)


def combinations(chosen: Iterable[Parameter]) -> tuple[dict[str, Scalar], ...]:
    """Every combination of the choices of some parameters, the last one varying fastest."""
    rows: list[dict[str, Scalar]] = [{}]
    for parameter in chosen:
        rows = [
            {**row, **more}
            for row in rows
            for more in (
                [{parameter.name: value} for value in parameter.domain]
                if parameter.applies(row)
                else [{}]
            )
        ]
    return tuple(rows)


def variant_of(space: Mapping[str, Any], params: Mapping[str, Scalar]) -> dict[str, Scalar]:
    """Those of a trial's hyperparameters that decide its dense network."""
    names = {p.name for p in parameters(space) if p.decides_dense}
    return {name: value for name, value in params.items() if name in names}


def name_of(params: Mapping[str, Scalar]) -> str:
    """Hyperparameters in words: "model=resnet8, data.image_size=24"."""
    return ", ".join(f"{name}={value}" for name, value in params.items())


def require_narrower(space: Mapping[str, Any], than: Mapping[str, Any]) -> None:
    """Refuse a space that has other paths than an earlier one, or values that it lacks.

    Raises:
        ConfigError: naming the path and its allowed values.
    """
    now, before = ({p.name: p for p in parameters(part)} for part in (space, than))
    dropped = {name for name in before.keys() - now.keys() if _is_dropped(before[name], now)}
    if now.keys() != before.keys() - dropped:
        raise ConfigError(
            f"space: a study's paths cannot change; it has {', '.join(before) or 'none'}, now "
            f"{', '.join(now) or 'none'}"
        )
    for name, parameter in now.items():
        domain, old = parameter.domain, before[name].domain
        lists = isinstance(domain, list) and isinstance(old, list) and set(domain) <= set(old)
        same = isinstance(domain, Mapping) and isinstance(old, Mapping)
        if not lists and not (same and _inside(domain, old)):
            raise ConfigError(
                f"space: {name}: {domain!r} is not part of {old!r}; a study's space can only "
                "become narrower, so that its trials stay comparable"
            )


def _is_dropped(parameter: Parameter, now: Mapping[str, Parameter]) -> bool:
    """Whether a parameter belongs to a choice that a narrower space no longer has."""
    if parameter.condition is None:
        return False
    group, choice = parameter.condition
    return group in now and choice not in now[group].domain


def _inside(domain: Mapping[str, Any], old: Mapping[str, Any]) -> bool:
    same_scale = all(domain.get(key) == old.get(key) for key in ("log", "step"))
    return same_scale and old["low"] <= domain["low"] and domain["high"] <= old["high"]


def check_space(space: Mapping[str, Any]) -> None:
    """Refuse a space that no sampler could draw from, or with settings that decide no result.

    Raises:
        ConfigError: naming the path and the form it should have.
    """
    for parameter in parameters(space):
        _check_path(parameter)
        _check_domain(parameter)


def _check_path(parameter: Parameter) -> None:
    path, group = parameter.path, parameter.path.partition(".")[0]
    nested = parameter.condition is not None and group in SEARCHED and parameter.decides_dense
    if path in FIXED or nested or group not in (*SEARCHED, *DENSE):
        raise ConfigError(
            f"space: {path!r} is not a setting that trials may differ in; search the groups "
            f"{', '.join(GROUPS)}, paths below them, weights or round_to, as one key each: "
            "'+space={task.optimizer.lr: [0.05, 0.1]}'"
        )
    if path in GROUPS and not _names(parameter.domain):
        raise ConfigError(
            f"space: {path}: {parameter.domain!r} names no files of conf/{path}; write a list of "
            f"them, or a mapping of each to a space of its own, such as "
            "'+space={model: {resnet8: {filters: [8, 16]}, ds_cnn: {}}}'"
        )
    if parameter.decides_dense and not isinstance(parameter.domain, list):
        raise ConfigError(
            f"space: {path}: {parameter.domain!r} is no list; every value has a dense network of "
            "its own, which is trained first, so name the few that are worth it: [8, 16]"
        )


def _names(domain: Any) -> bool:
    return isinstance(domain, list) and all(isinstance(choice, str) for choice in domain)


def _check_domain(parameter: Parameter) -> None:
    domain = parameter.domain
    choices = isinstance(domain, list) and len(domain) > 0
    bounds = isinstance(domain, Mapping) and {"low", "high"} <= set(domain) <= RANGE
    if not choices and not (bounds and _ordered(domain)):
        raise ConfigError(
            f"space: {parameter.path}: {domain!r} is neither a list of choices nor "
            "{low: .., high: .., log: true|false, step: ..} with numbers low <= high, and "
            "a step above 0 (whole between whole numbers, and not with log)"
        )


def _ordered(domain: Mapping[str, Any]) -> bool:
    low, high, step = domain["low"], domain["high"], domain.get("step", 1)
    if not all(type(number) in (int, float) for number in (low, high, step)):
        return False  # true is an int, too
    if low > high or step <= 0:
        return False
    integers = isinstance(low, int) and isinstance(high, int)
    if domain.get("log"):
        return low > 0 and "step" not in domain
    return not integers or step == int(step)


def corners(space: Mapping[str, Any], variant: Mapping[str, Scalar]) -> Iterator[dict[str, Scalar]]:
    """Each choice and each end of a range by itself, of what trials of a variant draw besides."""
    for parameter in parameters(space):
        if parameter.decides_dense:
            continue
        condition = dict([parameter.condition] if parameter.condition else [])
        if any(variant.get(name, value) != value for name, value in condition.items()):
            continue
        domain = parameter.domain
        for value in domain if isinstance(domain, list) else (domain["low"], domain["high"]):
            yield {**variant, **condition, parameter.name: value}


def distribution(domain: Any) -> BaseDistribution:
    """A list of choices, or a range, as Optuna describes it."""
    if isinstance(domain, list):
        return CategoricalDistribution(domain)
    low, high, log_scale = domain["low"], domain["high"], bool(domain.get("log", False))
    if isinstance(low, int) and isinstance(high, int):
        return IntDistribution(low, high, log=log_scale, step=int(domain.get("step", 1)))
    return FloatDistribution(float(low), float(high), log=log_scale, step=domain.get("step"))


def _suggest(trial: optuna.Trial, name: str, domain: Any) -> Scalar:
    kind = distribution(domain)
    if isinstance(kind, IntDistribution):
        return trial.suggest_int(name, kind.low, kind.high, step=kind.step, log=kind.log)
    if isinstance(kind, FloatDistribution):
        return trial.suggest_float(name, kind.low, kind.high, step=kind.step, log=kind.log)
    choice: Any = trial.suggest_categorical(name, domain)
    return choice  # type: ignore[no-any-return]

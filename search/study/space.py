"""The hyperparameters that the sampler chooses, and the budgets of the trials."""

from collections.abc import Iterator, Mapping
from itertools import product
from math import exp, log
from typing import Any

import optuna

from pruning.budget import RESOURCES, Budget, Cost, parse_limit
from search.config.schema import BUDGET_KINDS, BudgetConfig
from search.errors import ConfigError

FIELDS = {"flash_bytes": "flash", "sram_bytes": "sram", "latency_ms": "latency"}
Scalar = str | int | float | bool


def suggest(
    trial: optuna.Trial, space: Mapping[str, Any], first: Mapping[str, Any] | None = None
) -> dict[str, Scalar]:
    """One value for every path of the space; a trial that was handed back keeps its values.

    `first` is the space that the study began with. Its lists of choices cannot change in Optuna;
    the sampler takes only those that are left (see `search.study.sampling`).
    """
    lists = {path: values for path, values in (first or {}).items() if isinstance(values, list)}
    return {path: _suggest(trial, path, lists.get(path, part)) for path, part in space.items()}


def require_narrower(space: Mapping[str, Any], than: Mapping[str, Any]) -> None:
    """Refuse a space that has other paths than an earlier one, or values that it lacks.

    Raises:
        ConfigError: naming the path and its allowed values.
    """
    if space.keys() != than.keys():
        raise ConfigError(
            f"space: a study's paths cannot change; it has {', '.join(than) or 'none'}, now "
            f"{', '.join(space) or 'none'}"
        )
    for path, domain in space.items():
        old = than[path]
        lists = isinstance(domain, list) and isinstance(old, list) and set(domain) <= set(old)
        same = isinstance(domain, Mapping) and isinstance(old, Mapping)
        if not lists and not (same and _inside(domain, old)):
            raise ConfigError(
                f"space: {path}: {domain!r} is not part of {old!r}; a study's space can only "
                "become narrower, so that its trials stay comparable"
            )


def _inside(domain: Mapping[str, Any], old: Mapping[str, Any]) -> bool:
    same_scale = all(domain.get(key) == old.get(key) for key in ("log", "step"))
    return same_scale and old["low"] <= domain["low"] and domain["high"] <= old["high"]


def check_space(space: Mapping[str, Any]) -> None:
    """Refuse a space that no sampler could draw from, or with settings that all trials share.

    All trials share one network, its data and its dense training; only settings of the pruning
    and of the task may be searched.

    Raises:
        ConfigError: naming the path and the form it should have.
    """
    for path, domain in space.items():
        if not path.startswith(SEARCHED) or path in SHARED:
            raise ConfigError(
                f"space: {path!r} is not a setting that trials may differ in; search paths below "
                f"{' and '.join(SEARCHED)}, as one key each: '+space={{task.optimizer.lr: "
                "[0.05, 0.1]}'"
            )
        choices = isinstance(domain, list) and len(domain) > 0
        bounds = isinstance(domain, Mapping) and {"low", "high"} <= set(domain) <= ALLOWED
        if not choices and not (bounds and _ordered(domain)):
            raise ConfigError(
                f"space: {path}: {domain!r} is neither a list of choices nor "
                "{low: .., high: .., log: true|false, step: ..} with numbers low <= high, and "
                "a step above 0 (whole between whole numbers, and not with log)"
            )


ALLOWED = {"low", "high", "log", "step"}
SEARCHED = ("task.", "method.")
SHARED = ("method.phases.dense_epochs", "method.phases.warmup_epochs", "task.metric._target_")


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


def corners(space: Mapping[str, Any]) -> Iterator[dict[str, Scalar]]:
    """Each choice and each end of a range by itself, with nothing else of the space."""
    for path, domain in space.items():
        for value in domain if isinstance(domain, list) else (domain["low"], domain["high"]):
            yield {path: value}


def _suggest(trial: optuna.Trial, path: str, domain: Any) -> Scalar:
    if isinstance(domain, list):
        choice: Any = trial.suggest_categorical(path, domain)
        return choice  # type: ignore[no-any-return]
    low, high, log_scale = domain["low"], domain["high"], bool(domain.get("log", False))
    if isinstance(low, int) and isinstance(high, int):
        return trial.suggest_int(path, low, high, step=int(domain.get("step", 1)), log=log_scale)
    return trial.suggest_float(path, low, high, step=domain.get("step"), log=log_scale)


def budgets(config: BudgetConfig, dense: Cost) -> tuple[Budget, ...]:
    """The list of budgets, loosest first (by the product of limits relative to dense).

    Raises:
        ConfigError: an unknown kind, or nothing to make budgets of.
        BudgetError: a limit that cannot be read.
    """
    makers = {"ladder": _ladder, "grid": _grid, "range": _range}
    if config.kind not in makers:
        raise ConfigError(f"budget.kind={config.kind!r}: write one of {', '.join(makers)}")
    default = BudgetConfig()
    every = {name for used in BUDGET_KINDS.values() for name in used}
    for name in every.difference(BUDGET_KINDS[config.kind]):
        if getattr(config, name) != getattr(default, name):
            others = [f"budget={kind}" for kind, used in BUDGET_KINDS.items() if name in used]
            raise ConfigError(
                f"budget.{name} is not used by budget={config.kind}; leave it out, or choose "
                f"{' or '.join(others)}"
            )
    distinct = dict.fromkeys(makers[config.kind](config, dense))
    return tuple(sorted(distinct, key=lambda budget: _looseness(budget, dense), reverse=True))


def _looseness(budget: Budget, dense: Cost) -> float:
    return sum(log(limit / getattr(dense, name)) for name, limit in budget.limits.items())


def _ladder(config: BudgetConfig, dense: Cost) -> list[Budget]:
    if not config.shares or any(not 0 < factor <= 1 for factor in config.shares):
        raise ConfigError(
            f"budget.shares={config.shares}: a ladder needs factors above 0 and at most 1, "
            "such as shares=[0.5,0.25,0.12]"
        )
    valid_names = config.exponents.keys() <= set(FIELDS.values())
    if not valid_names or any(exponent < 0 for exponent in config.exponents.values()):
        raise ConfigError(
            f"budget.exponents={config.exponents}: give an exponent of at least 0 for "
            f"{', '.join(FIELDS.values())}"
        )
    exponents = {name: config.exponents.get(short, 1.0) for name, short in FIELDS.items()}
    return [
        _budget(
            {
                name: getattr(dense, name) * factor ** exponents[name]
                for name in RESOURCES
                if exponents[name] > 0
            }
        )
        for factor in config.shares
    ]


def _grid(config: BudgetConfig, dense: Cost) -> list[Budget]:
    axes = [_values(config, name, dense) for name in RESOURCES]
    return [_budget(dict(zip(RESOURCES, values, strict=True))) for values in product(*axes)]


def _values(config: BudgetConfig, name: str, dense: Cost) -> list[float | None]:
    setting = getattr(config, FIELDS[name])
    if setting is None:
        return [None]
    return [
        parse_limit(name, value, getattr(dense, name))
        for value in (setting if isinstance(setting, list) else [setting])
    ]


def _range(config: BudgetConfig, dense: Cost) -> list[Budget]:
    ends = {name: _values(config, name, dense) for name in RESOURCES}
    ends = {name: values for name, values in ends.items() if values != [None]}
    pairs = all(len(values) == 2 for values in ends.values())
    if not ends or not pairs or config.count < 2:
        raise ConfigError(
            "budget.kind=range: give flash, sram or latency as [loosest, tightest] and count "
            f"of at least 2; got count={config.count} and "
            f"{ {FIELDS[name]: values for name, values in ends.items()} }"
        )
    steps = [step / (config.count - 1) for step in range(config.count)]
    return [_budget({name: _between(values, s) for name, values in ends.items()}) for s in steps]


def _between(ends: list[float | None], share: float) -> float:
    first, last = (log(end) for end in ends if end is not None)
    return exp(first + (last - first) * share)


def _budget(limits: Mapping[str, float | None]) -> Budget:
    """Limits in whole bytes and nanoseconds, rounded down, so that no limit grows by rounding.

    Shares that differ only by a rounding error thus give one budget, or two in a clear order.
    """
    grains = {"latency_ms": 1e6}
    rounded = {
        name: int(limit * grains[name] + 1e-3) / grains[name]
        if name in grains
        else int(limit + 1e-6)
        for name, limit in limits.items()
        if limit is not None
    }
    if not rounded:
        raise ConfigError(
            "budget: nothing is limited; give flash, sram or latency, or an exponent above 0"
        )
    if below := [name for name, limit in rounded.items() if limit <= 0]:
        raise ConfigError(f"budget: {', '.join(below)} below 1 byte or nanosecond; raise the limit")
    return Budget.from_limits(rounded)

"""The budgets of a study's trials: ladders, grids and ranges of limits."""

from collections.abc import Mapping
from itertools import product
from math import exp, log

from pruning.budget import RESOURCES, Budget, Cost, parse_limit
from search.config.schema import BUDGET_KINDS, BudgetConfig
from search.errors import ConfigError

FIELDS = {"flash_bytes": "flash", "sram_bytes": "sram", "latency_ms": "latency"}


def budgets(config: BudgetConfig, dense: Cost) -> tuple[Budget, ...]:
    """The list of budgets, loosest first (by the product of limits relative to dense).

    Raises:
        ConfigError: an unknown kind, or nothing to make budgets of.
        BudgetError: a limit that cannot be read.
    """
    makers = {"ladder": _ladder, "grid": _grid, "range": _range}
    require_kind(config)
    distinct = dict.fromkeys(makers[config.kind](config, dense))
    return tuple(sorted(distinct, key=lambda budget: _looseness(budget, dense), reverse=True))


def require_kind(config: BudgetConfig) -> None:
    """Refuse an unknown kind of budgets, and settings that it does not use.

    Raises:
        ConfigError: naming the setting and the kinds that use it.
    """
    if config.kind not in BUDGET_KINDS:
        raise ConfigError(f"budget.kind={config.kind!r}: write one of {', '.join(BUDGET_KINDS)}")
    default = BudgetConfig()
    every = {name for used in BUDGET_KINDS.values() for name in used}
    for name in every.difference(BUDGET_KINDS[config.kind]):
        if getattr(config, name) != getattr(default, name):
            others = [f"budget={kind}" for kind, used in BUDGET_KINDS.items() if name in used]
            raise ConfigError(
                f"budget.{name} is not used by budget={config.kind}; leave it out, or choose "
                f"{' or '.join(others)}"
            )


def _looseness(budget: Budget, dense: Cost) -> float:
    return sum(log(limit / getattr(dense, name)) for name, limit in budget.limits.items())


def _ladder(config: BudgetConfig, dense: Cost) -> list[Budget]:
    if not config.shares or any(not 0 < factor <= 1 for factor in config.shares):
        raise ConfigError(
            f"budget.shares={config.shares}: a ladder needs factors above 0 and at most 1, "
            "such as shares=[0.5,0.25,0.12]"
        )
    exponents = _exponents(config)
    return [
        whole(
            {
                name: getattr(dense, name) * factor ** exponents[name]
                for name in RESOURCES
                if exponents[name] > 0
            }
        )
        for factor in config.shares
    ]


def _exponents(config: BudgetConfig) -> dict[str, float]:
    """The exponent of each resource on a ladder.

    Raises:
        ConfigError: one is negative, or of no resource.
    """
    valid_names = config.exponents.keys() <= set(FIELDS.values())
    if not valid_names or any(exponent < 0 for exponent in config.exponents.values()):
        raise ConfigError(
            f"budget.exponents={config.exponents}: give an exponent of at least 0 for "
            f"{', '.join(FIELDS.values())}"
        )
    return {name: config.exponents.get(short, 1.0) for name, short in FIELDS.items()}


def _grid(config: BudgetConfig, dense: Cost) -> list[Budget]:
    axes = [_values(config, name, dense) for name in RESOURCES]
    return [whole(dict(zip(RESOURCES, values, strict=True))) for values in product(*axes)]


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
    return [whole({name: _between(values, s) for name, values in ends.items()}) for s in steps]


def _between(ends: list[float | None], share: float) -> float:
    first, last = (log(end) for end in ends if end is not None)
    return exp(first + (last - first) * share)


def loosest(config: BudgetConfig, dense: Cost, device: Budget) -> Budget:
    """Where the line of `budget=auto` begins: at the limits that are given, else at half of the
    dense network's cost, or what the device has if that is less.

    Raises:
        ConfigError: several values for one resource, or no resource at all.
    """
    limits = {}
    for name, short in FIELDS.items():
        values = _values(config, name, dense)
        if len(values) != 1:
            raise ConfigError(f"budget.{short}: budget=auto takes one limit, the loosest")
        half = getattr(dense, name) * 0.5 ** _exponents(config)[name]
        limit = values[0] if values[0] is not None else min(half, device.limits.get(name, half))
        limits[name] = limit if _exponents(config)[name] > 0 or values[0] is not None else None
    return whole(limits)


def tightened(budget: Budget, share: float, config: BudgetConfig) -> Budget:
    """A budget further down the line: each limit times the share to the resource's exponent."""
    exponents = _exponents(config)
    return whole({name: limit * share ** exponents[name] for name, limit in budget.limits.items()})


def whole(limits: Mapping[str, float | None]) -> Budget:
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

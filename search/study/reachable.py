"""Which budgets the variants of a study can meet, known before any training."""

import logging
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from pruning.allocation.feasibility import require_reachable
from pruning.budget import Budget, Cost
from pruning.errors import BudgetError
from search.config.schema import BudgetConfig
from search.errors import ConfigError
from search.study.budgets import FIELDS, loosest, require_kind, tightened
from search.study.factory import SweepFactory

log = logging.getLogger("paring.sweep")
LEAST_SHARE = 1e-4
BISECTIONS = 8  # the end of the line is found to within 4 %


@dataclass(frozen=True, slots=True)
class Reach:
    """The budgets that some variant can meet, those that none can, and those that each cannot."""

    good: list[Budget]
    bad: list[Budget]
    out_of: Mapping[str, list[Budget]]


def reachable(
    factories: Mapping[str, SweepFactory], candidates: Sequence[Budget], kind: str
) -> Reach:
    """Which budgets the widths of some variant meet; the others are logged.

    Raises:
        BudgetError: no budget can be met, or none by a variant, which is named.
    """
    if not candidates:
        raise ConfigError("budget: the list of limits is empty; write at least one")
    reasons = {name: _reasons(factory, candidates, kind) for name, factory in factories.items()}
    for name, of in reasons.items():
        if len(of) == len(candidates):
            where = name and f"space: {name} cannot meet any budget; leave it out of the space: "
            raise BudgetError(f"{where}{of[candidates[0]]}")
    bad = [budget for budget in candidates if all(budget in of for of in reasons.values())]
    for budget in bad:
        log.warning("left out: %s: %s", budget.limits, next(iter(reasons.values()))[budget])
    good = [budget for budget in candidates if budget not in bad]
    return Reach(good, bad, {name: list(of) for name, of in reasons.items()})


def coarse_ladder(
    factories: Mapping[str, SweepFactory], config: BudgetConfig, dense: Cost
) -> tuple[Budget, ...]:
    """The first budgets of `budget=auto`: from the loosest to the tightest that some variant can
    meet, evenly spread on a logarithmic scale.

    Raises:
        ConfigError: fewer than two budgets are asked for. BudgetError: not even the loosest can
            be met.
    """
    require_kind(config)
    if config.count < 2:
        raise ConfigError(f"budget.count={config.count}: budget=auto begins with at least 2")
    loose = loosest(config, dense, next(iter(factories.values())).device.budget)
    reachable(factories, [loose], config.kind)
    tight = _tightest(factories, config, loose)
    steps = [tight ** (step / (config.count - 1)) for step in range(config.count)]
    return tuple(dict.fromkeys(tightened(loose, share, config) for share in steps))


def _tightest(factories: Mapping[str, SweepFactory], config: BudgetConfig, loose: Budget) -> float:
    """The smallest share of the loosest budget that some variant can meet, by bisection."""
    low, high = math.log(LEAST_SHARE), 0.0
    for _ in range(BISECTIONS):
        middle = (low + high) / 2
        met = _is_met(factories, config, loose, math.exp(middle))
        low, high = (low, middle) if met else (middle, high)
    return math.exp(high)


def _is_met(
    factories: Mapping[str, SweepFactory], config: BudgetConfig, loose: Budget, share: float
) -> bool:
    try:
        budget = tightened(loose, share, config)
    except ConfigError:  # below one byte
        return False
    return any(not _reasons(factory, [budget], config.kind) for factory in factories.values())


def _reasons(factory: SweepFactory, candidates: Sequence[Budget], kind: str) -> dict[Budget, str]:
    """The budgets that no widths of a network meet, and why."""
    model = factory.cost_model(factory.start.graph)
    remove_branches = factory.dense_job().pruning.allocation.vanishing
    reasons = {}
    for budget in candidates:
        try:
            require_reachable(model, budget, factory.margins, remove_branches)
        except BudgetError as error:
            reasons[budget] = f"{error}{_cure(kind, str(error))}"
    return reasons


def _cure(kind: str, reason: str) -> str:
    """What else helps where a budget of a ladder is out of reach."""
    exponents = [
        f"budget.exponents.{short}" for name, short in FIELDS.items() if f"{name} " in reason
    ]
    return f" Or lower {', '.join(exponents)}, or drop that share." if kind == "ladder" else ""

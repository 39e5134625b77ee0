"""Which budgets the variants of a study can meet, known before any training."""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from pruning.allocation.feasibility import require_reachable
from pruning.budget import Budget
from pruning.errors import BudgetError
from search.errors import ConfigError
from search.study.budgets import FIELDS
from search.study.factory import SweepFactory

log = logging.getLogger("paring.sweep")


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

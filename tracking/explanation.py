"""Why pruning ended with the widths it did: records, read from the file that a trial stored."""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from tracking.decode import amount, decoded, natural, text
from tracking.records import RESOURCES

EXPLANATION = "explanation.json"  # its name among a trial's files
PRICED = (*RESOURCES, "macs")
_NEGLIGIBLE = 1e-4  # of what a group's width is worth; solvers give slack limits tiny prices


class Reason(StrEnum):
    """Why a channel group has the width that it has."""

    FIXED = "fixed"
    WHOLE = "whole"
    BALANCED = "balanced"
    LEAST = "least"
    VANISHED = "vanished"


@dataclass(frozen=True, slots=True, kw_only=True)
class GroupReport:
    """One channel group: channels before and after, and why.

    `worth` and `cost` of its next channel are in modelled training loss; None where a group
    is fixed or gone.
    """

    name: str
    before: int
    after: int
    reason: Reason
    worth: float | None = None
    cost: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Explanation:
    """The result of pruning, explained.

    `bottlenecks` name each resource's largest kernel before and after; `prices` are by how much
    the modelled training loss falls per byte, millisecond or MAC by which a limit is raised; a
    resource without a limit has none. Groups are in network order.
    """

    bottlenecks: Mapping[str, tuple[str, str]]
    prices: Mapping[str, float]
    groups: tuple[GroupReport, ...]

    def pressures(self, limits: Mapping[str, float]) -> dict[str, float]:
        """Return the fall of the modelled loss per relative increase of a limit; 0 if it is slack.

        All have the same unit, so that limits can be compared.
        """
        pressures = {name: price * limits[name] for name, price in self.prices.items()}
        stakes = [group.worth * group.after for group in self.groups if group.worth is not None]
        floor = _NEGLIGIBLE * max(stakes, default=0.0)
        return {name: value if value > floor else 0.0 for name, value in pressures.items()}


def read_explanation(content: bytes) -> Explanation:
    """Read a trial's explanation.json; unknown keys are ignored.

    Raises:
        DamagedError: it is no explanation, or a part is missing.
    """
    return decoded(content, _explanation, f"{EXPLANATION} is no explanation of a network")


def _explanation(entry: Any) -> Explanation:
    return Explanation(
        bottlenecks={name: _pair(entry["bottlenecks"][name]) for name in PRICED},
        prices={
            name: amount(price) for name, price in dict(entry["prices"]).items() if name in PRICED
        },
        groups=tuple(_group(group) for group in entry["groups"]),
    )


def _group(entry: Mapping[str, Any]) -> GroupReport:
    before, after = natural(entry["before"]), natural(entry["after"])
    if after > before:
        raise ValueError(f"{after} of {before} channels")
    worth, cost = entry["worth"], entry["cost"]
    return GroupReport(
        name=text(entry["name"]),
        before=before,
        after=after,
        reason=Reason(entry["reason"]),
        worth=None if worth is None else amount(worth),
        cost=None if cost is None else amount(cost),
    )


def _pair(value: Any) -> tuple[str, str]:
    before, after = value
    return text(before), text(after)

"""Why a network looks as it does after pruning: bottlenecks, prices, and a reason per group."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

import torch

from pruning.allocation.allocate import Allocation
from pruning.allocation.masks import ChannelMasks
from pruning.allocation.measured_loss import loss_model, optimum
from pruning.budget import LIMITS, Budget, Cost
from pruning.cost.model import CostModel, bottlenecks
from pruning.graph.channel_groups import ChannelGroup

NEAR = 1.001  # times the least width: where the best widths lie at their bound


class Reason(StrEnum):
    """Why a group has the width that it has."""

    FIXED = "fixed"  # the network's input or output, or in ignored_layers
    WHOLE = "whole"  # even its last channel is worth more than it costs
    BALANCED = "balanced"  # its next channel is worth what it costs
    LEAST = "least"  # even its first channels cost more than they are worth
    VANISHED = "vanished"  # the others make more of its branch's share


@dataclass(frozen=True, slots=True, kw_only=True)
class GroupReport:
    """One group: channels before and after, and what its next channel is worth and costs.

    `worth` is the fall of the modelled loss by one more channel; `cost` what the resources
    that it takes are worth elsewhere, at the prices of the limits; both where the continuous
    widths are best. None for groups that are fixed or gone.
    """

    name: str
    before: int
    after: int
    reason: Reason
    worth: float | None = None
    cost: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Explanation:
    """What pruning found.

    `bottlenecks` name, for every resource, the kernel that takes most of it (for memory: during
    which most is live), before and after. `prices` say by how much the modelled loss falls when
    a limit rises by one byte, one millisecond or one MAC.
    """

    bottlenecks: Mapping[str, tuple[str, str]]
    prices: Mapping[str, float]
    groups: tuple[GroupReport, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Start:
    """The network when pruning began: its cost, its bottlenecks, and its groups' channels.

    `owner` maps every value to the (first) group of its channels: a group that has lost its
    first operators bears another name afterwards.
    """

    cost: Cost
    bottlenecks: Mapping[str, str]
    widths: Mapping[str, int]
    owner: Mapping[str, str]

    @staticmethod
    def of(model: CostModel) -> "Start":
        """Of a network as it is."""
        groups = model.graph.channels.groups
        widths = {group.name: group.size for group in groups}
        return Start(
            cost=model.dense,
            bottlenecks=bottlenecks(model, list(widths.values())),
            widths=widths,
            owner={name: g.name for g in reversed(groups) for name in g.operators},
        )


def explain(
    start: Start,
    masks: ChannelMasks,
    model: CostModel,
    budget: Budget,
    how: Allocation,
    widths: list[int],
) -> Explanation:
    """What pruning found when it ended with these integer `widths`.

    Groups of the start that `model.graph` does not have any more have vanished.
    """
    # Prices are those of what is left: with a branch that went nothing may fit at all.
    model, share = model.after_removal(widths)
    masks, kept = masks.without(share), share @ torch.tensor(widths, dtype=share.dtype)
    widths = [round(width) for width in kept.tolist()]
    groups, best = model.graph.channels.groups, optimum(masks, model, budget, how)
    prices = {name: price / budget.limits[name] for name, price in best.prices.items()}
    worth = loss_model(masks, model, how).neg_gradient(best.widths) / best.widths
    cost = best.marginal_costs / best.widths
    names = [
        group.name if group.name in start.widths else start.owner.get(group.name, group.name)
        for group in groups
    ]
    numbers = (each.tolist() for each in (best.widths, worth, cost))
    reports = [
        _report(name, start.widths.get(name, group.size), group, *found)
        for name, group, *found in zip(names, groups, widths, *numbers, strict=True)
    ]
    after = bottlenecks(model, widths)
    return Explanation(
        bottlenecks={name: (start.bottlenecks[name], after[name]) for name in LIMITS},
        prices=prices,
        groups=_with_vanished(start, reports),
    )


def _with_vanished(start: Start, left: Sequence[GroupReport]) -> tuple[GroupReport, ...]:
    """All groups of the start, in its order; one that was not there follows its neighbour."""
    order = {name: place for place, name in enumerate(start.widths)}
    place, placed = -1, []
    for report in left:
        place = order.pop(report.name, place)
        placed.append((place, report))
    for name, place in order.items():
        before = start.widths[name]
        gone = GroupReport(name=name, before=before, after=0, reason=Reason.VANISHED)
        placed.append((place, gone))
    return tuple(report for _, report in sorted(placed, key=lambda pair: pair[0]))


def _report(
    name: str,
    before: int,
    group: ChannelGroup,
    after: int,
    best: float,
    worth: float,
    cost: float,
) -> GroupReport:
    reason = Reason.BALANCED
    if not group.prunable:
        reason = Reason.FIXED
    elif after == 0:
        reason = Reason.VANISHED
    elif after == before:
        reason = Reason.WHOLE
    elif after == group.floor and best < NEAR * group.floor:
        reason = Reason.LEAST
    priced = group.prunable and after > 0
    return GroupReport(
        name=name,
        before=before,
        after=after,
        reason=reason,
        worth=worth if priced else None,
        cost=cost if priced else None,
    )


def start_from_json(entry: Mapping[str, Any]) -> Start:
    """What `dataclasses.asdict` made of a start."""
    return Start(**{**entry, "cost": Cost(**entry["cost"])})


def explanation_from_json(entry: Mapping[str, Any]) -> Explanation:
    """What `dataclasses.asdict` made of an explanation."""
    return Explanation(
        bottlenecks={name: (pair[0], pair[1]) for name, pair in entry["bottlenecks"].items()},
        prices=entry["prices"],
        groups=tuple(
            GroupReport(**{**group, "reason": Reason(group["reason"])}) for group in entry["groups"]
        ),
    )

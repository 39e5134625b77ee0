"""A network's channel groups as an HTML table: a bar each, before and after pruning."""

from collections import Counter
from collections.abc import Sequence
from math import floor, log10
from typing import NamedTuple

from markupsafe import Markup

from tracking.explanation import Explanation, GroupReport, Reason
from tracking.pages.labels import shortened
from tracking.pages.page import percentage, render
from tracking.tables import DASH, count, short

_MEANINGS = {
    Reason.BALANCED: "its next channel is worth what it costs",
    Reason.WHOLE: "even its last channel is worth more than it costs",
    Reason.LEAST: "even its first channels cost more than they are worth",
    Reason.VANISHED: "gone: the others make more of its share",
    Reason.FIXED: "the network's input or output, or in ignored_layers",
}
_NEGLIGIBLE = 1e-6  # of modelled training loss


class _LegendEntry(NamedTuple):
    """How many groups have the width that they have for one reason."""

    reason: Reason
    groups: int
    meaning: str
    filled: bool


class _Row(NamedTuple):
    """A group's row. The bar is an `outline`, a share of the column, whose part `filled` is
    left; empty where nothing is drawn.
    """

    reason: Reason
    hint: str
    name: str
    outline: str
    filled: str
    kept: str
    share: str
    worth: str
    cost: str


def groups_card(explanation: Explanation) -> Markup:
    """Return a row for each group: an outline of its channels before, filled by those after.

    It has no script. What a row says when it is pointed at stands in its cells and in the
    legend too.
    """
    groups = explanation.groups
    channels = max((group.before for group in groups), default=0)
    decimals = _decimals(groups)
    return render(
        "group_table.html.j2",
        legend=_legend(groups),
        channels=channels,
        labels=shortened(group.name for group in groups),
        rows=[_row(group, channels, decimals) for group in groups],
    )


def _legend(groups: Sequence[GroupReport]) -> list[_LegendEntry]:
    counts = Counter(group.reason for group in groups)
    return [
        _LegendEntry(reason, counts[reason], meaning, reason is not Reason.VANISHED)
        for reason, meaning in _MEANINGS.items()
        if counts[reason]
    ]


def _row(group: GroupReport, channels: int, decimals: int) -> _Row:
    worth, cost = (
        DASH if amount is None else _fixed(amount, decimals) for amount in (group.worth, group.cost)
    )
    return _Row(
        reason=group.reason,
        hint=_in_words(group),
        name=group.name,
        outline=percentage(group.before, channels) if group.before else "",
        filled=percentage(group.after, group.before) if group.after else "",
        kept=_kept(group),
        share=_share(group),
        worth=worth,
        cost=cost,
    )


def _kept(group: GroupReport) -> str:
    if group.after == group.before:
        return f"{group.before}"
    return f"{group.after} of {group.before}"


def _share(group: GroupReport) -> str:
    """Return the share of channels left: a little is not shown as none, nor most as all."""
    if not group.before:
        return DASH
    share = group.after / group.before
    if 0 < share < 0.01:
        return "<1%"
    return ">99%" if 0.99 < share < 1 else f"{share:.0%}"


def _decimals(groups: Sequence[GroupReport]) -> int:
    """Return how many decimals give the largest amount four digits.

    All rows have as many, so that amounts can be compared down the column.
    """
    amounts = [abs(amount) for group in groups for amount in (group.worth, group.cost) if amount]
    return min(9, max(0, 3 - floor(log10(max(amounts, default=1.0)))))


def _fixed(amount: float, decimals: int) -> str:
    return f"{amount:.{decimals}f}" if amount > _NEGLIGIBLE else "0"


def _in_words(group: GroupReport) -> str:
    lines = [
        group.name,
        f"{count(group.before, 'channel')} before, {group.after} after ({_share(group)})",
        f"{group.reason}: {_MEANINGS[group.reason]}",
    ]
    if group.worth is not None and group.cost is not None:
        lines += [
            f"one channel more is worth {_loss(group.worth)} and costs {_loss(group.cost)}",
            "(modelled training loss)",
        ]
    return "\n".join(lines)


def _loss(value: float) -> str:
    return short(value) if value > _NEGLIGIBLE else "0"

"""A network's channel groups as an HTML table: a bar each, before and after pruning."""

from collections import Counter
from collections.abc import Sequence
from html import escape
from math import floor, log10

from tracking.explanation import Explanation, GroupReport, Reason
from tracking.pages.labels import folded
from tracking.pages.plot_layout import FAINT
from tracking.tables import DASH, count, short

_WORDS = {
    Reason.BALANCED: "its next channel is worth what it costs",
    Reason.WHOLE: "even its last channel is worth more than it costs",
    Reason.LEAST: "even its first channels cost more than they are worth",
    Reason.VANISHED: "gone: the others make more of its share",
    Reason.FIXED: "the network's input or output, or in ignored_layers",
}
_COLORS = {
    Reason.BALANCED: "#0072b2",
    Reason.WHOLE: "#009e73",
    Reason.LEAST: "#e69f00",
    Reason.VANISHED: "#d55e00",
    Reason.FIXED: FAINT,
}
_NEGLIGIBLE = 1e-6  # of modelled training loss

BARS_STYLE = """
.groups td, .groups th { padding: 3px 8px; }
.groups th { vertical-align: bottom; border: none; box-shadow: inset 0 -1px #b8c4ce; }
.groups tbody tr:hover td { background: #f4f6f8; }
.groups .bars { width: 100%; min-width: 90px; }
.scale { display: flex; justify-content: space-between; gap: 8px;
  font-weight: 400; }
.before { height: 16px; min-width: 3px; border: 1px solid var(--reason); background: #f7f9fb;
  print-color-adjust: exact; }
.after { height: 100%; background: var(--reason); print-color-adjust: exact; }
.vanished .before { background: repeating-linear-gradient(-45deg,
  #f2c4a5 0 1.5px, #fdf6f1 1.5px 6px); }
.legend i { display: block; }
.legend .before { width: 14px; height: 14px; }
@media (max-width: 960px) {
  .groups td, .groups th { padding: 3px 5px; }
}
""" + "".join(f".{reason} {{ --reason: {color}; }}\n" for reason, color in _COLORS.items())

_NUMBERS = (
    "<th>kept</th><th class='share'>share</th><th class='text'>reason</th>"
    "<th>worth of<br>one more</th><th>cost of<br>one more</th>"
)


def groups_card(why: Explanation) -> str:
    """Return a row for each group: an outline of its channels before, filled by those after.

    It is escaped and needs BARS_STYLE and NAMES_STYLE, but no script. What a row says when it
    is pointed at stands in its cells and in the legend too.
    """
    names = folded(group.name for group in why.groups)
    most = max((group.before for group in why.groups), default=0)
    decimals = _decimals(why.groups)
    rows = "\n".join(
        f"<tr class='{group.reason}' title='{escape(_in_words(group))}'>"
        f"<td class='text'>{names[group.name]}</td>"
        f"<td class='bars'>{_bar(group, most)}</td>{_number_cells(group, decimals)}</tr>"
        for group in why.groups
    )
    return (
        "<div class='card'><h2>Channels of each group, in network order: outline before, "
        f"filled after</h2>{_legend(why.groups)}<div class='groups wide'><table><thead><tr>"
        f"<th class='text'>group</th><th class='bars'>{_scale(most)}</th>{_NUMBERS}"
        f"</tr></thead><tbody>\n{rows}\n</tbody></table></div></div>\n"
    )


def _legend(groups: Sequence[GroupReport]) -> str:
    counts = Counter(group.reason for group in groups)
    spans = "".join(
        f"<span class='{reason}'>{_swatch(reason)}<b>{counts[reason]} {reason}</b> {words}</span>"
        for reason, words in _WORDS.items()
        if counts[reason]
    )
    return f"<div class='legend'>{spans}</div>"


def _swatch(reason: Reason) -> str:
    filled = "" if reason is Reason.VANISHED else "<i class='after'></i>"
    return f"<i class='before'>{filled}</i>"


def _scale(most: int) -> str:
    return f"<div class='scale'><span>0</span><span>{most}</span></div>"


def _bar(group: GroupReport, most: int) -> str:
    """Return the outline, a share of the column, and in it the channels left, a share of it."""
    if not group.before:
        return ""
    after = f"<div class='after' style='width:{_percent(group.after, group.before)}'></div>"
    width = _percent(group.before, most)
    return f"<div class='before' style='width:{width}'>{after if group.after else ''}</div>"


def _percent(part: int, whole: int) -> str:
    return f"{100 * part / whole:.4g}%"


def _number_cells(group: GroupReport, decimals: int) -> str:
    amounts = "".join(
        f"<td>{DASH if amount is None else _fixed(amount, decimals)}</td>"
        for amount in (group.worth, group.cost)
    )
    return (
        f"<td>{_kept(group)}</td><td class='share'>{escape(_share(group))}</td>"
        f"<td class='text'>{group.reason}</td>{amounts}"
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
    amounts = [abs(one) for group in groups for one in (group.worth, group.cost) if one]
    return min(9, max(0, 3 - floor(log10(max(amounts, default=1.0)))))


def _fixed(amount: float, decimals: int) -> str:
    return f"{amount:.{decimals}f}" if amount > _NEGLIGIBLE else "0"


def _in_words(group: GroupReport) -> str:
    lines = [
        group.name,
        f"{count(group.before, 'channel')} before, {group.after} after ({_share(group)})",
        f"{group.reason}: {_WORDS[group.reason]}",
    ]
    if group.worth is not None and group.cost is not None:
        lines += [
            f"one channel more is worth {_loss(group.worth)} and costs {_loss(group.cost)}",
            "(modelled training loss)",
        ]
    return "\n".join(lines)


def _loss(value: float) -> str:
    return short(value) if value > _NEGLIGIBLE else "0"

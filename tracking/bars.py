"""A network's channel groups as a Plotly figure: a row each, before and after pruning."""

from collections import Counter
from collections.abc import Iterable, Sequence
from html import escape
from itertools import takewhile

from tracking.axes import FAINT, INK, Figure, layout
from tracking.explanation import Explanation, GroupStory, Reason
from tracking.tables import count, short

WORDS = {
    Reason.BALANCED: "its next channel is worth what it costs",
    Reason.WHOLE: "even its last channel is worth more than it costs",
    Reason.LEAST: "even its first channels cost more than they are worth",
    Reason.VANISHED: "gone: the others make more of its share",
    Reason.FIXED: "the network's input or output, or named in keep",
}
COLORS = {
    Reason.BALANCED: "#0072b2",
    Reason.WHOLE: "#009e73",
    Reason.LEAST: "#e69f00",
    Reason.VANISHED: "#d55e00",
    Reason.FIXED: FAINT,
}
_ROW_PX, _FRAME_PX = 26, 70
_NAME_LENGTH = 36
_BAR = 0.7  # of a row


def groups_figure(why: Explanation) -> Figure:
    """Return a row for each group: an outline of the channels before, filled by those after."""
    names = shortened(group.name for group in why.groups)
    rows = len(why.groups)
    most = max((group.before for group in why.groups), default=1)
    frame = layout("", "channels")
    frame["xaxis"] |= {"range": [0, 1.09 * most], "side": "top", "title": None}
    frame["yaxis"] |= {
        "range": [rows - 0.4, -0.6],
        "tickvals": list(range(rows)),
        "ticktext": [escape(names[group.name]) for group in why.groups],
        "ticklabelstandoff": 5,
        "showgrid": False,
        "ticks": "",
    }
    frame |= {
        "height": _FRAME_PX + _ROW_PX * rows,
        "margin": {"l": 8, "r": 8, "t": 30, "b": 12},
        "barmode": "overlay",
        "hovermode": "y",
    }
    return {"data": [_outlines(why.groups), _filled(why.groups)], "layout": frame}


def shortened(names: Iterable[str], length: int = _NAME_LENGTH) -> dict[str, str]:
    """Return a label of at most `length` for each name: cut in the middle if it is too long.

    Where that makes names alike, what they begin with in common goes instead, and their ends.
    """
    labels = {name: _middle_cut(name, length) for name in names}
    seen = Counter(labels.values())
    alike = [name for name, label in labels.items() if seen[label] > 1]
    parts = [name.split(".") for name in alike]
    shared = len(list(takewhile(lambda column: len({*column}) == 1, zip(*parts, strict=False))))
    for name, part in zip(alike, parts, strict=True):
        rest = "…" + ".".join(part[shared:])
        labels[name] = rest if len(rest) <= length else f"{rest[: length - 1]}…"
    return labels


def _middle_cut(name: str, length: int) -> str:
    if len(name) <= length:
        return name
    tail = (length - 1) // 3
    return f"{name[: length - 1 - tail]}…{name[-tail:]}"


def _outlines(groups: Sequence[GroupStory]) -> Figure:
    gone = [group.reason is Reason.VANISHED for group in groups]
    colors = [COLORS[group.reason] for group in groups]
    return {
        "type": "bar",
        "orientation": "h",
        "name": "before",
        "x": [group.before for group in groups],
        "y": list(range(len(groups))),
        "width": _BAR,
        "marker": {
            "color": "#f7f9fb",
            "line": {"color": colors, "width": 1},
            "pattern": {"shape": ["/" if one else "" for one in gone], "size": 7,
                        "fgcolor": COLORS[Reason.VANISHED], "fgopacity": 0.35},
        },
        "text": [_label(group) for group in groups],
        "textposition": "outside",
        "cliponaxis": False,
        "textfont": {"size": 11, "color": INK},
        "hovertext": [_hover(group) for group in groups],
        "hoverinfo": "text",
    }  # fmt: skip


def _filled(groups: Sequence[GroupStory]) -> Figure:
    return {
        "type": "bar",
        "orientation": "h",
        "name": "after",
        "x": [group.after for group in groups],
        "y": list(range(len(groups))),
        "width": _BAR,
        "marker": {"color": [COLORS[group.reason] for group in groups]},
        "hoverinfo": "skip",
    }


def _label(group: GroupStory) -> str:
    if group.after == group.before:
        return f"{group.before}"
    return f"{group.after} of {group.before}"


def _hover(group: GroupStory) -> str:
    share = f" ({group.after / group.before:.0%})" if group.before else ""
    lines = [
        f"<b>{escape(group.name)}</b>",
        f"{count(group.before, 'channel')} before, {group.after} after{share}",
        f"{group.reason.value}: {WORDS[group.reason]}",
    ]
    if group.worth is not None and group.cost is not None:
        lines += [
            f"one channel more is worth {_loss(group.worth)} and costs {_loss(group.cost)}",
            "(modelled training loss)",
        ]
    return "<br>".join(lines)


def _loss(value: float) -> str:
    return short(value) if value > 1e-6 else "0"

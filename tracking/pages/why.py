"""A trial's page: why its network looks as it does, in one HTML file that opens offline."""

from collections.abc import Mapping
from html import escape

from tracking.explanation import EXPLANATION, PRICED, Explanation, read_explanation
from tracking.pages.curves import CURVES_STYLE, curves_card
from tracking.pages.group_table import BARS_STYLE, groups_card
from tracking.pages.kernel_table import USAGE_STYLE, usage_card
from tracking.pages.labels import NAMES_STYLE, folded
from tracking.pages.page import html_page
from tracking.profile import PROFILE, read_profile
from tracking.records import RESOURCES, Costs, StudyRecord, TrialRecord
from tracking.tables import (
    DASH,
    NAMES,
    bounds,
    cost_of,
    duration,
    limit_of,
    score_text,
    short,
    size,
    work,
)

PAGE = "why.html"
FILES = (EXPLANATION, PROFILE)  # of a trial, that its page is made from
_PER = {
    "flash_bytes": (1024.0, "KiB"),
    "sram_bytes": (1024.0, "KiB"),
    "latency_ms": (1.0, "ms"),
    "macs": (1e6, "million MACs"),
}
_STYLE = """
.card { margin-top: 14px; padding: 14px 16px 10px; }
.card h2 { margin-bottom: 8px; }
.card p { margin: 10px 0 4px; color: #3e4c59; max-width: 110ch; }
.limits th { vertical-align: bottom; }
.limits .kernels { white-space: normal; }
.kernels div { display: inline-block; white-space: nowrap; margin-right: 6px; }
.legend { margin: 2px 0 6px; }
.legend b { font-weight: 600; white-space: nowrap; color: #1f2933; }
td.dim { color: #9aa5b1; }
tr.most td { background: #fdf3ea; }
.badge { display: inline-block; margin-left: 8px; padding: 0 8px; border-radius: 9px;
  background: #d9730d; color: white; font-size: 11px; font-weight: 600; }
@media (max-width: 960px) {
  body { padding: 16px; }
  .card { padding: 12px 10px 8px; }
  table { font-size: 12px; }
  .limits td, .limits th { padding: 4px 5px; }
  .limits td:nth-child(5) { white-space: normal; }  /* the price */
  .badge { display: block; width: max-content; margin: 0; }
}
"""

_FULL = 0.98  # of a limit; whole channels leave about as much
_ROUNDED = "At the best widths other limits stop first; whole channels then filled this one."
_SLACK = "0, does not bind"
_HEADER = (
    "resource",
    "estimated<br>before",
    "after",
    "limit",
    "modelled<br>price",
    "1 % more<br>saves",
    "bottleneck,<br>before → after",
)
_LEFT = frozenset({_HEADER[0], _HEADER[-1]})
_MEANING = (
    "A price is the rate at which the modelled training loss would fall if that limit rose a "
    "little: an estimate at the margin, not a measured accuracy."
)
_SOURCE = (
    "Flash, memory and latency, before and after, are <b>estimated</b> by the cost model. "
    "Point at a row to read it in words; a dotted name unfolds."
)
_MODELLED = (
    " Prices, worth and cost are <b>modelled</b>: changes of the training loss that the "
    "pruning engine foresaw when it chose the widths, before rounding to whole channels and "
    "before fine-tuning."
)


def why_page(study: StudyRecord, trial: TrialRecord, contents: Mapping[str, bytes]) -> str:
    """Return a whole HTML page on one trial's network, without a script: tens of KB.

    What each limit costs and which kernel takes most of it, before and after; a bar for each
    channel group, with its channels before and after and the reason; where memory, flash and
    time go; how it was trained. `contents` holds what the trial stored under the names in FILES;
    what is not there is left out.

    Raises:
        DamagedError: one of these files cannot be read.
    """
    cards = []
    if EXPLANATION in contents:
        why = read_explanation(contents[EXPLANATION])
        dense = study.dense.costs if study.dense else None
        cards += [_limits_card(trial, dense, why), groups_card(why)]
    if PROFILE in contents:
        cards.append(usage_card(read_profile(contents[PROFILE]), trial.budget))
    cards.append(curves_card(trial, study.metric))
    title = f"{escape(study.name)}, trial {trial.number}"
    return html_page(
        f"{title} · why",
        f"{title}: why this network looks as it does",
        _facts(study, trial),
        "".join(cards),
        _SOURCE + (_MODELLED if EXPLANATION in contents else ""),
        _STYLE + BARS_STYLE + USAGE_STYLE + CURVES_STYLE + NAMES_STYLE,
    )


def _facts(study: StudyRecord, trial: TrialRecord) -> str:
    parts = [f"{study.metric} {score_text(trial.score)} ({study.precision}, validation)"]
    parts.append(f"budget: {bounds(trial.budget)}")
    if study.device is not None:
        parts.append(study.device.name)
    return " &nbsp;·&nbsp; ".join(escape(part) for part in parts)


def _limits_card(trial: TrialRecord, before: Costs | None, why: Explanation) -> str:
    """Return a row for each resource, and what the prices mean."""
    pressures = why.pressures(_limits(trial))
    most = max(pressures, key=pressures.__getitem__, default=None)
    if most is not None and pressures[most] == 0:
        most = None
    left = " class='text'"
    head = "".join(f"<th{left if name in _LEFT else ''}>{name}</th>" for name in _HEADER)
    kernels = folded(kernel for pair in why.bottlenecks.values() for kernel in pair)
    rows = "".join(
        f"<tr{' class=most' if name == most else ''}>{_name_cell(name, name == most)}"
        f"{_cost_cells(name, trial, before)}{_price_cells(name, trial, why, pressures)}"
        f"{_kernel_cell(why.bottlenecks[name], kernels)}</tr>"
        for name in PRICED
    )
    return (
        "<div class='card'><h2>What the limits cost</h2><div class='limits wide'><table>"
        f"<thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table></div>"
        f"<p>{_verdict(why, most)} {_MEANING}{_margin_line(trial)}</p></div>\n"
    )


def _limits(trial: TrialRecord) -> dict[str, float]:
    """Return what each estimate was held to; without a limit, what the network takes."""
    taken = {name: 0.0 if trial.costs is None else cost_of(trial.costs, name) for name in PRICED}
    known = {name: _held(name, trial) for name in RESOURCES}
    return taken | {name: limit for name, limit in known.items() if limit is not None}


def _name_cell(name: str, most: bool) -> str:
    badge = "<span class='badge'>costs most</span>" if most else ""
    return f"<td class='text'>{NAMES[name]}{badge}</td>"


def _cost_cells(name: str, trial: TrialRecord, before: Costs | None) -> str:
    values = (*(_taken(name, costs) for costs in (before, trial.costs)), _limit(name, trial))
    return "".join(f"<td>{_shown(name, value)}</td>" for value in values)


def _taken(name: str, costs: Costs | None) -> float | None:
    return None if costs is None else cost_of(costs, name)


def _limit(name: str, trial: TrialRecord) -> float | None:
    return limit_of(trial.budget, name) if name in RESOURCES else None


def _held(name: str, trial: TrialRecord) -> float | None:
    """Return what an estimate was held to: the limit, or less by a margin for measurements."""
    return limit_of(trial.held or trial.budget, name) if name in RESOURCES else None


def _margin_line(trial: TrialRecord) -> str:
    """Return what margins do, where they can be seen in the numbers."""
    pairs = {name: (_held(name, trial), _limit(name, trial)) for name in RESOURCES}
    texts = {name: [_shown(name, value) for value in pair] for name, pair in pairs.items()}
    held = [f"{NAMES[name]} to {one}" for name, (one, limit) in texts.items() if one != limit]
    if not held:
        return ""
    return (
        f" Estimates are held to less than the limits ({', '.join(held)}), so that what is "
        "measured stays within them."
    )


def _shown(name: str, value: float | None) -> str:
    if name == "latency_ms":
        return duration(value)
    if name == "macs":
        return DASH if value is None else work(round(value))
    return size(value)


def _price_cells(
    name: str, trial: TrialRecord, why: Explanation, pressures: Mapping[str, float]
) -> str:
    if name not in why.prices:
        return f"<td class='dim'>no limit</td><td class='dim'>{DASH}</td>"
    if pressures[name] == 0:
        taken, limit = _taken(name, trial.costs), _held(name, trial)
        full = taken is not None and limit is not None and taken > _FULL * limit
        words = f"<span title='{_ROUNDED}'>0, filled by rounding</span>" if full else _SLACK
        return f"<td class='dim'>{words}</td><td class='dim'>0</td>"
    many, unit = _PER[name]
    price = f"{short(many * why.prices[name])} per {unit}"
    return f"<td>{price}</td><td>{short(pressures[name] / 100)}</td>"


def _kernel_cell(pair: tuple[str, str], shown: Mapping[str, str]) -> str:
    """Return the bottleneck before and after, side by side where there is room."""
    before, after = (shown[kernel] for kernel in pair)
    then = "the same" if before == after else after
    title = escape("before: {}\nafter: {}".format(*pair))
    return f"<td class='text kernels' title='{title}'><div>{before}</div><div>→ {then}</div></td>"


def _verdict(why: Explanation, most: str | None) -> str:
    if most is None:
        return (
            "<b>Nothing binds:</b> every price is 0, so that a little more of any resource "
            "would not change this network."
        )
    many, unit = _PER[most]
    return (
        f"<b>The limit on {NAMES[most]} costs most:</b> at the margin, "
        f"{short(many * why.prices[most])} of modelled training loss per {unit}."
    )

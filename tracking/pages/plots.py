"""The study's page: one HTML file with everything in it, so that it opens offline."""

from collections import Counter
from collections.abc import Mapping, Sequence
from html import escape

from tracking.pages.figures import comparison_figure, front_figure
from tracking.pages.overview import hypervolume_figure, importance_figure, parallel_figure
from tracking.pages.page import drawn, html_page
from tracking.pages.picked import linked, page_folder, picks_card
from tracking.pages.plot_layout import DENSE, FAINT, FRONT, LIMIT, MEAN, PANELS, Figure, looks
from tracking.records import Limits, State, StudyRecord, TrialRecord
from tracking.seeds import Repeats, repeats, repeats_of
from tracking.tables import (
    DASH,
    NAMES,
    bounds,
    count,
    duration,
    finished_trials,
    front_trials,
    measured_text,
    repeats_text,
    score_text,
    size,
    work,
)

_STYLE = """
.legend { margin: 0 0 12px; }
.lower { margin-top: 14px; }
@media (min-width: 1000px) { .broad { grid-column: span 2; } }
.plot { height: 380px; }
.lower .plot { height: 320px; }
.whole { grid-column: 1 / -1; }
.tall { max-height: 340px; }
.note { margin: 2px 0 8px; color: #52606d; font-size: 13px; }
td.widths { color: #7b8794; font-size: 12px; min-width: 30ch; }
td.widths div { display: -webkit-box; -webkit-box-orient: vertical; -webkit-line-clamp: 2;
  overflow: hidden; white-space: normal; }
.empty { padding: 60px 20px; text-align: center; color: #52606d; }
"""

_AXIS_WIDTH = 125  # pixels, so that headings do not lie on one another
_SEEDS = "over seeds"
_MEASURED = "measured"
_HEADER = (
    "trial",
    "score",
    _SEEDS,
    "test",
    "flash",
    "SRAM",
    "latency",
    "MACs",
    _MEASURED,
    "budget",
    "fronts",
)
_LEFT = frozenset({_MEASURED, "budget", "fronts", "widths"})


def front_page(study: StudyRecord, pages: Mapping[int, str] | None = None) -> str:
    """Return a whole HTML page on the study's front, Plotly included (4.7 MB).

    Score against each resource with the staircase of the front, dominated trials faint, every
    trial's budget, the dense network and the device's limits; the best trial for each device; the
    hypervolume after each trial; the front as a table. `pages` tells where the pages on the
    networks of trials are, from this one, by number.
    """
    body = _plots(study, pages or {}) if finished_trials(study) else _nothing(study)
    title = escape(study.name)
    return html_page(f"{title} · Pareto front", title, _facts(study), body, _source(study), _STYLE)


def comparison_page(studies: Sequence[StudyRecord]) -> str:
    """Return a whole HTML page with the fronts of several studies over each other."""
    figures: dict[str, Figure] = {
        panel.resource: comparison_figure(studies, panel) for panel in PANELS
    }
    cards = _front_cards()
    spans = (
        f"<span>{look.swatch}{escape(study.name)}: "
        f"{count(len(front_trials(study)), 'point')}</span>"
        for study, look in zip(studies, looks(len(studies)), strict=True)
    )
    names = escape(" and ".join(study.name for study in studies))
    body = (
        f"<div class='legend'>{''.join(spans)}</div>\n"
        f"<div class='grid'>{''.join(cards)}</div>\n{drawn(figures)}"
    )
    facts = escape(f"{studies[0].metric} ({studies[0].precision})")
    source = "Costs are <b>estimated</b> by the cost model; scores are on the validation set."
    return html_page(f"{names} · fronts", names, facts, body, source, _STYLE)


def _plots(study: StudyRecord, pages: Mapping[int, str]) -> str:
    figures: dict[str, Figure] = {panel.resource: front_figure(study, panel) for panel in PANELS}
    cards = _front_cards()
    lower = []
    if study.hypervolumes:
        figures["hypervolume"] = hypervolume_figure(study)
        lower.append(_card("Hypervolume after each trial", "hypervolume"))
    if len(finished_trials(study)) > 1:
        figures["parallel"] = parallel_figure(study)
        title = "Every finished trial as a line: drag along an axis to choose"
        width = _AXIS_WIDTH * len(figures["parallel"]["data"][0]["dimensions"])
        lower.append(_card(title, "parallel", "broad", width))
    if study.importances:
        figures["importance"] = importance_figure(study)
        lower.append(_card("Which hyperparameters matter", "importance", "whole"))
    return (
        f"{_legend(study)}\n<div class='grid'>{''.join(cards)}</div>\n"
        f"{picks_card(study, pages)}<div class='grid lower'>{''.join(lower)}</div>\n"
        f"<div class='card lower'><h2>The front</h2>{_why_note(study)}{_table(study, pages)}"
        f"</div>\n{drawn(figures)}"
    )


def _nothing(study: StudyRecord) -> str:
    waiting = "" if all(trial.state.over for trial in study.trials) else " yet"
    return f"<div class='card empty'>No trial has finished with a network{waiting}.</div>"


def _front_cards() -> list[str]:
    return [_card(f"Score against {NAMES[panel.resource]}", panel.resource) for panel in PANELS]


def _card(title: str, name: str, kind: str = "", width: int = 0) -> str:
    """Return a card for a figure, which scrolls where there is no room for its `width`."""
    plot = f"<div class='plot' id='{name}' style='min-width:{width}px'></div>"
    if width:
        plot = f"<div class='wide'>{plot}</div>"
    return f"<div class='card {kind}'><h2>{title}</h2>{plot}</div>"


def _facts(study: StudyRecord) -> str:
    counts = Counter(trial.state for trial in study.trials)
    states = ", ".join(f"{counts[state]} {state.value}" for state in State if counts[state])
    parts = [
        f"{study.metric} ({study.precision}), "
        + ("higher is better" if study.scores_rise else "lower is better"),
        count(len(study.trials), "trial") + (f": {states}" if states else ""),
        f"{len(front_trials(study))} on a front",
    ]
    if study.device is not None:
        parts.append(f"{study.device.name}: {bounds(study.device.limits)}")
    return " &nbsp;·&nbsp; ".join(escape(part) for part in parts)


def _source(study: StudyRecord) -> str:
    how = {
        "estimated": "Flash, SRAM, latency and MACs are <b>estimated</b> by the cost model.",
        _MEASURED: "Flash and SRAM are <b>measured</b> as linked, without the kernels that all "
        "networks share, latency as instructions counted on an emulated core, at the cycles "
        "that the device's config assumes.",
    }[study.source]
    return (
        f"{how} Scores are on "
        f"the validation set, of the network in precision {escape(study.precision)}. A trial is "
        "on a front when no other finished trial is at least as good in both directions; "
        "&ldquo;overall&rdquo; takes score, flash, SRAM and latency together. Drag to zoom, "
        "double-click to see all again; point at a trial for its costs and widths."
    )


def _legend(study: StudyRecord) -> str:
    disc = "<circle cx='9' cy='7' r='{}' fill='{}'/>"
    line = "<path d='{}' stroke='{}' stroke-width='{}' stroke-dasharray='{}' fill='none'/>"
    entries = [
        (line.format("M0 12 H9 V3 H18", FRONT, 2, "") + disc.format(3.5, FRONT), "front"),
        (disc.format(3.5, FAINT), "dominated"),
        (line.format("M2 7 H14 M14 3 V11", "#64748b", 1.2, ""), "up to the trial's budget"),
    ]
    if study.dense is not None:
        diamond = f"<path d='M9 1 L15 7 L9 13 L3 7 Z' fill='{DENSE}'/>"
        entries.append((diamond, "dense network"))
    if repeats(study):
        upright = line.format("M9 0 V14", MEAN, 1.5, "") + line.format("M3 7 H15", MEAN, 2.5, "")
        entries.append((upright, "mean over seeds and its standard deviation"))
    if study.device is not None:
        upright = line.format("M9 0 V14", LIMIT, 1.6, "3 2")
        entries.append((upright, f"limit of {escape(study.device.name)}"))
    spans = (
        f"<span><svg width='18' height='14' viewBox='0 0 18 14'>{mark}</svg>{text}</span>"
        for mark, text in entries
    )
    return f"<div class='legend'>{''.join(spans)}</div>"


def _why_note(study: StudyRecord) -> str:
    """Return where the pages are that tell why networks look as they do."""
    words = f"paring export study={study.name} trial=K out={page_folder('K')}"
    return (
        "<p class='note'>Why a network looks as it does: <code>why.html</code>, which "
        f"<code>{escape(words)}</code> writes (links lead there once this page is made anew), "
        "and which is an artifact of the trial's run in MLflow.</p>"
    )


def _table(study: StudyRecord, pages: Mapping[int, str]) -> str:
    trials, repeated = front_trials(study), repeats_of(study)
    if not trials:
        return "<div class='empty'>No trial is on a front.</div>"
    measured = any(trial.measured for trial in trials) and study.source != _MEASURED
    wanted = {_SEEDS: bool(repeated), _MEASURED: measured}
    shown = [name for name in _HEADER if wanted.get(name, True)]
    head = "".join(f"<th{_class(name)}>{name}</th>" for name in (*shown, "widths"))
    rows = "".join(
        f"<tr>{_number(trial, pages)}"
        f"{_cells(_values(trial, repeated.get(trial.number)), shown)}{_widths(trial)}</tr>"
        for trial in trials
    )
    return (
        f"<div class='wide tall'><table><thead><tr>{head}</tr></thead>"
        f"<tbody>{rows}</tbody></table></div>"
    )


def _number(trial: TrialRecord, pages: Mapping[int, str]) -> str:
    return f"<td>{linked(trial.number, pages)}</td>"


def _cells(values: Sequence[str], shown: Sequence[str]) -> str:
    return "".join(
        f"<td{_class(name)}>{escape(value)}</td>"
        for name, value in zip(_HEADER[1:], values, strict=True)
        if name in shown
    )


def _values(trial: TrialRecord, repeated: Repeats | None) -> tuple[str, ...]:
    """Return what stands under each name of the header but the first."""
    used = (DASH,) * 4
    if (costs := trial.costs) is not None:
        used = (
            size(costs.flash_bytes),
            size(costs.sram_bytes),
            duration(costs.latency_ms),
            work(costs.macs),
        )
    return (
        score_text(trial.score),
        repeats_text(repeated),
        score_text(trial.test_score),
        *used,
        measured_text(trial),
        _budget(trial.budget),
        ", ".join(plane.partition("_")[0] for plane in trial.planes),
    )


def _widths(trial: TrialRecord) -> str:
    """Return the last cell: two lines of it, and all where it is pointed at."""
    widths = escape(", ".join(f"{name} {width}" for name, width in trial.widths.items()))
    return f"<td class='widths text' title='{widths}'><div>{widths}</div></td>"


def _budget(budget: Limits) -> str:
    """Return a budget in the order of the columns: flash, SRAM, latency."""
    sizes = (size(budget.flash_bytes), size(budget.sram_bytes), duration(budget.latency_ms))
    return " · ".join(sizes)


def _class(name: str) -> str:
    return " class='text'" if name in _LEFT else ""

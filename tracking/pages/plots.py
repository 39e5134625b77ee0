"""The study's page: one HTML file with everything in it, so that it opens offline."""

from collections import Counter
from collections.abc import Mapping
from typing import NamedTuple

from tracking.pages.chooser import chooser_data, device_entries
from tracking.pages.figures import front_figure
from tracking.pages.overview import hypervolume_figure, importance_figure, parallel_figure
from tracking.pages.page import render
from tracking.pages.pairs import pairs_figure
from tracking.pages.picked import page_folder, pick_rows
from tracking.pages.plot_layout import PANELS, Card, Figure, score_cards
from tracking.pages.traces import variant_looks
from tracking.records import Limits, State, StudyRecord, TrialRecord
from tracking.seeds import Repeats, repeats, repeats_of
from tracking.tables import (
    DASH,
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

_PAIRS_WIDTH = 560  # pixels, so that three planes fit beside each other
_AXIS_WIDTH = 125  # pixels, so that headings do not lie on one another
_IS_MEASURED = {"estimated": False, "measured": True}  # by the source of a study's costs


class _Row(NamedTuple):
    """A trial's row in the table of the front; `page` and `answers` are where its pages are, if
    that is known.
    """

    number: int
    page: str | None
    answers: str | None
    score: str
    over_seeds: str
    test_score: str
    flash: str
    sram: str
    latency: str
    macs: str
    measured: str
    budget: str
    choice: str
    fronts: str
    widths: str


def front_page(
    study: StudyRecord,
    pages: Mapping[int, str] | None = None,
    answers: Mapping[int, str] | None = None,
) -> str:
    """Return a whole HTML page on the study's front, Plotly included (4.7 MB).

    Score against each resource with the staircase of the front, dominated trials faint, every
    trial's budget, the dense network and the device's limits; the best trial for each device; the
    hypervolume after each trial; the front as a table. `pages` are relative addresses of the
    trials' own pages, by number, `answers` those of the pages on what they answer.
    """
    shared = {"study": study, "facts": _facts(study), "measured": _IS_MEASURED[study.source]}
    if not finished_trials(study):
        waiting = not all(trial.state.over for trial in study.trials)
        return str(render("no_front.html.j2", waiting=waiting, **shared))
    front_cards = score_cards({panel.resource: front_figure(study, panel) for panel in PANELS})
    other_cards = _other_cards(study)
    figures = {card.name: card.figure for card in (*front_cards, *other_cards)}
    choosing = (
        {}
        if not study.choices
        else {
            "choices": chooser_data(study, pages or {}, answers),
            "devices": device_entries(study),
        }
    )
    page = render(
        "front.html.j2",
        score_cards=front_cards,
        other_cards=other_cards,
        figures={name: _without_texts(figure) for name, figure in figures.items()}
        if choosing
        else figures,
        picks=pick_rows(study, pages or {}),
        export_command=f"paring export study={study.name} trial=K out={page_folder('K')}",
        over_seeds=bool(repeats(study)),
        variants=variant_looks(study),
        show_measured=any(trial.measured for trial in front_trials(study))
        and not shared["measured"],
        rows=_rows(study, pages or {}, answers or {}),
        **choosing,
        **shared,
    )
    return str(page)


def _without_texts(figure: Figure) -> Figure:
    """Return a figure without the hover texts of trials, which the page has once for all."""
    traces = [
        {name: value for name, value in trace.items() if name != "hovertext"}
        if "customdata" in trace
        else trace
        for trace in figure["data"]
    ]
    return {**figure, "data": traces}


def _facts(study: StudyRecord) -> list[str]:
    counts = Counter(trial.state for trial in study.trials)
    states = ", ".join(f"{counts[state]} {state.value}" for state in State if counts[state])
    facts = [
        f"{study.metric} ({study.precision}), "
        + ("higher is better" if study.scores_rise else "lower is better"),
        count(len(study.trials), "trial") + (f": {states}" if states else ""),
        f"{len(front_trials(study))} on a front",
    ]
    if study.device is not None:
        facts.append(f"{study.device.name}: {bounds(study.device.limits)}")
    return facts


def _other_cards(study: StudyRecord) -> list[Card]:
    """Return the figures below those of the front that the study has something for."""
    cards = []
    if len(finished_trials(study)) > 1:
        title = "Score and costs, each against each"
        cards.append(Card("pairs", title, pairs_figure(study), "whole tallest", _PAIRS_WIDTH))
    if study.hypervolumes:
        figure = hypervolume_figure(study)
        cards.append(Card("hypervolume", "Hypervolume after each trial", figure))
    if len(finished_trials(study)) > 1:
        figure = parallel_figure(study)
        title = "Every finished trial as a line: drag along an axis to choose"
        width = _AXIS_WIDTH * len(figure["data"][0]["dimensions"])
        cards.append(Card("parallel", title, figure, "broad", width))
    if study.importances:
        figure = importance_figure(study)
        cards.append(Card("importance", "Which hyperparameters matter", figure, "whole"))
    return cards


def _rows(study: StudyRecord, pages: Mapping[int, str], answers: Mapping[int, str]) -> list[_Row]:
    repeated = repeats_of(study)
    return [
        _row(trial, repeated.get(trial.number))._replace(
            page=pages.get(trial.number), answers=answers.get(trial.number)
        )
        for trial in front_trials(study)
    ]


def _row(trial: TrialRecord, repeated: Repeats | None) -> _Row:
    costs = trial.costs
    return _Row(
        number=trial.number,
        page=None,
        answers=None,
        score=score_text(trial.score),
        over_seeds=repeats_text(repeated),
        test_score=score_text(trial.test_score),
        flash=DASH if costs is None else size(costs.flash_bytes),
        sram=DASH if costs is None else size(costs.sram_bytes),
        latency=DASH if costs is None else duration(costs.latency_ms),
        macs=DASH if costs is None else work(costs.macs),
        measured=measured_text(trial),
        budget=_budget(trial.budget),
        choice=trial.variant,
        fronts=", ".join(plane.partition("_")[0] for plane in trial.planes),
        widths=", ".join(f"{name} {width}" for name, width in trial.widths.items()),
    )


def _budget(budget: Limits) -> str:
    """Return a budget in the order of the columns: flash, SRAM, latency."""
    sizes = (size(budget.flash_bytes), size(budget.sram_bytes), duration(budget.latency_ms))
    return " · ".join(sizes)

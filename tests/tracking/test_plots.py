import json
import re
from collections.abc import Callable, Sequence
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import plotly.graph_objects
import pytest
from playwright.sync_api import Page

from tests.tracking.outline import EVIL, Outline
from tracking import (
    Costs,
    DeviceRecord,
    Limits,
    PickRecord,
    State,
    StudyRecord,
    TrialRecord,
    front_page,
)
from tracking.pages.comparison import comparison_figure, comparison_page
from tracking.pages.figures import front_figure
from tracking.pages.overview import hypervolume_figure, importance_figure, parallel_figure
from tracking.pages.plot_layout import PANELS, Figure, Panel

PICKS = tuple(
    PickRecord(
        device=DeviceRecord(name=name, limits=Limits(flash_bytes=flash, sram_bytes=5_000)),
        trial=trial,
        words=f"device={name}",
    )
    for name, flash, trial in (("tiny", 100, None), ("small", 16_000, 1))
)
MakeStudy = Callable[..., StudyRecord]


def trace(figure: Figure, name: str) -> Figure:
    (found,) = [one for one in figure["data"] if one["name"] == name]
    return dict(found)


@pytest.fixture
def study(make_study: MakeStudy) -> StudyRecord:
    """Return three points on every front, a dominated one, and one that stopped."""
    made = make_study(*[State.COMPLETE] * 4, State.STOPPED)
    trials = [*made.trials]
    trials[3] = replace(trials[3], planes=(), score=0.5)
    return replace(made, trials=tuple(trials))


@pytest.mark.parametrize("panel", PANELS, ids=lambda panel: panel.title)
def test_each_plane_shows_its_front_and_the_rest(study: StudyRecord, panel: Panel) -> None:
    figure = front_figure(study, panel)
    front, faint = trace(figure, "front"), trace(figure, "dominated")
    costs = [getattr(trial.costs, panel.resource) * panel.scale for trial in study.trials]
    assert front["x"] == [costs[2], costs[1], costs[0]]
    assert front["y"] == [0.94, 0.96, 0.98]
    assert (faint["x"], faint["y"]) == ([costs[3]], [0.5])
    assert trace(figure, "dense")["y"] == [0.985]


def test_the_staircase_is_the_best_score_within_each_bound(study: StudyRecord) -> None:
    figure = front_figure(study, PANELS[0])
    steps = trace(figure, "staircase")
    assert steps["line"]["shape"] == "hv"  # stays level, then rises at the next point
    assert steps["y"] == [0.94, 0.96, 0.98, 0.98]
    assert steps["x"][:3] == sorted(steps["x"][:3])
    assert steps["x"][3] >= 96.0  # the dense network is on the picture


def test_membership_is_per_plane(study: StudyRecord) -> None:
    only = replace(study.trials[0], planes=("sram_bytes",))
    changed = replace(study, trials=(only, *study.trials[1:]))
    sizes = [len(trace(front_figure(changed, panel), "front")["x"]) for panel in PANELS]
    assert sizes == [2, 3, 2]


def test_each_budget_reaches_from_the_point_to_its_limit(study: StudyRecord) -> None:
    budgets = trace(front_figure(study, PANELS[0]), "budgets of the front")
    trial = study.trials[2]
    assert trial.costs is not None
    assert budgets["x"][:3] == [trial.costs.flash_bytes / 1024, 32768 // 3 / 1024, None]
    assert trace(front_figure(study, PANELS[1]), "budgets of the front")["x"] == []


def test_the_devices_limit_is_drawn_or_named_at_the_edge(study: StudyRecord) -> None:
    far = front_figure(study, PANELS[0])["layout"]
    near = front_figure(study, PANELS[1])["layout"]
    none = front_figure(study, PANELS[2])["layout"]
    assert [note["text"] for note in far["annotations"]] == ["stm32f446: 448 KiB →"]
    assert [note["text"] for note in near["annotations"]] == ["stm32f446: 12 KiB"]
    assert none["annotations"] == []
    assert 12.0 in [shape["x0"] for shape in near["shapes"]]
    assert len(far["shapes"]) == len(none["shapes"]) == 1  # the dense network's score


def test_the_hover_says_all_of_a_trial(study: StudyRecord) -> None:
    texts = trace(front_figure(study, PANELS[0]), "front")["hovertext"]
    for words in ("trial 2", "accuracy 0.9400", "Flash 9.77 KiB of 10.7 KiB (92%)", "stem 8",
                  "Latency 4 ms of 5 ms (80%)", "SRAM 2.93 KiB<br>", "lr=0.01"):  # fmt: skip
        assert words in texts[0]


def test_an_axis_is_logarithmic_when_the_span_is_large(study: StudyRecord) -> None:
    assert front_figure(study, PANELS[0])["layout"]["xaxis"]["type"] == "log"
    one = replace(study, trials=study.trials[:1], dense=(), device=None)
    assert "type" not in front_figure(one, PANELS[0])["layout"]["xaxis"]


def _spread(number: int) -> TrialRecord:
    costs = Costs(flash_bytes=1000 + 37 * number, sram_bytes=5000, latency_ms=0.0, macs=number)
    return TrialRecord(
        number=number, state=State.COMPLETE, attempt=1, seed=1, costs=costs,
        budget=Limits(flash_bytes=10000, sram_bytes=5000, latency_ms=0.0),
        score=0.5 + 0.001 * number, planes=("overall", "flash_bytes"),
        widths={f"group{i}": i for i in range(60)},
    )  # fmt: skip


@pytest.mark.parametrize("count", [1, 2, 200])
@pytest.mark.parametrize("rise", [True, False])
def test_plotly_accepts_the_figures(study: StudyRecord, count: int, rise: bool) -> None:
    many = replace(
        study,
        scores_rise=rise,
        trials=tuple(map(_spread, range(count))),
        hypervolumes=(0.5,) * count,
    )
    for panel in PANELS:
        plotly.graph_objects.Figure(front_figure(many, panel))
    plotly.graph_objects.Figure(hypervolume_figure(many))
    assert len(json.loads(Outline(front_page(many)).figures)) == (4 if count == 1 else 6)


def test_every_trial_is_a_line_through_budget_hyperparameters_and_score(
    study: StudyRecord,
) -> None:
    words = ("sgd", "adam", "<b>", "sgd")
    trials = [
        replace(trial, params={"rate": 10.0**-number, "layers": number, "optimizer": word})
        for number, (trial, word) in enumerate(zip(study.trials, words, strict=False))
    ]
    figure = parallel_figure(replace(study, trials=(*trials, study.trials[4])))
    plotly.graph_objects.Figure(figure)
    axes = {axis["label"]: axis for axis in figure["data"][0]["dimensions"]}
    assert [*axes] == [
        "Flash limit (KiB)", "Latency limit (ms)", "rate", "layers", "optimizer", "accuracy"
    ]  # fmt: skip
    assert axes["rate"]["values"] == pytest.approx([0, -1, -2, -3])
    assert "0.01" in axes["rate"]["ticktext"]
    assert axes["layers"]["values"] == [0, 1, 2, 3]  # from zero there are no logarithms
    assert axes["optimizer"]["ticktext"] == ["<b>", "adam", "sgd"]  # drawn as it is
    assert axes["optimizer"]["values"] == [2, 1, 0, 2]
    assert axes["accuracy"]["values"] == [0.98, 0.96, 0.94, 0.5]


def test_what_matters_is_shown_where_it_is_known(study: StudyRecord) -> None:
    assert "Which hyperparameters matter" not in front_page(study)
    known = replace(
        study, importances={"score": {"lr": 0.9, "<b>": 0.1}, "flash_bytes": {"lr": 1.0}}
    )
    figure = importance_figure(known)
    plotly.graph_objects.Figure(figure)
    assert [bars["name"] for bars in figure["data"]] == ["score", "flash"]
    assert [bars["x"] for bars in figure["data"]] == [[0.9, 0.1], [1.0, 0.0]]
    assert figure["data"][0]["y"] == ["lr", "&lt;b&gt;"]
    assert "Which hyperparameters matter" in front_page(known)


def test_the_page_needs_nothing_from_elsewhere(study: StudyRecord) -> None:
    elements = Outline(front_page(study)).elements
    assert not [attrs for _, attrs in elements if attrs.get("src") or attrs.get("href")]
    assert {"flash_bytes", "sram_bytes", "latency_ms", "hypervolume"} <= {
        attrs.get("id") for _, attrs in elements
    }


def test_the_page_says_what_it_shows(study: StudyRecord) -> None:
    page = front_page(study)
    for words in (
        study.name,
        "accuracy (int8-simulated)",
        "5 trials: 4 complete, 1 stopped",
        "3 on a front",
        "estimated",
        "stm32f446: 448 KiB flash, 12 KiB SRAM",
    ):
        assert words in page


def test_nothing_from_outside_becomes_an_element(study: StudyRecord) -> None:
    evil = replace(
        study,
        name=EVIL, metric=EVIL, precision=EVIL, config=EVIL,
        device=DeviceRecord(name=EVIL, limits=Limits(flash_bytes=50000)),
        picks=tuple(replace(one, device=replace(one.device, name=EVIL), words=EVIL)
                    for one in PICKS),
        trials=tuple(
            replace(trial, params={EVIL: EVIL}, widths={EVIL: 3}, planes=(*trial.planes, EVIL))
            for trial in study.trials
        ),
    )  # fmt: skip
    clean = Outline(front_page(replace(study, picks=PICKS), {1: "trial-1"}))
    dirty = Outline(front_page(evil, {1: EVIL}))
    kinds = {tag for tag, _ in dirty.elements}
    assert kinds == {tag for tag, _ in clean.elements}
    assert sum(tag == "script" for tag, _ in dirty.elements) == 3
    drawn = json.loads(dirty.figures)
    for name in ("flash_bytes", "sram_bytes", "latency_ms"):
        assert not re.search(r"<(script|img)", json.dumps(drawn[name]))
    beside = [Outline(comparison_page([one, one])).elements for one in (study, evil)]
    assert [tag for tag, _ in beside[0]] == [tag for tag, _ in beside[1]]


def test_each_chip_has_its_best_trial_and_the_line_that_gets_it(study: StudyRecord) -> None:
    page = front_page(replace(study, name="har", picks=PICKS), {1: "trial-1/why.html"})
    card = page[page.index("Which one for my chip?") :]
    rows = re.findall(r"<tr>(.*?)</tr>", card[: card.index("</table>")], re.DOTALL)[1:]
    cells = [re.findall(r"<td[^>]*>(.*?)</td>", row) for row in rows]
    assert cells[0] == ["tiny", "100 B", "4.88 KiB", "none fits", "", "", "", ""]
    assert cells[1][:3] == ["small", "15.6 KiB", "4.88 KiB"]
    assert ">1</a>" in cells[1][3]
    assert "href='trial-1/why.html'" in cells[1][3]
    assert cells[1][4:] == [
        "0.9600", "14.6 KiB", "4.39 KiB",
        "<code>paring pick study=har device=small</code>",
    ]  # fmt: skip
    assert "Which one for my chip?" not in front_page(study)


def test_where_pages_are_that_explain_a_network(study: StudyRecord) -> None:
    page = front_page(replace(study, name="har"), {2: "trial-2/why.html"})
    assert "<code>paring export study=har trial=K out=trial-K</code>" in page
    assert page.count("<a href='trial-2/why.html'") == 1


def test_all_lines_of_the_parallel_plot_can_be_seen_on_white(study: StudyRecord) -> None:
    scale = parallel_figure(study)["data"][0]["line"]["colorscale"]
    stops = [[int(color[at : at + 2], 16) for at in (1, 3, 5)] for _, color in scale]
    assert len(stops) > 1
    for one, other in pairwise(stops):
        for share in (0.0, 0.25, 0.5, 0.75, 1.0):
            mixed = [a + share * (b - a) for a, b in zip(one, other, strict=True)]
            assert contrast_on_white(mixed) > 4  # more than large text needs


def contrast_on_white(color: Sequence[float]) -> float:
    """The contrast ratio of WCAG 2."""
    parts = [value / 255 for value in color]
    linear = [p / 12.92 if p <= 0.04045 else ((p + 0.055) / 1.055) ** 2.4 for p in parts]
    return 1.05 / (0.05 + sum(w * p for w, p in zip((0.2126, 0.7152, 0.0722), linear, strict=True)))


@pytest.mark.parametrize(
    ("values", "ends"),
    [
        ([6.6035, 9.123], (6.6, 9.2)),
        ([0.2284, 0.9916], (0.22, 1.0)),
        ([1234.5, 5678.9], (1200, 5700)),
        ([-0.31, 0.29], (-0.31, 0.29)),
        ([3.0, 3.0], (3.0, 3.0)),
    ],
)
def test_the_ends_of_a_parallel_axis_are_round(
    study: StudyRecord, values: list[float], ends: tuple[float, float]
) -> None:
    trials = [
        replace(trial, params={"rate": value})
        for trial, value in zip(study.trials, values, strict=False)
    ]
    figure = parallel_figure(replace(study, trials=tuple(trials)))
    (axis,) = [one for one in figure["data"][0]["dimensions"] if one["label"] == "rate"]
    assert axis["range"] == pytest.approx(ends)
    assert axis["tickformat"] == ".4~g"


def test_a_logarithmic_parallel_axis_ends_at_ticks(study: StudyRecord) -> None:
    trials = [replace(trial, params={"rate": 0.0066035 * 9**n}) for n, trial in
             enumerate(study.trials[:3])]  # fmt: skip
    figure = parallel_figure(replace(study, trials=tuple(trials)))
    (axis,) = [one for one in figure["data"][0]["dimensions"] if one["label"] == "rate"]
    assert [axis["ticktext"][0], axis["ticktext"][-1]] == ["0.005", "1"]
    assert axis["range"] == [axis["tickvals"][0], axis["tickvals"][-1]]


@pytest.mark.parametrize(
    ("state", "words"),
    [
        (State.RUNNING, "No trial has finished with a network yet."),
        (State.FAILED, "No trial has finished with a network."),
    ],
)
def test_without_a_finished_trial_the_page_says_so(
    make_study: MakeStudy, state: State, words: str
) -> None:
    page = front_page(make_study(state))
    assert words in page
    assert "Plotly" not in page


@pytest.mark.slow
@pytest.mark.browser
def test_a_telephone_shows_all_of_the_front(
    study: StudyRecord, tmp_path: Path, browser: Page
) -> None:
    (tmp_path / "front.html").write_text(front_page(replace(study, picks=PICKS)))
    browser.set_viewport_size({"width": 400, "height": 800})
    browser.goto((tmp_path / "front.html").as_uri())
    browser.locator("#parallel .axis-heading, #parallel .axis").first.wait_for(state="attached")
    wide = "element => element.scrollWidth > element.clientWidth"
    cards = browser.locator(".wide").all()
    assert len(cards) == 4  # the chips, the pairs, the parallel axes and the front
    assert all(card.evaluate(wide) for card in cards)
    over = "() => document.documentElement.scrollWidth - innerWidth"
    assert browser.evaluate(over) <= 0  # and nothing else is


@pytest.mark.slow
@pytest.mark.browser
def test_a_browser_draws_the_points_offline(
    study: StudyRecord, tmp_path: Path, browser: Page
) -> None:
    (tmp_path / "front.html").write_text(front_page(study))
    browser.goto((tmp_path / "front.html").as_uri())
    points = browser.locator(".scatterlayer .point")
    points.first.wait_for(state="attached")
    assert points.count() >= 3 * 4  # in each panel: three of the front, one not
    assert browser.locator(".js-line").count() >= 3
    assert browser.get_by_text("stm32f446: 12 KiB").count()


def test_many_studies_are_told_apart(study: StudyRecord) -> None:
    studies = [replace(study, name=f"sweep {number}") for number in range(13)]
    figure = comparison_figure(studies, PANELS[0])
    plotly.graph_objects.Figure(figure)
    points = [trace for trace in figure["data"] if trace["mode"] == "markers"]
    looks = {(trace["marker"]["color"], trace["marker"]["symbol"]) for trace in points}
    assert len(looks) == len(studies)
    for number, trace in enumerate(points):
        assert all(text.startswith(f"<b>sweep {number}</b>") for text in trace["hovertext"])
    assert comparison_page(studies).count("<span><svg") == len(studies)


def test_a_plane_without_points_says_so(make_study: MakeStudy) -> None:
    figure = comparison_figure([make_study(State.RUNNING)] * 2, PANELS[0])
    assert figure["layout"]["annotations"][0]["text"] == "no point yet"


def test_points_have_the_colour_of_their_choice(make_study: MakeStudy) -> None:
    plain = make_study(State.COMPLETE, State.COMPLETE)
    names = ("model=resnet8", "model=<ds_cnn>")
    study = replace(
        plain,
        trials=tuple(replace(t, variant=n) for t, n in zip(plain.trials, names, strict=True)),
        dense=tuple(replace(plain.dense[0], name=name) for name in names),
    )
    for panel in PANELS:
        figure = front_figure(study, panel)
        shown = [trace(figure, name) for name in ("front", "dominated")]
        colors = {
            number: color
            for one in shown
            for number, color in zip(one["customdata"], one["marker"]["color"], strict=True)
        }
        assert len(set(colors.values())) == 2
        assert trace(figure, "dense")["marker"]["color"] == [colors[0], colors[1]]
    page = front_page(study)
    assert "<th class='text'>choice</th>" in page
    assert "model=&lt;ds_cnn&gt;" in page
    assert "model=<ds_cnn>" not in page
    assert "choice</th>" not in front_page(plain)

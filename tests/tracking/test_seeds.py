"""Trials that differ in their seeds alone, on the front and in its files."""

import csv
import io
from collections.abc import Callable
from dataclasses import replace

import plotly.graph_objects
import pytest

from tracking import Limits, State, StudyRecord, TrialRecord, front_csv, front_object, front_page
from tracking.pages.figures import front_figure
from tracking.pages.plot_layout import PANELS
from tracking.seeds import repeats, repeats_of

MakeStudy = Callable[..., StudyRecord]
LOOSE, TIGHT = Limits(flash_bytes=2000), Limits(flash_bytes=1000)


@pytest.fixture
def study(make_study: MakeStudy) -> StudyRecord:
    """Return three seeds of one budget, two of another, and a lonely draw."""
    made = make_study(*[State.COMPLETE] * 6, State.FAILED)

    def changed(trial: TrialRecord, budget: Limits, draw: int, score: float) -> TrialRecord:
        return replace(trial, budget=budget, draw=draw, score=score)

    trials = [
        changed(made.trials[0], LOOSE, 0, 0.80),
        changed(made.trials[1], LOOSE, 0, 0.84),
        changed(made.trials[2], LOOSE, 0, 0.88),
        changed(made.trials[3], TIGHT, 0, 0.5),
        changed(made.trials[4], TIGHT, 0, 0.5),
        changed(made.trials[5], TIGHT, 1, 0.6),
        replace(made.trials[6], budget=TIGHT, draw=1),
    ]
    return replace(made, trials=tuple(trials))


def test_mean_and_spread_over_seeds(study: StudyRecord) -> None:
    loose, tight = repeats(study)
    assert [trial.number for trial in loose.trials] == [0, 1, 2]
    assert (loose.mean, loose.spread) == (pytest.approx(0.84), pytest.approx(0.04))
    assert (tight.mean, tight.spread) == (0.5, 0)
    assert set(repeats_of(study)) == {0, 1, 2, 3, 4}


def test_seeds_that_were_not_measured_are_in_no_mean_of_measured_costs(
    study: StudyRecord,
) -> None:
    known = (0, 2, 3)
    trials = [s if s.number in known else replace(s, costs=None) for s in study.trials]
    (loose,) = repeats(replace(study, trials=tuple(trials)))
    assert [trial.number for trial in loose.trials] == [0, 2]


def test_copies_and_studies_without_seeds_repeat_nothing(study: StudyRecord) -> None:
    copied = tuple(replace(trial, copy_of=0) for trial in study.trials[1:])
    assert repeats(replace(study, trials=(study.trials[0], *copied))) == ()
    alone = tuple(replace(trial, draw=None) for trial in study.trials)
    assert repeats(replace(study, trials=alone)) == ()


def test_the_front_shows_the_mean_with_its_spread(study: StudyRecord) -> None:
    figure = front_figure(study, PANELS[0])
    plotly.graph_objects.Figure(figure)
    (means,) = [trace for trace in figure["data"] if trace["name"] == "mean over seeds"]
    assert means["y"] == pytest.approx([0.84, 0.5])
    assert means["error_y"]["array"] == pytest.approx([0.04, 0.0])
    assert means["hovertext"][0].startswith("<b>3 seeds</b>: trials 0, 1, 2<br>accuracy 0.8400")
    page = front_page(study)
    assert "<th>over seeds</th>" in page
    assert "<td>0.8400 \u00b1 0.0400 (3 seeds)</td>" in page
    assert "mean over seeds and its standard deviation" in page


def test_without_seeds_nothing_speaks_of_them(make_study: MakeStudy) -> None:
    study = make_study(State.COMPLETE, State.COMPLETE)
    assert "seeds" not in front_page(study).partition("<script")[0].partition("</style>")[2]
    assert "mean over seeds" not in str(front_figure(study, PANELS[0]))


def test_files_tell_of_seeds(study: StudyRecord) -> None:
    (first, *_), rows = [
        [entry for entry in front_object(study, {})["front"] if entry["trial"] == number]
        for number in (2, 5)
    ]
    assert first["seeds"] == {"trials": [0, 1, 2], "mean": pytest.approx(0.84),
                              "spread": pytest.approx(0.04)}  # fmt: skip
    assert rows[0]["seeds"] is None
    table = {row["trial"]: row for row in csv.DictReader(io.StringIO(front_csv(study)))}
    assert (table["0"]["seeds"], table["5"]["seeds"]) == ("3", "1")
    assert float(table["0"]["seeds_mean"]) == pytest.approx(0.84)
    assert table["5"]["seeds_mean"] == ""

"""A trial's page on its answers: what its network gets wrong, in one HTML file, offline."""

from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

from markupsafe import Markup

from tracking.evaluation import (
    TEST,
    VALIDATION,
    Classification,
    Detection,
    Evaluation,
    Regression,
    Residuals,
    macro_mean,
)
from tracking.pages.confusion import classes_card, confusion_card, percent
from tracking.pages.evaluation_charts import (
    BOTTOM,
    HEIGHT,
    LEFT,
    RIGHT,
    TOP,
    WIDTH,
    Chart,
    errors_chart,
    reliability_chart,
    residuals_chart,
    scatter_chart,
)
from tracking.pages.gallery import mistakes_card
from tracking.pages.page import render
from tracking.records import StudyRecord, TrialRecord
from tracking.tables import DASH, amounts, score_text, short

EVALUATION_PAGE = "evaluation.html"
_SHOWN = 6  # numbers of a regression that have charts


class _Fact(NamedTuple):
    """A number by split, and what it means."""

    name: str
    values: list[str]
    meaning: str


def evaluation_page(study: StudyRecord, trial: TrialRecord, why: str | None = None) -> str:
    """Return a whole HTML page on what a trial's network answers, without a script.

    For classes the confusion matrix, precision and recall of every class, and how far confidence
    can be trusted; for numbers their residuals; for anomalies how the errors spread and what
    thresholds come to; and the worst mistakes with their samples. Validation and test stand side
    by side.

    Args:
        study: the trial's study.
        trial: one that has evaluations.
        why: the relative address of the page on its network, where that lies beside this one.
    """
    evaluations = _ordered(trial.evaluations)
    page = render(
        "evaluation.html.j2",
        study=study,
        trial=trial,
        why=why,
        facts=_facts(study, trial),
        cards=[*_cards(evaluations), mistakes_card(evaluations)],
    )
    return str(page)


def _ordered(evaluations: Mapping[str, Evaluation]) -> list[Evaluation]:
    return [evaluations[split] for split in (VALIDATION, TEST) if split in evaluations]


def _facts(study: StudyRecord, trial: TrialRecord) -> list[str]:
    scores = f"{study.metric} {score_text(trial.score)} on validation"
    if trial.test_score is not None:
        scores += f", {score_text(trial.test_score)} on test"
    facts = [scores, study.precision]
    return facts if trial.costs is None else [*facts, amounts(trial.costs)]


def _cards(evaluations: Sequence[Evaluation]) -> list[Markup]:
    """Return the cards of all evaluations of a trial, which are of one kind."""
    classes = [one for one in evaluations if isinstance(one, Classification)]
    numbers = [one for one in evaluations if isinstance(one, Regression)]
    anomalies = [one for one in evaluations if isinstance(one, Detection)]
    cards = []
    if classes:
        cards += _of_classes(classes)
    if numbers:
        cards += _of_numbers(numbers)
    if anomalies:
        cards += _of_anomalies(anomalies)
    return cards


def _of_classes(evaluations: Sequence[Classification]) -> list[Markup]:
    facts: dict[str, tuple[Callable[[Classification], str], str]] = {
        "samples": (lambda one: str(one.samples), ""),
        "accuracy": (lambda one: percent(one.accuracy), "samples whose answer is right"),
        "mean precision": (
            lambda one: percent(macro_mean(one.precision)),
            "of each class's answers, those that are right; every class counts alike",
        ),
        "mean recall": (
            lambda one: percent(macro_mean(one.recall)),
            "of each class's samples, those that are found; every class counts alike",
        ),
        "calibration error": (
            lambda one: percent(one.calibration_error),
            "how far confidence is from being right, on average",
        ),
    }
    rows = [
        _Fact(name, [value(one) for one in evaluations], meaning)
        for name, (value, meaning) in facts.items()
    ]
    return [
        _facts_card(evaluations, rows),
        confusion_card(evaluations),
        classes_card(evaluations),
        _charts_card(
            "How far confidence can be trusted",
            "Confidence is the softmax of the network's outputs. Where bars end at the line, an "
            "answer that is 80 % sure is right four times in five; below it the network is too "
            "sure of itself.",
            [reliability_chart(one) for one in evaluations],
        ),
    ]


def _of_numbers(evaluations: Sequence[Regression]) -> list[Markup]:
    charts = [
        draw(one.split, one.numbers[place])
        for place in range(min(_SHOWN, len(evaluations[0].numbers)))
        for draw in (scatter_chart, residuals_chart)
        for one in evaluations
    ]
    text = "On the line an answer is the target. Every sample counts in the bars; points are drawn "
    text += "for samples evenly over the split."
    return [
        _facts_card(evaluations, _number_facts(evaluations)),
        _charts_card("How numbers are missed", text, charts),
    ]


def _number_facts(evaluations: Sequence[Regression]) -> list[_Fact]:
    values: dict[str, tuple[Callable[[Residuals], float], str]] = {
        "bias": (lambda one: one.bias, "mean of answer less target"),
        "spread": (lambda one: one.spread, "standard deviation of answer less target"),
        "mean absolute error": (lambda one: one.absolute, ""),
        "root mean square": (lambda one: one.root_mean_square, "of answer less target"),
    }
    several = len(evaluations[0].numbers) > 1
    rows = [_Fact("samples", [str(one.samples) for one in evaluations], "")]
    for place, number in enumerate(evaluations[0].numbers):
        rows += [
            _Fact(
                f"{number.name}: {name}" if several else name,
                [short(value(one.numbers[place])) for one in evaluations],
                meaning,
            )
            for name, (value, meaning) in values.items()
        ]
    return rows


def _of_anomalies(evaluations: Sequence[Detection]) -> list[Markup]:
    rows = [
        _Fact("normal samples", [str(one.samples - one.anomalous) for one in evaluations], ""),
        _Fact("anomalous samples", [str(one.anomalous) for one in evaluations], ""),
        _Fact(
            "area under the curve",
            [DASH if one.area is None else short(one.area) for one in evaluations],
            "how often an anomalous sample has a larger error than a normal one",
        ),
    ]
    text = "The threshold is chosen on validation: it misjudges the least of both kinds together."
    return [
        _facts_card(evaluations, rows),
        _charts_card("How errors spread", text, [errors_chart(one) for one in evaluations]),
        render(
            "thresholds.html.j2",
            splits=[one.split for one in evaluations],
            rows=_threshold_rows(evaluations),
        ),
    ]


def _threshold_rows(evaluations: Sequence[Detection]) -> list[tuple[str, bool, list[list[str]]]]:
    """Return each threshold, whether it is the chosen one, and its shares by split."""
    first = evaluations[0]
    return [
        (
            short(threshold.error),
            threshold.error == first.threshold,
            [
                [percent(one.alarms), percent(one.detected), percent(one.precision)]
                for one in (other.thresholds[place] for other in evaluations)
            ],
        )
        for place, threshold in enumerate(first.thresholds)
    ]


def _facts_card(evaluations: Sequence[Evaluation], rows: Sequence[_Fact]) -> Markup:
    splits = [one.split for one in evaluations]
    return render("evaluation_facts.html.j2", splits=splits, rows=rows)


def _charts_card(title: str, text: str, charts: Sequence[Chart]) -> Markup:
    return render(
        "evaluation_charts.html.j2",
        title=title, text=text, charts=charts, width=WIDTH, height=HEIGHT,
        frame={"left": LEFT, "right": RIGHT, "top": TOP, "bottom": BOTTOM},
    )  # fmt: skip

"""The worst mistakes of a split, with their samples drawn."""

from base64 import b64encode
from collections.abc import Sequence
from typing import NamedTuple

from markupsafe import Markup

from tracking.evaluation import (
    Classification,
    Detection,
    Evaluation,
    Misjudged,
    Miss,
    Mistake,
    Picture,
    Regression,
    Sample,
    Signal,
)
from tracking.pages.page import render
from tracking.tables import count, short

_WIDTH, _HEIGHT = 120, 90  # of a signal, in units of its drawing
_EDGE = 4
_NUMBERS = 3  # of a sample that are shown


class _Figure(NamedTuple):
    """A sample: its picture's address or the lines of a signal, and what was said of it."""

    title: str
    picture: str | None
    lines: list[str]
    truth: str
    answer: str
    detail: str


class _Gallery(NamedTuple):
    """The mistakes of a split."""

    split: str
    heading: str
    figures: list[_Figure]


def mistakes_card(evaluations: Sequence[Evaluation]) -> Markup:
    """Return the worst mistakes of some splits, side by side."""
    galleries = [_gallery(one) for one in evaluations]
    return render("gallery.html.j2", galleries=galleries, width=_WIDTH, height=_HEIGHT)


def _gallery(evaluation: Evaluation) -> _Gallery:
    split = evaluation.split
    match evaluation:
        case Classification():
            wrong = evaluation.samples - sum(evaluation.correct)
            figures = [_mistake(split, evaluation.classes, one) for one in evaluation.mistakes]
            heading = f"{count(wrong, 'mistake')} of {count(evaluation.samples, 'sample')}"
        case Regression():
            names = [number.name for number in evaluation.numbers]
            figures = [_miss(split, names, one) for one in evaluation.misses]
            heading = count(evaluation.samples, "sample")
        case Detection():
            figures = [_misjudged(split, one) for one in evaluation.misjudged]
            heading = f"{count(_wrong(evaluation), 'mistake')} of "
            heading += f"{count(evaluation.samples, 'sample')} at the chosen threshold"
    return _Gallery(split, heading + (", the worst first" if len(figures) > 1 else ""), figures)


def _mistake(split: str, classes: Sequence[str], one: Mistake) -> _Figure:
    return _Figure(
        title=f"sample {one.index} of {split}",
        picture=_picture(one.sample),
        lines=_lines(one.sample),
        truth=classes[one.target],
        answer=f"{classes[one.answer]}, {_percent(one.confidence)} sure",
        detail=f"{_percent(one.probability)} for {classes[one.target]}",
    )


def _miss(split: str, names: Sequence[str], one: Miss) -> _Figure:
    several = len(names) > 1
    return _Figure(
        title=f"sample {one.index} of {split}",
        picture=_picture(one.sample),
        lines=_lines(one.sample),
        truth=_told(names if several else (), one.targets),
        answer=_told(names if several else (), one.answers),
        detail="" if several else f"off by {short(one.answers[0] - one.targets[0])}",
    )


def _misjudged(split: str, one: Misjudged) -> _Figure:
    return _Figure(
        title=f"sample {one.index} of {split}",
        picture=_picture(one.sample),
        lines=_lines(one.sample),
        truth="anomalous" if one.anomalous else "normal",
        answer="normal" if one.anomalous else "anomalous",
        detail=f"error {short(one.error)}",
    )


def _wrong(evaluation: Detection) -> int:
    """Return how many samples are on the wrong side of the threshold."""
    chosen = next(one for one in evaluation.thresholds if one.error == evaluation.threshold)
    normal = evaluation.samples - evaluation.anomalous
    missed = 1 - (1.0 if chosen.detected is None else chosen.detected)
    return round((chosen.alarms or 0.0) * normal) + round(missed * evaluation.anomalous)


def _told(names: Sequence[str], values: Sequence[float]) -> str:
    """Return the first few of some numbers, with their names where there are several."""
    texts = [short(value) for value in values[:_NUMBERS]]
    if names:
        texts = [f"{name} {text}" for name, text in zip(names, texts, strict=False)]
    return ", ".join(texts) + (" …" if len(values) > _NUMBERS else "")


def _percent(share: float) -> str:
    return f"{100 * share:.0f} %" if share >= 0.005 else "<1 %"


def _picture(sample: Sample) -> str | None:
    """Return a picture as an address that holds it."""
    if not isinstance(sample, Picture):
        return None
    return f"data:image/png;base64,{b64encode(sample.png).decode()}"


def _lines(sample: Sample) -> list[str]:
    """Return the lines of a signal, all on one scale."""
    if not isinstance(sample, Signal):
        return []
    values = [value for line in sample.series for value in line]
    low, high = min(values), max(values)
    return [" ".join(_points(line, low, (high - low) or 1.0)) for line in sample.series]


def _points(line: Sequence[float], low: float, span: float) -> list[str]:
    step = _WIDTH / max(len(line) - 1, 1)
    room = _HEIGHT - 2 * _EDGE
    return [
        f"{step * place:.1f},{_EDGE + room * (1 - (value - low) / span):.1f}"
        for place, value in enumerate(line)
    ]

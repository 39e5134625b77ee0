"""What a network answers, compared with the truth: plain records of one split."""

from math import ceil

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from pruning.data import Dataset, Split
from pruning.export.interface import Interface, Meaning
from pruning.tasks import Task
from search.results.detection import detection
from search.results.samples import WORST, histogram, short, shown
from tracking.evaluation import (
    CalibrationBin,
    Classification,
    Detection,
    Evaluation,
    Miss,
    Mistake,
    Regression,
    Residuals,
)

_BINS = 10  # of confidence
_BARS = 24  # of a histogram
_POINTS = 400  # targets with answers, over all numbers
_LEAST_POINTS = 25  # for each number
Array = NDArray[np.float64]


def evaluated(
    name: str,
    answers: Tensor,
    split: Split,
    data: Dataset,
    task: Task,
    validation: Evaluation | None = None,
) -> Evaluation | None:
    """The evaluation of answers to a split, as `pruning.training.train.answers_to` gives them.

    Args:
        name: of the split.
        answers: [N, ...], to its samples in their order.
        split: the samples, on the CPU.
        data: the data set that it is of.
        task: what the network was trained for.
        validation: for another split, the evaluation of validation, whose thresholds hold.

    Returns:
        None where answers have no meaning that is known: a classifier of fewer outputs than
        there are classes, or numbers that are not finite.
    """
    values: Array = answers.double().numpy().reshape(len(answers), -1)
    if not np.isfinite(values).all():
        return None
    match Interface.of(data, task).meaning:
        case Meaning.CLASSES:
            return _classification(name, values, split, data.classes)
        case Meaning.NUMBERS:
            return _regression(name, values, split, data.classes)
        case Meaning.INPUTS:
            known = validation if isinstance(validation, Detection) else None
            return detection(name, values[:, 0], split, known)


def _classification(
    name: str, outputs: Array, split: Split, names: tuple[str, ...]
) -> Classification | None:
    if outputs.shape[1] < len(names):
        return None
    targets: NDArray[np.int64] = split.targets.numpy()
    answers = outputs.argmax(1)  # the first of equal ones, as the metrics take it
    unnamed = range(len(names), int(answers.max()) + 1)
    probabilities = _softmax(outputs)
    confidences = probabilities[np.arange(len(answers)), answers]
    pairs, counts = np.unique(np.stack([targets, answers], 1), axis=0, return_counts=True)
    return Classification(
        split=name,
        samples=len(answers),
        classes=(*names, *map(str, unnamed)),
        cells=tuple(
            (target, answer, count)
            for (target, answer), count in zip(pairs.tolist(), counts.tolist(), strict=True)
        ),
        calibration=_calibration(confidences, answers == targets),
        mistakes=_mistakes(probabilities, answers, split),
    )


def _softmax(outputs: Array) -> Array:
    powers = np.exp(outputs - outputs.max(1, keepdims=True))
    shares: Array = powers / powers.sum(1, keepdims=True)
    return shares


def _calibration(confidences: Array, right: NDArray[np.bool_]) -> tuple[CalibrationBin, ...]:
    places = np.clip(np.ceil(confidences * _BINS).astype(int) - 1, 0, _BINS - 1)
    bins = []
    for place in range(_BINS):
        inside = places == place
        some = bool(inside.any())
        bins.append(
            CalibrationBin(
                lower=place / _BINS,
                upper=(place + 1) / _BINS,
                count=int(inside.sum()),
                confidence=short(confidences[inside].mean()) if some else None,
                accuracy=float(right[inside].mean()) if some else None,
            )
        )
    return tuple(bins)


def _mistakes(
    probabilities: Array, answers: NDArray[np.int64], split: Split
) -> tuple[Mistake, ...]:
    targets = split.targets.numpy()
    wrong = np.flatnonzero(answers != targets)
    order = np.argsort(-probabilities[wrong, answers[wrong]], kind="stable")
    worst = wrong[order][:WORST].tolist()
    return tuple(
        Mistake(
            index=index,
            target=int(targets[index]),
            answer=int(answers[index]),
            confidence=short(probabilities[index, answers[index]]),
            probability=short(probabilities[index, targets[index]]),
            sample=sample,
        )
        for index, sample in zip(worst, shown(split.inputs, worst), strict=True)
    )


def _regression(name: str, answers: Array, split: Split, names: tuple[str, ...]) -> Regression:
    targets: Array = split.targets.double().numpy().reshape(len(answers), -1)
    points = max(_LEAST_POINTS, _POINTS // len(names))
    return Regression(
        split=name,
        samples=len(answers),
        numbers=tuple(
            _residuals(number, targets[:, place], answers[:, place], points)
            for place, number in enumerate(names)
        ),
        misses=_misses(targets, answers, split),
    )


def _residuals(name: str, targets: Array, answers: Array, points: int) -> Residuals:
    residuals = answers - targets
    step = ceil(len(targets) / points)
    return Residuals(
        name=name,
        bias=short(residuals.mean()),
        spread=short(residuals.std()),
        absolute=short(np.abs(residuals).mean()),
        histogram=histogram(residuals, np.histogram_bin_edges(residuals, _BARS).tolist()),
        points=tuple(
            (short(target), short(answer))
            for target, answer in zip(targets[::step], answers[::step], strict=True)
        ),
    )


def _misses(targets: Array, answers: Array, split: Split) -> tuple[Miss, ...]:
    spreads = targets.std(0)
    scaled = (answers - targets) / np.where(spreads > 0, spreads, 1.0)
    worst = np.argsort(-np.square(scaled).sum(1), kind="stable")[:WORST].tolist()
    return tuple(
        Miss(
            index=index,
            targets=tuple(map(short, targets[index])),
            answers=tuple(map(short, answers[index])),
            sample=sample,
        )
        for index, sample in zip(worst, shown(split.inputs, worst), strict=True)
    )

"""What trials answer, class by class or number by number, as JSON values for the study's page."""

from collections.abc import Sequence
from typing import Any

from tracking.evaluation import Classification, Detection, Evaluation, Regression
from tracking.records import TrialRecord
from tracking.tables import short

_DIGITS = 4  # of a share


def classes_of(trials: Sequence[TrialRecord]) -> list[str]:
    """Return the names of the classes, which are the same for all trials of a study."""
    for trial in trials:
        for evaluation in trial.evaluations.values():
            if isinstance(evaluation, Classification):
                return list(evaluation.classes)
    return []


def answers_of(trial: TrialRecord) -> dict[str, Any]:
    """Return a trial's evaluations by split: of classes the confusion matrix, as (class, answer,
    samples) in a row, with recall, precision and support of each class; else a table.
    """
    return {split: _answers(evaluation) for split, evaluation in trial.evaluations.items()}


def _answers(evaluation: Evaluation) -> dict[str, Any]:
    match evaluation:
        case Classification():
            return {
                "samples": evaluation.samples,
                "cells": [number for cell in evaluation.cells for number in cell],
                "recall": _rounded(evaluation.recall),
                "precision": _rounded(evaluation.precision),
                "support": evaluation.support,
            }
        case Regression():
            return {"samples": evaluation.samples, **_regression(evaluation)}
        case Detection():
            return {"samples": evaluation.samples, **_detection(evaluation)}


def _rounded(shares: Sequence[float | None]) -> list[float | None]:
    return [None if share is None else round(share, _DIGITS) for share in shares]


def _regression(evaluation: Regression) -> dict[str, Any]:
    return {
        "headings": ["number", "root mean square", "mean size", "bias", "spread"],
        "rows": [
            [one.name, *map(short, (one.root_mean_square, one.absolute, one.bias, one.spread))]
            for one in evaluation.numbers
        ],
    }


def _detection(evaluation: Detection) -> dict[str, Any]:
    chosen = next((one for one in evaluation.thresholds if one.error == evaluation.threshold), None)
    shares = (evaluation.area, chosen and chosen.detected, chosen and chosen.alarms)
    names = ("area under the curve", "anomalies detected", "false alarms")
    return {
        "headings": ["at the threshold", "share"],
        "rows": [
            [name, "\u2013" if share is None else f"{share:.4f}"]
            for name, share in zip(names, shares, strict=True)
        ],
    }

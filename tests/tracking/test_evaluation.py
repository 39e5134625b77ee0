"""Evaluations: what follows from what is stored, and the file that they are stored in."""

import json
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from sklearn.metrics import confusion_matrix, precision_recall_fscore_support

from tests.tracking.evaluations import classification, detection, pair, regression
from tracking import DamagedError, Evaluation, evaluations_to_json, read_evaluations
from tracking.evaluation import CalibrationBin, Classification, macro_mean

MAKERS = (classification, regression, detection)


def drawn(samples: int, classes: int, seed: int) -> tuple[np.ndarray, np.ndarray, Classification]:
    generator = np.random.default_rng(seed)
    targets, answers = generator.integers(0, classes, (2, samples))
    cells: dict[tuple[int, int], int] = {}
    for one in zip(targets.tolist(), answers.tolist(), strict=True):
        cells[one] = cells.get(one, 0) + 1
    return targets, answers, replace(
        classification(classes=tuple(map(str, range(classes)))),
        samples=samples,
        cells=tuple((*pair, count) for pair, count in sorted(cells.items())),
    )  # fmt: skip


@pytest.mark.parametrize(("samples", "classes"), [(1, 2), (7, 5), (300, 2), (500, 40)])
def test_what_follows_from_the_cells_is_what_scikit_learn_says(samples: int, classes: int) -> None:
    targets, answers, found = drawn(samples, classes, seed=samples)
    labels = list(range(classes))
    assert found.confusion == tuple(
        map(tuple, confusion_matrix(targets, answers, labels=labels).tolist())
    )
    precision, recall, _, support = precision_recall_fscore_support(
        targets, answers, labels=labels, zero_division=np.nan
    )
    assert found.support == tuple(support.tolist())
    for ours, theirs in ((found.precision, precision), (found.recall, recall)):
        known = np.array([np.nan if share is None else share for share in ours])
        np.testing.assert_allclose(known, theirs)
    assert found.accuracy == pytest.approx((targets == answers).mean())


def test_a_class_that_never_occurs_has_no_recall_and_one_never_answered_no_precision() -> None:
    found = replace(classification(), samples=3, cells=((0, 1, 3),))
    assert found.recall == (0.0, None, None)
    assert found.precision == (None, 0.0, None)
    assert (macro_mean(found.recall), macro_mean((None, None))) == (0.0, None)


def test_the_calibration_error_is_the_mean_gap_over_samples() -> None:
    bins = (
        CalibrationBin(lower=0.0, upper=0.5, count=1, confidence=0.4, accuracy=1.0),
        CalibrationBin(lower=0.5, upper=1.0, count=3, confidence=0.8, accuracy=0.6),
    )
    found = replace(classification(), samples=4, calibration=bins)
    assert found.calibration_error == pytest.approx((1 * 0.6 + 3 * 0.2) / 4)


@pytest.mark.parametrize("make", MAKERS)
def test_what_is_stored_is_read(make: Callable[[str], Evaluation]) -> None:
    evaluations = pair(make)
    content = evaluations_to_json(evaluations)
    assert read_evaluations(content) == evaluations
    assert evaluations_to_json(read_evaluations(content)) == content
    known = json.loads(content)
    known["later"] = 1
    known["splits"]["test"]["later"] = {}
    assert read_evaluations(json.dumps(known).encode()) == evaluations


def changed(make: Callable[[str], Evaluation], change: Callable[[Any], None]) -> bytes:
    document = json.loads(evaluations_to_json(pair(make)))
    change(document["splits"]["validation"])
    return json.dumps(document).encode()


@pytest.mark.parametrize(
    ("make", "change"),
    [
        (classification, lambda entry: entry.pop("cells")),
        (classification, lambda entry: entry.update(cells=[[0, 3, 1]])),
        (classification, lambda entry: entry.update(cells=[[0, -1, 1]])),
        (classification, lambda entry: entry.update(kind="words")),
        (classification, lambda entry: entry.update(samples=0)),
        (classification, lambda entry: entry["mistakes"][0].update(answer=3)),
        (classification, lambda entry: entry["mistakes"][0]["sample"].update(png="PGI+")),
        (classification, lambda entry: entry["mistakes"][0]["sample"].update(png="<b>")),
        (classification, lambda entry: entry["mistakes"][1]["sample"].update(series=[["x"]])),
        (regression, lambda entry: entry["numbers"][0]["histogram"].update(edges=[0.0])),
        (regression, lambda entry: entry["numbers"][0].update(bias=float("nan"))),
        (regression, lambda entry: entry["numbers"][0].update(name=3)),
        (detection, lambda entry: entry["thresholds"][0].update(alarms="all")),
        (detection, lambda entry: entry["normal_errors"].update(counts=[-1, 2, 3])),
    ],
)
def test_what_is_damaged_is_refused(
    make: Callable[[str], Evaluation], change: Callable[[Any], None]
) -> None:
    with pytest.raises(DamagedError, match=r"evaluation\.json is no evaluation"):
        read_evaluations(changed(make, change))


@pytest.mark.parametrize("content", [b"", b"[]", b"{}", b'{"schema": "other", "splits": {}}'])
def test_another_file_is_no_evaluation(content: bytes) -> None:
    with pytest.raises(DamagedError, match=r"evaluation\.json is no evaluation"):
        read_evaluations(content)

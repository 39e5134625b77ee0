"""Evaluations as a trial stores them: one file of JSON for all splits."""

import json
from base64 import b64decode, b64encode
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from tracking.decode import amount, decoded, items, natural, text
from tracking.evaluation import (
    CalibrationBin,
    Classification,
    Detection,
    Evaluation,
    Histogram,
    Misjudged,
    Miss,
    Mistake,
    Picture,
    Regression,
    Residuals,
    Sample,
    Share,
    Signal,
    Threshold,
)

EVALUATION = "evaluation.json"  # its name among a trial's files
SCHEMA = "paring.evaluation/1"
_PNG = b"\x89PNG\r\n\x1a\n"
_KINDS = {Classification: "classes", Regression: "numbers", Detection: "anomalies"}


def evaluations_to_json(evaluations: Mapping[str, Evaluation]) -> bytes:
    """Return the file of a trial's evaluations, which are given by split."""
    stored = {
        split: {"kind": _KINDS[type(one)], **asdict(one)} for split, one in evaluations.items()
    }
    document = {"schema": SCHEMA, "splits": stored}
    return json.dumps(document, default=_bytes, separators=(",", ":")).encode()


def read_evaluations(content: bytes) -> dict[str, Evaluation]:
    """Read a trial's evaluation.json: its evaluations by split; unknown keys are ignored.

    Raises:
        DamagedError: it holds no evaluations, or a part is missing.
    """
    return decoded(content, _evaluations, f"{EVALUATION} is no evaluation of a network")


def _bytes(value: object) -> str:
    if not isinstance(value, bytes):
        raise TypeError(f"{value!r} cannot be stored")
    return b64encode(value).decode()


def _evaluations(document: Any) -> dict[str, Evaluation]:
    if document["schema"] != SCHEMA:
        raise ValueError(f"schema {document['schema']!r} and not {SCHEMA}")
    return {text(split): _evaluation(entry) for split, entry in document["splits"].items()}


def _evaluation(entry: Mapping[str, Any]) -> Evaluation:
    match entry["kind"]:
        case "classes":
            return _classification(entry)
        case "numbers":
            return _regression(entry)
        case "anomalies":
            return _detection(entry)
        case kind:
            raise ValueError(f"no evaluation is of {kind!r}")


def _classification(entry: Mapping[str, Any]) -> Classification:
    classes = tuple(map(text, items(entry["classes"])))
    return Classification(
        split=text(entry["split"]),
        samples=_some(entry["samples"]),
        classes=classes,
        cells=tuple(_cell(cell, len(classes)) for cell in items(entry["cells"])),
        calibration=tuple(map(_bin, items(entry["calibration"]))),
        mistakes=tuple(_mistake(mistake, len(classes)) for mistake in items(entry["mistakes"])),
    )


def _cell(cell: Any, classes: int) -> tuple[int, int, int]:
    target, answer, count = cell
    return _place(target, classes), _place(answer, classes), natural(count)


def _place(value: Any, classes: int) -> int:
    if natural(value) >= classes:
        raise ValueError(f"class {value} of {classes}")
    return natural(value)


def _bin(entry: Mapping[str, Any]) -> CalibrationBin:
    return CalibrationBin(
        lower=amount(entry["lower"]),
        upper=amount(entry["upper"]),
        count=natural(entry["count"]),
        confidence=_share(entry["confidence"]),
        accuracy=_share(entry["accuracy"]),
    )


def _mistake(entry: Mapping[str, Any], classes: int) -> Mistake:
    return Mistake(
        index=natural(entry["index"]),
        target=_place(entry["target"], classes),
        answer=_place(entry["answer"], classes),
        confidence=amount(entry["confidence"]),
        probability=amount(entry["probability"]),
        sample=_sample(entry["sample"]),
    )


def _regression(entry: Mapping[str, Any]) -> Regression:
    return Regression(
        split=text(entry["split"]),
        samples=_some(entry["samples"]),
        numbers=tuple(map(_residuals, items(entry["numbers"]))),
        misses=tuple(map(_miss, items(entry["misses"]))),
    )


def _residuals(entry: Mapping[str, Any]) -> Residuals:
    return Residuals(
        name=text(entry["name"]),
        bias=amount(entry["bias"]),
        spread=amount(entry["spread"]),
        absolute=amount(entry["absolute"]),
        histogram=_histogram(entry["histogram"]),
        points=tuple(_point(point) for point in items(entry["points"])),
    )


def _point(point: Any) -> tuple[float, float]:
    target, answer = point
    return amount(target), amount(answer)


def _miss(entry: Mapping[str, Any]) -> Miss:
    return Miss(
        index=natural(entry["index"]),
        targets=_numbers(entry["targets"]),
        answers=_numbers(entry["answers"]),
        sample=_sample(entry["sample"]),
    )


def _detection(entry: Mapping[str, Any]) -> Detection:
    return Detection(
        split=text(entry["split"]),
        samples=_some(entry["samples"]),
        anomalous=natural(entry["anomalous"]),
        area=_share(entry["area"]),
        normal_errors=_histogram(entry["normal_errors"]),
        anomalous_errors=_histogram(entry["anomalous_errors"]),
        thresholds=tuple(map(_threshold, items(entry["thresholds"]))),
        threshold=amount(entry["threshold"]),
        misjudged=tuple(map(_misjudged, items(entry["misjudged"]))),
    )


def _threshold(entry: Mapping[str, Any]) -> Threshold:
    return Threshold(
        error=amount(entry["error"]),
        alarms=_share(entry["alarms"]),
        detected=_share(entry["detected"]),
        precision=_share(entry["precision"]),
    )


def _misjudged(entry: Mapping[str, Any]) -> Misjudged:
    return Misjudged(
        index=natural(entry["index"]),
        anomalous=bool(entry["anomalous"]),
        error=amount(entry["error"]),
        sample=_sample(entry["sample"]),
    )


def _histogram(entry: Mapping[str, Any]) -> Histogram:
    edges, counts = _numbers(entry["edges"]), tuple(map(natural, items(entry["counts"])))
    if len(edges) != len(counts) + 1:
        raise ValueError(f"{len(edges)} edges of {len(counts)} counts")
    return Histogram(edges=edges, counts=counts)


def _sample(entry: Mapping[str, Any]) -> Sample:
    if "png" in entry:
        png = b64decode(text(entry["png"]), validate=True)
        if not png.startswith(_PNG):
            raise ValueError("a sample's picture is no PNG file")
        low, high = amount(entry["low"]), amount(entry["high"])
        return Picture(png=png, low=low, high=high, reduced=_some(entry["reduced"]))
    return Signal(
        series=tuple(_numbers(line) for line in items(entry["series"])),
        length=_some(entry["length"]),
        channels=_some(entry["channels"]),
    )


def _numbers(values: Any) -> tuple[float, ...]:
    return tuple(map(amount, items(values)))


def _some(value: Any) -> int:
    if natural(value) == 0:
        raise ValueError("0 of something that must be there")
    return natural(value)


def _share(value: Any) -> Share:
    return None if value is None else amount(value)

"""Evaluations of each kind for the tests of pages, made by hand."""

import io

from PIL import Image

from tracking.evaluation import (
    TEST,
    VALIDATION,
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
    Signal,
    Threshold,
)


def picture(shade: int = 200, size: tuple[int, int] = (8, 8)) -> Picture:
    file = io.BytesIO()
    Image.new("L", size, shade).save(file, format="PNG")
    return Picture(png=file.getvalue(), low=0.0, high=16.0)


SIGNAL = Signal(series=((0.5, -1.25, 3.0, 0.0), (1.0, 1.0, 2.0, -2.0)), length=4, channels=2)


def classification(
    split: str = VALIDATION, classes: tuple[str, ...] = ("cat", "dog", "owl"), mistakes: int = 2
) -> Classification:
    """Every class has ten samples, of which two are taken for the next class; one for the last."""
    last = len(classes) - 1
    cells: dict[tuple[int, int], int] = {}
    for target in range(len(classes)):
        for answer, count in ((target, 7), ((target + 1) % len(classes), 2), (last, 1)):
            cells[target, answer] = cells.get((target, answer), 0) + count
    samples = 10 * len(classes)
    half = CalibrationBin(lower=0.0, upper=0.5, count=0, confidence=None, accuracy=None)
    full = CalibrationBin(
        lower=0.5, upper=1.0, count=samples, confidence=0.9, accuracy=sum(
            count for (one, other), count in cells.items() if one == other) / samples,
    )  # fmt: skip
    return Classification(
        split=split,
        samples=samples,
        classes=classes,
        cells=tuple((*pair, count) for pair, count in sorted(cells.items())),
        calibration=(half, full),
        mistakes=tuple(
            Mistake(
                index=10 * number,
                target=0,
                answer=1,
                confidence=0.99 - number / 100,
                probability=0.01,
                sample=SIGNAL if number % 2 else picture(),
            )
            for number in range(mistakes)
        ),
    )


def many_classes(split: str = VALIDATION) -> Classification:
    return classification(split, tuple(f"class {number}" for number in range(100)), mistakes=20)


def regression(split: str = VALIDATION, names: tuple[str, ...] = ("angle",)) -> Regression:
    numbers = tuple(
        Residuals(
            name=name,
            bias=0.3,
            spread=0.4,
            absolute=0.45,
            histogram=Histogram(edges=(-1.0, 0.0, 0.5, 1.5), counts=(3, 6, 1)),
            points=((0.0, 0.1), (1.0, 0.9), (-1.0, -0.5)),
        )
        for name in names
    )
    miss = Miss(
        index=4, targets=(-1.0,) * len(names), answers=(0.5,) * len(names), sample=picture()
    )
    return Regression(split=split, samples=10, numbers=numbers, misses=(miss,))


def detection(split: str = VALIDATION) -> Detection:
    return Detection(
        split=split,
        samples=20,
        anomalous=10,
        area=0.875,
        normal_errors=Histogram(edges=(0.1, 0.2, 0.4, 0.8), counts=(7, 2, 1)),
        anomalous_errors=Histogram(edges=(0.1, 0.2, 0.4, 0.8), counts=(1, 2, 7)),
        thresholds=(
            Threshold(error=0.3, alarms=0.2, detected=0.8, precision=0.8),
            Threshold(error=0.9, alarms=0.0, detected=0.0, precision=None),
        ),
        threshold=0.3,
        misjudged=(Misjudged(index=3, anomalous=True, error=0.11, sample=picture()),),
    )


def pair(make: object) -> dict[str, Evaluation]:
    """The evaluations of both splits."""
    assert callable(make)
    return {split: make(split) for split in (VALIDATION, TEST)}

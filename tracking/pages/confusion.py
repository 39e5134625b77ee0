"""What is taken for what, as HTML: confusion matrices, the most confused pairs, every class."""

from collections.abc import Sequence
from typing import NamedTuple

from markupsafe import Markup

from tracking.evaluation import Classification, Share
from tracking.pages.page import percentage, render
from tracking.tables import DASH

READABLE = 20  # classes of which a matrix shows numbers
_PAIRS = 20  # that are shown of a larger one
_SHADES = 8  # of a larger one
_DEEP = 0.55  # shades from which on text on them is white
_MARKS = 10  # classes between two numbers at the edge of a larger matrix


class _Cell(NamedTuple):
    """A cell of a matrix: the samples in it, their share of the class, and the shade of both."""

    samples: int
    share: str
    right: bool
    shade: float
    hint: str

    @property
    def is_deep(self) -> bool:
        return self.shade > _DEEP


class _Pair(NamedTuple):
    """A class and what it is taken for."""

    target: str
    answer: str
    samples: int
    share: str


class _Matrix(NamedTuple):
    """The confusion matrix of a split: rows of a small one, shades of a large one.

    A shade is its number, whether its cells are right answers, and the path that fills them.
    """

    split: str
    classes: tuple[str, ...]
    rows: list[tuple[str, list[_Cell]]]
    shades: list[tuple[float, bool, str]]
    pairs: list[_Pair]
    marks: list[int]


class _ClassShares(NamedTuple):
    """A class in one split; the lengths are those of bars."""

    support: int
    precision: str
    precision_length: str
    recall: str
    recall_length: str
    taken_for: str


def confusion_card(evaluations: Sequence[Classification]) -> Markup:
    """Return the confusion matrices of some splits, side by side."""
    return render("confusion.html.j2", matrices=[_matrix(one) for one in evaluations])


def classes_card(evaluations: Sequence[Classification]) -> Markup:
    """Return a table of every class, with precision and recall on each split."""
    names = max((one.classes for one in evaluations), key=len)
    columns = [_class_shares(one) for one in evaluations]
    rows = [
        (name, [column[place] if place < len(column) else None for column in columns])
        for place, name in enumerate(names)
    ]
    return render(
        "class_table.html.j2",
        splits=[one.split for one in evaluations],
        rows=rows,
        numbered=len(names) > READABLE,
        dash=DASH,
    )


def percent(share: Share) -> str:
    """Return a share for people."""
    return DASH if share is None else f"{100 * share:.1f} %"


def _matrix(evaluation: Classification) -> _Matrix:
    classes = evaluation.classes
    small = len(classes) <= READABLE
    return _Matrix(
        split=evaluation.split,
        classes=classes,
        rows=_rows(evaluation) if small else [],
        shades=[] if small else _shades(evaluation),
        pairs=_pairs(evaluation)[: 3 if small else _PAIRS],
        marks=list(range(0, len(classes), _MARKS)),
    )


def _rows(evaluation: Classification) -> list[tuple[str, list[_Cell]]]:
    classes, support = evaluation.classes, evaluation.support
    return [
        (
            name,
            [
                _cell(count, support[target], name, classes[answer], target == answer)
                for answer, count in enumerate(evaluation.confusion[target])
            ],
        )
        for target, name in enumerate(classes)
    ]


def _cell(samples: int, support: int, target: str, answer: str, right: bool) -> _Cell:
    share = samples / support if support else 0.0
    told = f"{samples} of {support} samples of {target}"
    hint = f"{told} are recognised" if right else f"{told} are taken for {answer}"
    return _Cell(samples, _whole(share), right, round(_shade(share, right), 3), hint)


def _whole(share: float) -> str:
    """Return a share in whole percent, though nothing that is there as 0."""
    return "<1 %" if 0 < share < 0.005 else f"{100 * share:.0f} %"


def _shade(share: float, right: bool) -> float:
    """Return how much of a colour a share has: few mistakes must be seen, too."""
    return 0.85 * (share if right else share**0.5)


def _shades(evaluation: Classification) -> list[tuple[float, bool, str]]:
    """Return the cells of a large matrix as squares of one unit, by shade."""
    paths: dict[tuple[int, bool], list[str]] = {}
    for target, answer, count in evaluation.cells:
        right = target == answer
        level = round(_SHADES * _shade(count / evaluation.support[target], right))
        square = f"M{answer} {target}h1v1h-1z"
        paths.setdefault((max(level, 1), right), []).append(square)
    return [(level / _SHADES, right, "".join(path)) for (level, right), path in paths.items()]


def _pairs(evaluation: Classification) -> list[_Pair]:
    wrong = [cell for cell in evaluation.cells if cell[0] != cell[1]]
    wrong.sort(key=lambda cell: -cell[2])
    classes, support = evaluation.classes, evaluation.support
    return [
        _Pair(classes[target], classes[answer], count, percent(count / support[target]))
        for target, answer, count in wrong
    ]


def _class_shares(evaluation: Classification) -> list[_ClassShares]:
    taken: dict[int, tuple[int, int]] = {}
    for target, answer, count in evaluation.cells:
        if target != answer and count > taken.get(target, (0, 0))[1]:
            taken[target] = (answer, count)
    values = zip(evaluation.support, evaluation.precision, evaluation.recall, strict=True)
    return [
        _ClassShares(
            support=support,
            precision=percent(precision),
            precision_length=percentage(precision or 0.0, 1),
            recall=percent(recall),
            recall_length=percentage(recall or 0.0, 1),
            taken_for=_taken_for(evaluation, taken.get(place)),
        )
        for place, (support, precision, recall) in enumerate(values)
    ]


def _taken_for(evaluation: Classification, most: tuple[int, int] | None) -> str:
    return DASH if most is None else f"{evaluation.classes[most[0]]} ({most[1]})"

"""Labels of layers: their names, shortened where they are too long for a table."""

from collections import Counter
from collections.abc import Iterable, Sequence
from itertools import takewhile

_LENGTH = 28


def shortened(names: Iterable[str], length: int = _LENGTH) -> dict[str, str]:
    """Return a label of at most `length` for each name.

    Of those that are too long, what they all begin with goes, then the middle; where that
    makes some alike, their ends instead.
    """
    distinct = dict.fromkeys(names)
    long = [name for name in distinct if len(name) > length]
    start = _common(long) if len(long) > 1 else 0
    rests = {name: f"…{name[start:]}" if start else name for name in long}
    labels = {name: _middle_cut(rest, length) for name, rest in rests.items()}
    seen = Counter(labels.values())
    alike = {name: _end_cut(rests[name], length) for name, cut in labels.items() if seen[cut] > 1}
    return {name: name for name in distinct} | labels | alike


def _common(names: Sequence[str]) -> int:
    """Return the length of the whole parts, but for the last, that all begin with."""
    parts = [name.split(".")[:-1] for name in names]
    shared = takewhile(lambda column: len({*column}) == 1, zip(*parts, strict=False))
    return sum(len(column[0]) + 1 for column in shared)


def _middle_cut(text: str, length: int) -> str:
    """Return both ends, the last from the beginning of a part on if it holds one."""
    if len(text) <= length:
        return text
    tail = text[-((length - 1) // 2) :]
    head = text[: length - 1 - len(tail)]
    return f"{head.rstrip('.')}…{tail.partition('.')[2] or tail}"


def _end_cut(text: str, length: int) -> str:
    return text if len(text) <= length else f"{text[: length - 1]}…"

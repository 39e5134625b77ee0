"""Labels of layers: their names, shortened where they are too long for a table."""

from collections import Counter
from collections.abc import Iterable, Sequence
from itertools import takewhile

_LENGTH = 28


def shortened(names: Iterable[str], length: int = _LENGTH) -> dict[str, str]:
    """Return a label of at most `length` for each name.

    Names that are too long lose the prefix that all of these share, then their middle; where
    that gives several names the same label, these lose their ends instead.
    """
    distinct = dict.fromkeys(names)
    long_names = [name for name in distinct if len(name) > length]
    start = _prefix_length(long_names) if len(long_names) > 1 else 0
    suffixes = {name: f"…{name[start:]}" if start else name for name in long_names}
    labels = {name: _middle_cut(suffix, length) for name, suffix in suffixes.items()}
    counts = Counter(labels.values())
    end_cuts = {
        name: _end_cut(suffixes[name], length)
        for name, label in labels.items()
        if counts[label] > 1
    }
    return {name: name for name in distinct} | labels | end_cuts


def _prefix_length(names: Sequence[str]) -> int:
    """Return the length of the common prefix of dotted names, in parts other than the last."""
    parts = [name.split(".")[:-1] for name in names]
    shared = takewhile(lambda column: len({*column}) == 1, zip(*parts, strict=False))
    return sum(len(column[0]) + 1 for column in shared)


def _middle_cut(text: str, length: int) -> str:
    """Return a text without its middle; the end starts at a dotted part, if there is room."""
    if len(text) <= length:
        return text
    tail = text[-((length - 1) // 2) :]
    head = text[: length - 1 - len(tail)]
    return f"{head.rstrip('.')}…{tail.partition('.')[2] or tail}"


def _end_cut(text: str, length: int) -> str:
    return text if len(text) <= length else f"{text[: length - 1]}…"

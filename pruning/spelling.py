"""What somebody may have meant by a name that nobody knows."""

from collections.abc import Iterable
from difflib import get_close_matches


def nearest(word: str, names: Iterable[str]) -> list[str]:
    """All names, those most like the word first."""
    known = sorted(set(names))
    return get_close_matches(word, known, n=len(known) or 1, cutoff=0.0)


def meant(word: str, names: Iterable[str]) -> str | None:
    """The name that a word is probably a misspelling of, or a longer form; None without one."""
    lower = word.lower()
    first = next(iter(get_close_matches(lower, sorted(set(names)), n=1)), None)
    return first or next((name for name in names if lower.startswith(name)), None)

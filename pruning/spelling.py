"""What somebody may have meant by a name that nobody knows."""

from collections.abc import Iterable
from difflib import get_close_matches


def nearest(word: str, names: Iterable[str]) -> list[str]:
    """All names, those most like the word first."""
    candidates = sorted(set(names))
    return get_close_matches(word, candidates, n=len(candidates) or 1, cutoff=0.0)


def meant(word: str, names: Iterable[str], likeness: float = 0.6) -> str | None:
    """The name that a word is probably a misspelling of, if there is one."""
    matches = get_close_matches(word.lower(), sorted(set(names)), n=1, cutoff=likeness)
    return matches[0] if matches else None

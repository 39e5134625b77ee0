"""Tables with an entry for every kind of something, neither more nor fewer.

A table that leaves a kind out, or has one too many, is refused when it is made: whoever adds a
kind is told of every entry that it needs, and nothing is zero or False by default.
"""

from collections.abc import Collection, Iterable, Mapping
from typing import Any, Generic, TypeVar, final

from pruning.errors import UnsupportedOperatorError

Kind = TypeVar("Kind")
Value = TypeVar("Value")


@final
class KindTable(dict[Kind, Value], Generic[Kind, Value]):
    """A value for each of `kinds`, neither more nor fewer."""

    def __init__(self, what: str, kinds: Collection[Kind], entries: Mapping[Kind, Value]) -> None:
        """`what` is decided, in words for who forgets a kind."""
        super().__init__(entries)
        self.what = what
        wrong = {"undecided": set(kinds) - set(entries), "unknown": set(entries) - set(kinds)}
        if told := [f"{why}: {_listed(which)}" for why, which in wrong.items() if which]:
            raise TypeError(f"{what}: {'; '.join(told)}")

    def at(self, kind: Any, name: str) -> Value:
        """The value of a kind, for what is called `name`.

        Raises:
            UnsupportedOperatorError: there is no such kind.
        """
        if kind not in self:
            raise UnsupportedOperatorError(
                f"{name}: {self.what} is not known of kind {_listed([kind])}; "
                f"known: {_listed(self)}"
            )
        return self[kind]


def _listed(kinds: Iterable[Any]) -> str:
    return ", ".join(sorted(getattr(kind, "__name__", str(kind)) for kind in kinds))

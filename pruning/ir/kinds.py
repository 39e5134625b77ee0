"""The kinds of operators and kernels, and tables that decide something of every one of them.

A table that leaves a kind out, or knows one too many, is refused when it is made: whoever adds
a kind is told of every decision that it needs, and nothing is zero or False by default.
"""

from collections.abc import Collection, Iterable, Mapping
from typing import Any, Generic, Protocol, TypeVar, final

from pruning.errors import UnsupportedOperatorError

ELEMENTWISE = ("add", "sub", "mul", "div", "maximum", "minimum")
WITHOUT_KERNEL = ("flatten", "dropout")  # renames a buffer; does not exist in inference
WITHOUT_C = ("maximum", "minimum", "group_norm", "reduce", "resize", "softmax")
WITH_C = (
    "conv", "conv_transpose", "linear", "batch_norm", "add", "sub", "mul", "div",
    "pool", "activation", "prelu", "gather", "concat",
)  # fmt: skip
OPERATORS = (*WITH_C, *WITHOUT_C, *WITHOUT_KERNEL)
KERNELS = (*WITH_C, *WITHOUT_C, "depthwise")
ROUTINES = (*KERNELS, "grouped", "multiplied", "mean")

Kind = TypeVar("Kind")
Value = TypeVar("Value")


class Named(Protocol):
    """An operator or a kernel."""

    @property
    def name(self) -> str: ...  # noqa: D102
    @property
    def kind(self) -> str: ...  # noqa: D102


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

    def of(self, one: Named) -> Value:
        """The value for an operator or a kernel; raises as `at` does."""
        return self.at(one.kind, one.name)


def either(
    what: str, kinds: Collection[str], yes: Iterable[str], no: Iterable[str]
) -> KindTable[str, bool]:
    """A table of what is so and what is not, both in full."""
    return KindTable(what, kinds, {**dict.fromkeys(yes, True), **dict.fromkeys(no, False)})


def _listed(kinds: Iterable[Any]) -> str:
    return ", ".join(sorted(getattr(kind, "__name__", str(kind)) for kind in kinds))

"""Which channels live and die together.

Every channel of every value is an *atom*. Operators tie atoms: an addition ties its operands
channel by channel, a depthwise convolution ties its outputs to its inputs, a concatenation
ties nothing and stacks. Atoms that are tied form one *unit*, the smallest thing that can be
pruned. Units that occur equally often in every value are interchangeable for the cost; they
form a *group*, and the number of units kept of a group is its *width*.

So the channel count of any value is linear in the widths, exactly, for stacked, split,
repeated and grouped channels alike.
"""

# ruff: noqa: ARG001 - the rules of a table all take the same arguments

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pruning.errors import UnsupportedOperatorError
from pruning.records import INPUT, Operator, Shape

Ids = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Group:
    """Channels tied together. Its units are numbered `start` to `start + size - 1`."""

    name: str
    start: int
    size: int
    prunable: bool
    operators: tuple[str, ...]

    @property
    def units(self) -> slice:
        """Where the group's units lie in a vector over all units."""
        return slice(self.start, self.start + self.size)


@dataclass(frozen=True, slots=True)
class Channels:
    """`layout[value][c]` is the unit of channel c; `counts[value][g]` how often each unit of
    group g occurs in the value.
    """

    groups: tuple[Group, ...]
    layout: Mapping[str, Ids]
    counts: Mapping[str, Ids]

    @property
    def units(self) -> int:
        """How many units there are in all groups together."""
        return sum(group.size for group in self.groups)

    @property
    def widths(self) -> tuple[int, ...]:
        """The width of every group when nothing is pruned."""
        return tuple(group.size for group in self.groups)


class _Atoms:
    """Union-find over channel atoms."""

    def __init__(self) -> None:
        self.parent: list[int] = []

    def fresh(self, count: int) -> Ids:
        start = len(self.parent)
        self.parent.extend(range(start, start + count))
        return np.arange(start, start + count)

    def root(self, atom: int) -> int:
        while self.parent[atom] != atom:
            self.parent[atom] = self.parent[self.parent[atom]]
            atom = self.parent[atom]
        return atom

    def tie(self, left: Ids, right: Ids) -> None:
        left, right = np.broadcast_arrays(left, right)
        for a, b in zip(left.ravel().tolist(), right.ravel().tolist(), strict=True):
            if a != b:
                low, high = sorted((self.root(a), self.root(b)))
                self.parent[high] = low


Rule = Callable[[Operator, list[Ids], _Atoms], Ids]


def _convolution(operator: Operator, inputs: list[Ids], atoms: _Atoms) -> Ids:
    out = atoms.fresh(operator.shape[0])
    groups = operator.attributes.get("groups", 1)
    by_group_in, by_group_out = inputs[0].reshape(groups, -1), out.reshape(groups, -1)
    if operator.attributes.get("depthwise"):  # an output lives with the input it filters
        atoms.tie(by_group_out, by_group_in)
    elif (
        groups > 1
    ):  # every convolution group keeps the same positions, so they stay equal in size
        atoms.tie(by_group_in, by_group_in[:1])
        atoms.tie(by_group_out, by_group_out[:1])
    return out


def _same(operator: Operator, inputs: list[Ids], atoms: _Atoms) -> Ids:
    return inputs[0]


def _elementwise(operator: Operator, inputs: list[Ids], atoms: _Atoms) -> Ids:
    if operator.attributes.get("spread"):  # one channel meets all: it is tied to none of them
        return inputs[int(operator.attributes["widest"])]
    atoms.tie(inputs[0], inputs[1])
    return inputs[0]


def _concat(operator: Operator, inputs: list[Ids], atoms: _Atoms) -> Ids:
    return np.concatenate(inputs)


def _flatten(operator: Operator, inputs: list[Ids], atoms: _Atoms) -> Ids:
    return np.repeat(inputs[0], operator.shape[0] // len(inputs[0]))


RULES: Mapping[str, Rule] = {
    "conv": _convolution,
    "linear": _convolution,
    "batch_norm": _same,
    "activation": _same,
    "pool": _same,
    "softmax": _same,
    "dropout": _same,
    "add": _elementwise,
    "multiply": _elementwise,
    "concat": _concat,
    "flatten": _flatten,
}


def find_channels(
    input_shape: Shape,
    operators: Sequence[Operator],
    outputs: Sequence[str],
    keep: Sequence[str],
) -> Channels:
    """The units, groups and layouts of a graph; channels of `keep` and outputs are fixed."""
    atoms = _Atoms()
    layout: dict[str, Ids] = {INPUT: atoms.fresh(input_shape[0])}
    sharing: dict[str, Operator] = {}
    for operator in operators:
        if operator.kind not in RULES:
            raise UnsupportedOperatorError(
                f"operator {operator.name}: no rule for {operator.kind}"
            )
        inputs = [layout[name] for name in operator.inputs]
        layout[operator.name] = RULES[operator.kind](operator, inputs, atoms)
        if operator.parameters:  # layers that share weights share their channels too
            first = sharing.setdefault(operator.parameters["weight"], operator)
            atoms.tie(layout[first.name], layout[operator.name])
            atoms.tie(layout[first.inputs[0]], inputs[0])
    roots = np.array([atoms.root(atom) for atom in range(len(atoms.parent))])
    layout = {name: roots[ids] for name, ids in layout.items()}
    fixed = np.zeros(len(roots), dtype=bool)
    # A softmax normalises over channels: without one of them the rest would change.
    normalised = [operator.name for operator in operators if operator.kind == "softmax"]
    for name in (INPUT, *outputs, *keep, *normalised):
        fixed[layout[name]] = True
    return _grouped(layout, fixed)


def _grouped(layout: dict[str, Ids], fixed: NDArray[np.bool_]) -> Channels:
    """Gather roots that occur equally often everywhere into groups; number their units."""
    roots = np.unique(np.concatenate(list(layout.values())))
    index = np.zeros(int(roots.max()) + 1, dtype=np.int64)
    index[roots] = np.arange(len(roots))
    table = np.stack([np.bincount(index[ids], minlength=len(roots)) for ids in layout.values()])
    signatures = np.ascontiguousarray(np.concatenate([table, fixed[roots][None]]).T)
    numbers: dict[bytes, int] = {}  # groups in the order in which the network makes them
    of_root = np.array([numbers.setdefault(s.tobytes(), len(numbers)) for s in signatures])
    first = np.unique(of_root, return_index=True)[1]
    unit_of = np.zeros(len(index), dtype=np.int64)
    groups: list[Group] = []
    start = 0
    for number, root in enumerate(first):
        members = roots[of_root == number]
        unit_of[members] = np.arange(start, start + len(members))
        where = [name for name, row in zip(layout, table[:, root], strict=True) if row]
        prunable = not fixed[members[0]]
        name = _unique_name(where[0], {group.name for group in groups})
        groups.append(Group(name, start, len(members), bool(prunable), tuple(where)))
        start += len(members)
    counts = {name: row[first] for name, row in zip(layout, table, strict=True)}
    return Channels(tuple(groups), {name: unit_of[ids] for name, ids in layout.items()}, counts)


def _unique_name(name: str, taken: set[str]) -> str:
    if name not in taken:
        return name
    return next(f"{name}:{n}" for n in range(2, len(taken) + 3) if f"{name}:{n}" not in taken)

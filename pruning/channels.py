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
from math import ceil

import numpy as np
from numpy.typing import NDArray

from pruning.errors import UnsupportedOperatorError
from pruning.movement import HOLE, sources
from pruning.records import INPUT, Operator, Shape

Ids = NDArray[np.int64]
Axes = tuple[Ids | None, ...]


@dataclass(frozen=True, slots=True)
class Group:
    """Channels tied together. Its units are numbered `start` to `start + size - 1`.

    `least` is the fewest channels that somebody asked for; 0 lets the group vanish where a
    network is left without it. `step` divides every width but the full one.
    """

    name: str
    start: int
    size: int
    prunable: bool
    operators: tuple[str, ...]
    least: int = 0
    step: int = 1

    @property
    def units(self) -> slice:
        """Where the group's units lie in a vector over all units."""
        return slice(self.start, self.start + self.size)

    @property
    def floor(self) -> int:
        """The smallest width above zero."""
        return self.up(max(1, self.least)) if self.prunable else self.size

    def up(self, width: float) -> int:
        """The smallest width allowed from `width` on."""
        return min(self.size, ceil(width / self.step) * self.step)

    def down(self, width: float) -> int:
        """The largest width allowed up to `width`, but not below the floor."""
        whole = self.size if width >= self.size else int(width) // self.step * self.step
        return max(self.floor, whole)

    def nearest(self, width: float) -> int:
        """The width allowed that is nearest to `width`."""
        return min(
            self.down(width), self.up(max(width, self.floor)), key=lambda n: abs(n - width)
        )


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


def _layer(operator: Operator, inputs: list[Ids], atoms: _Atoms) -> Ids:
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
    atoms.tie(inputs[0], inputs[-1])
    return inputs[0]


def _concat(operator: Operator, inputs: list[Ids], atoms: _Atoms) -> Ids:
    if "axis" not in operator.attributes:
        return np.concatenate(inputs)
    for other in inputs[1:]:  # behind each other along a spatial axis, channel by channel
        atoms.tie(inputs[0], other)
    return inputs[0]


def _flatten(operator: Operator, inputs: list[Ids], atoms: _Atoms) -> Ids:
    channels = operator.shape[0]
    if channels >= len(inputs[0]):
        return np.repeat(inputs[0], channels // len(inputs[0]))
    together = inputs[0].reshape(channels, -1)  # a vector becomes a map: its pixels are tied
    atoms.tie(together, together[:, :1])
    return together[:, 0]


def _move(operator: Operator, inputs: list[Ids], atoms: _Atoms) -> Ids:
    channels, _ = sources(operator.attributes, operator.shape)
    empty = channels[:, 0] == HOLE  # a channel of zeros is nobody's
    out = np.where(empty, 0, inputs[0][channels[:, 0]])
    out[empty] = atoms.fresh(int(empty.sum()))
    atoms.tie(out[~empty, None], inputs[0][channels[~empty]])
    return out


def _normalised(operator: Operator, inputs: list[Ids], atoms: _Atoms) -> Ids:
    together = inputs[0].reshape(-1, operator.attributes["together"])
    atoms.tie(together, together[:, :1])  # statistics over several channels need all of them
    return inputs[0]


def _reduced(operator: Operator, inputs: list[Ids], atoms: _Atoms) -> Ids:
    return atoms.fresh(1)


RULES: Mapping[str, Rule] = {
    "conv": _layer,
    "transposed": _layer,
    "linear": _layer,
    "batch_norm": _same,
    "group_norm": _normalised,
    "activation": _same,
    "prelu": _same,
    "pool": _same,
    "reduce": _reduced,
    "resize": _same,
    "softmax": _same,
    "dropout": _same,
    "add": _elementwise,
    "subtract": _elementwise,
    "multiply": _elementwise,
    "divide": _elementwise,
    "maximum": _elementwise,
    "minimum": _elementwise,
    "concat": _concat,
    "flatten": _flatten,
    "move": _move,
}


def parameter_axes(operator: Operator, inputs: Sequence[Ids], out: Ids) -> dict[str, Axes]:
    """For every parameter, by its role: what its leading axes run over.

    Where that is channels of the network, `inputs` and `out` give their ids; else it is None.
    """
    own = operator.attributes
    if operator.kind not in ("conv", "transposed", "linear"):
        axis = own.get("axis", 0)
        axes: Axes = () if axis is None else (*[None] * axis, out)
        return dict.fromkeys(operator.parameters, axes)
    groups, depthwise = own.get("groups", 1), own.get("depthwise")
    if operator.kind == "transposed":
        weight: Axes = (inputs[0], None if depthwise else out.reshape(groups, -1)[0])
    else:
        weight = (out, None if depthwise else inputs[0].reshape(groups, -1)[0])
    return {role: weight if role == "weight" else (out,) for role in operator.parameters}


def find_channels(
    input_shape: Shape,
    operators: Sequence[Operator],
    outputs: Sequence[str],
    keep: Sequence[str],
    least: Mapping[str, int],
    align: int,
) -> Channels:
    """The units, groups and layouts of a graph; channels of `keep` and outputs are fixed.

    `least` bounds the channels of values from below, `align` divides all widths.
    """
    atoms = _Atoms()
    layout: dict[str, Ids] = {INPUT: atoms.fresh(input_shape[0])}
    sharing: dict[str, Axes] = {}
    for operator in operators:
        if operator.kind not in RULES:
            raise UnsupportedOperatorError(
                f"operator {operator.name}: no rule for {operator.kind}"
            )
        inputs = [layout[name] for name in operator.inputs]
        layout[operator.name] = RULES[operator.kind](operator, inputs, atoms)
        axes = parameter_axes(operator, inputs, layout[operator.name])
        for role, name in operator.parameters.items():  # who shares weights shares channels
            for ours, theirs in zip(
                axes[role], sharing.setdefault(name, axes[role]), strict=False
            ):
                if ours is not None and theirs is not None:
                    atoms.tie(ours, theirs)
    roots = np.array([atoms.root(atom) for atom in range(len(atoms.parent))])
    layout = {name: roots[ids] for name, ids in layout.items()}
    fixed = np.zeros(len(roots), dtype=bool)
    for name in (INPUT, *outputs, *keep, *_indispensable(operators)):
        fixed[layout[name]] = True
    return _grouped(layout, fixed, least, align)


def _indispensable(operators: Sequence[Operator]) -> list[str]:
    """Values of which no channel may be zero, or gone, because others would change."""
    values: list[str] = []
    for operator in operators:
        own = operator.attributes
        steep = own.get("function") == "log" or own.get("exponent", 1.0) < 1  # slope at zero
        if operator.kind == "softmax" or steep:
            values.append(operator.name)
        elif operator.kind == "divide" and operator.inputs[1:]:
            values.append(operator.inputs[1])
        elif operator.kind == "reduce" and own["mode"] == "max":
            values.append(operator.inputs[0])
    return values


def _grouped(
    layout: dict[str, Ids], fixed: NDArray[np.bool_], least: Mapping[str, int], align: int
) -> Channels:
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
        asked = max((least.get(value, 0) for value in where), default=0)
        bounds = (min(asked, len(members)), align)
        groups.append(Group(name, start, len(members), bool(prunable), tuple(where), *bounds))
        start += len(members)
    counts = {name: row[first] for name, row in zip(layout, table, strict=True)}
    return Channels(tuple(groups), {name: unit_of[ids] for name, ids in layout.items()}, counts)


def _unique_name(name: str, taken: set[str]) -> str:
    if name not in taken:
        return name
    return next(f"{name}:{n}" for n in range(2, len(taken) + 3) if f"{name}:{n}" not in taken)

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

from pruning.ir.gather import PAD, source_indices
from pruning.ir.kinds import ELEMENTWISE, OPERATORS, KindTable
from pruning.ir.operator import INPUT, Operator, Shape

Ids = NDArray[np.int64]
Axes = tuple[Ids | None, ...]


@dataclass(frozen=True, slots=True)
class ChannelGroup:
    """Channels tied together. Its units are numbered `start` to `start + size - 1`.

    `min_channels` is the fewest channels that somebody asked for; 0 lets the group vanish where a
    network is left without it. `step` divides every width but the full one.
    """

    name: str
    start: int
    size: int
    prunable: bool
    operators: tuple[str, ...]
    min_channels: int = 0
    step: int = 1

    @property
    def units(self) -> slice:
        """Where the group's units lie in a vector over all units."""
        return slice(self.start, self.start + self.size)

    @property
    def floor(self) -> int:
        """The smallest width above zero."""
        return self.up(max(1, self.min_channels)) if self.prunable else self.size

    def up(self, width: float) -> int:
        """The smallest width allowed from `width` on."""
        return min(self.size, ceil(width / self.step) * self.step)

    def down(self, width: float) -> int:
        """The largest width allowed up to `width`, but not below the floor."""
        whole = self.size if width >= self.size else int(width) // self.step * self.step
        return max(self.floor, whole)

    def nearest(self, width: float) -> int:
        """The width allowed that is nearest to `width`."""
        return min(self.down(width), self.up(max(width, self.floor)), key=lambda n: abs(n - width))


@dataclass(frozen=True, slots=True)
class ChannelGroups:
    """`layout[value][c]` is the unit of channel c; `counts[value][g]` how often each unit of
    group g occurs in the value.
    """

    groups: tuple[ChannelGroup, ...]
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


class _UnionFind:
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


Rule = Callable[[Operator, list[Ids], _UnionFind], Ids]


def _layer(operator: Operator, inputs: list[Ids], atoms: _UnionFind) -> Ids:
    out = atoms.fresh(operator.shape[0])
    groups = operator.attributes.get("groups", 1)
    by_group_in, by_group_out = inputs[0].reshape(groups, -1), out.reshape(groups, -1)
    if operator.attributes.get("depthwise"):  # an output lives with the input it filters
        atoms.tie(by_group_out, by_group_in)
    elif groups > 1:  # every convolution group keeps the same positions, so they stay equal in size
        atoms.tie(by_group_in, by_group_in[:1])
        atoms.tie(by_group_out, by_group_out[:1])
    return out


def _same(operator: Operator, inputs: list[Ids], atoms: _UnionFind) -> Ids:
    return inputs[0]


def _elementwise(operator: Operator, inputs: list[Ids], atoms: _UnionFind) -> Ids:
    if operator.attributes.get("spread"):  # one channel meets all: it is tied to none of them
        return inputs[int(operator.attributes["widest"])]
    atoms.tie(inputs[0], inputs[-1])
    return inputs[0]


def _concat(operator: Operator, inputs: list[Ids], atoms: _UnionFind) -> Ids:
    if "axis" not in operator.attributes:
        return np.concatenate(inputs)
    for other in inputs[1:]:  # behind each other along a spatial axis, channel by channel
        atoms.tie(inputs[0], other)
    return inputs[0]


def _flatten(operator: Operator, inputs: list[Ids], atoms: _UnionFind) -> Ids:
    channels = operator.shape[0]
    if channels >= len(inputs[0]):
        return np.repeat(inputs[0], channels // len(inputs[0]))
    together = inputs[0].reshape(channels, -1)  # a vector becomes a map: its pixels are tied
    atoms.tie(together, together[:, :1])
    return together[:, 0]


def _move(operator: Operator, inputs: list[Ids], atoms: _UnionFind) -> Ids:
    channels, _ = source_indices(operator.attributes, operator.shape)
    empty = channels[:, 0] == PAD  # a channel of zeros is nobody's
    out = np.where(empty, 0, inputs[0][channels[:, 0]])
    out[empty] = atoms.fresh(int(empty.sum()))
    atoms.tie(out[~empty, None], inputs[0][channels[~empty]])
    return out


def _normalised(operator: Operator, inputs: list[Ids], atoms: _UnionFind) -> Ids:
    together = inputs[0].reshape(-1, operator.attributes["together"])
    atoms.tie(together, together[:, :1])  # statistics over several channels need all of them
    return inputs[0]


def _reduced(operator: Operator, inputs: list[Ids], atoms: _UnionFind) -> Ids:
    return atoms.fresh(1)


_TIES: Mapping[str, Rule] = {
    "conv": _layer,
    "conv_transpose": _layer,
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
    **dict.fromkeys(ELEMENTWISE, _elementwise),
    "concat": _concat,
    "flatten": _flatten,
    "gather": _move,
}
TIES = KindTable("which channels it ties", OPERATORS, _TIES)


def parameter_axes(operator: Operator, inputs: Sequence[Ids], out: Ids) -> dict[str, Axes]:
    """For every parameter, by its role: what its leading axes run over.

    Where that is channels of the network, `inputs` and `out` give their ids; else it is None.
    """
    runs = AXES.of(operator)
    return {role: runs(operator, role, inputs, out) for role in operator.parameters}


def _of_filters(operator: Operator, role: str, inputs: Sequence[Ids], out: Ids) -> Axes:
    groups, depthwise = (
        operator.attributes.get("groups", 1),
        operator.attributes.get("depthwise"),
    )
    read = None if depthwise else inputs[0].reshape(groups, -1)[0]
    return (out, read) if role == "weight" else (out,)


def _of_transposed(operator: Operator, role: str, inputs: Sequence[Ids], out: Ids) -> Axes:
    groups, depthwise = operator.attributes["groups"], operator.attributes.get("depthwise")
    made = None if depthwise else out.reshape(groups, -1)[0]
    return (inputs[0], made) if role == "weight" else (out,)


def _of_channels(operator: Operator, role: str, inputs: Sequence[Ids], out: Ids) -> Axes:
    axis = operator.attributes.get("axis", 0)
    return () if axis is None else (*[None] * axis, out)


AXES = KindTable(
    "what its parameters run over",
    OPERATORS,
    {
        "conv": _of_filters,
        "linear": _of_filters,
        "conv_transpose": _of_transposed,
        **dict.fromkeys(("batch_norm", "group_norm", "prelu", *ELEMENTWISE), _of_channels),
        # These have none.
        **dict.fromkeys(("activation", "pool", "reduce", "resize", "softmax"), _of_channels),
        **dict.fromkeys(("dropout", "concat", "flatten", "gather"), _of_channels),
    },
)


def find_channel_groups(
    input_shape: Shape,
    operators: Sequence[Operator],
    outputs: Sequence[str],
    ignored_layers: Sequence[str],
    min_channels: Mapping[str, int],
    round_to: int,
) -> ChannelGroups:
    """The units, groups and layouts of a graph; channels of `ignored_layers` and outputs are fixed.

    `min_channels` bounds the channels of values from below, `round_to` divides all widths.
    """
    atoms = _UnionFind()
    layout: dict[str, Ids] = {INPUT: atoms.fresh(input_shape[0])}
    sharing: dict[str, Axes] = {}
    for operator in operators:
        ties = TIES.of(operator)
        inputs = [layout[name] for name in operator.inputs]
        layout[operator.name] = ties(operator, inputs, atoms)
        axes = parameter_axes(operator, inputs, layout[operator.name])
        for role, name in operator.parameters.items():  # who shares weights shares channels
            for ours, theirs in zip(axes[role], sharing.setdefault(name, axes[role]), strict=False):
                if ours is not None and theirs is not None:
                    atoms.tie(ours, theirs)
    roots = np.array([atoms.root(atom) for atom in range(len(atoms.parent))])
    layout = {name: roots[ids] for name, ids in layout.items()}
    fixed = np.zeros(len(roots), dtype=bool)
    whole = (name for operator in operators for name in WHOLE.of(operator)(operator))
    for name in (INPUT, *outputs, *ignored_layers, *whole):
        fixed[layout[name]] = True
    return _grouped(layout, fixed, min_channels, round_to)


def _nothing(operator: Operator) -> tuple[str, ...]:
    return ()


def _result(operator: Operator) -> tuple[str, ...]:
    return (operator.name,)


def _steep(operator: Operator) -> tuple[str, ...]:
    """The result of a function that has no slope at zero."""
    own = operator.attributes
    return _result(operator) if own["function"] == "log" or own.get("exponent", 1) < 1 else ()


def _divisor(operator: Operator) -> tuple[str, ...]:
    return operator.inputs[1:]


def _compared(operator: Operator) -> tuple[str, ...]:
    return operator.inputs if operator.attributes["mode"] == "max" else ()


# Values of which no channel may be zero, or gone, because others would change.
WHOLE: KindTable[str, Callable[[Operator], tuple[str, ...]]] = KindTable(
    "which of its values must stay whole",
    OPERATORS,
    {
        "softmax": _result,
        "activation": _steep,
        "div": _divisor,
        "reduce": _compared,
        **dict.fromkeys(("conv", "conv_transpose", "linear", "batch_norm", "group_norm"), _nothing),
        **dict.fromkeys(("add", "sub", "mul", "maximum", "minimum"), _nothing),
        **dict.fromkeys(("pool", "prelu", "resize", "gather", "concat"), _nothing),
        **dict.fromkeys(("flatten", "dropout"), _nothing),
    },
)


def _grouped(
    layout: dict[str, Ids], fixed: NDArray[np.bool_], min_channels: Mapping[str, int], round_to: int
) -> ChannelGroups:
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
    groups: list[ChannelGroup] = []
    start = 0
    for number, root in enumerate(first):
        members = roots[of_root == number]
        unit_of[members] = np.arange(start, start + len(members))
        where = [name for name, row in zip(layout, table[:, root], strict=True) if row]
        prunable = not fixed[members[0]]
        name = _unique_name(where[0], {group.name for group in groups})
        asked = max((min_channels.get(value, 0) for value in where), default=0)
        bounds = (min(asked, len(members)), round_to)
        groups.append(
            ChannelGroup(name, start, len(members), bool(prunable), tuple(where), *bounds)
        )
        start += len(members)
    counts = {name: row[first] for name, row in zip(layout, table, strict=True)}
    return ChannelGroups(
        tuple(groups), {name: unit_of[ids] for name, ids in layout.items()}, counts
    )


def _unique_name(name: str, taken: set[str]) -> str:
    if name not in taken:
        return name
    return next(f"{name}:{n}" for n in range(2, len(taken) + 3) if f"{name}:{n}" not in taken)

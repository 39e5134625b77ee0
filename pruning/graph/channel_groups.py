"""Which channels live and die together.

Every channel of every value is an *atom*. Operators tie atoms: an addition ties its operands
channel by channel, a depthwise convolution ties its outputs to its inputs, a concatenation
ties nothing and stacks. Atoms that are tied form one *unit*, the smallest thing that can be
pruned. Units that occur equally often in every value are interchangeable for the cost; they
form a *group*, and the number of units kept of a group is its *width*.

So the channel count of any value is linear in the widths, exactly, for stacked, split,
repeated and grouped channels alike.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import ceil

import numpy as np
from numpy.typing import NDArray

from pruning.ir.channel_ties import ChannelTies, Ids
from pruning.ir.operator import INPUT, Operator, Shape
from pruning.ops import kind_of
from pruning.ops.base import Axes


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


def parameter_axes(operator: Operator, inputs: Sequence[Ids], out: Ids) -> dict[str, Axes]:
    """For every parameter, by its role: what its leading axes run over.

    Where that is channels of the network, `inputs` and `out` give their ids; else it is None.
    """
    axes = kind_of(operator).channels.parameter_axes
    return {role: axes(operator, role, inputs, out) for role in operator.parameters}


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
    ties = ChannelTies()
    layout: dict[str, Ids] = {INPUT: ties.fresh(input_shape[0])}
    sharing: dict[str, Axes] = {}
    for operator in operators:
        inputs = [layout[name] for name in operator.inputs]
        layout[operator.name] = kind_of(operator).channels.tie(operator, inputs, ties)
        axes = parameter_axes(operator, inputs, layout[operator.name])
        for role, name in operator.parameters.items():  # who shares weights shares channels
            for first, second in zip(
                axes[role], sharing.setdefault(name, axes[role]), strict=False
            ):
                if first is not None and second is not None:
                    ties.tie(first, second)
    roots = ties.roots()
    layout = {name: roots[ids] for name, ids in layout.items()}
    fixed = np.zeros(len(roots), dtype=bool)
    whole = (name for operator in operators for name in kind_of(operator).channels.whole(operator))
    for name in (INPUT, *outputs, *ignored_layers, *whole):
        fixed[layout[name]] = True
    return _grouped(layout, fixed, min_channels, round_to)


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

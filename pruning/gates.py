"""How many channels each group keeps, and which: the state of pruning.

Widths are continuous while the network trains. Salience says which channels of a group go
first; it is a running mean of |dL/dm| (a first-order Taylor term), m being the factor that
masks a channel. The mask itself is binary.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from pruning.channels import Channels, Group, Ids
from pruning.graph import Graph


@dataclass
class Gates:
    """Pruning state over the groups and units of the current graph.

    `sizes` (groups,) int64: channels of each group before pruning began. `widths` (groups,)
    float64: continuous channels kept. `salience` (units,) float32. `kept` (units,) bool.
    `importance` (groups,) float64: s in the model loss = ... - s log(width), measured by how
    the loss rises when a group loses half of its channels.
    """

    sizes: Tensor
    widths: Tensor
    salience: Tensor
    kept: Tensor
    importance: Tensor

    @staticmethod
    def open(channels: Channels) -> "Gates":
        """All channels kept, nothing known of them yet."""
        sizes = torch.tensor(channels.widths)
        return Gates(
            sizes=sizes,
            widths=sizes.double(),
            salience=torch.zeros(channels.units),
            kept=torch.ones(channels.units, dtype=torch.bool),
            importance=torch.zeros(len(channels.groups), dtype=torch.float64),
        )

    def observe(self, gradient: Tensor, memory: float) -> None:
        """Take in dL/dm of one step, (units,)."""
        fresh = gradient.detach().abs().to(self.salience)
        self.salience = memory * self.salience + (1 - memory) * fresh

    def half_of(self, group: Group) -> Tensor:
        """The mask, with only the more salient half of one group's kept channels."""
        mask = self.kept.clone()
        kept = torch.nonzero(mask[group.units]).flatten() + group.start
        order = torch.argsort(self.salience[kept], descending=True, stable=True)
        mask[kept[order[(len(kept) + 1) // 2 :]]] = False
        return mask

    def integer_widths(self, channels: Channels) -> list[int]:
        """Channels that the mask keeps, per group."""
        return [int(self.kept[group.units].sum()) for group in channels.groups]

    def keep_most_salient(self, channels: Channels, widths: list[int]) -> None:
        """Set the mask: in every group the given number of most salient units."""
        for group, width in zip(channels.groups, widths, strict=True):
            order = torch.argsort(self.salience[group.units], descending=True, stable=True)
            mask = torch.zeros(group.size, dtype=torch.bool)
            mask[order[:width]] = True
            self.kept[group.units] = mask

    def compact(self, units: Ids) -> None:
        """Forget all units but the given ones, after they were removed from the graph."""
        index = torch.from_numpy(units)
        self.salience = self.salience[index]
        self.kept = self.kept[index]


def inner_groups(graph: Graph) -> tuple[bool, ...]:
    """For every group, whether the network stays connected without it.

    Such groups lie inside a residual branch; the others carry everything there is to know.
    """
    return tuple(_connected_without(graph, group.operators) for group in graph.channels.groups)


def _connected_without(graph: Graph, removed: tuple[str, ...]) -> bool:
    reached = {"input"} - set(removed)
    for operator in graph.operators:
        if operator.name not in removed and reached.intersection(operator.inputs):
            reached.add(operator.name)
    return set(graph.outputs) <= reached

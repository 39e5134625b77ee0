"""How many channels each group keeps, and which: the state of pruning.

Widths are continuous while the network trains. Salience says which channels of a group go
first; it is a running mean of |dL/dm| (a first-order Taylor term), m being the factor that
masks a channel. The mask itself is binary.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from pruning.channels import Channels, Ids
from pruning.graph import Graph


@dataclass
class Gates:
    """Pruning state over the groups and units of the current graph.

    `sizes` (groups,) int64: channels of each group before pruning began. `widths` (groups,)
    float64: continuous channels kept. `salience` (units,) float32. `kept` (units,) bool.
    """

    sizes: Tensor
    widths: Tensor
    salience: Tensor
    kept: Tensor

    @staticmethod
    def open(channels: Channels) -> "Gates":
        """All channels kept, nothing known of them yet."""
        sizes = torch.tensor(channels.widths)
        return Gates(
            sizes=sizes,
            widths=sizes.double(),
            salience=torch.zeros(channels.units),
            kept=torch.ones(channels.units, dtype=torch.bool),
        )

    def observe(self, gradient: Tensor, memory: float) -> None:
        """Take in dL/dm of one step, (units,)."""
        fresh = gradient.detach().abs().to(self.salience)
        self.salience = memory * self.salience + (1 - memory) * fresh

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


def least_salient(gates: Gates, channels: Channels, count: int) -> Tensor:
    """Mean salience of the `count` least salient kept units of every group, (groups,)."""
    means = []
    for group in channels.groups:
        kept = gates.salience[group.units][gates.kept[group.units]]
        means.append(kept.sort().values[:count].mean())
    return torch.stack(means).double()


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

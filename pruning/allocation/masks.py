"""How many channels each group keeps, and which: the state of pruning.

Widths are continuous while the network trains. Saliency says which channels of a group go
first; it is a running mean of |dL/dm| (a first-order Taylor term), m being the factor that
masks a channel. The mask itself is binary.
"""

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from pruning.graph.channel_groups import ChannelGroup, ChannelGroups
from pruning.graph.graph import Graph
from pruning.graph.shrink import group_shares, stays_connected, without
from pruning.ir.channel_ties import Ids


@dataclass
class ChannelMasks:
    """Pruning state over the groups and units of the current graph.

    `sizes` (groups,) int64: channels of each group before pruning began. `widths` (groups,)
    float64: continuous channels kept. `saliency` (units,) float32. `kept` (units,) bool.
    `importance` (groups,) float64: s in the model of the loss (see
    `pruning.allocation.geometric_program`), measured by how the loss rises when a group loses
    most of its channels. `sensitivity_runs`, an int64 scalar, counts the measurements.
    """

    sizes: Tensor
    widths: Tensor
    saliency: Tensor
    kept: Tensor
    importance: Tensor
    sensitivity_runs: Tensor

    @staticmethod
    def open(channels: ChannelGroups) -> "ChannelMasks":
        """All channels kept, nothing known of them yet."""
        sizes = torch.tensor(channels.widths)
        return ChannelMasks(
            sizes=sizes,
            widths=sizes.double(),
            saliency=torch.zeros(channels.units),
            kept=torch.ones(channels.units, dtype=torch.bool),
            importance=torch.zeros(len(channels.groups), dtype=torch.float64),
            sensitivity_runs=torch.tensor(0),
        )

    def update_saliency(self, gradient: Tensor, memory: float) -> None:
        """Take in dL/dm of one step, (units,).

        Behind a ReLU a masked channel has no gradient, so that its saliency fades: those masked
        last come back first. (Kept as it was instead, ResNet-8 did no better.)
        """
        fresh = gradient.detach().abs().to(self.saliency)
        self.saliency = memory * self.saliency + (1 - memory) * fresh

    def narrowed(self, group: ChannelGroup, width: int) -> Tensor:
        """The mask, with only so many of one group's kept channels, the most salient."""
        mask = self.kept.clone()
        kept = torch.nonzero(mask[group.units]).flatten() + group.start
        order = torch.argsort(self.saliency[kept], descending=True, stable=True)
        mask[kept[order[width:]]] = False
        return mask

    def rounded(self, channels: ChannelGroups) -> list[int]:
        """The widths as whole numbers; only a width of zero becomes zero."""
        return [
            min(group.size, max(round(width), int(width > 0)))
            for group, width in zip(channels.groups, self.widths.tolist(), strict=True)
        ]

    def keep_most_salient(self, channels: ChannelGroups, widths: list[int]) -> None:
        """Set the mask: in every group the given number of most salient units."""
        for group, width in zip(channels.groups, widths, strict=True):
            order = torch.argsort(self.saliency[group.units], descending=True, stable=True)
            mask = torch.zeros(group.size, dtype=torch.bool)
            mask[order[:width]] = True
            self.kept[group.units] = mask

    def without(self, share: Tensor) -> "ChannelMasks":
        """What is known of the groups of a smaller graph (see `group_shares`)."""
        return replace(
            self,
            sizes=torch.round(share @ self.sizes.double()).long(),
            widths=share @ self.widths,
            importance=share @ self.importance,
        )

    def transferred(
        self, before: ChannelGroups, after: ChannelGroups, units: Ids
    ) -> "ChannelMasks":
        """The masks of a smaller graph; `units` are the old ones of its units."""
        index = torch.from_numpy(units)
        return replace(
            self.without(group_shares(before, after, units)),
            saliency=self.saliency[index],
            kept=self.kept[index],
        )


def inner_groups(graph: Graph) -> tuple[bool, ...]:
    """For every group, whether it may vanish: the outputs can be computed without it.

    Such groups lie inside a residual branch; the others carry everything there is to know.
    """
    return tuple(
        group.prunable
        and not group.min_channels
        and stays_connected(graph, without(graph, (index,)))
        for index, group in enumerate(graph.channels.groups)
    )

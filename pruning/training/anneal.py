"""Step by step to the budget: widths move, and channels that will not come back are removed.

All of it is for networks that are being pruned; for others it raises a PruningError.
"""

import torch

from pruning.allocation.allocate import allocate
from pruning.allocation.explain import Explanation
from pruning.allocation.masks import ChannelMasks
from pruning.graph.channel_groups import ChannelGroups
from pruning.graph.shrink import Kept, without
from pruning.training.job import Job, annealed
from pruning.training.state import Pruned, TrainState
from pruning.training.surgery import remove


def step_widths(state: TrainState, job: Job, progress: float) -> None:
    """Move the widths to the annealed budget; `progress` is the share of the way to the target,
    from 0 to 1.

    A branch whose group has no channel left is removed at once: nothing could bring it back.
    """
    stage, model = state.masked(), job.cost_model(state.graph)
    budget = annealed(job.limits(model), stage.start.cost, progress)
    allocate(stage.masks, model, budget, job.pruning.allocation)
    empty = [index for index, width in enumerate(stage.masks.widths.tolist()) if not width]
    if empty:
        remove(state, job, without(state.graph, empty))


def discard(state: TrainState, job: Job) -> None:
    """Physically remove the channels far below the threshold, if that saves enough time."""
    kept = with_reserve(state.masked().masks, state.graph.channels, job.pruning.reserve)
    least = job.accelerator.worthwhile
    if not least or least <= _lost_work(state, job, kept):
        remove(state, job, kept)


def _lost_work(state: TrainState, job: Job, kept: Kept) -> float:
    """The share of a network's MACs that is in the channels that are not kept."""
    model = job.cost_model(state.graph)
    widths = [int(kept[group.units].sum()) for group in state.graph.channels.groups]
    return 1 - model.cost(widths).macs / model.dense.macs


def close_masks(
    state: TrainState, job: Job, widths: list[int], explanation: Explanation | None = None
) -> None:
    """Keep so many of the most salient channels of each group, remove the others, and end
    pruning with an explanation of these widths.
    """
    stage = state.masked()
    stage.masks.keep_most_salient(state.graph.channels, widths)
    remove(state, job, stage.masks.kept.numpy().copy())
    state.enter(Pruned(stage.start, explanation))


def with_reserve(masks: ChannelMasks, channels: ChannelGroups, share: float) -> Kept:
    """The mask, widened in every group by the next most salient channels."""
    kept = masks.kept.numpy().copy()
    for index, group in enumerate(channels.groups):
        reserve = group.up(int(kept[group.units].sum()) + share * int(masks.sizes[index]))
        # Channels that the mask keeps come first, although the ranking may have changed since.
        rank = torch.where(masks.kept[group.units], torch.inf, masks.saliency[group.units])
        order = torch.argsort(rank, descending=True, stable=True).numpy()
        kept[group.start + order[:reserve]] = True
    return kept

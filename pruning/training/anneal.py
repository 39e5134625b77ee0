"""Step by step to the budget: widths move, and channels that will not come back are removed."""

import torch

from pruning.allocation.allocate import allocate
from pruning.allocation.masks import ChannelMasks
from pruning.graph.channel_groups import ChannelGroups
from pruning.graph.shrink import Kept, without
from pruning.training.job import Job, annealed
from pruning.training.state import TrainState
from pruning.training.surgery import remove


def step_widths(state: TrainState, job: Job, progress: float) -> None:
    """Move the widths to the budget at this share of the way, from 0 to 1, to the target.

    A branch whose group has no channel left vanishes at once: nothing could bring it back.
    """
    if state.masks is None or state.start is None:
        return
    model = job.cost_model(state.graph)
    budget = annealed(job.limits(model), state.start.cost, progress)
    allocate(state.masks, model, budget, job.pruning.allocation)
    gone = [index for index, width in enumerate(state.masks.widths.tolist()) if not width]
    if gone:
        remove(state, job, without(state.graph, gone))


def discard(state: TrainState, job: Job) -> None:
    """Physically remove the channels far below the threshold, where that pays."""
    if state.masks is None:
        return
    kept = with_reserve(state.masks, state.graph.channels, job.pruning.reserve)
    least = job.accelerator.worthwhile
    if not least or least <= _lost_work(state, job, kept):
        remove(state, job, kept)


def _lost_work(state: TrainState, job: Job, kept: Kept) -> float:
    """The share of a network's MACs that goes with what is not kept."""
    model = job.cost_model(state.graph)
    widths = [int(kept[group.units].sum()) for group in state.graph.channels.groups]
    return 1 - model.cost(widths).macs / model.dense.macs


def close_masks(state: TrainState, job: Job, widths: list[int]) -> None:
    """Remove all but so many of the most salient channels, and end pruning."""
    if state.masks is not None:
        state.masks.keep_most_salient(state.graph.channels, widths)
        remove(state, job, state.masks.kept.numpy().copy())
        state.masks = None


def with_reserve(masks: ChannelMasks, channels: ChannelGroups, share: float) -> Kept:
    """The mask, widened in every group by the next most salient channels."""
    kept = masks.kept.numpy().copy()
    for index, group in enumerate(channels.groups):
        reserve = group.up(int(kept[group.units].sum()) + share * int(masks.sizes[index]))
        # Those kept come first: the ranking may have changed since, and widths stay aligned.
        rank = torch.where(masks.kept[group.units], torch.inf, masks.saliency[group.units])
        order = torch.argsort(rank, descending=True, stable=True).numpy()
        kept[group.start + order[:reserve]] = True
    return kept

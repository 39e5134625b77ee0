"""What the prune phase does between two steps of the optimizer."""

import torch
from torch import Tensor

from pruning.allocation.explain import Start, explain
from pruning.allocation.masks import ChannelMasks
from pruning.allocation.project import project
from pruning.execution.network import Tensors
from pruning.graph.graph import Graph
from pruning.ops import filters
from pruning.training.anneal import close_masks, discard, step_widths
from pruning.training.batchwise import Batchwise
from pruning.training.branch_selection import select_branches
from pruning.training.job import Job
from pruning.training.sensitivity import measure_sensitivity
from pruning.training.state import TrainState


def open_masks(state: TrainState, job: Job) -> None:
    """Begin to prune where it has not begun: all channels are kept, and the cost is noted."""
    if state.masks is None:
        state.masks = ChannelMasks.open(state.graph.channels)
        state.start = Start.of(job.cost_model(state.graph))


def prune(state: TrainState, job: Job, progress: float, step: int) -> Batchwise[None]:
    """Between two steps: move the widths, and now and then remove what will not come back."""
    settings = job.pruning
    moving, removing = step % settings.update_interval == 0, step % settings.removal_interval == 0
    if moving or removing:
        _rank(state, job)
    if moving:
        yield from _probe(state, job, progress)
        step_widths(state, job, progress / settings.anneal_end)
    if removing:
        discard(state, job)


def _probe(state: TrainState, job: Job, progress: float) -> Batchwise[None]:
    """Some methods go by measurements, evenly over the phase."""
    masks = state.masks
    if masks is None or not job.pruning.allocation.method.traits.measured:
        return
    if progress * job.pruning.sensitivity_runs >= (done := int(masks.sensitivity_runs)):
        yield from measure_sensitivity(state, job)
        if not done:
            yield from select_branches(state, job)


def _rank(state: TrainState, job: Job) -> None:
    """Some methods judge channels by their weights instead of by the loss."""
    if job.pruning.allocation.method.traits.by_weights and state.masks is not None:
        state.masks.saliency = magnitudes(state.graph, state.network.tensors())


def magnitudes(graph: Graph, tensors: Tensors) -> Tensor:
    """Per unit, the mean |scale| of its batch norms, or the mean filter norm without one."""
    channels = graph.channels
    sums, counts = torch.zeros(channels.units), torch.zeros(channels.units)
    with_norm = {
        u
        for o in graph.operators
        if o.kind == "batch_norm"
        for u in channels.layout[o.name].tolist()
    }
    for operator in graph.operators:
        if "weight" not in operator.parameters:
            continue
        weight = filters(operator, tensors[operator.parameters["weight"]].detach())
        weight = weight.float().cpu()
        own = weight.flatten(1).norm(dim=1) if weight.dim() > 1 else weight.abs()
        units = torch.from_numpy(channels.layout[operator.name])
        if operator.kind != "batch_norm":
            bare = torch.tensor([unit not in with_norm for unit in units.tolist()])
            units, own = units[bare], own[bare]
        sums.index_add_(0, units, own)
        counts.index_add_(0, units, torch.ones(len(units)))
    return sums / counts.clamp_min(1)


def finish_pruning(state: TrainState, job: Job) -> None:
    """Integer widths within the budget; everything else is removed and the masks close."""
    masks, how = state.masks, job.pruning.allocation
    if masks is None or state.start is None:
        return
    _rank(state, job)
    model = job.cost_model(state.graph)
    limits = job.limits(model)
    widths = project(masks, model, limits, how)
    if how.method.traits.measured:  # the others have no model to explain by
        state.explanation = explain(state.start, masks, model, limits, how, widths)
    close_masks(state, job, widths)

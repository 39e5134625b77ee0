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
from pruning.training.state import Masked, TrainState


def open_masks(state: TrainState, job: Job) -> None:
    """Begin to prune, unless that has begun: all channels are kept, and the cost is noted."""
    if not isinstance(state.stage, Masked):
        start = Start.of(job.cost_model(state.graph))
        state.enter(Masked(ChannelMasks.open(state.graph.channels), start))


def prune(state: TrainState, job: Job, progress: float, step: int) -> Batchwise[None]:
    """Between two steps: move the widths, and now and then remove what will not come back.

    Args:
        state: with open masks.
        job: of the run.
        progress: the share of the phase that is over, from 0 to 1.
        step: how many steps of the phase are over.

    Raises:
        PruningError: the masks are not open.
    """
    settings = job.pruning
    moving, removing = step % settings.update_interval == 0, step % settings.removal_interval == 0
    if moving or removing:
        _rank(state, job)
    if moving:
        yield from _measure(state, job, progress)
        step_widths(state, job, progress / settings.anneal_end)
    if removing:
        discard(state, job)


def _measure(state: TrainState, job: Job, progress: float) -> Batchwise[None]:
    """Measure sensitivity if that is due, evenly over the phase; after the first time, select
    branches. Some methods do not depend on it.
    """
    if not job.pruning.allocation.method.traits.measured:
        return
    runs = int(state.masked().masks.sensitivity_runs)
    if progress * job.pruning.sensitivity_runs >= runs:
        yield from measure_sensitivity(state, job)
        if runs == 0:
            yield from select_branches(state, job)


def _rank(state: TrainState, job: Job) -> None:
    """Some methods rank channels by their weights instead of by the loss."""
    if job.pruning.allocation.method.traits.by_weights:
        state.masked().masks.saliency = magnitudes(state.graph, state.network.tensors())


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
        norms = weight.flatten(1).norm(dim=1) if weight.dim() > 1 else weight.abs()
        units = torch.from_numpy(channels.layout[operator.name])
        if operator.kind != "batch_norm":
            bare = torch.tensor([unit not in with_norm for unit in units.tolist()])
            units, norms = units[bare], norms[bare]
        sums.index_add_(0, units, norms)
        counts.index_add_(0, units, torch.ones(len(units)))
    return sums / counts.clamp_min(1)


def finish_pruning(state: TrainState, job: Job) -> None:
    """Round to integer widths within the budget, remove all other channels, close the masks.

    Raises:
        PruningError: the masks are not open. BudgetError: no widths meet the budget.
    """
    _rank(state, job)
    stage, allocation = state.masked(), job.pruning.allocation
    model = job.cost_model(state.graph)
    limits = job.limits(model)
    widths = project(stage.masks, model, limits, allocation)
    explanation = None
    if allocation.method.traits.measured:  # the others have no model to explain by
        explanation = explain(stage.start, stage.masks, model, limits, allocation, widths)
    close_masks(state, job, widths, explanation)

"""What the prune phase does between two steps of the optimizer."""

import numpy as np
import torch
from torch import Tensor

from pruning.allocate import Method, allocate, branch_to_drop
from pruning.channels import Channels
from pruning.explain import Start, explain
from pruning.gates import Gates, inner_groups
from pruning.graph import Graph
from pruning.job import Job, annealed
from pruning.network import Network, Tensors, first
from pruning.project import project
from pruning.shrink import Kept, kept_axes, shrink_graph, shrink_tensors, units_left, without
from pruning.state import TrainState, load_optimizer, make_optimizer, optimizer_tensors

Batch = tuple[Tensor, Tensor]
MOST = 4  # importance is measured with a quarter of a group's channels


def open_gates(state: TrainState, job: Job) -> None:
    """Begin to prune where it has not begun: all channels are kept, and the cost is noted."""
    if state.gates is None:
        state.gates = Gates.open(state.graph.channels)
        state.start = Start.of(job.cost_model(state.graph))


def prune(state: TrainState, job: Job, progress: float, step: int) -> None:
    """Between two steps: move the widths, and now and then remove what will not come back."""
    gates, settings = state.gates, job.pruning
    if gates is None or state.start is None:
        return
    if step % settings.every == 0:
        _rank(state, job)
        if progress * settings.probes >= int(gates.probes):
            _measure(state, job)
            _drop_branch(state, job)
        model = job.cost_model(state.graph)
        budget = annealed(job.budget, state.start.cost, progress / settings.settle)
        allocate(gates, model, budget, settings.allocation)
    gone = [index for index, width in enumerate(gates.widths.tolist()) if not width]
    if gone:  # a branch vanishes at once: nothing could bring it back
        _remove(state, job, without(state.graph, gone))
    if step % settings.remove_every == 0:
        _rank(state, job)
        _remove(state, job, _within_reach(gates, state.graph.channels, settings.slack))


def _measure(state: TrainState, job: Job) -> None:
    """By how much the loss rises now when a group loses most, or all, of its channels.

    A rise gives s in loss = s (n / size)^-p / p. Running means forget by half, as the network
    changes quickly.
    """
    gates, power = state.gates, job.pruning.allocation.power
    if gates is None or job.pruning.allocation.method is not Method.DIFFERENTIABLE:
        return
    samples = _samples(state, job)
    whole = _loss(state, job, samples, gates.kept)
    inner = inner_groups(state.graph)
    for index, group in enumerate(state.graph.channels.groups):
        size, before = int(gates.sizes[index]), int(gates.kept[group.units].sum())
        after = -(-before // MOST)
        if not group.prunable or after == before:
            continue
        rise = _loss(state, job, samples, gates.with_only(group, after)) - whole
        lengthening = ((after / size) ** -power - (before / size) ** -power) / power
        gates.importance[index] = _mean(gates.importance[index], rise / lengthening)
        if inner[index]:
            rise = _loss(state, job, samples, gates.with_only(group, 0)) - whole
            gates.branches[index] = _mean(gates.branches[index], rise)
    gates.probes += 1


def _samples(state: TrainState, job: Job) -> list[Batch]:
    """Training batches to measure on: the same at the same place of the same run."""
    train, size = job.data.train, job.task.batch_size
    probe = 0 if state.gates is None else int(state.gates.probes)
    generator = torch.Generator().manual_seed(job.seed * 1009 + probe)
    count = min(len(train) // size * size or len(train), job.pruning.probe_samples)
    chosen = torch.randperm(len(train), generator=generator)[:count]
    return [
        (job.data.normalise(train.inputs[part]), train.targets[part])
        for part in torch.split(chosen, size)
    ]


def _mean(known: Tensor, fresh: float) -> Tensor:
    fresh = max(fresh, 0.0)
    return (known + fresh) / 2 if known > 0 else torch.tensor(fresh, dtype=known.dtype)


def _drop_branch(state: TrainState, job: Job) -> None:
    how = job.pruning.allocation
    if state.gates is None or how.method is not Method.DIFFERENTIABLE or not how.vanishing:
        return
    gone = branch_to_drop(state.gates, job.cost_model(state.graph), job.budget, how)
    if gone is not None:
        _remove(state, job, without(state.graph, [gone]))


@torch.no_grad()
def _loss(state: TrainState, job: Job, samples: list[Batch], kept: Tensor) -> float:
    """The mean loss under a mask, by batch statistics, which leave no trace in the norms."""
    network, device = state.network, job.accelerator.device
    buffers = [(buffer, buffer.clone()) for buffer in network.buffers()]
    mask, total = kept.float().to(device), 0.0
    with torch.random.fork_rng(devices=[]), job.accelerator.autocast():
        for inputs, targets in samples:
            outputs = first(network(job.accelerator.place(inputs), mask))
            total += job.task.loss(outputs, targets.to(outputs.device)).item()
    for buffer, before in buffers:
        buffer.copy_(before)
    return total / len(samples)


def _rank(state: TrainState, job: Job) -> None:
    """The magnitude baseline judges channels by their weights instead of by the loss."""
    if job.pruning.allocation.method is Method.MAGNITUDE and state.gates is not None:
        state.gates.salience = magnitudes(state.graph, state.network.tensors())


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
        weight = tensors[operator.parameters["weight"]].detach().float().cpu()
        units = torch.from_numpy(channels.layout[operator.name])
        if operator.kind != "batch_norm" and not with_norm.isdisjoint(units.tolist()):
            continue
        sums.index_add_(
            0, units, weight.flatten(1).norm(dim=1) if weight.dim() > 1 else weight.abs()
        )
        counts.index_add_(0, units, torch.ones(len(units)))
    return sums / counts.clamp_min(1)


def _within_reach(gates: Gates, channels: Channels, slack: float) -> Kept:
    """The mask, widened in every group by the next most salient channels."""
    kept = gates.kept.numpy().copy()
    for index, group in enumerate(channels.groups):
        reserve = int(kept[group.units].sum()) + int(np.ceil(slack * int(gates.sizes[index])))
        order = torch.argsort(gates.salience[group.units], descending=True, stable=True).numpy()
        kept[group.start + order[:reserve]] = True
    return kept


def _remove(state: TrainState, job: Job, kept: Kept) -> None:
    """Physically drop units from the network, the optimizer and the gates."""
    if kept.all():
        return
    before, axes = state.graph, kept_axes(state.graph, kept)
    graph = shrink_graph(before, kept)
    network = Network(graph, shrink_tensors(state.network.tensors(), axes)).to(
        job.accelerator.device
    )
    optimizer = make_optimizer(network, job)
    remembered = {
        name: shrink_tensors(entries, dict.fromkeys(entries, axes[name]))
        for name, entries in optimizer_tensors(state.optimizer, state.network).items()
        if name in axes
    }
    load_optimizer(optimizer, network, remembered)
    state.network, state.optimizer = network, optimizer
    state.network.train()
    if state.gates is not None:
        units = units_left(before, graph, kept)
        state.gates.move(before.channels, graph.channels, units)


def finish_pruning(state: TrainState, job: Job) -> None:
    """Integer widths within the budget; everything else is removed and the gates close."""
    gates, how = state.gates, job.pruning.allocation
    if gates is None or state.start is None:
        return
    _rank(state, job)
    model = job.cost_model(state.graph)
    widths = project(gates, model, job.budget, how)
    if how.method is Method.DIFFERENTIABLE:  # the others have no model to explain by
        state.explanation = explain(state.start, gates, model, job.budget, how, widths)
    gates.keep_most_salient(state.graph.channels, widths)
    _remove(state, job, gates.kept.numpy().copy())
    state.gates = None

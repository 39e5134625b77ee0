"""Taking channels out of a network in training: weights, optimizer and masks follow."""

from dataclasses import replace

from torch.optim import Optimizer

from pruning.execution.network import Network
from pruning.graph.shrink import Kept, kept_axes, shrink_graph, shrink_tensors, units_left
from pruning.training.job import Job
from pruning.training.state import (
    Masked,
    TrainState,
    load_optimizer,
    make_optimizer,
    optimizer_tensors,
)


def remove(state: TrainState, job: Job, kept: Kept) -> None:
    """Physically drop units from the network, the optimizer and the masks."""
    if not kept.all():
        state.become(fork(state, job, kept))


def fork(state: TrainState, job: Job, kept: Kept) -> TrainState:
    """A copy of the state with only the units in `kept`; the two share no tensor."""
    before, axes = state.graph, kept_axes(state.graph, kept)
    graph = shrink_graph(before, kept)
    network = Network(graph, shrink_tensors(state.network.tensors(), axes))
    network = network.to(job.accelerator.device).train()
    optimizer = make_optimizer(network, job)
    entries = {
        name: shrink_tensors(tensors, dict.fromkeys(tensors, axes[name]))
        for name, tensors in optimizer_tensors(state.optimizer, state.network).items()
        if name in axes
    }
    load_optimizer(optimizer, network, entries)
    _copy_rates(state.optimizer, state.network, optimizer, network)
    stage = state.stage
    if isinstance(stage, Masked):
        units = units_left(before, graph, kept)
        masks = stage.masks.transferred(before.channels, graph.channels, units)
        stage = replace(stage, masks=masks)
    return TrainState(network, optimizer, stage, state.history)


def _copy_rates(before: Optimizer, network: Network, after: Optimizer, smaller: Network) -> None:
    """Give each group of `after` the learning rate that its parameters had in `before`.

    Of its first parameter: a task's optimizer may have a group for each.
    """
    rates = {id(p): group["lr"] for group in before.param_groups for p in group["params"]}
    by_name = {name: rates[id(p)] for name, p in network.trained().items() if id(p) in rates}
    names = {id(p): name for name, p in smaller.trained().items()}
    for group in after.param_groups:
        for parameter in group["params"][:1]:
            group["lr"] = by_name[names[id(parameter)]]

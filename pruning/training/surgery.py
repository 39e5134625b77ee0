"""Taking channels out of a network in training: weights, optimizer and masks follow."""

from dataclasses import replace

from torch.optim import Optimizer

from pruning.execution.network import Network
from pruning.graph.shrink import Kept, kept_axes, shrink_graph, shrink_tensors, units_left
from pruning.training.job import Job
from pruning.training.state import TrainState, load_optimizer, make_optimizer, optimizer_tensors


def remove(state: TrainState, job: Job, kept: Kept) -> None:
    """Physically drop units from the network, the optimizer and the masks."""
    if not kept.all():
        smaller = fork(state, job, kept)
        state.network, state.optimizer = smaller.network, smaller.optimizer
        state.masks = smaller.masks


def fork(state: TrainState, job: Job, kept: Kept) -> TrainState:
    """A state of its own that goes on with only the units in `kept`; nothing is shared."""
    before, axes = state.graph, kept_axes(state.graph, kept)
    graph = shrink_graph(before, kept)
    network = Network(graph, shrink_tensors(state.network.tensors(), axes))
    network = network.to(job.accelerator.device).train()
    optimizer = make_optimizer(network, job)
    remembered = {
        name: shrink_tensors(entries, dict.fromkeys(entries, axes[name]))
        for name, entries in optimizer_tensors(state.optimizer, state.network).items()
        if name in axes
    }
    load_optimizer(optimizer, network, remembered)
    _copy_rates(state.optimizer, state.network, optimizer, network)
    masks = state.masks
    if masks is not None:
        masks = masks.transferred(before.channels, graph.channels, units_left(before, graph, kept))
    return replace(state, network=network, optimizer=optimizer, masks=masks, history=[])


def _copy_rates(before: Optimizer, network: Network, after: Optimizer, smaller: Network) -> None:
    """Of any of its parameters: a task's optimizer may have a group for each."""
    rates = {id(p): group["lr"] for group in before.param_groups for p in group["params"]}
    known = {name: rates[id(p)] for name, p in network.trained().items() if id(p) in rates}
    named = {id(p): name for name, p in smaller.trained().items()}
    for group in after.param_groups:
        for parameter in group["params"][:1]:
            group["lr"] = known[named[id(parameter)]]

"""The trial loop: `for epoch in train(state, job)`.

The caller owns the loop: it may record, store the state, or stop; closing the generator ends
the run. Nothing random outlives an epoch (every generator is seeded from the job's seed and
the epoch), so a state stored after any epoch continues bit for bit on one CPU thread.
"""

import hashlib
import time
from collections.abc import Iterator
from dataclasses import dataclass, field, replace

import numpy as np
import torch
from torch import Tensor

from pruning.allocate import Method, allocate, project
from pruning.budget import Budget, Cost
from pruning.channels import Channels
from pruning.cost import CostModel
from pruning.data import Split, batches
from pruning.errors import DivergedError
from pruning.gates import Gates
from pruning.graph import Graph
from pruning.job import Job, Phase, PhaseKind, annealed
from pruning.network import Network, Tensors
from pruning.quantize import QuantizedNetwork
from pruning.shrink import Kept, kept_axes, shrink_graph, shrink_tensors

CALIBRATION = 256  # training samples that set the ranges of int8 activations


@dataclass(frozen=True, slots=True, kw_only=True)
class Epoch:
    """What one epoch did. `epoch` counts from 1 over all phases; `score` is that of the int8
    network on the validation split; `cost` is estimated; `budget` is the annealed one.
    """

    epoch: int
    phase: str
    loss: float
    score: float
    cost: Cost
    budget: Budget
    bottleneck: str
    widths: dict[str, int]
    seconds: float


@dataclass
class TrainState:
    """Everything that changes while a network trains."""

    network: Network
    optimizer: torch.optim.Optimizer
    gates: Gates | None = None
    start: Cost | None = None  # the cost when pruning began
    epoch: int = 0
    history: list[Epoch] = field(default_factory=list)

    @staticmethod
    def begin(graph: Graph, tensors: Tensors, job: Job) -> "TrainState":
        """A state before its first epoch; the tensors are copied."""
        network = Network(graph, tensors).to(job.accelerator.device)
        return TrainState(network, make_optimizer(network, job))

    @property
    def graph(self) -> Graph:
        """The network as it physically is."""
        return self.network.graph

    def result(self) -> tuple[Graph, dict[str, Tensor]]:
        """The network without its masked channels, and its tensors (on the CPU)."""
        tensors = {n: t.detach().cpu() for n, t in self.network.tensors().items()}
        if self.gates is None or bool(self.gates.kept.all()):
            return self.graph, tensors
        kept = self.gates.kept.numpy()
        smaller = shrink_graph(self.graph, kept)
        return smaller, shrink_tensors(tensors, kept_axes(self.graph, kept))


def make_optimizer(network: Network, job: Job) -> torch.optim.Optimizer:
    """The task's optimizer over the network's parameters, by their names in the graph."""
    named = {name.replace("/", "."): p for name, p in network.named_parameters()}
    optimizer = job.task.optimizer(named)
    for group in optimizer.param_groups:
        group.setdefault("initial_lr", group["lr"])
    return optimizer


def train(state: TrainState, job: Job) -> Iterator[Epoch]:
    """Train to the end of the recipe, yielding a record after every epoch.

    Raises:
        DivergedError: the loss is no longer a number.
        BudgetError: the budget cannot be met.
    """
    job = replace(job, task=job.task.fitted(job.data.train.targets, len(job.data.classes)))
    while state.epoch < job.epochs:
        began = time.monotonic()
        phase, position = job.phase_at(state.epoch)
        loss = _run_epoch(state, job, phase, position)
        if phase.kind is PhaseKind.PRUNE and position + 1 == phase.epochs:
            _finish_pruning(state, job)
        state.epoch += 1
        epoch = _record(state, job, phase, position, loss, time.monotonic() - began)
        state.history.append(epoch)
        yield epoch


def evaluate(graph: Graph, tensors: Tensors, job: Job, split: Split) -> float:
    """The score of the int8 network on a split."""
    place, normalise = job.accelerator.place, job.data.normalise
    on_device = {name: tensor.to(job.accelerator.device) for name, tensor in tensors.items()}
    calibration = job.data.train.inputs[:CALIBRATION]
    network = QuantizedNetwork(graph, on_device, place(normalise(calibration)))
    outputs = [network(place(normalise(inputs))) for inputs, _ in batches(split, 500)]
    return job.task.metric(torch.cat([_first(o).float().cpu() for o in outputs]), split.targets)


def _first(outputs: Tensor | tuple[Tensor, ...]) -> Tensor:
    return outputs if isinstance(outputs, Tensor) else outputs[0]


def _seeded(job: Job, epoch: int) -> torch.Generator:
    """A generator for one epoch; the global one (dropout) is seeded alike."""
    digest = hashlib.sha256(f"{job.seed}/{epoch}".encode()).digest()
    seed = int.from_bytes(digest[:8], "big") >> 1
    torch.manual_seed(seed)
    return torch.Generator().manual_seed(seed)


def _run_epoch(state: TrainState, job: Job, phase: Phase, position: int) -> float:
    generator = _seeded(job, state.epoch)
    size = job.task.batch_size
    steps = max(1, -(-len(job.data.train) // size))
    total, count = 0.0, 0
    state.network.train()
    if phase.kind is PhaseKind.PRUNE:
        _open_gates(state, job)
    for step, (inputs, targets) in enumerate(batches(job.data.train, size, generator)):
        progress = (position + step / steps) / phase.epochs
        _set_rate(state, phase.rate_at(progress))
        inputs = job.task.augment(job.data.normalise(inputs), generator)
        loss = _learn(state, job, inputs, targets)
        if phase.kind is PhaseKind.PRUNE:
            _prune(state, job, progress, position * steps + step + 1)
        total += loss * len(targets)
        count += len(targets)
    return total / count


def _set_rate(state: TrainState, factor: float) -> None:
    for group in state.optimizer.param_groups:
        group["lr"] = group["initial_lr"] * factor


def _learn(state: TrainState, job: Job, inputs: Tensor, targets: Tensor) -> float:
    """One step of the optimizer; in the prune phase the gates see the gradient of the mask."""
    mask = None
    if state.gates is not None:
        mask = state.gates.kept.float().to(job.accelerator.device).requires_grad_()
    with job.accelerator.autocast():
        outputs = _first(state.network(job.accelerator.place(inputs), mask))
        loss = job.task.loss(outputs, targets.to(outputs.device))
    value = loss.item()
    if not np.isfinite(value):
        raise DivergedError(
            f"the training loss is {value} in epoch {state.epoch + 1}; lower the learning rate"
        )
    state.optimizer.zero_grad(set_to_none=True)
    loss.backward()  # type: ignore[no-untyped-call]
    state.optimizer.step()
    if state.gates is not None and mask is not None and mask.grad is not None:
        state.gates.observe(mask.grad.cpu(), job.pruning.memory)
    return value


def _open_gates(state: TrainState, job: Job) -> None:
    if state.gates is None:
        state.gates = Gates.open(state.graph.channels)
        state.start = job.cost_model(state.graph).dense


def _prune(state: TrainState, job: Job, progress: float, step: int) -> None:
    """Between two steps: move the widths, and now and then remove what will not come back."""
    gates, settings = state.gates, job.pruning
    if gates is None or state.start is None:
        return
    if step % settings.every == 0:
        model = job.cost_model(state.graph)
        budget = annealed(job.budget, state.start, progress / settings.settle)
        _rank(state, job)
        allocate(gates, model, budget, job.budget, settings.allocation)
    if step % settings.remove_every == 0:
        _remove(state, job, _within_reach(gates, state.graph.channels, settings.slack))


def _rank(state: TrainState, job: Job) -> None:
    """The magnitude baseline judges channels by their weights instead of by the loss."""
    if job.pruning.allocation.method is Method.MAGNITUDE and state.gates is not None:
        state.gates.salience = magnitudes(state.graph, state.network.tensors())


def magnitudes(graph: Graph, tensors: Tensors) -> Tensor:
    """Per unit, the mean |scale| of its batch norms, or the mean filter norm without one."""
    channels = graph.channels
    sums, counts = torch.zeros(channels.units), torch.zeros(channels.units)
    with_norm = {u for o in graph.operators if o.kind == "batch_norm"
                 for u in channels.layout[o.name].tolist()}
    for operator in graph.operators:
        if "weight" not in operator.parameters:
            continue
        weight = tensors[operator.parameters["weight"]].detach().float().cpu()
        units = torch.from_numpy(channels.layout[operator.name])
        if operator.kind != "batch_norm" and not with_norm.isdisjoint(units.tolist()):
            continue
        sums.index_add_(0, units, weight.flatten(1).norm(dim=1) if weight.dim() > 1 else weight.abs())
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
    axes = kept_axes(state.graph, kept)
    network = Network(
        shrink_graph(state.graph, kept), shrink_tensors(state.network.tensors(), axes)
    ).to(job.accelerator.device)
    optimizer = make_optimizer(network, job)
    load_optimizer(optimizer, network, {
        name: shrink_tensors({key: t for key, t in entries.items()}, dict.fromkeys(entries, axes[name]))
        for name, entries in optimizer_tensors(state.optimizer, state.network).items()
    })
    state.network, state.optimizer = network, optimizer
    state.network.train()
    if state.gates is not None:
        state.gates.compact(np.flatnonzero(kept))


def optimizer_tensors(
    optimizer: torch.optim.Optimizer, network: Network
) -> dict[str, dict[str, Tensor]]:
    """What the optimizer remembers of each parameter, by the parameter's name."""
    return {
        name.replace("/", "."): {
            key: value
            for key, value in optimizer.state.get(parameter, {}).items()
            if isinstance(value, Tensor)
        }
        for name, parameter in network.named_parameters()
    }


def load_optimizer(
    optimizer: torch.optim.Optimizer, network: Network, entries: dict[str, dict[str, Tensor]]
) -> None:
    """Give a fresh optimizer what an earlier one remembered."""
    for name, parameter in network.named_parameters():
        if known := entries.get(name.replace("/", ".")):
            optimizer.state[parameter] = {key: value.clone() for key, value in known.items()}


def _finish_pruning(state: TrainState, job: Job) -> None:
    """Integer widths within the budget; everything else is removed and the gates close."""
    gates = state.gates
    if gates is None:
        return
    _rank(state, job)
    widths = project(gates, job.cost_model(state.graph), job.budget, job.pruning.allocation)
    gates.keep_most_salient(state.graph.channels, widths)
    _remove(state, job, gates.kept.numpy().copy())
    state.gates = None


def _record(
    state: TrainState, job: Job, phase: Phase, position: int, loss: float, seconds: float
) -> Epoch:
    graph, tensors = state.result()
    model: CostModel = job.cost_model(graph)
    score = evaluate(graph, tensors, job, job.data.validation)
    done = (position + 1) / phase.epochs / job.pruning.settle
    moving = phase.kind is PhaseKind.PRUNE and state.start is not None
    return Epoch(
        epoch=state.epoch,
        phase=phase.kind.value,
        loss=loss,
        score=score,
        cost=model.dense,
        budget=annealed(job.budget, state.start, done) if moving and state.start else job.budget,
        bottleneck=model.bottleneck(graph.channels.widths),
        widths=widths_of(graph),
        seconds=seconds,
    )


def widths_of(graph: Graph) -> dict[str, int]:
    """Channels of every prunable group, by its name."""
    return {group.name: group.size for group in graph.channels.groups if group.prunable}

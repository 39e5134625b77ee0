"""The training loop: `for epoch in train(state, job)`, or `steps` to act after every batch.

The caller owns the loop: it may record, store the state, or stop. Closing the generator ends
the run; if that happens within an epoch, the state must not be used any more. Every generator of
random numbers is seeded anew from the job's seed and the epoch, so a state that is stored after
any epoch continues bit for bit on one CPU thread.
"""

import time
from collections.abc import Iterator
from dataclasses import replace

import torch
from torch import Tensor

from pruning.allocation.feasibility import require_reachable
from pruning.cost.model import CostModel, bottlenecks
from pruning.data import Split, batch_count, batches, permutation
from pruning.deploy import Evaluator, calibrate, lower
from pruning.errors import PruningError
from pruning.execution.fake_quant import FakeQuant, QuantizedNetwork, QuantParams
from pruning.execution.network import Tensors, first_output
from pruning.graph.graph import Graph
from pruning.training.batchwise import Batchwise, finished
from pruning.training.job import Job, Phase, PhaseKind, Precision, annealed, precision_of
from pruning.training.prune_phase import finish_pruning, open_masks, prune
from pruning.training.seeds import hashed_seed
from pruning.training.state import Epoch, Masked, Pruned, TrainState, widths_of
from pruning.training.step import set_lr, train_step

__all__ = [
    "Epoch",
    "TrainState",
    "answers_to",
    "evaluate",
    "int8_codes",
    "precision_of",
    "require_one_output",
    "steps",
    "train",
    "widths_of",
]

CALIBRATION = 256  # training samples that set the ranges of int8 activations
SCORE_BATCH = 500  # samples scored at a time; a score does not depend on it


def train(state: TrainState, job: Job) -> Iterator[Epoch]:
    """Train to the end of the recipe, yielding a record after every epoch.

    Raises:
        DivergedError: the loss is no longer a number.
        BudgetError: the budget cannot be met.
        PruningError: the network has several outputs, or others than the task needs; it exceeds
            its budget and there is no phase to prune it in; or the state was stored within a
            prune phase, and the recipe has another phase there.
    """
    yield from (epoch for epoch in steps(state, job) if epoch is not None)


def steps(state: TrainState, job: Job) -> Iterator[Epoch | None]:
    """As `train`, with a None after every batch of training, measuring or scoring.

    The caller must not use torch's global generator between two records.
    """
    require_one_output(state.graph)
    job = job.settled(state.graph)
    _require_possible(state, job)
    job.task.require_shape(state.graph.shape(state.graph.outputs[0]), len(job.data.classes))
    task = job.task.fitted(job.data.train.targets, len(job.data.classes))
    job = replace(job, task=task, data=job.accelerator.hold(job.data))
    while state.epoch < job.epochs:
        began = time.monotonic()
        phase, position = job.phase_at(state.epoch)
        _require_stage(state, phase)
        loss = yield from _run_epoch(state, job, phase, position)
        if phase.kind is PhaseKind.PRUNE and position + 1 == phase.epochs:
            finish_pruning(state, job)
        record = _record(state, job, phase, position, loss, time.monotonic() - began)
        epoch = yield from record
        state.append(epoch)
        yield epoch


def _require_stage(state: TrainState, phase: Phase) -> None:
    """Refuse a state from within a prune phase anywhere else: its channels are masked."""
    if isinstance(state.stage, Masked) and phase.kind is not PhaseKind.PRUNE:
        raise PruningError(
            f"epoch {state.epoch + 1} is of a {phase.kind} phase, but the state is from within a "
            "prune phase; continue it with the recipe that it began with"
        )


def require_one_output(graph: Graph) -> None:
    """Refuse to train a network of several outputs: a task uses the first, and whatever serves
    only the others would not be trained, and be pruned as useless.

    Raises:
        PruningError: naming them.
    """
    if len(graph.outputs) > 1:
        raise PruningError(
            f"the network has {len(graph.outputs)} outputs ({', '.join(graph.outputs)}), and a "
            "task trains one; return one of them, or join them with torch.cat"
        )


def _require_possible(state: TrainState, job: Job) -> None:
    """Refuse a network that exceeds its budget without an epoch of pruning, or without widths
    that meet the budget: a budget is a promise.
    """
    model = job.cost_model(state.graph)
    limits = job.limits(model)
    if limits.holds(cost := model.planned_cost(state.graph.channels.widths)):
        return
    if not job.prune_steps:
        raise PruningError(
            f"the network costs {cost}, more than the budget {limits.limits}, and "
            "the recipe has no epoch of pruning. Add a prune phase, or raise the limits"
        )
    remove_branches = job.pruning.allocation.vanishing
    require_reachable(model, job.budget, job.margins(model), remove_branches)


def evaluate(graph: Graph, tensors: Tensors, job: Job, split: Split) -> float:
    """The score of the int8 network on a split."""
    return finished(_scored(graph, tensors, job, split))


def answers_to(graph: Graph, tensors: Tensors, job: Job, split: Split) -> Tensor:
    """What the metric judges of the int8 network on a split, on the CPU: its outputs [N, ...], or
    its errors [N] (see `Task.answers`). `job.task.score` of these and the targets is the score.
    """
    return finished(_answers(graph, tensors, job, split))


def _scored(graph: Graph, tensors: Tensors, job: Job, split: Split) -> Batchwise[float]:
    answers = yield from _answers(graph, tensors, job, split)
    return job.task.score(answers, split.targets.cpu())


def _answers(graph: Graph, tensors: Tensors, job: Job, split: Split) -> Batchwise[Tensor]:
    place, normalise = job.accelerator.place, job.data.normalise
    network = _int8(graph, tensors, job)
    answers = []
    for inputs, _ in batches(split, SCORE_BATCH):
        clean = place(normalise(inputs))
        answers.append(job.task.answers(first_output(network(clean)).float(), clean).cpu())
        yield
    return torch.cat(answers)


def _int8(graph: Graph, tensors: Tensors, job: Job) -> Evaluator | QuantizedNetwork:
    if job.precision(graph) is Precision.EXACT:
        codes = int8_codes(graph, tensors, job)
        return Evaluator(lower(graph, tensors, codes), job.accelerator.device)
    return QuantizedNetwork(graph, *placed(tensors, job))


def int8_codes(graph: Graph, tensors: Tensors, job: Job) -> dict[str, QuantParams]:
    """The quantization of a network's buffers, by their ranges on samples of the training set."""
    return calibrate(graph, *placed(tensors, job))


def placed(tensors: Tensors, job: Job) -> tuple[dict[str, Tensor], Tensor]:
    """Tensors, and samples for calibration, on the job's accelerator. The samples are spread
    over the training set, as its first ones may be of one class.
    """
    on_device = {name: tensor.to(job.accelerator.device) for name, tensor in tensors.items()}
    inputs = job.data.train.inputs
    indices = permutation(len(inputs))[:CALIBRATION].to(inputs.device)
    samples = job.data.normalise(inputs[indices])
    return on_device, job.accelerator.place(samples)


def _seeded(job: Job, epoch: int) -> torch.Generator:
    """A generator for one epoch; the global one, which dropout uses, gets the same seed."""
    seed = hashed_seed(job.seed, epoch)
    torch.manual_seed(seed)
    return torch.Generator().manual_seed(seed)


def _run_epoch(state: TrainState, job: Job, phase: Phase, position: int) -> Batchwise[float]:
    generator = _seeded(job, state.epoch)
    size = job.task.batch_size
    count = batch_count(len(job.data.train), size)
    total, samples = 0.0, 0
    state.network.train()
    rounding = rounding_of(state, job) if phase.kind is PhaseKind.QUANTIZE else None
    if phase.kind is PhaseKind.PRUNE:
        open_masks(state, job)
    for step, (inputs, targets) in enumerate(batches(job.data.train, size, generator)):
        progress = (position + step / count) / phase.epochs
        set_lr(state, phase.lr_factor_at(progress))
        clean = job.data.normalise(inputs)
        inputs, targets = job.task.augment(clean, generator), job.task.aim(clean, targets)
        loss = train_step(state, job, inputs, targets, rounding)
        if phase.kind is PhaseKind.PRUNE:
            yield from prune(state, job, progress, position * count + step + 1)
        total += loss * len(targets)
        samples += len(targets)
        yield
    return total / samples


def rounding_of(state: TrainState, job: Job) -> FakeQuant:
    """Rounding to int8 as the network would be scored with now."""
    graph, tensors = state.result()
    if job.precision(graph) is Precision.EXACT:
        return FakeQuant.of(graph, int8_codes(graph, tensors, job))
    return FakeQuant.of(graph, QuantizedNetwork(graph, *placed(tensors, job)).ranges)


def _record(
    state: TrainState, job: Job, phase: Phase, position: int, loss: float, seconds: float
) -> Batchwise[Epoch]:
    graph, tensors = state.result()
    model: CostModel = job.cost_model(graph)
    limits = job.limits(model)
    score = yield from _scored(graph, tensors, job, job.data.validation)
    budget = limits
    if phase.kind is PhaseKind.PRUNE and isinstance(state.stage, Masked | Pruned):
        progress = (position + 1) / phase.epochs / job.pruning.anneal_end
        budget = annealed(limits, state.stage.start.cost, progress)
    return Epoch(
        epoch=state.epoch + 1,
        phase=phase.kind.value,
        loss=loss,
        score=score,
        cost=model.dense,
        budget=budget,
        bottleneck=bottlenecks(model, graph.channels.widths)["sram_bytes"],
        widths=widths_of(graph),
        seconds=seconds,
    )

"""What the loss is now without some of the channels: the facts that an allocation goes by."""

from collections.abc import Sequence
from math import isfinite

import torch
from torch import Tensor

from pruning.allocation.masks import inner_groups
from pruning.errors import DivergedError
from pruning.execution.network import first_output
from pruning.training.batchwise import Batchwise
from pruning.training.job import Job
from pruning.training.state import TrainState

Batch = tuple[Tensor, Tensor]
EIGHTH = 8  # of the training set is the most that a measurement may look at
SEEDS = 2**63  # that a generator takes
MOST = 4  # importance is measured with a quarter of a group's channels


def measure_sensitivity(state: TrainState, job: Job) -> Batchwise[None]:
    """By how much the loss rises now when a group loses most of its channels.

    A rise gives s in loss = s (n / size)^-p / p. Running means forget by half, as the network
    changes quickly.
    """
    masks, power = state.masks, job.pruning.allocation.loss_exponent
    if masks is None:
        return
    samples = _few(state, job)
    whole = yield from loss_under(state, job, samples, masks.kept)
    for index, group in enumerate(state.graph.channels.groups):
        size, before = int(masks.sizes[index]), int(masks.kept[group.units].sum())
        after = -(-before // MOST)
        if not group.prunable or after == before:
            continue
        narrower = yield from loss_under(state, job, samples, masks.narrowed(group, after))
        lengthening = ((after / size) ** -power - (before / size) ** -power) / power
        masks.importance[index] = _mean(masks.importance[index], (narrower - whole) / lengthening)
    masks.sensitivity_runs = masks.sensitivity_runs + 1


def samples_of(job: Job, most: int, number: int) -> list[Batch]:
    """About so many raw training samples, in whole batches: the same for the same number."""
    train, size = job.data.train, job.task.batch_size
    generator = torch.Generator().manual_seed((job.seed * 1009 + number) % SEEDS)
    count = max(1, most // size) * size  # a norm cannot train on one sample
    chosen = torch.randperm(len(train), generator=generator)[:count]
    return [(train.inputs[part], train.targets[part]) for part in torch.split(chosen, size)]


def _few(state: TrainState, job: Job) -> list[Batch]:
    number = 0 if state.masks is None else int(state.masks.sensitivity_runs)
    return samples_of(
        job, min(len(job.data.train) // EIGHTH, job.pruning.sensitivity_samples), number
    )


def branch_rises(state: TrainState, job: Job) -> Batchwise[dict[int, float]]:
    """By how much the loss rises now when a branch goes, for every group inside one."""
    if (masks := state.masks) is None:
        return {}
    samples = _few(state, job)
    whole = yield from loss_under(state, job, samples, masks.kept)
    rises = {}
    for index, inner in enumerate(inner_groups(state.graph)):
        if inner:
            without = masks.narrowed(state.graph.channels.groups[index], 0)
            rises[index] = (yield from loss_under(state, job, samples, without)) - whole
    return rises


def _mean(known: Tensor, fresh: float) -> Tensor:
    fresh = max(fresh, 0.0)
    return (known + fresh) / 2 if known > 0 else torch.tensor(fresh, dtype=known.dtype)


def loss_under(
    state: TrainState, job: Job, samples: Sequence[Batch], kept: Tensor
) -> Batchwise[float]:
    """The mean loss under a mask, by batch statistics, which leave no trace in the norms.

    Raises:
        DivergedError: it is no number.
    """
    mask, total = kept.float().to(job.accelerator.device), 0.0
    for batch in samples:
        total += loss_of_one(state, job, batch, mask)
        yield
    if not isfinite(total):
        raise DivergedError(
            f"the loss without some channels is {total} in epoch {state.epoch + 1}; lower the "
            "learning rate"
        )
    return total / len(samples)


@torch.no_grad()
def loss_of_one(state: TrainState, job: Job, batch: Batch, mask: Tensor) -> float:
    """The loss of one batch under a mask; what the network remembers of it is put back."""
    network, (inputs, targets) = state.network, batch
    buffers = [(buffer, buffer.clone()) for buffer in network.buffers()]
    with torch.random.fork_rng(devices=[]), job.accelerator.autocast():
        clean = job.data.normalise(inputs)
        outputs = first_output(network(job.accelerator.place(clean), mask))
        aims = job.task.aim(clean, targets).to(outputs.device)
        loss = job.task.loss(outputs, aims).item()
    for buffer, before in buffers:
        buffer.copy_(before)
    return loss

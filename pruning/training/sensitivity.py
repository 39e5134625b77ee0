"""How the loss rises without some of the channels: what an allocation is computed from."""

from collections.abc import Sequence
from math import isfinite

import torch
from torch import Tensor

from pruning.allocation.masks import inner_groups
from pruning.errors import DivergedError
from pruning.execution.network import first_output
from pruning.training.batchwise import Batchwise
from pruning.training.job import Job
from pruning.training.seeds import Draw, multiplied_seed
from pruning.training.state import TrainState

Batch = tuple[Tensor, Tensor]
SET_SHARE = 8  # a measurement uses one of so many training samples at most
WIDTH_SHARE = 4  # and leaves one of so many of a group's channels


def measure_sensitivity(state: TrainState, job: Job) -> Batchwise[None]:
    """Update the importance of every group by how much the loss rises now when the group loses
    most of its channels.

    A rise gives s in loss = s (n / size)^-p / p. Each measurement counts as much as all before
    it together, as the network changes quickly.

    Raises:
        PruningError: the masks are not open. DivergedError: a loss is no number.
    """
    masks, power = state.masked().masks, job.pruning.allocation.loss_exponent
    samples = _samples(state, job)
    loss = yield from loss_under(state, job, samples, masks.kept)
    for index, group in enumerate(state.graph.channels.groups):
        size, before = int(masks.sizes[index]), int(masks.kept[group.units].sum())
        after = -(-before // WIDTH_SHARE)
        if not group.prunable or after == before:
            continue
        narrow_loss = yield from loss_under(state, job, samples, masks.narrowed(group, after))
        modelled_rise = ((after / size) ** -power - (before / size) ** -power) / power
        measured = (narrow_loss - loss) / modelled_rise
        masks.importance[index] = _mean(masks.importance[index], measured)
    masks.sensitivity_runs = masks.sensitivity_runs + 1


def samples_of(job: Job, most: int, number: int) -> list[Batch]:
    """Raw training samples in whole batches, about `most` of them, but one batch at least.

    The same `number` gives the same samples.
    """
    train, size = job.data.train, job.task.batch_size
    seed = multiplied_seed(job.seed, Draw.SAMPLES, number)
    generator = torch.Generator().manual_seed(seed)
    count = max(1, most // size) * size  # a norm cannot train on one sample
    indices = torch.randperm(len(train), generator=generator)[:count]
    return [(train.inputs[part], train.targets[part]) for part in torch.split(indices, size)]


def _samples(state: TrainState, job: Job) -> list[Batch]:
    """The samples of the next measurement."""
    most = min(len(job.data.train) // SET_SHARE, job.pruning.sensitivity_samples)
    return samples_of(job, most, int(state.masked().masks.sensitivity_runs))


def branch_rises(state: TrainState, job: Job) -> Batchwise[dict[int, float]]:
    """By how much the loss rises now without a branch: for every group inside one, by index.

    Raises:
        PruningError: the masks are not open. DivergedError: a loss is no number.
    """
    masks = state.masked().masks
    samples = _samples(state, job)
    loss = yield from loss_under(state, job, samples, masks.kept)
    rises = {}
    for index, inner in enumerate(inner_groups(state.graph)):
        if inner:
            mask = masks.narrowed(state.graph.channels.groups[index], 0)
            rises[index] = (yield from loss_under(state, job, samples, mask)) - loss
    return rises


def _mean(before: Tensor, measured: float) -> Tensor:
    """The mean of a value and a measurement, which is 0 at least; the first one counts alone."""
    measured = max(measured, 0.0)
    return (before + measured) / 2 if before > 0 else torch.tensor(measured, dtype=before.dtype)


def loss_under(
    state: TrainState, job: Job, samples: Sequence[Batch], kept: Tensor
) -> Batchwise[float]:
    """The mean loss under a mask of (units,), with the statistics of each batch; the running
    statistics of the norms stay as they are.

    Raises:
        DivergedError: the loss is no number.
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
    """The loss of one batch under a mask of (units,); the network's buffers are restored."""
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

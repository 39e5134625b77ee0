"""Which residual branches to remove: candidate networks are compared after a short training.

How much the loss rises when a branch is removed says little about how well the rest of the
network can do without it after some training; neither does a network that is cut to its final
widths at once. So each candidate is pruned in the same way as the network itself, in fewer
steps: it narrows to the final budget step by step, then trains while the learning rate falls to
zero. All candidates see the same batches. The one with the lowest loss shows which branches to
remove; the candidates are then discarded.
"""

from collections.abc import Iterator, Mapping
from dataclasses import replace
from itertools import chain, count, islice
from math import inf

import torch

from pruning.allocation.measured_loss import optimum
from pruning.allocation.project import project
from pruning.cost.model import CostModel, dependents, is_connected
from pruning.data import batches
from pruning.errors import BudgetError, DivergedError
from pruning.graph.shrink import without
from pruning.training.anneal import close_masks, discard, step_widths
from pruning.training.batchwise import Batchwise
from pruning.training.job import Job
from pruning.training.seeds import Draw, multiplied_seed
from pruning.training.sensitivity import Batch, branch_rises, loss_under, samples_of
from pruning.training.state import Masked, TrainState
from pruning.training.step import train_step
from pruning.training.surgery import fork, remove

Groups = tuple[int, ...]  # indices of the groups that are removed with their branches
MIN_STEPS = 20  # losses after fewer steps are mostly noise
NARROWING = 0.5  # the share of a candidate's steps in which it narrows
TIE_MARGIN = 0.05  # of the loss, in favour of removing the first branch: later training helps more
SAMPLES = 4096  # of the training set that the losses are taken on; half of a smaller set


def select_branches(state: TrainState, job: Job) -> Batchwise[None]:
    """Remove branches one by one while a candidate without one more has the lower loss.

    For the first branch there are `selection_candidates` candidates, each without a branch that
    the model of the loss misses least, and the best of them may be worse by TIE_MARGIN. For
    every further branch there is one candidate, without such a margin.

    Raises:
        PruningError: the masks are not open.
    """
    if _steps(job) < MIN_STEPS or not job.pruning.allocation.vanishing:
        return
    model = job.cost_model(state.graph)
    if job.limits(model).holds(model.dense):
        return
    rises = yield from branch_rises(state, job)
    if not rises:
        return
    removed: Groups = ()
    threshold = yield from loss_after(state, job, removed)
    threshold += TIE_MARGIN * abs(threshold)
    while candidates := _candidates(state, job, removed, rises):
        losses = {}
        for index in candidates[: 1 if removed else job.pruning.selection_candidates]:
            losses[index] = yield from loss_after(state, job, (*removed, index))
        best = min(losses, key=losses.__getitem__)
        if losses[best] >= threshold:
            break
        removed, threshold = (*removed, best), losses[best]
    if removed:
        remove(state, job, without(state.graph, removed))


def _candidates(
    state: TrainState, job: Job, removed: Groups, rises: Mapping[int, float]
) -> list[int]:
    """The groups whose branch may be removed next, the one with the lowest modelled loss first.

    A branch may hold several groups, each of which takes it along: it is listed once.
    """
    model = job.cost_model(state.graph)
    losses = {
        index: _modelled(state, job, model, (*removed, index)) + rise
        for index, rise in rises.items()
        if index not in removed
    }
    networks, candidates = [dependents(model, _without(model, removed))], []
    for index in sorted(losses, key=losses.__getitem__):
        if losses[index] < inf:
            network = dependents(model, _without(model, (*removed, index)))
            candidates += [index] if network not in networks else []
            networks.append(network)
    return candidates


def _modelled(state: TrainState, job: Job, model: CostModel, removed: Groups) -> float:
    """The lowest modelled loss without these groups; infinite if nothing is left."""
    widths = _without(model, removed)
    if not is_connected(model, widths):
        return inf
    smaller, share = model.after_removal(widths)
    masks, limits = state.masked().masks.without(share), job.limits(smaller)
    return optimum(masks, smaller, limits, job.pruning.allocation).loss


def _without(model: CostModel, removed: Groups) -> list[int]:
    """The full widths, but zero for groups that are removed."""
    return [0 if i in removed else n for i, n in enumerate(model.graph.channels.widths)]


def _steps(job: Job) -> int:
    """The steps of a candidate's training."""
    return round(job.pruning.selection_share * job.prune_steps)


def _candidate_batches(state: TrainState, job: Job) -> Iterator[Batch]:
    """The batches that a candidate trains on, the same for all."""
    seed = multiplied_seed(job.seed, Draw.CANDIDATE_BATCHES, state.epoch)
    generator = torch.Generator().manual_seed(seed)
    train, size = job.data.train, job.task.batch_size
    endless = chain.from_iterable(batches(train, size, generator) for _ in count())
    for inputs, targets in islice(endless, _steps(job)):
        clean = job.data.normalise(inputs)
        yield job.task.augment(clean, generator), job.task.aim(clean, targets)


def loss_after(state: TrainState, job: Job, removed: Groups) -> Batchwise[float]:
    """The loss of a candidate after its training; infinite if it diverges or meets no budget."""
    allocation = replace(job.pruning.allocation, remove_branches=False)
    job = replace(job, pruning=replace(job.pruning, allocation=allocation))
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(job.seed)
        try:
            candidate = fork(state, job, without(state.graph, removed))
            yield from _train_candidate(candidate, job)
            samples = samples_of(job, min(len(job.data.train) // 2, SAMPLES), 0)
            mask = torch.ones(candidate.graph.channels.units, dtype=torch.bool)
            return (yield from loss_under(candidate, job, samples, mask))
        except (BudgetError, DivergedError):
            return inf


def _train_candidate(candidate: TrainState, job: Job) -> Batchwise[None]:
    steps, rates = _steps(job), [group["lr"] for group in candidate.optimizer.param_groups]
    end = round(NARROWING * steps)  # of narrowing
    for step, (inputs, targets) in enumerate(_candidate_batches(candidate, job)):
        if step < end and step % job.pruning.update_interval == 0:
            step_widths(candidate, job, step / end)
            discard(candidate, job)
        elif step >= end and isinstance(candidate.stage, Masked):
            _close(candidate, candidate.stage, job)
        # The rate falls to zero: at a high one, the loss of a single moment is mostly noise.
        for group, rate in zip(candidate.optimizer.param_groups, rates, strict=True):
            group["lr"] = rate * (1 - step / steps)
        train_step(candidate, job, inputs, targets)
        yield


def _close(candidate: TrainState, stage: Masked, job: Job) -> None:
    model = job.cost_model(candidate.graph)
    widths = project(stage.masks, model, job.limits(model), job.pruning.allocation)
    close_masks(candidate, job, widths)

"""Which residual branches vanish: networks within the final budget run against each other.

What the loss rises by when a branch goes says little of how well the rest can do without it
after some training, and a network that is cut to its final widths at once says as little. So
each runner goes in short the way that pruning goes at length: it narrows to the final budget
step by step, then trains on while the learning rate falls to zero, on the same batches as the
others. The least loss shows which branches to drop. The runners are thrown away.
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
from pruning.training.sensitivity import SEEDS, Batch, branch_rises, loss_under, samples_of
from pruning.training.state import TrainState
from pruning.training.step import train_step
from pruning.training.surgery import fork, remove

Groups = tuple[int, ...]  # that vanish
LEAST = 20  # steps: a shorter race is mostly noise
NARROWING = 0.5  # of a run; the rest trains at the widths found
TIE_MARGIN = 0.05  # of the loss, in favour of a network without the branch: it recovers more later
JUDGES = 4096  # training samples that decide, or half of all where there are fewer


def select_branches(state: TrainState, job: Job) -> Batchwise[None]:
    """Remove branches one by one while a network without one more wins the race.

    The `selection_candidates` branches that the model of the loss would rather miss run, and a
    close result is for the best network without one of them. Later a single one runs, and has to
    win.
    """
    short = _steps(job) < LEAST
    if short or not job.pruning.allocation.vanishing:
        return
    model = job.cost_model(state.graph)
    if job.limits(model).holds(model.dense):
        return
    rises = yield from branch_rises(state, job)
    if not rises:
        return
    gone: Groups = ()
    least = yield from loss_after(state, job, gone)
    least += TIE_MARGIN * abs(least)
    while candidates := _candidates(state, job, gone, rises):
        losses = {}
        for index in candidates[: 1 if gone else job.pruning.selection_candidates]:
            losses[index] = yield from loss_after(state, job, (*gone, index))
        best = min(losses, key=losses.__getitem__)
        if losses[best] >= least:
            break
        gone, least = (*gone, best), losses[best]
    if gone:
        remove(state, job, without(state.graph, gone))


def _candidates(state: TrainState, job: Job, gone: Groups, rises: Mapping[int, float]) -> list[int]:
    """The branches that may go besides, the one that the model would rather miss first: of the
    groups of one branch, any of which takes it along, only one.
    """
    model = job.cost_model(state.graph)
    losses = {
        index: _modelled(state, job, model, (*gone, index)) + rise
        for index, rise in rises.items()
        if index not in gone
    }
    seen, found = [dependents(model, _without(model, gone))], []
    for index in sorted(losses, key=losses.__getitem__):
        if losses[index] < inf:
            left = dependents(model, _without(model, (*gone, index)))
            found += [index] if left not in seen else []
            seen.append(left)
    return found


def _modelled(state: TrainState, job: Job, model: CostModel, gone: Groups) -> float:
    """The least loss that the model sees without these groups; infinite if nothing is left."""
    masks, widths = state.masks, _without(model, gone)
    if masks is None or not is_connected(model, widths):
        return inf
    smaller, share = model.after_removal(widths)
    limits = job.limits(smaller)
    return optimum(masks.without(share), smaller, limits, job.pruning.allocation).loss


def _without(model: CostModel, gone: Groups) -> list[int]:
    """The full widths, but zero for groups that are gone."""
    return [0 if i in gone else n for i, n in enumerate(model.graph.channels.widths)]


def _steps(job: Job) -> int:
    return round(job.pruning.selection_share * job.prune_steps)


def _run_candidate(state: TrainState, job: Job) -> Iterator[Batch]:
    """The batches that a runner trains on, the same for all."""
    generator = torch.Generator().manual_seed((job.seed * 1013 + state.epoch) % SEEDS)
    train, size = job.data.train, job.task.batch_size
    endless = chain.from_iterable(batches(train, size, generator) for _ in count())
    for inputs, targets in islice(endless, _steps(job)):
        clean = job.data.normalise(inputs)
        yield job.task.augment(clean, generator), job.task.aim(clean, targets)


def loss_after(state: TrainState, job: Job, gone: Groups) -> Batchwise[float]:
    """The loss of a runner at the end of the race; infinite if it cannot finish."""
    whole = replace(job.pruning.allocation, remove_branches=False)
    job = replace(job, pruning=replace(job.pruning, allocation=whole))
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(job.seed)
        try:
            runner = fork(state, job, without(state.graph, gone))
            yield from _run(runner, job)
            judges = samples_of(job, min(len(job.data.train) // 2, JUDGES), 0)
            everything = torch.ones(runner.graph.channels.units, dtype=torch.bool)
            return (yield from loss_under(runner, job, judges, everything))
        except (BudgetError, DivergedError):
            return inf


def _run(runner: TrainState, job: Job) -> Batchwise[None]:
    steps, rates = _steps(job), [group["lr"] for group in runner.optimizer.param_groups]
    last = round(NARROWING * steps)  # step of narrowing
    for step, (inputs, targets) in enumerate(_run_candidate(runner, job)):
        if step < last and step % job.pruning.update_interval == 0:
            step_widths(runner, job, step / last)
            discard(runner, job)
        elif runner.masks is not None and step >= last:
            model, how = job.cost_model(runner.graph), job.pruning.allocation
            close_masks(runner, job, project(runner.masks, model, job.limits(model), how))
        # The rate falls to zero: at a high one, losses of the moment are mostly noise.
        for group, rate in zip(runner.optimizer.param_groups, rates, strict=True):
            group["lr"] = rate * (1 - step / steps)
        train_step(runner, job, inputs, targets)
        yield

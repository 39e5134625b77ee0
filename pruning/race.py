"""Which residual branches vanish: networks within the final budget run against each other.

What the loss rises by when a branch goes says little of how well the rest can do without it
after some training. So the few most promising networks, each at its best widths for the final
budget and with the weights of the moment, train on the same batches for a while, and the one
with the least loss shows which branch to drop. The runners themselves are thrown away.
"""

from collections.abc import Iterator, Sequence
from itertools import chain, count, islice
from math import inf

import torch

from pruning.allocate import Method, optimum
from pruning.data import batches
from pruning.errors import BudgetError, DivergedError
from pruning.gates import inner_groups
from pruning.job import Job
from pruning.learn import learn
from pruning.measure import Batch, loss_under, samples_of
from pruning.project import project
from pruning.removal import fork, remove
from pruning.shrink import without
from pruning.state import TrainState

Groups = tuple[int, ...]  # that vanish


def drop_branches(state: TrainState, job: Job) -> None:
    """Remove branches one by one while a network without one more wins the race."""
    how = job.pruning.allocation
    if how.method is not Method.DIFFERENTIABLE or not how.vanishing:
        return
    samples = samples_of(state, job)
    standing: float | None = None  # the loss of the network as it is, once it has run
    while runners := _runners(state, job):
        if standing is None:
            standing = _loss_after(state, job, (), samples)
        losses = [_loss_after(state, job, gone, samples) for gone in runners]
        if min(losses) >= standing:
            return
        standing = min(losses)
        remove(state, job, without(state.graph, runners[losses.index(standing)]))


def _runners(state: TrainState, job: Job) -> list[Groups]:
    """The groups whose disappearance looks best in the model of the loss."""
    gates, how, model = state.gates, job.pruning.allocation, job.cost_model(state.graph)
    if gates is None or _steps(job) < 1:
        return []
    modelled = {}
    for index, inner in enumerate(inner_groups(state.graph)):
        if inner:
            widths = [group.size for group in state.graph.channels.groups]
            widths[index] = 0
            smaller, _ = model.left(widths)
            left = gates.without(model.share(widths))
            loss = optimum(left, smaller, job.budget, how).loss
            modelled[index] = loss + float(gates.branches[index])
    return [
        (index,) for index in sorted(modelled, key=modelled.__getitem__)[: job.pruning.racers]
    ]


def _steps(job: Job) -> int:
    return round(job.pruning.race * job.prune_steps)


def _heat(state: TrainState, job: Job) -> Iterator[Batch]:
    """The batches that a runner trains on, the same for all."""
    generator = torch.Generator().manual_seed(job.seed * 1013 + state.epoch)
    train, size = job.data.train, job.task.batch_size
    endless = chain.from_iterable(batches(train, size, generator) for _ in count())
    for inputs, targets in islice(endless, _steps(job)):
        clean = job.data.normalise(inputs)
        yield job.task.augment(clean, generator), job.task.aim(clean, targets)


def _loss_after(state: TrainState, job: Job, gone: Groups, samples: Sequence[Batch]) -> float:
    """The loss of a runner at the end of the race; infinite if it cannot finish."""
    runner = fork(state, job, without(state.graph, gone))
    if runner.gates is None:
        return inf
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(job.seed)
        try:
            model = job.cost_model(runner.graph)
            widths = project(runner.gates, model, job.budget, job.pruning.allocation)
            runner.gates.keep_most_salient(runner.graph.channels, widths)
            runner = fork(runner, job, runner.gates.kept.numpy().copy())
            runner.gates = None
            rates = [group["lr"] for group in state.optimizer.param_groups]
            for step, (inputs, targets) in enumerate(_heat(state, job)):
                # The rate falls to zero: at a high one, losses of the moment are mostly noise.
                left = 1 - step / _steps(job)
                for group, rate in zip(runner.optimizer.param_groups, rates, strict=True):
                    group["lr"] = rate * left
                learn(runner, job, inputs, targets)
        except (BudgetError, DivergedError):
            return inf
        everything = torch.ones(runner.graph.channels.units, dtype=torch.bool)
        return loss_under(runner, job, samples, everything)

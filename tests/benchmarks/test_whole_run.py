"""How long pruning takes beside plain training, and how much memory (make bench).

Both are trained in turns, an epoch of one after an epoch of the other, so that whatever else
the machine does slows down both. Nothing is asserted of time: machines differ.
"""

import weakref
from collections import Counter
from dataclasses import replace
from itertools import zip_longest

import pytest
import torch
from torch import Tensor
from torch.autograd.graph import saved_tensors_hooks

from pruning.training.job import Job, Pruning
from pruning.training.state import TrainState
from pruning.training.train import train
from tests.benchmarks.quality.methods import DENSE, FINETUNE, PRUNE, Run
from tests.benchmarks.quality.problems import PROBLEMS, SHARED
from tests.benchmarks.quality.setting import SETTINGS

pytestmark = [
    pytest.mark.bench,
    pytest.mark.skipif(not SHARED.exists(), reason=f"no data in {SHARED}"),
]
IMAGES = 20_000  # of 45,000: the shares of all phases are the same
FEW = 1_280  # where only memory counts: it depends on the batch, not on their number


class Held:
    """Bytes that are held for backward passes: now, and at most so far."""

    def __init__(self) -> None:
        self.uses: Counter[int] = Counter()
        self.now = self.peak = 0

    def pack(self, tensor: Tensor) -> "Saved":
        """Count a tensor's storage once, however many operators save it."""
        saved, storage = Saved(tensor), tensor.untyped_storage()
        place, size = storage.data_ptr(), storage.nbytes()
        self.now += 0 if self.uses[place] else size
        self.uses[place] += 1
        self.peak = max(self.peak, self.now)
        weakref.finalize(saved, self.free, place, size)
        return saved

    def free(self, place: int, size: int) -> None:
        """One that saved a storage has let go of it."""
        self.uses[place] -= 1
        self.now -= 0 if self.uses[place] else size


class Saved:
    """A tensor that waits for the backward pass."""

    def __init__(self, tensor: Tensor) -> None:
        self.tensor = tensor


def begun(budget: str | None, images: int, pruning: Pruning) -> tuple[TrainState, Job]:
    """ResNet-8 in the short setting, dense or pruned to a budget."""
    setting, problem = SETTINGS["short"], PROBLEMS["resnet8"]
    limits = problem.budgets[budget or "B2"]
    run = Run(setting, problem, problem.dataset(images), limits, seed=0)
    kinds = (DENSE, PRUNE, FINETUNE)
    parts = list(zip(kinds, setting.split, strict=True)) if budget else [(DENSE, setting.epochs)]
    job = run.job(parts, pruning=pruning)
    _, graph, tensors = run.network()
    return TrainState.begin(graph, tensors, job), job


@pytest.mark.parametrize("budget", ["B1", "B2", "B3"])
def test_seconds_beside_plain_training(budget, capsys):
    torch.set_num_threads(1)
    runs = [train(*begun(which, IMAGES, Pruning())) for which in (None, budget)]
    seconds: list[list[float]] = [[], []]
    for pair in zip_longest(*runs):
        for times, epoch in zip(seconds, pair, strict=True):
            times.append(epoch.seconds)
    dense, ours = map(sum, seconds)
    by_epoch = " ".join(f"{b / a:.2f}" for a, b in zip(*seconds, strict=True))
    with capsys.disabled():
        print(f"\n{budget}: {ours / dense:.2f} of the seconds of dense training; {by_epoch}")


@pytest.mark.parametrize("budget", ["B1", "B2", "B3"])
def test_memory_beside_plain_training(budget, capsys):
    longer = replace(
        Pruning(), selection_share=0.7, sensitivity_samples=128
    )  # enough steps to select branches
    dense, ours = (peak_bytes(*begun(which, FEW, longer)) for which in (None, budget))
    with capsys.disabled():
        print(f"\n{budget}: {ours / dense:.3f} of what dense training holds, {dense} bytes")


def peak_bytes(state: TrainState, job: Job) -> int:
    """The most that is held for a backward pass at any time of a run."""
    held = Held()
    with saved_tensors_hooks(held.pack, lambda saved: saved.tensor):
        for _ in train(state, job):
            pass
    return held.peak

"""The rules of the benchmark: one network, one data set, one recipe for everybody."""

import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path

import torch
from torch import nn

from pruning import models
from pruning.budget import Budget, Device
from pruning.cost import Encoding
from pruning.data import Augment, Dataset, cifar10
from pruning.graph import Graph
from pruning.job import Accelerator, Job, Phase, PhaseKind, Pruning, Recipe
from pruning.memory import PUBLISHED
from pruning.network import Tensors
from pruning.tasks import Task, sgd
from pruning.trace import trace

SHARED = Path(__file__).resolve().parents[4] / "shared" / "data"
CACHE = Path(os.environ.get("PARING_BENCH_CACHE", Path.home() / ".cache" / "paring"))
HELD_OUT = 5000  # training images for every choice; the test images are for the final table
# Costs are counted as uNAS publishes them, so that they can be compared; the device only
# turns instructions into time.
DEVICE = Device(
    name="mcu", core="cortex-m4", clock_hz=1e8, cycles_per_instruction=1.3,
    flash_bytes=1 << 30, sram_bytes=1 << 30, reserved_flash_bytes=0, reserved_sram_bytes=0,
)  # fmt: skip
BUDGETS = {
    "B1": Budget(flash_bytes=40_000, sram_bytes=32_768, macs=6_000_000),
    "B2": Budget(flash_bytes=20_000, sram_bytes=20_480, macs=2_500_000),
    "B3": Budget(flash_bytes=8_000, sram_bytes=12_288, macs=1_000_000),
}
RATE = 0.2  # of the optimizer, at the end of the first epoch
Parts = Sequence[tuple[PhaseKind, int]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Setting:
    """How long everybody trains. `split` are the dense, prune and fine-tune epochs of those
    who prune while they train; everybody else trains for their sum.
    """

    name: str
    split: tuple[int, int, int]
    seeds: tuple[int, ...] = (0, 1, 2)
    budgets: tuple[str, ...] = tuple(BUDGETS)
    samples: int | None = None  # training images, fewer for a smoke test
    device: str = "cpu"

    @property
    def epochs(self) -> int:
        """Epochs of every run, dense warm-up included."""
        return sum(self.split)


SETTINGS = {
    setting.name: setting
    for setting in (
        Setting(name="smoke", split=(1, 1, 1), seeds=(0,), budgets=("B2",), samples=512),
        Setting(name="short", split=(4, 3, 3)),
        Setting(name="long", split=(40, 30, 50), device="cuda"),
    )
}


def recipe(parts: Parts, begun: int, epochs: int) -> Recipe:
    """Phases as pieces of one schedule of `epochs`, the first of them after `begun` epochs.

    The rate rises from a tenth in the first epoch and then falls to zero in a straight line.
    """

    def rate(epoch: int) -> float:
        return 0.1 if epoch == 0 else (epochs - epoch) / max(epochs - 1, 1)

    phases = []
    for kind, count in parts:
        bends = {begun, begun + count, *([1] if begun < 1 < begun + count else [])}
        phases += [
            Phase(kind=kind, epochs=end - start, rate=(rate(start), rate(end)))
            for start, end in pairwise(sorted(bends))
        ]
        begun += count
    return tuple(phases)


def dataset(setting: Setting) -> Dataset:
    """CIFAR-10 (JPEG q75 copy)."""
    whole = cifar10(SHARED / "cifar10", HELD_OUT, CACHE)
    if setting.samples is None:
        return whole
    few, fewer = torch.arange(setting.samples), torch.arange(setting.samples // 2)
    return replace(
        whole,
        train=whole.train.select(few),
        validation=whole.validation.select(fewer),
        test=whole.test.select(fewer),
    )


def network(seed: int) -> tuple[nn.Module, Graph, Tensors]:
    """ResNet-8 with the starting weights of a seed."""
    torch.manual_seed(seed)
    module = models.resnet8()
    return module, trace(module, torch.zeros(3, 32, 32)), dict(module.state_dict())


def job(
    setting: Setting, data: Dataset, phases: Recipe, seed: int, budget: Budget, pruning: Pruning
) -> Job:
    """The one recipe."""
    return Job(
        data=data,
        task=Task(optimizer=sgd(lr=RATE), augment=Augment(shift=4, flip=True)),
        recipe=phases,
        seed=seed,
        device=DEVICE,
        budget=budget,
        pruning=pruning,
        encoding=Encoding.PUBLISHED,
        conventions=PUBLISHED,
        accelerator=Accelerator(device=setting.device, precision="bf16"),
    )

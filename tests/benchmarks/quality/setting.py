"""The rules of the benchmark: one recipe for everybody."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

from pruning.budget import Budget, Device
from pruning.cost.memory.peak import PUBLISHED
from pruning.cost.model import Encoding
from pruning.data import Dataset
from pruning.training.job import (
    Accelerator,
    Job,
    Phase,
    PhaseKind,
    Pruning,
    Recipe,
    fast_precision,
)
from tests.benchmarks.quality.problems import Problem

# Costs are counted as uNAS publishes them, so that they can be compared; the device only
# turns instructions into time.
DEVICE = Device(
    name="mcu", core="cortex-m4", clock_hz=1e8, cycles_per_instruction=1.3,
    flash_bytes=1 << 30, sram_bytes=1 << 30, reserved_flash_bytes=0, reserved_sram_bytes=0,
)  # fmt: skip
Parts = Sequence[tuple[PhaseKind, int]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Setting:
    """How long everybody trains. `split` are the dense, prune and fine-tune epochs of those
    who prune while they train, `warm` the dense ones of those who prune at once: what serves
    them best. Everybody trains for as many epochs in all.
    """

    name: str
    split: tuple[int, int, int]
    warm: int
    seeds: tuple[int, ...] = (0, 1, 2)
    budgets: tuple[int, ...] = (0, 1, 2)  # of a problem, by their place
    samples: int | None = None  # training images, if not all
    device: str = "cpu"

    @property
    def epochs(self) -> int:
        """Epochs of every run, dense warm-up included."""
        return sum(self.split)


SETTINGS = {
    setting.name: setting
    for base in (
        Setting(name="smoke", split=(1, 1, 1), warm=1, seeds=(0,), budgets=(1,), samples=512),
        Setting(name="short", split=(2, 3, 5), warm=4),
        Setting(name="fifth", split=(2, 3, 5), warm=4, samples=9_000),  # large inputs, on a CPU
        Setting(name="short-25", split=(2, 3, 20), warm=4),  # the epochs of a small network
        Setting(name="short-40", split=(2, 3, 35), warm=4),  # are cheap
        Setting(name="medium", split=(8, 12, 20), warm=16),  # for small data sets
        Setting(name="long", split=(25, 20, 55), warm=40),
    )
    for setting in (base, replace(base, name=f"{base.name}-gpu", device="cuda"))
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
            Phase(kind=kind, epochs=end - start, lr_factor=(rate(start), rate(end)))
            for start, end in pairwise(sorted(bends))
        ]
        begun += count
    return tuple(phases)


def job(
    setting: Setting,
    problem: Problem,
    data: Dataset,
    phases: Recipe,
    seed: int,
    budget: Budget,
    pruning: Pruning,
) -> Job:
    """The one recipe."""
    return Job(
        data=data,
        task=problem.task,
        recipe=phases,
        seed=seed,
        device=DEVICE,
        budget=budget,
        pruning=pruning,
        encoding=Encoding.PUBLISHED,
        conventions=PUBLISHED,
        accelerator=Accelerator(device=setting.device, precision=fast_precision(setting.device)),
    )

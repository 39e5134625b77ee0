"""What is pruned on what: networks, data sets and budgets of the benchmark.

All data are read in place and only where they are: users do not have them.
"""

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torch.nn.functional import interpolate

from pruning import models
from pruning.budget import Budget
from pruning.data import Augment, Dataset, Split, assemble, cifar10, speech_commands
from pruning.tasks import Task, sgd

SHARED = Path(__file__).resolve().parents[4] / "shared" / "data"
CACHE = Path(os.environ.get("PARING_BENCH_CACHE", Path.home() / ".cache" / "paring"))
HELD_OUT = 5000  # training images for every choice; the test images are for the final table
ANIMALS = (2, 3, 4, 5, 6, 7)  # of CIFAR-10: bird, cat, deer, dog, frog, horse


@dataclass(frozen=True, slots=True, kw_only=True)
class Problem:
    """One table of the benchmark. `about` says what a reader has to know."""

    name: str
    about: str
    network: Callable[[], nn.Module]
    shape: tuple[int, ...]
    data: Callable[[], Dataset]
    task: Task
    budgets: Mapping[str, Budget]

    def dataset(self, samples: int | None) -> Dataset:
        """The data, or `samples` of the training set and up to half as many to score on."""
        whole = self.data()
        if samples is None:
            return whole
        return replace(
            whole,
            train=_first(whole.train, samples),
            validation=_first(whole.validation, samples // 2),
            test=_first(whole.test, samples // 2),
        )


def _first(split: Split, count: int) -> Split:
    return split.select(torch.arange(min(count, len(split))))


def _images() -> Dataset:
    return cifar10(SHARED / "cifar10", HELD_OUT, CACHE)


def _animals() -> Dataset:
    """CIFAR-10's animals against its vehicles at 96x96."""
    small = _images()
    large = _enlarged(small)
    splits = [
        Split(large[name], torch.isin(split.targets, torch.tensor(ANIMALS)).long())
        for name, split in _splits(small).items()
    ]
    return assemble("cifar10-animals-96", *splits, classes=("vehicle", "animal"))


def _splits(data: Dataset) -> dict[str, Split]:
    return {"train": data.train, "validation": data.validation, "test": data.test}


def _enlarged(small: Dataset) -> dict[str, Tensor]:
    """All images at 96x96, made once: it takes longer than an epoch on a GPU."""
    path = CACHE / f"enlarged-96-{small.digest[:16]}.safetensors"
    if not path.exists():
        made = {
            name: torch.cat(
                [
                    interpolate(part.float(), size=96, mode="bilinear", align_corners=False)
                    .round()
                    .byte()
                    for part in torch.split(split.inputs, 1000)
                ]
            )
            for name, split in _splits(small).items()
        }
        part = path.with_suffix(f".{os.getpid()}")
        save_file(made, part)
        part.rename(path)
    return load_file(path)


def _words() -> Dataset:
    path = SHARED / "speech-commands-ar" / "asc-logmel-12000x49x40.npz"
    return speech_commands(path, features="mfcc10")


IMAGES = Task(optimizer=sgd(lr=0.2), augment=Augment(shift=4, flip=True))

PROBLEMS = {
    problem.name: problem
    for problem in (
        Problem(
            name="resnet8",
            about="MLPerf Tiny's ResNet-8, CIFAR-10 (JPEG q75 copy)",
            network=models.resnet8,
            shape=(3, 32, 32),
            data=_images,
            task=IMAGES,
            budgets={
                "B1": Budget(flash_bytes=40_000, sram_bytes=32_768, macs=6_000_000),
                "B2": Budget(flash_bytes=20_000, sram_bytes=20_480, macs=2_500_000),
                "B3": Budget(flash_bytes=8_000, sram_bytes=12_288, macs=1_000_000),
            },
        ),
        Problem(
            name="ds_cnn",
            about="MLPerf Tiny's DS-CNN, ten Arabic words and unknown ones, MFCC 49x10",
            network=partial(models.ds_cnn, classes=11),
            shape=(1, 49, 10),
            data=_words,
            task=Task(optimizer=sgd(lr=0.1), augment=Augment(shift=2, noise=0.1)),
            budgets={
                "B1": Budget(flash_bytes=11_000, sram_bytes=10_000, macs=1_250_000),
                "B2": Budget(flash_bytes=5_500, sram_bytes=6_000, macs=550_000),
                "B3": Budget(flash_bytes=2_200, sram_bytes=3_500, macs=220_000),
            },
        ),
        Problem(
            name="mobilenet_v1",
            about="MobileNetV1 0.25 at 96x96, CIFAR-10's animals against its vehicles, "
            "resized: it stands in for visual wake words",
            network=models.mobilenet_v1,
            shape=(3, 96, 96),
            data=_animals,
            task=Task(optimizer=sgd(lr=0.1), augment=Augment(shift=8, flip=True)),
            budgets={
                "B1": Budget(flash_bytes=105_000, sram_bytes=36_000, macs=3_600_000),
                "B2": Budget(flash_bytes=52_000, sram_bytes=23_000, macs=1_500_000),
                "B3": Budget(flash_bytes=21_000, sram_bytes=14_000, macs=600_000),
            },
        ),
        Problem(
            name="vgg16",
            about="VGG-16 with one linear layer, CIFAR-10 (JPEG q75 copy): how much smaller?",
            network=models.vgg16,
            shape=(3, 32, 32),
            data=_images,
            task=Task(optimizer=sgd(lr=0.05), augment=Augment(shift=4, flip=True)),
            budgets={
                "1/20": Budget(flash_bytes=736_000),
                "1/50": Budget(flash_bytes=294_000),
                "1/100": Budget(flash_bytes=147_000),
            },
        ),
    )
}

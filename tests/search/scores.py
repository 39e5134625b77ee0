"""Metrics as users write them, whose best value is neither 1 nor 0."""

# ruff: noqa: ARG002 - all metrics take the same arguments

import math
from dataclasses import dataclass

from torch import Tensor
from torch.nn.functional import one_hot


def _squared(outputs: Tensor, targets: Tensor) -> float:
    wanted = one_hot(targets, outputs.shape[1])
    return (outputs.softmax(1) - wanted).square().mean().item()


@dataclass(frozen=True)
class Psnr:
    """Peak signal-to-noise ratio in decibels; 60 counts as perfect."""

    name: str = "psnr"
    direction: str = "maximize"
    best: float | None = 60.0

    def __call__(self, outputs: Tensor, targets: Tensor) -> float:
        return min(60.0, -10 * math.log10(_squared(outputs, targets)))

    def chance(self, targets: Tensor, classes: int) -> float:
        return -10 * math.log10((1 - 1 / classes) / classes)


@dataclass(frozen=True)
class Bounded:
    """An error between 2 and 3."""

    name: str = "bounded"
    direction: str = "minimize"
    best: float = 2.0

    def __call__(self, outputs: Tensor, targets: Tensor) -> float:
        return 3 - (outputs.argmax(1) == targets).double().mean().item()

    def chance(self, targets: Tensor, classes: int) -> float:
        return 3 - 1 / classes

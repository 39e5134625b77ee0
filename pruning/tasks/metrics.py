"""What networks are judged by, over a whole split at once."""

# ruff: noqa: ARG002 - all metrics take the same arguments

from dataclasses import dataclass
from typing import ClassVar, Literal, Protocol, final

import torch
from torch import Tensor

from pruning.errors import PruningError
from pruning.tasks.losses import paired, require_classes

Direction = Literal["maximize", "minimize"]


class Metric(Protocol):
    """What a network is judged by, over a whole split at once.

    `name` is what reports call it, `direction` says which way is better, and `best` how far:
    no score lies beyond it. Scores are compared on the scale from chance to the best, so a
    metric that never ends, as a signal-to-noise ratio, has to say what counts as perfect.
    """

    @property
    def name(self) -> str:
        """What reports call it."""
        ...

    @property
    def direction(self) -> Direction:
        """Which way is better."""
        ...

    @property
    def best(self) -> float:
        """The score of a perfect network, a finite number."""
        ...

    def __call__(self, outputs: Tensor, targets: Tensor, /) -> float:
        """Answers [N, ...] (see `Task.answers`) and targets [N, ...] to a score."""
        ...

    def chance(self, targets: Tensor, classes: int, /) -> float:
        """The score of the best answer that does not look at the inputs."""
        ...


@final
@dataclass(frozen=True, slots=True)
class Accuracy:
    """Share of samples whose largest logit is that of their class."""

    name: ClassVar[str] = "accuracy"
    direction: ClassVar[Direction] = "maximize"
    best: ClassVar[float] = 1.0

    def __call__(self, outputs: Tensor, targets: Tensor) -> float:
        """Logits [N, classes] and targets [N] to 0..1."""
        return (outputs.argmax(1) == targets).double().mean().item()

    def chance(self, targets: Tensor, classes: int) -> float:
        """The share of the most frequent class."""
        return int(class_counts(targets, classes).max()) / targets.numel()


@final
@dataclass(frozen=True, slots=True)
class RootMeanSquare:
    """Root of the mean squared difference, in the units of the targets."""

    name: ClassVar[str] = "rmse"
    direction: ClassVar[Direction] = "minimize"
    best: ClassVar[float] = 0.0

    def __call__(self, outputs: Tensor, targets: Tensor) -> float:
        """Outputs and as many numbers [N, ...] to 0 or above."""
        ours, theirs = _doubles(outputs, targets)
        return (ours - theirs).square().mean().sqrt().item()

    def chance(self, targets: Tensor, classes: int) -> float:
        """Always answering the mean: the standard deviation."""
        numbers, _ = _doubles(targets, targets)
        return (numbers - numbers.mean(0)).square().mean().sqrt().item()


@final
@dataclass(frozen=True, slots=True)
class MeanAbsolute:
    """Mean absolute difference, in the units of the targets."""

    name: ClassVar[str] = "mae"
    direction: ClassVar[Direction] = "minimize"
    best: ClassVar[float] = 0.0

    def __call__(self, outputs: Tensor, targets: Tensor) -> float:
        """Outputs and as many numbers [N, ...] to 0 or above."""
        ours, theirs = _doubles(outputs, targets)
        return (ours - theirs).abs().mean().item()

    def chance(self, targets: Tensor, classes: int) -> float:
        """Always answering the median."""
        numbers, _ = _doubles(targets, targets)
        return (numbers - numbers.median(0).values).abs().mean().item()


@final
@dataclass(frozen=True, slots=True)
class Determination:
    """R squared: the share of the targets' variance that is explained, at most 1.

    With several values a sample, the mean over those that vary.
    """

    name: ClassVar[str] = "r2"
    direction: ClassVar[Direction] = "maximize"
    best: ClassVar[float] = 1.0

    def __call__(self, outputs: Tensor, targets: Tensor) -> float:
        """Outputs and as many numbers [N, ...] to 1 or below."""
        ours, theirs = _doubles(outputs, targets)
        spread = (theirs - theirs.mean(0)).square().sum(0)
        missed = (ours - theirs).square().sum(0)
        varies = spread > 0
        if not varies.any():
            raise PruningError(
                f"r2 of {len(targets)} equal targets is not defined. Use rmse, or other data."
            )
        return (1 - missed[varies] / spread[varies]).mean().item()

    def chance(self, targets: Tensor, classes: int) -> float:
        """Always answering the mean explains nothing."""
        return self(_doubles(targets, targets)[0].mean(0).expand(len(targets), -1), targets)


@final
@dataclass(frozen=True, slots=True)
class MeanError:
    """Mean over the samples of target 0 of the error of their reconstruction.

    In units of the inputs' variance, channel by channel over the training samples.
    """

    name: ClassVar[str] = "error"
    direction: ClassVar[Direction] = "minimize"
    best: ClassVar[float] = 0.0

    def __call__(self, errors: Tensor, targets: Tensor) -> float:
        """Errors [N] and targets [N], 0 normal, to 0 or above."""
        require_classes(targets)
        if not (targets == 0).any():
            raise PruningError("no sample of target 0 (normal) to take the mean error of.")
        return one_each(errors)[targets == 0].double().mean().item()

    def chance(self, targets: Tensor, classes: int) -> float:
        """Always answering the mean of the training inputs misses by their variance."""
        return 1.0


def _doubles(outputs: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
    ours, theirs = paired(outputs, targets)
    return ours.double(), theirs.double()


def one_each(errors: Tensor) -> Tensor:
    """Errors [N], one a sample, checked."""
    if errors.ndim != 1:
        raise PruningError(
            f"answers of shape {list(errors.shape)} are no errors, one a sample. Use this "
            "metric with task=reconstruction."
        )
    return errors


def class_counts(targets: Tensor, classes: int) -> Tensor:
    """How many of the targets [N] are of each class, as [classes].

    Raises:
        PruningError: the targets are no classes.
    """
    require_classes(targets)
    return torch.bincount(targets, minlength=classes)

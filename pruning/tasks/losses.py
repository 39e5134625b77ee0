"""What training makes small."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal, Protocol, final

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy, huber_loss, l1_loss, mse_loss

from pruning.errors import PruningError

TINY = 1e-12


class Loss(Protocol):
    """What training makes small."""

    def __call__(self, outputs: Tensor, targets: Tensor, /) -> Tensor:
        """Outputs [N, ...] and what they should be to a scalar, in float32."""
        ...


@final
@dataclass(frozen=True, slots=True)
class CrossEntropy:
    """Mean cross entropy, in nats.

    Attributes:
        label_smoothing: Share of each target spread over all classes, 0 to 1.
        class_weights: One weight a class; None for equal ones; "balanced" for
            samples / (classes x samples of the class) of the training targets, which
            `Task.fitted` fills in. Only classes that occur count, the others weigh nothing.
    """

    label_smoothing: float = 0.0
    class_weights: Literal["balanced"] | Sequence[float] | None = None

    def __post_init__(self) -> None:
        if not 0 <= self.label_smoothing <= 1:
            raise PruningError(f"label_smoothing is {self.label_smoothing}; it must lie in 0 to 1.")
        given = self.class_weights
        if isinstance(given, str) and given != "balanced":
            raise PruningError(f'class_weights is "{given}"; give "balanced", numbers, or nothing.')
        if given is not None and not isinstance(given, str):
            object.__setattr__(self, "class_weights", _positive(given))

    def __call__(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """Logits [N, classes] and targets int64 [N] to a scalar, in float32.

        Raises:
            PruningError: the class weights are still "balanced", or as many as other classes,
                or the targets are no classes, or the outputs no logits.
        """
        require_classes(targets)
        if outputs.ndim != 2:
            raise PruningError(
                f"the network gives {list(outputs.shape[1:])} a sample; classification needs "
                "one logit a class. Flatten or pool what the network returns."
            )
        smoothing = self.label_smoothing
        if (weights := self._weights(outputs)) is None:
            return cross_entropy(outputs.float(), targets, label_smoothing=smoothing)
        total = cross_entropy(
            outputs.float(), targets, weights, reduction="sum", label_smoothing=smoothing
        )
        return total / weights[targets].sum().clamp_min(TINY)  # all may weigh nothing

    def fitted(self, targets: Tensor, classes: int) -> "CrossEntropy":
        """The same loss with "balanced" replaced by the weights for these targets.

        Raises:
            PruningError: the targets are no classes.
        """
        if self.class_weights != "balanced":
            return self
        require_classes(targets)
        counts = torch.bincount(targets, minlength=classes).double()
        occur = counts > 0
        weights = occur * targets.numel() / (occur.sum() * counts.clamp(min=1))
        return replace(self, class_weights=tuple(weights.tolist()))

    def _weights(self, outputs: Tensor) -> Tensor | None:
        if self.class_weights is None:
            return None
        if isinstance(self.class_weights, str):
            raise PruningError(
                'class_weights is still "balanced": it needs the training targets. Use '
                "Task.fitted(targets, classes) before training."
            )
        if len(self.class_weights) != outputs.shape[1]:
            raise PruningError(
                f"{len(self.class_weights)} class_weights for {outputs.shape[1]} classes. "
                "Give one for each class."
            )
        return torch.tensor(self.class_weights, dtype=torch.float32, device=outputs.device)


@final
@dataclass(frozen=True, slots=True)
class Squared:
    """Mean squared difference, over samples and values."""

    def __call__(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """Outputs and as many numbers [N, ...] to a scalar, in float32."""
        return mse_loss(*paired(outputs, targets))


@final
@dataclass(frozen=True, slots=True)
class Absolute:
    """Mean absolute difference, over samples and values: outliers weigh less."""

    def __call__(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """Outputs and as many numbers [N, ...] to a scalar, in float32."""
        return l1_loss(*paired(outputs, targets))


@final
@dataclass(frozen=True, slots=True)
class Huber:
    """Half the squared difference up to `delta`, beyond it linear (Huber, 1964); the mean.

    Attributes:
        delta: In the units of the targets.
    """

    delta: float = 1.0

    def __post_init__(self) -> None:
        if self.delta <= 0:
            raise PruningError(f"delta is {self.delta}; it must be above 0. Use 1.0.")

    def __call__(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """Outputs and as many numbers [N, ...] to a scalar, in float32."""
        return huber_loss(*paired(outputs, targets), delta=self.delta)


def paired(outputs: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
    """Both as float32 [N, values].

    Raises:
        PruningError: the targets are classes, or not as many values as the outputs.
    """
    if not targets.is_floating_point():
        raise PruningError(
            f"targets are {_kind(targets)}, so they are classes; this task needs numbers. "
            "Store float32 targets, or choose task=classification."
        )
    ours, theirs = (each.reshape(len(each), -1) for each in (outputs, targets))
    if ours.shape != theirs.shape:
        raise PruningError(
            f"the network gives {ours.shape[1]} values a sample, but {theirs.shape[1]} are "
            "wanted. Give the model as many outputs."
        )
    return ours.float(), theirs.float()


def require_classes(targets: Tensor) -> None:
    """Refuse targets that are numbers.

    Raises:
        PruningError: they are no integers.
    """
    if targets.is_floating_point():
        raise PruningError(
            f"targets are {_kind(targets)}, so they are numbers; this task needs classes. "
            "Choose task=regression, or store int64 class numbers."
        )


def _kind(tensor: Tensor) -> str:
    return str(tensor.dtype).removeprefix("torch.")


def _positive(given: Sequence[float]) -> tuple[float, ...]:
    weights = tuple(float(weight) for weight in given)
    if not weights or min(weights) < 0 or max(weights) <= 0:
        raise PruningError(
            f"class_weights are {list(weights)}; none may be below 0 and one must be above. "
            "Give one for each class."
        )
    return weights

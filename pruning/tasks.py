"""What a network is trained for: a loss, a metric, an optimizer, augmentation, a batch size.

Each part is a value and can be replaced by any object that can be called in the same way.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, ClassVar, Literal, Protocol, final

import torch
from torch import Generator, Tensor
from torch.nn.functional import cross_entropy
from torch.optim import SGD, AdamW, Optimizer

from pruning.data import Augment
from pruning.errors import PruningError

Direction = Literal["maximize", "minimize"]
Augmentation = Callable[[Tensor, Generator], Tensor]
MakeOptimizer = Callable[[Mapping[str, Tensor]], Optimizer]
"""Named parameters to an optimizer over them."""


class Loss(Protocol):
    """What training makes small."""

    def __call__(self, outputs: Tensor, targets: Tensor, /) -> Tensor:
        """Logits [N, classes] and targets int64 [N] to a scalar."""
        ...


class Metric(Protocol):
    """What a network is judged by, over a whole split at once.

    `name` is what reports call it, `direction` says which way is better.
    """

    @property
    def name(self) -> str:
        """What reports call it."""
        ...

    @property
    def direction(self) -> Direction:
        """Which way is better."""
        ...

    def __call__(self, outputs: Tensor, targets: Tensor, /) -> float:
        """Logits [N, classes] and targets int64 [N] to a score."""
        ...

    def chance(self, targets: Tensor, classes: int, /) -> float:
        """The score of guessing without a look at the inputs."""
        ...


@final
@dataclass(frozen=True, slots=True)
class CrossEntropy:
    """Mean cross entropy, in nats.

    Attributes:
        label_smoothing: Share of each target spread over all classes, 0 to 1.
        class_weights: One weight a class; None for equal ones; "balanced" for
            samples / (classes x samples of the class) of the training targets, which
            `Task.fitted` fills in.
    """

    label_smoothing: float = 0.0
    class_weights: Literal["balanced"] | Sequence[float] | None = None

    def __post_init__(self) -> None:
        if not 0 <= self.label_smoothing <= 1:
            raise PruningError(
                f"label_smoothing is {self.label_smoothing}; it must lie in 0 to 1."
            )
        given = self.class_weights
        if isinstance(given, str) and given != "balanced":
            raise PruningError(
                f'class_weights is "{given}"; give "balanced", numbers, or nothing.'
            )
        if given is not None and not isinstance(given, str):
            object.__setattr__(self, "class_weights", _positive(given))

    def __call__(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """Logits [N, classes] and targets int64 [N] to a scalar, in float32.

        Raises:
            PruningError: the class weights are still "balanced", or as many as other classes.
        """
        weights = self._weights(outputs)
        return cross_entropy(
            outputs.float(), targets, weight=weights, label_smoothing=self.label_smoothing
        )

    def fitted(self, targets: Tensor, classes: int) -> "CrossEntropy":
        """The same loss with "balanced" replaced by the weights for these targets."""
        if self.class_weights != "balanced":
            return self
        counts = torch.bincount(targets, minlength=classes).clamp(min=1)
        weights = targets.numel() / (classes * counts.double())
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
class Accuracy:
    """Share of samples whose largest logit is that of their class."""

    name: ClassVar[str] = "accuracy"
    direction: ClassVar[Direction] = "maximize"

    def __call__(self, outputs: Tensor, targets: Tensor) -> float:
        """Logits [N, classes] and targets [N] to 0..1."""
        return (outputs.argmax(1) == targets).double().mean().item()

    def chance(self, targets: Tensor, classes: int) -> float:
        """The share of the most frequent class."""
        return int(_counts(targets, classes).max()) / targets.numel()


@final
@dataclass(frozen=True, slots=True)
class BalancedAccuracy:
    """Mean over the classes that occur of the share of their samples that are found."""

    name: ClassVar[str] = "balanced_accuracy"
    direction: ClassVar[Direction] = "maximize"

    def __call__(self, outputs: Tensor, targets: Tensor) -> float:
        """Logits [N, classes] and targets [N] to 0..1."""
        found, support, _ = _tally(outputs, targets)
        occurs = support > 0
        return (found[occurs] / support[occurs]).mean().item()

    def chance(self, targets: Tensor, classes: int) -> float:
        """One over the number of classes that occur."""
        return 1 / int((_counts(targets, classes) > 0).sum())


@final
@dataclass(frozen=True, slots=True)
class MacroF1:
    """Mean over the classes, in targets or answers, of the F1 score of each.

    F1 is the harmonic mean of precision and recall.
    """

    name: ClassVar[str] = "macro_f1"
    direction: ClassVar[Direction] = "maximize"

    def __call__(self, outputs: Tensor, targets: Tensor) -> float:
        """Logits [N, classes] and targets [N] to 0..1."""
        found, support, answers = _tally(outputs, targets)
        total = support + answers
        occurs = total > 0
        return (2 * found[occurs] / total[occurs]).mean().item()

    def chance(self, targets: Tensor, classes: int) -> float:
        """Always answering the most frequent class, whose share is p: 2p/(1+p)/classes."""
        counts = _counts(targets, classes)
        share = int(counts.max()) / targets.numel()
        return 2 * share / (1 + share) / int((counts > 0).sum())


@final
@dataclass(frozen=True, slots=True)
class Decayed:
    """Makes an optimizer with weight decay on the weights alone.

    Tensors of one dimension (biases and batch norms) get none: decay would fight the scale
    that batch norm is there to learn. Empty groups are left out.

    Attributes:
        algorithm: Takes parameter groups and keyword options.
        weight_decay: For tensors of more than one dimension.
        options: Keyword options of the algorithm, as pairs.
    """

    algorithm: Callable[..., Optimizer]
    weight_decay: float
    options: tuple[tuple[str, Any], ...]

    def __call__(self, named: Mapping[str, Tensor]) -> Optimizer:
        """Named parameters to an optimizer over them, weights first."""
        weights = [tensor for tensor in named.values() if tensor.ndim > 1]
        others = [tensor for tensor in named.values() if tensor.ndim <= 1]
        groups = [
            {"params": weights, "weight_decay": self.weight_decay},
            {"params": others, "weight_decay": 0.0},
        ]
        return self.algorithm(
            [group for group in groups if group["params"]], **dict(self.options)
        )


def sgd(
    lr: float = 0.1, momentum: float = 0.9, weight_decay: float = 5e-4, nesterov: bool = True
) -> Decayed:
    """Stochastic gradient descent with momentum."""
    options = (("lr", lr), ("momentum", momentum), ("nesterov", nesterov))
    return Decayed(SGD, weight_decay, options)


def adamw(
    lr: float = 2e-3,
    betas: tuple[float, float] = (0.9, 0.999),
    weight_decay: float = 1e-2,
    eps: float = 1e-8,
) -> Decayed:
    """Adam with decoupled weight decay."""
    return Decayed(
        AdamW, weight_decay, (("lr", lr), ("betas", (betas[0], betas[1])), ("eps", eps))
    )


@final
@dataclass(frozen=True, slots=True)
class Task:
    """How a network is trained and judged.

    Attributes:
        loss: Made small on training batches.
        metric: The score, over a whole split.
        optimizer: Makes an optimizer from named parameters.
        augment: Changes normalised training batches at random.
        batch_size: Samples a training step, at least 2 for batch norm.
    """

    loss: Loss = field(default_factory=CrossEntropy)
    metric: Metric = field(default_factory=Accuracy)
    optimizer: MakeOptimizer = field(default_factory=sgd)
    augment: Augmentation = field(default_factory=Augment)
    batch_size: int = 128

    def __post_init__(self) -> None:
        if self.batch_size < 2:
            raise PruningError(
                f"batch_size is {self.batch_size}; batch norm needs at least 2. Use 128."
            )
        if self.metric.direction not in ("maximize", "minimize"):
            raise PruningError(
                f'metric {self.metric.name} has direction "{self.metric.direction}"; give '
                '"maximize" or "minimize".'
            )

    @property
    def rises(self) -> bool:
        """Whether a larger score is a better one."""
        return self.metric.direction == "maximize"

    def fitted(self, targets: Tensor, classes: int) -> "Task":
        """The same task with balanced class weights taken from the training targets [N]."""
        if not isinstance(self.loss, CrossEntropy):
            return self
        return replace(self, loss=self.loss.fitted(targets, classes))


def _positive(weights: Sequence[float]) -> tuple[float, ...]:
    if not weights or min(weights) < 0 or max(weights) <= 0:
        raise PruningError(
            f"class_weights are {list(weights)}; none may be below 0 and one must be above. "
            "Give one for each class."
        )
    return tuple(float(weight) for weight in weights)


def _counts(targets: Tensor, classes: int) -> Tensor:
    return torch.bincount(targets, minlength=classes)


def _tally(outputs: Tensor, targets: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Samples found, samples, and answers of each class, as float64 [classes]."""
    classes = outputs.shape[1]
    answers = outputs.argmax(1)
    found = targets[answers == targets]
    return (
        _counts(found, classes).double(),
        _counts(targets, classes).double(),
        _counts(answers, classes).double(),
    )

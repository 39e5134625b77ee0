"""What a network is trained for: a loss, a metric, an optimizer, augmentation, a batch size.

Each part is a value and can be replaced by any object that can be called in the same way.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from math import isfinite
from typing import Any, Final, Literal, final

from torch import Generator, Tensor
from torch.optim import SGD, AdamW, Optimizer

from pruning.data import Augment
from pruning.errors import PruningError
from pruning.tasks.losses import CrossEntropy, Loss, paired
from pruning.tasks.metrics import Accuracy, Metric

ROUNDING = 1e-6  # by which a score may be better than the best
# What configs may name as pruning.tasks.NAME, by what it is of a task.
OFFERED: Final[Mapping[str, frozenset[str]]] = {
    "metric": frozenset(
        {
            "Accuracy", "BalancedAccuracy", "Determination", "MacroF1", "MeanAbsolute",
            "MeanError", "RocAuc", "RootMeanSquare",
        }
    ),
    "loss": frozenset({"Absolute", "CrossEntropy", "Huber", "Squared"}),
    "optimizer": frozenset({"adamw", "sgd"}),
}  # fmt: skip

Augmentation = Callable[[Tensor, Generator], Tensor]
MakeOptimizer = Callable[[Mapping[str, Tensor]], Optimizer]
"""Named parameters to an optimizer over them."""


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
        return self.algorithm([group for group in groups if group["params"]], **dict(self.options))


def sgd(
    lr: float = 0.1, momentum: float = 0.9, weight_decay: float = 5e-4, nesterov: bool = True
) -> Decayed:
    """Stochastic gradient descent, with Nesterov's momentum where there is any."""
    options = (("lr", lr), ("momentum", momentum), ("nesterov", nesterov and momentum > 0))
    return Decayed(SGD, weight_decay, options)


def adamw(
    lr: float = 2e-3,
    betas: tuple[float, float] = (0.9, 0.999),
    weight_decay: float = 1e-2,
    eps: float = 1e-8,
) -> Decayed:
    """Adam with decoupled weight decay."""
    return Decayed(AdamW, weight_decay, (("lr", lr), ("betas", (betas[0], betas[1])), ("eps", eps)))


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
        goal: What outputs should be: the "targets" of the data, or the "inputs" themselves,
            as an autoencoder gives them back. Then the metric judges each sample's error.
    """

    loss: Loss = field(default_factory=CrossEntropy)
    metric: Metric = field(default_factory=Accuracy)
    optimizer: MakeOptimizer = field(default_factory=sgd)
    augment: Augmentation = field(default_factory=Augment)
    batch_size: int = 128
    goal: Literal["targets", "inputs"] = "targets"

    def __post_init__(self) -> None:
        if not isinstance(self.batch_size, int) or self.batch_size < 2:
            raise PruningError(
                f"batch_size is {self.batch_size}; batch norm needs a whole number of at least "
                "2. Use 128."
            )
        if not all(hasattr(self.metric, name) for name in ("name", "direction")):
            raise PruningError(
                f"the metric is {self.metric!r:.60}, which has no name and no direction. Use "
                f"one of {', '.join(sorted(OFFERED['metric']))}, or an object like them."
            )
        if self.metric.direction not in ("maximize", "minimize"):
            raise PruningError(
                f'metric {self.metric.name} has direction "{self.metric.direction}"; give '
                '"maximize" or "minimize".'
            )
        if self.goal not in ("targets", "inputs"):
            raise PruningError(f'goal is "{self.goal}"; give "targets" or "inputs".')

    @property
    def rises(self) -> bool:
        """Whether a larger score is a better one."""
        return self.metric.direction == "maximize"

    @property
    def best(self) -> float:
        """The best possible score.

        Raises:
            PruningError: the metric does not say it.
        """
        best = getattr(self.metric, "best", None)
        if not isinstance(best, int | float) or not isfinite(best):
            raise PruningError(
                f"metric {self.metric.name} says that its best possible score is {best}; give "
                "it an attribute `best`, a finite number that no score goes beyond"
            )
        return float(best)

    def score(self, answers: Tensor, targets: Tensor) -> float:
        """The metric's score of answers [N, ...] to targets [N, ...].

        Raises:
            PruningError: it is beyond the best possible one.
        """
        score = self.metric(answers, targets)
        if getattr(self.metric, "best", None) is None:
            return score  # studies of earlier versions have such metrics
        best, sign = self.best, 1 if self.rises else -1
        if sign * (score - best) > ROUNDING * max(1.0, abs(best)):
            raise PruningError(
                f"metric {self.metric.name} gives {score}, beyond the best possible {best}; "
                "correct the metric or its `best`"
            )
        return best if sign * (score - best) > 0 else score

    def require_shape(self, outputs: Sequence[int], classes: int) -> None:
        """Refuse a network whose outputs, of this shape a sample, are no logits of the classes.

        Raises:
            PruningError: there are too few, or they are no vector. Other losses than cross
                entropy know by themselves.
        """
        if isinstance(self.loss, CrossEntropy) and (len(outputs) != 1 or outputs[0] < classes):
            raise PruningError(
                f"the network gives {list(outputs)} a sample, but {classes} classes need one "
                "logit each. Give the model as many outputs (model.classes=auto)."
            )

    def aim(self, inputs: Tensor, targets: Tensor) -> Tensor:
        """What the loss compares outputs with, given a normalised batch before augmentation.

        So a network that gives back its inputs learns to undo the noise that was added.
        """
        return inputs if self.goal == "inputs" else targets

    def answers(self, outputs: Tensor, inputs: Tensor) -> Tensor:
        """What the metric judges: outputs, or each sample's mean squared error [N] in giving
        back its normalised inputs.
        """
        if self.goal == "targets":
            return outputs
        ours, theirs = paired(outputs, inputs)
        return (ours - theirs).square().mean(1)

    def fitted(self, targets: Tensor, classes: int) -> "Task":
        """The same task with balanced class weights taken from the training targets [N].

        Raises:
            PruningError: anomalies among the samples that show what is normal, or a metric
                for another goal.
        """
        needs_anomalies = getattr(self.metric, "needs_anomalies", False)
        if needs_anomalies and self.goal == "targets":
            raise PruningError(
                f"metric {type(self.metric).__name__} judges errors in giving back inputs, but "
                "the goal is targets. Choose task=reconstruction, or another metric."
            )
        if needs_anomalies and targets.any():
            raise PruningError(
                f"{int(targets.count_nonzero())} of the {len(targets)} training samples are "
                "anomalous; training must see normal ones only. Leave them out of the split."
            )
        if not isinstance(self.loss, CrossEntropy):
            return self
        return replace(self, loss=self.loss.fitted(targets, classes))

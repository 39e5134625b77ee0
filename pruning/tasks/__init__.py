"""What a network is trained for: losses, metrics, optimizers, and the task that joins them."""

from pruning.tasks.losses import Absolute, CrossEntropy, Huber, Loss, Squared
from pruning.tasks.metrics import (
    Accuracy,
    BalancedAccuracy,
    Determination,
    Direction,
    MacroF1,
    MeanAbsolute,
    MeanError,
    Metric,
    RocAuc,
    RootMeanSquare,
)
from pruning.tasks.task import (
    OFFERED,
    Augmentation,
    Decayed,
    MakeOptimizer,
    Task,
    adamw,
    sgd,
)

__all__ = [
    "OFFERED",
    "Absolute",
    "Accuracy",
    "Augmentation",
    "BalancedAccuracy",
    "CrossEntropy",
    "Decayed",
    "Determination",
    "Direction",
    "Huber",
    "Loss",
    "MacroF1",
    "MakeOptimizer",
    "MeanAbsolute",
    "MeanError",
    "Metric",
    "RocAuc",
    "RootMeanSquare",
    "Squared",
    "Task",
    "adamw",
    "sgd",
]

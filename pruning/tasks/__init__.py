"""What a network is trained for: losses, metrics, optimizers, and the task that joins them.

Example:
    >>> import pruning
    >>> task = pruning.tasks.Task(optimizer=pruning.tasks.sgd(lr=0.05), batch_size=64)
    >>> task.metric.name, task.best
    ('accuracy', 1.0)
"""

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

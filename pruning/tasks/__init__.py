"""What a network is trained for: losses, metrics, optimizers, and the task that joins them.

Example:
    >>> import pruning
    >>> task = pruning.tasks.Task(optimizer=pruning.tasks.sgd(lr=0.05), batch_size=64)
    >>> task.metric.name, task.best
    ('accuracy', 1.0)
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from pruning.tasks.losses import Absolute, CrossEntropy, Huber, Loss, Squared
from pruning.tasks.metrics import (
    Accuracy,
    Determination,
    Direction,
    MeanAbsolute,
    MeanError,
    Metric,
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

if TYPE_CHECKING:
    from pruning.tasks.sklearn_metrics import BalancedAccuracy, MacroF1, RocAuc

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

# Of these scikit-learn is imported, which takes a second or two: not before one is asked for.
_SKLEARN_METRICS = frozenset({"BalancedAccuracy", "MacroF1", "RocAuc"})


def __getattr__(name: str) -> Any:
    if name in _SKLEARN_METRICS:
        return getattr(import_module("pruning.tasks.sklearn_metrics"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")

"""Metrics that scikit-learn computes. To import it takes a second or two: `pruning.tasks` does so
when one of these metrics is asked for, and a process that uses others does without.
"""

# ruff: noqa: ARG002 - all metrics take the same arguments

from dataclasses import dataclass
from typing import ClassVar, final

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.metrics import f1_score, recall_score, roc_auc_score
from torch import Tensor

from pruning.errors import PruningError
from pruning.tasks.losses import require_classes
from pruning.tasks.metrics import Direction, class_counts, one_each


@final
@dataclass(frozen=True, slots=True)
class BalancedAccuracy:
    """Mean recall of the classes that occur: of the share of their samples that are found."""

    name: ClassVar[str] = "balanced_accuracy"
    direction: ClassVar[Direction] = "maximize"
    best: ClassVar[float] = 1.0

    def __call__(self, outputs: Tensor, targets: Tensor) -> float:
        """Logits [N, classes] and targets [N] to 0..1."""
        truth, answers = _classes(outputs, targets)
        # scikit-learn's balanced_accuracy_score is this, but warns of an answer that is no
        # target.
        labels = np.unique(truth)
        return float(recall_score(truth, answers, labels=labels, average="macro"))

    def chance(self, targets: Tensor, classes: int) -> float:
        """One over the number of classes that occur."""
        return 1 / int((class_counts(targets, classes) > 0).sum())


@final
@dataclass(frozen=True, slots=True)
class MacroF1:
    """Mean over the classes, in targets or answers, of the F1 score of each.

    F1 is the harmonic mean of precision and recall.
    """

    name: ClassVar[str] = "macro_f1"
    direction: ClassVar[Direction] = "maximize"
    best: ClassVar[float] = 1.0

    def __call__(self, outputs: Tensor, targets: Tensor) -> float:
        """Logits [N, classes] and targets [N] to 0..1."""
        return float(f1_score(*_classes(outputs, targets), average="macro"))

    def chance(self, targets: Tensor, classes: int) -> float:
        """Always answering the most frequent class, whose share is p: 2p/(1+p)/classes."""
        counts = class_counts(targets, classes)
        share = int(counts.max()) / targets.numel()
        return 2 * share / (1 + share) / int((counts > 0).sum())


@final
@dataclass(frozen=True, slots=True)
class RocAuc:
    """How likely an anomalous sample has a larger error than a normal one (ties count half).

    That is the area under the receiver operating characteristic (Hanley and McNeil, 1982).
    """

    name: ClassVar[str] = "roc_auc"
    direction: ClassVar[Direction] = "maximize"
    best: ClassVar[float] = 1.0
    needs_anomalies: ClassVar[bool] = True  # which training must not see

    def __call__(self, errors: Tensor, targets: Tensor) -> float:
        """Errors [N] and targets [N], 0 normal and 1 anomalous, to 0..1."""
        require_classes(targets)
        one_each(errors)
        _require_both(targets)
        # The area depends on the order alone. Unlike errors, ranks are always finite: infinity
        # is above all numbers, and what is no number above infinity.
        _, ranks = torch.unique(errors, return_inverse=True)
        return float(roc_auc_score(targets.cpu().numpy(), ranks.cpu().numpy()))

    def chance(self, targets: Tensor, classes: int) -> float:
        """The same error for all."""
        return self(torch.zeros(len(targets)), targets)


Classes = NDArray[np.int64]


def _classes(outputs: Tensor, targets: Tensor) -> tuple[Classes, Classes]:
    """Targets and answers, each [N]."""
    require_classes(targets)
    return targets.cpu().numpy(), outputs.argmax(1).cpu().numpy()


def _require_both(targets: Tensor) -> None:
    kinds = sorted(set(targets.tolist()))
    if kinds != [0, 1]:
        raise PruningError(
            f"roc_auc needs samples of target 0 (normal) and 1 (anomalous); there are {kinds}. "
            "Bring both into the validation and test splits."
        )

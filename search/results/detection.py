"""The errors of an autoencoder on normal and anomalous samples, and where to draw the line."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from sklearn.metrics import roc_auc_score

from pruning.data import Split
from search.results.samples import WORST, histogram, short, shown
from tracking.evaluation import Detection, Misjudged, Share, Threshold

_ALARMS = (0.1, 0.05, 0.02, 0.01)  # shares of the normal samples that a threshold may call wrongly
_BARS = 30
_TINY = 1e-12
Array = NDArray[np.float64]
Mask = NDArray[np.bool_]


def detection(
    name: str, errors: Array, split: Split, validation: Detection | None = None
) -> Detection:
    """The evaluation of errors [N] in giving back the samples of a split; target 0 is normal.

    Args:
        name: of the split.
        errors: one a sample.
        split: the samples.
        validation: the evaluation whose thresholds are judged; None: they are chosen here.
    """
    anomalous: Mask = (split.targets != 0).cpu().numpy()
    chosen, among = _chosen(errors, anomalous)
    if validation is not None:
        chosen, among = validation.threshold, [one.error for one in validation.thresholds]
    both = anomalous.any() and not anomalous.all()
    edges = _edges(errors)
    return Detection(
        split=name,
        samples=len(errors),
        anomalous=int(anomalous.sum()),
        area=short(roc_auc_score(anomalous, errors)) if both else None,
        normal_errors=histogram(errors[~anomalous], edges),
        anomalous_errors=histogram(errors[anomalous], edges),
        thresholds=tuple(_threshold(error, errors, anomalous) for error in among),
        threshold=chosen,
        misjudged=_misjudged(chosen, errors, anomalous, split),
    )


def _chosen(errors: Array, anomalous: Mask) -> tuple[float, list[float]]:
    """The best threshold, and all that are worth a look, ascending."""
    normal = np.sort(errors[~anomalous] if not anomalous.all() else errors)
    few = {float(normal[-1 - int(share * len(normal))]) for share in _ALARMS}  # called if above
    best = _best(errors, anomalous)
    if best is None:
        return max(few), sorted(few)
    return best, sorted({*few, best})


def _best(errors: Array, anomalous: Mask) -> float | None:
    """The threshold, between two errors, of the largest mean of both shares that are right."""
    values = np.unique(errors)
    if anomalous.all() or not anomalous.any() or len(values) < 2:
        return None
    between = (values[1:] + values[:-1]) / 2
    alarms, detected = (_above(np.sort(errors[part]), between) for part in (~anomalous, anomalous))
    return float(between[np.argmax(detected - alarms)])


def _above(ascending: Array, limits: Array) -> Array:
    """The share of values above each of some limits."""
    shares: Array = 1 - np.searchsorted(ascending, limits, side="right") / len(ascending)
    return shares


def _threshold(error: float, errors: Array, anomalous: Mask) -> Threshold:
    called = errors > error
    hits, false = int((called & anomalous).sum()), int((called & ~anomalous).sum())
    return Threshold(
        error=error,
        alarms=_share(false, int((~anomalous).sum())),
        detected=_share(hits, int(anomalous.sum())),
        precision=_share(hits, hits + false),
    )


def _share(part: int, whole: int) -> Share:
    return part / whole if whole else None


def _edges(errors: Array) -> Sequence[float]:
    """The edges of bars that are equally wide on a scale of ratios, as errors spread widely."""
    least, most = max(float(errors.min()), _TINY), max(float(errors.max()), 2 * _TINY)
    edges: list[float] = np.geomspace(0.999 * least, 1.001 * most, _BARS + 1).tolist()
    return edges


def _misjudged(
    threshold: float, errors: Array, anomalous: Mask, split: Split
) -> tuple[Misjudged, ...]:
    wrong = np.flatnonzero((errors > threshold) != anomalous)
    ratios = np.abs(np.log(np.maximum(errors[wrong], _TINY) / max(threshold, _TINY)))
    worst = wrong[np.argsort(-ratios, kind="stable")][:WORST].tolist()
    return tuple(
        Misjudged(
            index=index, anomalous=bool(anomalous[index]), error=short(errors[index]), sample=sample
        )
        for index, sample in zip(worst, shown(split.inputs, worst), strict=True)
    )

"""Slots that differ in their seeds alone: their mean score, and how far apart they are."""

from collections.abc import Mapping
from dataclasses import dataclass
from statistics import fmean, stdev

from tracking.records import Limits, SlotRecord, State, StudyRecord


@dataclass(frozen=True, slots=True)
class Repeats:
    """Finished slots of one budget and one draw of the hyperparameters, two or more.

    `mean` is that of their scores, `spread` the standard deviation of a sample.
    """

    slots: tuple[SlotRecord, ...]
    mean: float
    spread: float


def repeats(study: StudyRecord) -> tuple[Repeats, ...]:
    """Return the slots that repeat one another, by budget and draw; copies count once."""
    groups: dict[tuple[Limits, int], list[SlotRecord]] = {}
    for slot in study.slots:
        own = slot.copy_of is None and slot.state is State.COMPLETE
        known = slot.score is not None and slot.costs is not None  # not all are measured
        if own and known and slot.draw is not None:
            groups.setdefault((slot.budget, slot.draw), []).append(slot)
    return tuple(_summed(group) for group in groups.values() if len(group) > 1)


def repeats_of(study: StudyRecord) -> Mapping[int, Repeats]:
    """Return for every slot that has repeats all of them, itself included, by its number."""
    return {slot.number: group for group in repeats(study) for slot in group.slots}


def _summed(group: list[SlotRecord]) -> Repeats:
    scores = [slot.score for slot in group if slot.score is not None]
    return Repeats(tuple(group), fmean(scores), stdev(scores))

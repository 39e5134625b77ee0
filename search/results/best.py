"""The best finished trial for a device or a budget: the one whose firmware stays within it."""

from dataclasses import asdict, replace

from pruning.budget import Budget, Cost, Device
from pruning.cost.model import Encoding
from search.errors import NothingFitsError
from search.results.export import finished_trial
from search.results.front import Point, best_within, points_of
from search.results.report import study_record
from search.results.retarget import record_for
from search.study.factory import SweepFactory
from search.study.study import Study
from tracking.records import StudyRecord, TrialRecord


def best_trial(
    study: Study, limits: Budget, device: Device | None
) -> tuple[StudyRecord, TrialRecord]:
    """The best trial within limits, and the study as the device would run it; without a device,
    as its own would.

    Raises:
        NothingFitsError: there is none; the message names the nearest.
    """
    record = study_record(study) if device is None else record_for(study, device)
    return record, finished_trial(record, _best(study, record, limits, device).number)


def _best(study: Study, record: StudyRecord, limits: Budget, device: Device | None) -> Point:
    """The best point whose firmware will be within the limits, not its estimate alone."""
    factory = SweepFactory(study.spec)
    guard = factory.encoding is Encoding.C
    guarded = (device or factory.device).guarded(limits) if guard else limits
    try:
        return best_within(_points(study, record), guarded, study.facts.rises)
    except NothingFitsError as error:
        why = " These limits are reduced by the margin of the estimates."
        raise NothingFitsError(f"{error}{why if guarded != limits else ''}") from error


def _points(study: Study, record: StudyRecord) -> list[Point]:
    """The finished trials with the costs of the record."""
    costs = {trial.number: trial.costs for trial in record.trials}
    return [
        replace(point, cost=Cost(**asdict(known))) if (known := costs[point.number]) else point
        for point in points_of(study)
    ]

"""The best finished trial for a device or a budget: the one whose firmware stays within it."""

from pruning.budget import Budget, Device
from search.errors import NothingFitsError
from search.results.export import finished_trial
from search.results.front import best_within
from search.results.report import points_in, study_record
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
    # What must be within the limits is the firmware, not its estimate alone.
    encoding = study.facts.precision.encoding
    guarded = encoding.guarded(limits, device or SweepFactory(study.spec).device)
    points = points_in(record.trials, study.facts.device_limits)
    try:
        best = best_within(points, guarded, study.facts.rises)
    except NothingFitsError as error:
        why = " These limits are reduced by the margin of the estimates."
        raise NothingFitsError(f"{error}{why if guarded != limits else ''}") from error
    return record, finished_trial(record, best.number)

"""Which model for which chip, as an HTML table with the lines that get it."""

from collections.abc import Mapping
from typing import NamedTuple

from tracking.records import PickRecord, StudyRecord, TrialRecord
from tracking.tables import DASH, score_text, size


class PickRow(NamedTuple):
    """A device's row: what it leaves to a network, and its best trial, None if none fits.

    `page` is where the trial's page is, None where that is not known.
    """

    device: str
    device_flash: str
    device_sram: str
    trial: int | None = None
    page: str | None = None
    score: str = ""
    flash: str = DASH
    sram: str = DASH
    command: str = ""


def page_folder(number: int | str) -> str:
    """Return the folder into which a trial is exported so that the front finds its page."""
    return f"trial-{number}"


def pick_rows(study: StudyRecord, pages: Mapping[int, str]) -> list[PickRow]:
    """Return the best trial for every device, the smallest first.

    The devices are those that the record names: `paring pick` decides.
    """
    trials = {trial.number: trial for trial in study.trials}
    return [
        _row(study, pick, None if pick.trial is None else trials[pick.trial], pages)
        for pick in study.picks
    ]


def _row(
    study: StudyRecord, pick: PickRecord, trial: TrialRecord | None, pages: Mapping[int, str]
) -> PickRow:
    limits = pick.device.limits
    row = PickRow(pick.device.name, size(limits.flash_bytes), size(limits.sram_bytes))
    if trial is None:
        return row
    row = row._replace(
        trial=trial.number,
        page=pages.get(trial.number),
        score=score_text(trial.score),
        command=f"paring pick study={study.name} {pick.words}",
    )
    if trial.costs is None:  # it was not measured, where measurements are shown
        return row
    return row._replace(flash=size(trial.costs.flash_bytes), sram=size(trial.costs.sram_bytes))

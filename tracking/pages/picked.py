"""Which model for which chip, as an HTML table with the lines that get it."""

from collections.abc import Mapping
from html import escape

from tracking.records import Costs, PickRecord, StudyRecord, TrialRecord
from tracking.tables import DASH, score_text, size

_HEADER = (
    "chip",
    "leaves flash",
    "SRAM",
    "trial",
    "score",
    "takes flash",
    "SRAM",
    "get it",
)
_LEFT = frozenset({_HEADER[0], _HEADER[-1]})


def page_folder(number: int | str) -> str:
    """Return the folder into which a trial is exported so that the front finds its page."""
    return f"trial-{number}"


def linked(number: int, pages: Mapping[int, str]) -> str:
    """Return a trial's number as HTML, with a link where its page is known."""
    if number not in pages:
        return str(number)
    where = escape(pages[number])
    return f"<a href='{where}' title='why this network looks as it does'>{number}</a>"


def picks_card(study: StudyRecord, pages: Mapping[int, str]) -> str:
    """Return the best trial for every device, the smallest first; empty if no device is known.

    It is escaped, and the devices are those that the record names: `paring pick` decides.
    """
    if not study.picks:
        return ""
    trials = {trial.number: trial for trial in study.trials}
    head = "".join(f"<th{_class(name)}>{name}</th>" for name in _HEADER)
    rows = "\n".join(
        _row(study, pick, None if pick.trial is None else trials[pick.trial], pages)
        for pick in study.picks
    )
    return (
        "<div class='card lower picks'><h2>Which one for my chip?</h2><p class='note'>The best "
        "score within the flash and SRAM that a chip leaves to a network, as <code>paring pick"
        "</code> judges: by estimates, for every trial that has finished. Add <code>"
        "budget.latency=20ms</code> and the like for what it may take.</p>"
        f"<div class='wide'><table><thead><tr>{head}</tr></thead>"
        f"<tbody>\n{rows}\n</tbody></table></div></div>\n"
    )


def _row(
    study: StudyRecord, pick: PickRecord, trial: TrialRecord | None, pages: Mapping[int, str]
) -> str:
    limits = pick.device.limits
    room = (size(limits.flash_bytes), size(limits.sram_bytes))
    name = f"<td class='text'>{escape(pick.device.name)}</td>"
    if trial is None:
        rest = "<td>none fits</td>" + "<td></td>" * 4
    else:
        words = f"paring pick study={study.name} {pick.words}"
        rest = (
            f"<td>{linked(trial.number, pages)}</td>"
            f"{_cells(score_text(trial.score), *_taken(trial.costs))}"
            f"<td class='text'><code>{escape(words)}</code></td>"
        )
    return f"<tr>{name}{_cells(*room)}{rest}</tr>"


def _taken(costs: Costs | None) -> tuple[str, str]:
    if costs is None:  # of a trial that was not measured, where measurements are shown
        return DASH, DASH
    return size(costs.flash_bytes), size(costs.sram_bytes)


def _cells(*values: str) -> str:
    return "".join(f"<td>{value}</td>" for value in values)


def _class(name: str) -> str:
    return " class='text'" if name in _LEFT else ""

"""What the study's page chooses from, as JSON values for its script: `selection.js` describes how
it chooses.
"""

from collections.abc import Mapping, Sequence
from operator import attrgetter
from typing import Any, NamedTuple

from tracking.pages.answers import answers_of, classes_of
from tracking.pages.plot_layout import PANELS
from tracking.pages.tooltips import hover_text
from tracking.records import RESOURCES, ChoicesRecord, StudyRecord, TrialRecord
from tracking.tables import NAMES, finished_trials, limit_of, size

_BYTES = {"b": 1, "k": 1024, "kib": 1024, "kb": 1000, "m": 1 << 20, "mib": 1 << 20, "mb": 10**6}
_TIMES = {"us": 1e-3, "ms": 1, "s": 1000}
UNITS = {"flash_bytes": _BYTES, "sram_bytes": _BYTES, "latency_ms": _TIMES}  # as `pick` reads them
_CROWD = 0.1  # of the range of scores, from the best one
_ANY = "any"


class DeviceEntry(NamedTuple):
    """An entry of the list of devices."""

    key: str
    text: str


def device_entries(study: StudyRecord) -> list[DeviceEntry]:
    """Return the list of devices, the smallest first, each with what it has for a network."""
    return [DeviceEntry(choices.key, _entry_text(choices)) for choices in study.choices]


def _entry_text(choices: ChoicesRecord) -> str:
    device = choices.device
    if choices.key == _ANY:
        return f"any chip: the limits below alone (time on {device.name})"
    stock = (device.memory.flash_bytes, device.memory.sram_bytes)
    sizes = [size(value) for value in stock if value is not None]
    clock = "" if device.clock_hz is None else f", {device.clock_hz / 1e6:g} MHz"
    return f"{device.name}: {' / '.join(sizes)}, {device.core}{clock}"


def first_key(study: StudyRecord) -> str:
    """Return the choices that the page opens with: those for the study's own device."""
    own = None if study.device is None else study.device.name
    named = [choices.key for choices in study.choices if choices.device.name == own]
    return named[-1] if named else _ANY


def chooser_data(
    study: StudyRecord, pages: Mapping[int, str], answers: Mapping[int, str] | None = None
) -> dict[str, Any]:
    """Return everything that the script needs; `pages` and `answers` are trials' pages, by number.

    Costs, needs and ranks are columns in the order of `trials`, with null where a trial cannot be
    chosen; equal columns are there once, and named by their place in `columns`.
    """
    macs = {option.trial: option.costs.macs for one in study.choices for option in one.options}
    trials = [trial for trial in study.trials if trial.number in macs]
    groups = list(dict.fromkeys(name for trial in trials for name in trial.widths))
    columns = _Columns([trial.number for trial in trials])
    choices = [_choices(one, columns) for one in study.choices]
    return {
        "study": study.name,
        "metric": study.metric,
        "rises": study.scores_rise,
        "best": study.best,
        "crowded": is_crowded(study),
        "source": study.source,
        "first": first_key(study),
        "resources": [
            {
                "name": NAMES[panel.resource],
                "key": panel.resource.partition("_")[0],
                "field": panel.resource,
                "units": UNITS[panel.resource],
                "scale": panel.scale,
                "unit": panel.unit,
            }
            for panel in PANELS
        ],
        "groups": groups,
        "classes": classes_of(trials),
        "trials": [
            _trial(study, trial, groups)
            | {
                "macs": macs[trial.number],
                "page": pages.get(trial.number),
                "all": (answers or {}).get(trial.number),
            }
            for trial in trials
        ],
        "choices": choices,
        "columns": columns.values,
    }


def _trial(study: StudyRecord, trial: TrialRecord, groups: Sequence[str]) -> dict[str, Any]:
    return {
        "number": trial.number,
        "score": trial.score,
        "test": trial.test_score,
        "fronts": [NAMES.get(plane, plane) for plane in trial.planes],
        "widths": [trial.widths.get(name) for name in groups],
        "hover": hover_text(study, trial),
        "answers": answers_of(trial),
    }


class _Columns:
    """Columns of numbers by trial, each kept once."""

    def __init__(self, numbers: Sequence[int]) -> None:
        self._numbers = numbers
        self._places: dict[tuple[float | None, ...], int] = {}

    @property
    def values(self) -> list[tuple[float | None, ...]]:
        return list(self._places)

    def place(self, by_trial: Mapping[int, float]) -> int:
        column = tuple(by_trial.get(number) for number in self._numbers)
        return self._places.setdefault(column, len(self._places))


def _choices(choices: ChoicesRecord, columns: _Columns) -> dict[str, Any]:
    options = choices.options

    def places(part: str) -> list[int]:
        return [
            columns.place({one.trial: value(getattr(one, part)) for one in options})
            for value in map(attrgetter, RESOURCES)
        ]

    return {
        "key": choices.key,
        "device": choices.device.name,
        "named": choices.is_named,
        "words": choices.words,
        "limits": [limit_of(choices.device.limits, name) for name in RESOURCES],
        "rank": columns.place({one.trial: rank for rank, one in enumerate(options)}),
        "costs": places("costs"),
        "needed": places("needed"),
        "fronts": [list(choices.fronts.get(name, ())) for name in RESOURCES],
        "dense": [
            costs and [getattr(costs, name) for name in RESOURCES] for costs in choices.dense
        ],
    }


def is_crowded(study: StudyRecord) -> bool:
    """Tell whether half of the trials on fronts lie in a tenth of the range of scores, next to the
    best score there can be: there a linear axis shows no differences.
    """
    scores = [trial.score for trial in finished_trials(study) if trial.score is not None]
    front = [trial.score for trial in finished_trials(study) if trial.planes and trial.score]
    if study.best is None or len(front) < 2:
        return False
    span = max(abs(score - study.best) for score in scores)
    near = [score for score in front if abs(score - study.best) <= _CROWD * span]
    return 2 * len(near) >= len(front)

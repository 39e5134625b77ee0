"""What MLflow should hold of a study: a pure function of its record."""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, fields
from hashlib import sha256

from tracking.mlflow.descriptions import experiment_note, trial_note
from tracking.mlflow.metrics import Step, study_curves, study_finals, trial_curves, trial_finals
from tracking.mlflow.views import ORDER, order_of
from tracking.records import (
    RESOURCES,
    ChoicesRecord,
    Costs,
    Scalar,
    State,
    StudyRecord,
    TrialRecord,
)
from tracking.tables import bounds, score_text, size

STATUS = {
    State.WAITING: "SCHEDULED",
    State.RUNNING: "RUNNING",
    State.COMPLETE: "FINISHED",
    State.STOPPED: "FINISHED",
    State.INFEASIBLE: "FINISHED",
    State.FAILED: "FAILED",
    State.CANCELLED: "KILLED",
}
_LAYOUT = "5"  # raise it when the artifacts change: all of them are then written again
_REFUSED = re.compile(r"[^\w .:/-]")
_KEY_LIMIT = 250
_NO_COMMIT = "none"  # where a sweep is not started in a git repository


@dataclass(frozen=True, slots=True, kw_only=True)
class DesiredRun:
    """One MLflow run as it should be.

    `curves` only grow, and the tag `curve_tag` says up to which step MLflow has them.
    `finals_at` is the time of the finals, None while they change; it, `started` and `ended` are
    in milliseconds since the epoch. `artifacts` is a digest of what the artifacts are made from,
    empty where there are none.
    """

    name: str
    status: str
    started: int | None
    ended: int | None
    identity: Mapping[str, str]
    tags: Mapping[str, str]
    params: Mapping[str, str]
    finals: Mapping[str, float]
    finals_at: int | None
    curves: tuple[Step, ...]
    curve_tag: str
    artifacts: str


def trial_run(study: StudyRecord, trial: TrialRecord) -> DesiredRun:
    """Return the run of one trial."""
    return DesiredRun(
        name=f"trial-{trial.number:03d}",  # until it is over
        status=STATUS[trial.state],
        started=_milliseconds(trial.started),
        ended=_milliseconds(trial.finished) if trial.state.over else None,
        identity=trial_identity(study, trial),
        tags=_trial_tags(study, trial),
        params=_texts(_trial_params(trial)),
        finals=trial_finals(trial),
        finals_at=_milliseconds(trial.finished) or _milliseconds(trial.started) or 0,
        curves=trial_curves(trial),
        curve_tag="paring.epochs",
        artifacts=_digest(trial.widths, trial.files, _on_why_page(study, trial))
        if trial.state.over else "",
    )  # fmt: skip


def study_run(study: StudyRecord, runs: Mapping[int, str]) -> DesiredRun:
    """Return the run of the study itself: its front, its hypervolume, its progress.

    `runs` gives the ids of the trials' runs, which its artifacts name.
    """
    over = bool(study.trials) and all(trial.state.over for trial in study.trials)
    ends = [trial.finished for trial in study.trials if trial.finished is not None]
    starts = [trial.started for trial in study.trials if trial.started is not None]
    started = _milliseconds(min(starts, default=None))
    return DesiredRun(
        name="study",
        status="FINISHED" if over else "RUNNING",
        started=started,
        ended=_milliseconds(max(ends, default=None)) if over else None,
        identity=study_identity(study),
        tags=_study_tags(study),
        params=_texts(_study_params(study)),
        finals=study_finals(study),
        finals_at=None,
        curves=study_curves(study, started or 0),
        curve_tag="paring.hypervolumes",
        artifacts=_digest(study.config, *map(_on_front_page, study.trials), study.dense,
                          study.device, study.hypervolumes, study.importances, study.picks,
                          *map(_of_choices, study.choices), runs),
    )  # fmt: skip


def trial_identity(study: StudyRecord, trial: TrialRecord) -> dict[str, str]:
    """Return the tags that identify a trial's run; they never change."""
    return {"paring.study": study.key, "paring.kind": "slot", "paring.slot": str(trial.number)}


def study_identity(study: StudyRecord) -> dict[str, str]:
    """Return the tags that identify the study's run; they never change."""
    return {"paring.study": study.key, "paring.kind": "study"}


def _trial_tags(study: StudyRecord, trial: TrialRecord) -> dict[str, str]:
    tags = _shared_tags(study)
    tags |= {
        "paring.state": trial.state.value,
        "paring.attempt": str(trial.attempt),
        "paring.front": str(bool(trial.planes)).lower(),
        "paring.planes": " ".join(trial.planes),
        "paring.reason": trial.reason,
        "paring.budget": bounds(trial.budget),
        "mlflow.note.content": trial_note(study, trial),
    }
    if trial.state is State.COMPLETE and trial.costs is not None and trial.score is not None:
        tags["mlflow.runName"] = point_name(trial.number, trial.score, trial.costs)
        tags[ORDER] = order_of(bool(trial.planes), trial.score, study.scores_rise)
    if trial.copy_of is not None:
        tags["paring.copy_of"] = str(trial.copy_of)
    if trial.epochs:
        tags["paring.phase"] = trial.epochs[-1].phase
        tags["paring.bottleneck"] = trial.epochs[-1].bottleneck
    return tags


def point_name(number: int, score: float, costs: Costs) -> str:
    """Return the name of a finished trial's run: what the point is."""
    sizes = f"flash {size(costs.flash_bytes)}, SRAM {size(costs.sram_bytes)}"
    return f"trial-{number:03d}: {score_text(score)}, {sizes}"


def _shared_tags(study: StudyRecord) -> dict[str, str]:
    """Return the study's tags, and those that MLflow's pages show in columns of their own."""
    tags = {_key(name): value for name, value in study.tags.items()}
    tags |= {
        "mlflow.source.name": f"paring sweep study={study.name}",
        "mlflow.source.type": "LOCAL",
    }
    if (commit := study.tags.get("git.commit", _NO_COMMIT)) != _NO_COMMIT:
        tags["mlflow.source.git.commit"] = commit
    return tags


def _trial_params(trial: TrialRecord) -> dict[str, Scalar]:
    params: dict[str, Scalar] = dict(trial.params)
    params |= {
        f"budget.{name}": limit
        for name in RESOURCES
        if (limit := getattr(trial.budget, name)) is not None
    }
    params["seed"] = trial.seed
    if trial.parent is not None:
        params["parent"] = trial.parent
    return params


def _study_tags(study: StudyRecord) -> dict[str, str]:
    tags = _shared_tags(study)
    tags["mlflow.note.content"] = experiment_note(study)
    return tags


def _study_params(study: StudyRecord) -> dict[str, Scalar]:
    params: dict[str, Scalar] = {
        "metric": study.metric,
        "scores_rise": study.scores_rise,
        "precision": study.precision,
    }
    if study.device is not None:
        params["device"] = study.device.name
        params |= {
            f"device.{name}": limit
            for name in RESOURCES
            if (limit := getattr(study.device.limits, name)) is not None
        }
    return params


# On the study's page; evaluations are known by the digest of their file.
_NOT_SHOWN = frozenset({"attempt", "epochs", "evaluations", "started", "finished"})


def _on_front_page(trial: TrialRecord) -> tuple[object, ...]:
    """Return what the study's page shows of a trial: all but its epochs and times."""
    return tuple(
        getattr(trial, field.name) for field in fields(trial) if field.name not in _NOT_SHOWN
    )


def _of_choices(choices: ChoicesRecord) -> tuple[object, ...]:
    """Return that from which all else of choices follows, and the trials: times on the device."""
    times = tuple((option.trial, option.costs.latency_ms) for option in choices.options)
    return choices.device, choices.words, choices.dense, repr(times)


def _on_why_page(study: StudyRecord, trial: TrialRecord) -> tuple[object, ...]:
    """Return what a trial's pages show besides its files."""
    if trial.state is not State.COMPLETE:
        return ()
    shown = (study.metric, study.precision, study.dense, study.device, trial.budget, trial.held,
             trial.score, trial.costs)  # fmt: skip
    return (*shown, trial.test_score) if trial.evaluations else shown


def _digest(*parts: object) -> str:
    text = repr([_LAYOUT, *(_stable(part) for part in parts)])
    return sha256(text.encode()).hexdigest()[:16]


def _stable(part: object) -> object:
    """Return a part with its mappings sorted, so that its text is the same in every process."""
    if isinstance(part, Mapping):
        return sorted((name, _stable(value)) for name, value in part.items())
    if isinstance(part, tuple) and not hasattr(part, "_fields"):
        return [_stable(item) for item in part]
    return part


def _texts(params: Mapping[str, Scalar]) -> dict[str, str]:
    return {_key(name): _text(value) for name, value in params.items()}


def _text(value: Scalar) -> str:
    return value if isinstance(value, str) else json.dumps(value)


def _key(name: str) -> str:
    """Return a name that MLflow accepts for a param or a tag."""
    return _REFUSED.sub("_", name)[:_KEY_LIMIT].strip("/. ") or "_"


def _milliseconds(seconds: float | None) -> int | None:
    return None if seconds is None else round(1000 * seconds)

"""MLflow as a mirror of a study: runs are found by tags, compared, and what differs is written."""

import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from hashlib import sha256
from math import inf, isfinite
from pathlib import Path
from typing import final
from uuid import uuid4

from tracking.errors import GoneError, ServerError
from tracking.mlflow.artifacts import (
    artifacts_differ,
    forget_incomplete,
    study_artifacts,
    trial_artifacts,
    write_artifacts,
)
from tracking.mlflow.client import (
    OVER,
    Client,
    Entries,
    Point,
    Run,
    cut,
    quoted,
    shortened,
)
from tracking.mlflow.descriptions import experiment_note
from tracking.mlflow.desired import DesiredRun, study_run, trial_run
from tracking.mlflow.logged_model import ModelWriter, has_model
from tracking.mlflow.metrics import Step
from tracking.mlflow.views import TAG, shared_view
from tracking.records import StudyRecord, TrialRecord

_CURVES = "paring.curves"  # a digest of the steps that MLflow has
_DIGESTED = ("loss", "score", "hypervolume")  # in which two trainings differ
_STEPS_A_CALL = 60
PAGE_EVERY_S = 30.0


@dataclass(slots=True)
class _MirroredStudy:
    """What MLflow holds of a study, as far as this process knows; kept current as it writes."""

    experiment_id: str
    note: str
    view: str
    study: Run | None = None
    trials: dict[int, Run] = field(default_factory=dict)
    models: ModelWriter | None = None
    page_written: float = -inf


@dataclass(frozen=True, slots=True)
class Written:
    """How many runs were created, changed, and deleted because they were too many."""

    created: int = 0
    changed: int = 0
    deleted: int = 0


@final
class Mirror:
    """Writes studies to MLflow at `tracking_uri`: a database URL or an HTTP server.

    `artifact_root` is a folder or a URI for artifacts. With a database URL it is needed; an
    HTTP server chooses its own, and where that is this folder, files are written straight into
    it. One process at a time may call `sync` for a study: hold `locks.lock`. Constructing it is
    cheap; MLflow is loaded by the first `sync`.
    """

    def __init__(self, tracking_uri: str, artifact_root: str | Path | None = None) -> None:
        self._uri = tracking_uri
        self._root = _root_uri(tracking_uri, artifact_root)
        self._folder = _folder(artifact_root)
        self._client: Client | None = None
        self._mirrored: dict[str, _MirroredStudy] = {}
        self.name = uuid4().hex  # tells mirrors apart

    def forget(self, key: str) -> None:
        """Forget what MLflow held of a study, because another process has written since."""
        self._mirrored.pop(key, None)

    def sync(self, study: StudyRecord, blobs: Mapping[str, bytes]) -> dict[int, str]:
        """Make MLflow agree with the record; return each trial's run id.

        A trial gets its run when it is first worked on, so that the run's start is true. `blobs`
        holds the files of finished trials by digest; one that is missing, or an explanation that
        cannot be read, is noted in the tag `paring.warning`. May be called again at any time,
        and after a crash at any point: nothing is written twice. What was written before an
        error stays valid.

        Raises:
            ServerError: MLflow cannot be reached, or refuses. DatabaseError: its database cannot
                be used.
        """
        try:
            return self._sync(study, blobs)
        except GoneError:  # somebody deleted it, or its database: read MLflow again, once
            return self._sync(study, blobs)

    @property
    def written(self) -> "Written":
        """What has been written since the mirror was made."""
        if (client := self._client) is None:
            return Written()
        changed = client.changed - client.created - client.deleted
        return Written(len(client.created), len(changed), len(client.deleted))

    def _sync(self, study: StudyRecord, blobs: Mapping[str, bytes]) -> dict[int, str]:
        client = self._connected()
        # Taken out until all went well: after an error only MLflow knows what was written.
        mirrored = self._mirrored.pop(study.key, None) or self._load(client, study)
        for trial in study.trials:
            if trial.started is not None or trial.number in mirrored.trials:
                _sync_trial(client, mirrored, study, trial, blobs)
        _sync_study(client, mirrored, study)
        self._mirrored[study.key] = mirrored
        return {number: run.run_id for number, run in mirrored.trials.items()}

    def _connected(self) -> Client:
        self._client = self._client or Client(self._uri, self._folder)
        return self._client

    def _load(self, client: Client, study: StudyRecord) -> _MirroredStudy:
        """Find the study's experiment, or make it, and read all its runs."""
        mirrored = _experiment(client, study, self._root)
        condition = _of_study(study)
        numbers = {str(trial.number) for trial in study.trials}
        for run in client.runs(mirrored.experiment_id, condition):
            forget_incomplete(run)
            if run.tags.get("paring.kind") == "study":
                mirrored.study = _without_duplicate(client, mirrored.study, run)
            elif run.tags.get("paring.slot") in numbers:
                number = int(run.tags["paring.slot"])
                first = mirrored.trials.get(number)
                mirrored.trials[number] = _without_duplicate(client, first, run)
            else:
                client.delete_run(run)  # of a trial that the study does not have
        return mirrored


def _of_study(study: StudyRecord) -> str:
    """Return what all runs and models of a study match, in MLflow's language."""
    return f"tags.`paring.study` = {quoted(study.key)}"


def _models(client: Client, mirrored: _MirroredStudy, study: StudyRecord) -> ModelWriter:
    run_ids = {run.run_id for run in mirrored.trials.values()}
    return ModelWriter(client, mirrored.experiment_id, _of_study(study), run_ids)


def _sync_trial(
    client: Client,
    mirrored: _MirroredStudy,
    study: StudyRecord,
    trial: TrialRecord,
    blobs: Mapping[str, bytes],
) -> None:
    """Write what a trial's run lacks: its files and model first, then all entries in one call.

    What says that something is there is among the entries, so it is never noted too early.
    """
    desired = trial_run(study, trial)
    run = _begun_run(client, mirrored.experiment_id, mirrored.trials.get(trial.number), desired)
    mirrored.trials[trial.number] = run
    entries = _missing_entries(client, run, desired)
    if artifacts_differ(run, desired):
        artifacts = trial_artifacts(study, trial, blobs)
        entries |= write_artifacts(client, run, desired, artifacts)
    if has_model(trial):
        models = mirrored.models = mirrored.models or _models(client, mirrored, study)
        entries |= models.write(study, trial, run, desired, blobs)
    client.log(run, entries)
    _set_status(client, run, desired)


def _sync_study(client: Client, mirrored: _MirroredStudy, study: StudyRecord) -> None:
    runs = {number: run.run_id for number, run in mirrored.trials.items()}
    desired = study_run(study, runs)
    run = _begun_run(client, mirrored.experiment_id, mirrored.study, desired)
    mirrored.study = run
    entries = _missing_entries(client, run, desired)
    if artifacts_differ(run, desired) and _page_is_due(mirrored, study):
        entries |= write_artifacts(client, run, desired, study_artifacts(study, runs))
        mirrored.page_written = time.monotonic()
    client.log(run, entries)
    _set_status(client, run, desired)
    note = cut(experiment_note(study, mirrored.experiment_id, runs, run.run_id))
    if mirrored.note != note:
        with client.answering():
            client.api.set_experiment_tag(mirrored.experiment_id, "mlflow.note.content", note)
        mirrored.note = note
    if mirrored.view != (view := shared_view()):
        with client.answering():
            client.api.set_experiment_tag(mirrored.experiment_id, TAG, view)
        mirrored.view = view


def _page_is_due(mirrored: _MirroredStudy, study: StudyRecord) -> bool:
    """Tell whether to write the study's pages, megabytes each: at intervals, and at the end."""
    if all(trial.state.over for trial in study.trials):
        return True
    return time.monotonic() - mirrored.page_written >= PAGE_EVERY_S


def _root_uri(tracking_uri: str, root: str | Path | None) -> str | None:
    if tracking_uri.startswith(("http://", "https://")):
        return None
    if root is None:
        raise ServerError(
            "MLflow's database is written directly, but no artifact_root was given: name a "
            "folder for artifacts (MLflow would put them under ./mlruns, wherever that is)"
        )
    text = str(root)
    return text if "://" in text else Path(text).expanduser().resolve().as_uri()


def _folder(root: str | Path | None) -> Path | None:
    """Return the folder that a place for artifacts is, None if it is none on this machine."""
    return None if root is None or "://" in str(root) else Path(root).expanduser().resolve()


def _experiment(client: Client, study: StudyRecord, root: str | None) -> _MirroredStudy:
    """Return the experiment that carries the study's key, restored if it was deleted."""
    experiments = client.experiments(study.key)
    if not experiments:
        tags = {
            "paring.key": study.key,
            "mlflow.experimentKind": "custom_model_development",  # or MLflow's pages ask for it
        }
        name = next(name for name in _names(study) if not client.is_taken(name))
        return _MirroredStudy(client.create_experiment(name, root, tags), note="", view="")
    experiment = next((one for one in experiments if one.active), experiments[0])
    if not experiment.active:
        with client.answering():
            client.api.restore_experiment(experiment.experiment_id)
    note = experiment.tags.get("mlflow.note.content", "")
    return _MirroredStudy(experiment.experiment_id, note, experiment.tags.get(TAG, ""))


def _names(study: StudyRecord) -> Iterator[str]:
    """Yield names for an experiment until one is free: another study may have had this one."""
    yield study.name
    number = 1
    while True:
        yield f"{study.name} ({study.key[:8]}{'' if number == 1 else f'-{number}'})"
        number += 1


def _without_duplicate(client: Client, first: Run | None, second: Run) -> Run:
    """Return that of two runs with one identity that has more metrics, and delete the other.

    Two appear when a server made a run but its answer was lost, and the request was repeated.
    """
    if first is None:
        return second
    duplicate, run = sorted([second, first], key=lambda run: len(run.metrics))
    client.delete_run(duplicate)
    return run


def _begun_run(client: Client, experiment_id: str, run: Run | None, desired: DesiredRun) -> Run:
    """Return the run, made with all its tags if there is none, or one of another training."""
    if run is not None and _is_of_another_training(run, desired):
        client.delete_run(run)
        run = None
    if run is not None:
        return run
    tags = {key: value for key, value in {**desired.identity, **desired.tags}.items() if value}
    name = tags.get("mlflow.runName", desired.name)
    return client.create_run(experiment_id, name, desired.started, tags)


def _missing_entries(client: Client, run: Run, desired: DesiredRun) -> Entries:
    """Return the params, tags and points that a run lacks. Of long curves only the last part:
    what is before it is written here, in calls that MLflow takes.
    """
    params = {key: value for key, value in desired.params.items() if key not in run.params}
    tags = {
        key: value
        for key, value in shortened({**desired.identity, **desired.tags}).items()
        if run.tags.get(key, "") != value
    }
    steps = _missing_steps(run, desired)
    while len(steps) > _STEPS_A_CALL:
        _log_steps(client, run, desired, steps[:_STEPS_A_CALL])
        steps = steps[_STEPS_A_CALL:]
    if steps:
        tags |= _curve_tags(desired, steps[-1].step)
    return Entries([*_points(steps), *_missing_finals(client, run, desired)], params, tags)


def _log_steps(client: Client, run: Run, desired: DesiredRun, steps: list[Step]) -> None:
    """Write a part of long curves, and up to which step they are written, in one call."""
    client.log(run, Entries(list(_points(steps)), tags=_curve_tags(desired, steps[-1].step)))


def _curve_tags(desired: DesiredRun, step: int) -> dict[str, str]:
    """Return the tags that tell up to which step the curves are written, and a digest of them."""
    steps = (point for point in desired.curves if point.step <= step)
    values = [(point.step, *map(point.values.get, _DIGESTED)) for point in steps]
    digest = sha256(repr(values).encode()).hexdigest()[:16]
    return {desired.curve_tag: str(step), _CURVES: digest}


def _is_of_another_training(run: Run, desired: DesiredRun) -> bool:
    """Tell whether a run that is over has curves of another training.

    MLflow keeps every point for ever, while a study that is restored from a backup repeats the
    trainings that it lost.
    """
    digest = run.tags.get(_CURVES)
    if run.curves_checked or digest is None or desired.status not in OVER:
        return False
    run.curves_checked = True  # what is over does not change: one comparison is enough
    step = _last_step(run, desired)
    has_step = any(point.step == step for point in desired.curves)
    return has_step and _curve_tags(desired, step)[_CURVES] != digest


def _missing_finals(client: Client, run: Run, desired: DesiredRun) -> list[Point]:
    """Return the finals that MLflow lacks or has with another value.

    Of points at one step MLflow shows the one with the latest time, so one that replaces
    another is later than it, whatever the clock says.
    """
    now = round(1000 * time.time()) if desired.finals_at is None else desired.finals_at
    points = []
    for key, value in desired.finals.items():
        if isfinite(value) and run.metrics.get(key) != value:
            at = max(now, client.last_time(run, key) + 1) if key in run.metrics else now
            points.append(Point(key, value, 0, at))
    return points


def _missing_steps(run: Run, desired: DesiredRun) -> list[Step]:
    last = _last_step(run, desired)
    return [step for step in desired.curves if step.step > last]


def _last_step(run: Run, desired: DesiredRun) -> int:
    """Return up to which step MLflow has a run's curves; -1 for none."""
    tag = run.tags.get(desired.curve_tag, "")
    return int(tag) if tag.isdecimal() else -1


def _points(steps: list[Step]) -> Iterator[Point]:
    for step in steps:
        for key, value in step.values.items():
            yield Point(key, value, step.step, step.at)


def _set_status(client: Client, run: Run, desired: DesiredRun) -> None:
    """Set the status. It is the last to be written: a run that says FINISHED has everything."""
    wrong_end = desired.ended is not None and run.ended != desired.ended
    if run.status != desired.status or wrong_end:
        client.set_status(run, desired.status, desired.ended)

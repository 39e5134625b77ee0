"""MLflow as a mirror of a study: found by tags, compared, and only the difference written."""

import json
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from hashlib import sha256
from math import inf, isfinite
from pathlib import Path, PurePosixPath
from tempfile import TemporaryDirectory, gettempdir
from typing import final
from uuid import uuid4

from tracking.errors import DamagedError, GoneError, ServerError
from tracking.mlflow.client import OVER, Client, Point, Run, cut, quoted, shortened
from tracking.mlflow.descriptions import experiment_note
from tracking.mlflow.desired import DesiredRun, Step, study_run, trial_run
from tracking.pages.plots import front_page
from tracking.pages.why import FILES, PAGE, why_page
from tracking.records import State, StudyRecord, TrialRecord
from tracking.tables import front_csv, front_object

_ARTIFACTS = "paring.artifacts"
_CURVES = "paring.curves"  # a digest of the steps that MLflow has
_TELLING = ("loss", "score", "hypervolume")  # two trainings differ in
_WARNING = "paring.warning"
_INCOMPLETE = " incomplete"
_STEPS_A_CALL = 60
PAGE_EVERY_S = 30.0


@dataclass(slots=True)
class _Seen:
    """What MLflow is known to hold of a study."""

    experiment_id: str
    note: str
    study: Run | None = None
    trials: dict[int, Run] = field(default_factory=dict)
    page_written: float = -inf


@dataclass(frozen=True, slots=True)
class Written:
    """How many runs were made, changed, and moved to the bin because they were too many."""

    created: int = 0
    changed: int = 0
    binned: int = 0


@final
class Mirror:
    """Writes studies to MLflow at `tracking_uri`: a database URL or an HTTP server.

    `artifact_root` is a folder or a URI for artifacts. With a database URL it is needed; an
    HTTP server chooses its own. One process at a time may call `sync` for a study: hold
    `locks.lock`. Constructing it is cheap; MLflow is loaded by the first `sync`.
    """

    def __init__(self, tracking_uri: str, artifact_root: str | Path | None = None) -> None:
        self._uri = tracking_uri
        self._root = _root_uri(tracking_uri, artifact_root)
        self._client: Client | None = None
        self._seen: dict[str, _Seen] = {}
        self.name = uuid4().hex  # tells mirrors apart

    def forget(self, key: str) -> None:
        """Forget what MLflow held of a study: somebody else has written since."""
        self._seen.pop(key, None)

    def sync(self, study: StudyRecord, blobs: Mapping[str, bytes]) -> dict[int, str]:
        """Make MLflow agree with the record; return each trial's run id.

        A trial gets its run when it is first worked on, so that the run's start is true. `blobs`
        holds the files of finished trials by digest; one that is missing, or an explanation that
        cannot be read, is noted in the tag `paring.warning`. May be called again at any time,
        and after a crash at any point: nothing is doubled. Raises ServerError or, for a
        database that cannot be used, DatabaseError; what was written until then stays valid.
        """
        try:
            return self._sync(study, blobs)
        except GoneError:  # deleted by a person, or with its database: look again, once
            return self._sync(study, blobs)

    @property
    def written(self) -> "Written":
        """What has been written since the mirror was made."""
        if (client := self._client) is None:
            return Written()
        changed = client.changed - client.created - client.binned
        return Written(len(client.created), len(changed), len(client.binned))

    def _sync(self, study: StudyRecord, blobs: Mapping[str, bytes]) -> dict[int, str]:
        client = self._connected()
        # Taken out until all went well: after an error only MLflow knows how far we came.
        seen = self._seen.pop(study.key, None) or self._load(client, study)
        for trial in study.trials:
            run = seen.trials.get(trial.number)
            if run is None and trial.started is None:
                continue
            wanted = trial_run(study, trial)
            run = _brought_about(client, seen.experiment_id, run, wanted)
            seen.trials[trial.number] = run
            if _artifacts_differ(run, wanted):
                texts = _trial_texts(study, trial)
                page, trouble = _trial_page(study, trial, blobs)
                _write_artifacts(client, run, wanted, texts | page, trial.files, blobs, trouble)
            _settle(client, run, wanted)
        _sync_study(client, seen, study)
        self._seen[study.key] = seen
        return {number: run.run_id for number, run in seen.trials.items()}

    def _connected(self) -> Client:
        self._client = self._client or Client(self._uri)
        return self._client

    def _load(self, client: Client, study: StudyRecord) -> _Seen:
        """Find the study's experiment, or make it, and read all its runs."""
        seen = _experiment(client, study, self._root)
        ours = f"tags.`paring.study` = {quoted(study.key)}"
        numbers = {str(trial.number) for trial in study.trials}
        for run in client.runs(seen.experiment_id, ours):
            _forget_incomplete(run)
            if run.tags.get("paring.kind") == "study":
                seen.study = _one_of(client, seen.study, run)
            elif run.tags.get("paring.slot") in numbers:
                number = int(run.tags["paring.slot"])
                seen.trials[number] = _one_of(client, seen.trials.get(number), run)
            else:
                client.delete_run(run)  # of a trial that the study does not have
        return seen


def _sync_study(client: Client, seen: _Seen, study: StudyRecord) -> None:
    runs = {number: run.run_id for number, run in seen.trials.items()}
    wanted = study_run(study, runs)
    run = _brought_about(client, seen.experiment_id, seen.study, wanted)
    seen.study = run
    if _artifacts_differ(run, wanted) and _page_is_due(seen, study):
        _write_artifacts(client, run, wanted, _study_texts(study, runs), {}, {})
        seen.page_written = time.monotonic()
    _settle(client, run, wanted)
    note = cut(experiment_note(study, seen.experiment_id, runs, run.run_id))
    if seen.note != note:
        with client.answering():
            client.api.set_experiment_tag(seen.experiment_id, "mlflow.note.content", note)
        seen.note = note


def _page_is_due(seen: _Seen, study: StudyRecord) -> bool:
    """Whether to write the study's pages, megabytes each: not often, but for the last time."""
    over = all(trial.state.over for trial in study.trials)
    return over or time.monotonic() - seen.page_written >= PAGE_EVERY_S


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


def _experiment(client: Client, study: StudyRecord, root: str | None) -> _Seen:
    """Return the experiment that carries the study's key, restored if it was in the bin."""
    found = client.experiments(study.key)
    if not found:
        tags = {
            "paring.key": study.key,
            "mlflow.experimentKind": "custom_model_development",  # or MLflow's pages ask for it
        }
        name = next(name for name in _names(study) if not client.is_taken(name))
        return _Seen(client.create_experiment(name, root, tags), note="")
    one = next((each for each in found if each.active), found[0])
    if not one.active:
        with client.answering():
            client.api.restore_experiment(one.experiment_id)
    return _Seen(one.experiment_id, one.tags.get("mlflow.note.content", ""))


def _names(study: StudyRecord) -> Iterator[str]:
    """Yield names for an experiment until one is free: another study may have had this one."""
    yield study.name
    number = 1
    while True:
        yield f"{study.name} ({study.key[:8]}{'' if number == 1 else f'-{number}'})"
        number += 1


def _one_of(client: Client, known: Run | None, other: Run) -> Run:
    """Return one of two runs with one identity, and move the other to the bin.

    Two appear when a server made a run but its answer was lost, and the request was repeated.
    """
    if known is None:
        return other
    extra, kept = sorted([other, known], key=lambda run: len(run.metrics))
    client.delete_run(extra)
    return kept


def _forget_incomplete(run: Run) -> None:
    """Let artifacts that lacked a blob be tried again, once per process."""
    if run.tags.get(_ARTIFACTS, "").endswith(_INCOMPLETE):
        del run.tags[_ARTIFACTS]


def _brought_about(client: Client, where: str, run: Run | None, wanted: DesiredRun) -> Run:
    """Create the run if need be, and write the params, tags and points that it lacks."""
    if run is not None and _tells_of_another(run, wanted):
        client.delete_run(run)
        run = None
    if run is None:
        run = client.create_run(where, wanted.name, wanted.started, wanted.identity)
    params = {key: value for key, value in wanted.params.items() if key not in run.params}
    tags = {
        key: value
        for key, value in shortened({**wanted.identity, **wanted.tags}).items()
        if run.tags.get(key, "") != value
    }
    steps = _missing_steps(run, wanted)
    while len(steps) > _STEPS_A_CALL:
        _log_steps(client, run, wanted, steps[:_STEPS_A_CALL])
        steps = steps[_STEPS_A_CALL:]
    if steps:
        tags |= _reached(wanted, steps[-1].step)
    points = [*_points(steps), *_missing_finals(client, run, wanted)]
    if points or params or tags:
        client.log(run, points, params, tags)
    return run


def _log_steps(client: Client, run: Run, wanted: DesiredRun, steps: list[Step]) -> None:
    """Write a part of long curves, and how far they now reach, in one call."""
    client.log(run, _points(steps), tags=_reached(wanted, steps[-1].step))


def _reached(wanted: DesiredRun, step: int) -> dict[str, str]:
    """Return the tags that tell how far the curves reach, and what they are until there."""
    until = (one for one in wanted.curves if one.step <= step)
    values = [(one.step, *map(one.values.get, _TELLING)) for one in until]
    digest = sha256(repr(values).encode()).hexdigest()[:16]
    return {wanted.curve_tag: str(step), _CURVES: digest}


def _tells_of_another(run: Run, wanted: DesiredRun) -> bool:
    """Whether a run that is over has curves of another training.

    MLflow keeps every point for ever, while a study that is restored from a backup trains what
    it lost anew.
    """
    noted, last = run.tags.get(_CURVES), run.tags.get(wanted.curve_tag, "")
    if run.agreed or noted is None or wanted.status not in OVER:
        return False
    run.agreed = True  # what is over changes no more, so that it is looked at once
    step = int(last) if last.isdecimal() else -1
    there = any(one.step == step for one in wanted.curves)
    return there and _reached(wanted, step)[_CURVES] != noted


def _missing_finals(client: Client, run: Run, wanted: DesiredRun) -> list[Point]:
    """Return the finals that MLflow lacks or has with another value.

    Of points at one step MLflow shows the latest, whatever the clock says by now, so one that
    takes another's place is later than it.
    """
    now = round(1000 * time.time()) if wanted.finals_at is None else wanted.finals_at
    points = []
    for key, value in wanted.finals.items():
        if isfinite(value) and run.metrics.get(key) != value:
            known = key in run.metrics
            at = max(now, client.last_moment(run, key) + 1) if known else now
            points.append(Point(key, value, 0, at))
    return points


def _missing_steps(run: Run, wanted: DesiredRun) -> list[Step]:
    known = run.tags.get(wanted.curve_tag, "")
    last = int(known) if known.isdecimal() else -1
    return [step for step in wanted.curves if step.step > last]


def _points(steps: list[Step]) -> Iterator[Point]:
    for step in steps:
        for key, value in step.values.items():
            yield Point(key, value, step.step, step.at)


def _settle(client: Client, run: Run, wanted: DesiredRun) -> None:
    """Set the status last: a run that says FINISHED has everything."""
    late = wanted.ended is not None and run.ended != wanted.ended
    if run.status != wanted.status or late:
        client.set_status(run, wanted.status, wanted.ended)


def _artifacts_differ(run: Run, wanted: DesiredRun) -> bool:
    return run.tags.get(_ARTIFACTS, "").removesuffix(_INCOMPLETE) != wanted.artifacts


def _trial_texts(study: StudyRecord, trial: TrialRecord) -> dict[str, str]:
    texts = {"config.yaml": study.config}
    if trial.state.over and trial.widths:
        texts["widths.json"] = json.dumps(dict(trial.widths), indent=1) + "\n"
    return texts


def _trial_page(
    study: StudyRecord, trial: TrialRecord, blobs: Mapping[str, bytes]
) -> tuple[dict[str, str], str]:
    """Return the page that explains a trial's network, or what stands in its way."""
    if trial.state is not State.COMPLETE:
        return {}, ""
    found = {name: blobs.get(trial.files[name]) for name in FILES if name in trial.files}
    # A missing blob is noted with the other files.
    contents = {name: content for name, content in found.items() if content is not None}
    try:
        return {PAGE: why_page(study, trial, contents)}, ""
    except DamagedError as error:
        return {}, f"no {PAGE}: {error}"


def _study_texts(study: StudyRecord, runs: Mapping[int, str]) -> dict[str, str]:
    return {
        "config.yaml": study.config,
        "front.html": front_page(study),
        "front.json": json.dumps(front_object(study, runs), indent=1) + "\n",
        "front.csv": front_csv(study),
    }


def _write_artifacts(
    client: Client,
    run: Run,
    wanted: DesiredRun,
    texts: Mapping[str, str],
    files: Mapping[str, str],
    blobs: Mapping[str, bytes],
    trouble: str = "",
) -> None:
    """Upload a run's artifacts, then note in its tags that they are there."""
    contents = {name: text.encode() for name, text in texts.items()}
    wants = files if wanted.status in OVER else {}
    found = {name: blobs.get(digest) for name, digest in wants.items()}
    contents |= {name: content for name, content in found.items() if content is not None}
    missing = [f"{name} ({wants[name]})" for name, content in found.items() if content is None]
    try:
        with TemporaryDirectory(prefix="paring-") as folder:
            for name, content in contents.items():
                _place(Path(folder), name).write_bytes(content)
            client.upload(run, sorted(Path(folder).iterdir()))
    except OSError as error:
        raise ServerError(
            f"artifacts cannot be gathered in {gettempdir()} ({error}): free some space, or "
            "set TMPDIR"
        ) from error
    tags = {_ARTIFACTS: wanted.artifacts + (_INCOMPLETE if missing else "")}
    absent = f"not in the store: {', '.join(missing)}" if missing else ""
    if (warning := "; ".join(filter(None, (absent, trouble)))) or _WARNING in run.tags:
        tags[_WARNING] = warning
    client.log(run, tags=tags)


def _place(folder: Path, name: str) -> Path:
    """Return where an artifact goes in a folder, and refuse names that climb out of it."""
    relative = PurePosixPath(name)
    if relative.is_absolute() or ".." in relative.parts or not relative.parts:
        raise ServerError(f"{name!r} is no name for an artifact: it must stay in its folder")
    place = folder / relative
    place.parent.mkdir(parents=True, exist_ok=True)
    return place

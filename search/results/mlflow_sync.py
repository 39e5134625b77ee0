"""Keeping MLflow in step with a study, from a process of its own.

Training never waits for tracking: workers write to Optuna and the store alone, and whoever
holds the study's mirror lock carries that over to MLflow. A mirror that dies is replaced by
the next one, which continues from what MLflow holds.
"""

import logging
from collections.abc import Iterator, Mapping, Sequence
from multiprocessing.connection import Connection
from pathlib import Path
from typing import final

from search.config.schema import StorageConfig
from search.errors import StoreError
from search.results.choices import Choices, with_choices
from search.results.histories import Histories
from search.results.report import run_ids, study_record
from search.storage.blobs import Store
from search.storage.outage import is_outage, told
from search.storage.workspace import open_workspace
from search.study.study import Study, require_study
from tracking.errors import BusyError, TrackingError, UnreachableError
from tracking.mlflow.mirror import Mirror, Written
from tracking.mlflow.registry import register
from tracking.records import StudyRecord, TrialRecord

log = logging.getLogger("paring.mirror")
PAUSE_S = 3.0


@final
class _Readable(Mapping[str, bytes]):
    """The store for a mirror: a damaged blob is as good as missing, and does not stop it."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def __getitem__(self, digest: str) -> bytes:
        try:
            return self._store[digest]
        except StoreError as error:
            raise KeyError(digest) from error

    def __iter__(self) -> Iterator[str]:
        return iter(self._store)

    def __len__(self) -> int:
        return len(self._store)


def mirror_once(
    study: Study,
    mirror: Mirror,
    histories: Histories | None = None,
    choices: Choices | None = None,
) -> None:
    """One pass: MLflow agrees with the study afterwards; run ids are kept with the study.

    Mirrors take turns, and what one remembers of MLflow is true until another has had one; what
    `histories` and `choices` remember of the store is true for ever.
    """
    if study.notes().mirror != mirror.name:
        mirror.forget(study.key)
        study.note(mirror=mirror.name)
    record = with_choices(study, study_record(study, histories), choices)
    runs = mirror.sync(record, _Readable(study.workspace.store))
    if run_ids(study) != runs:
        study.note(runs=runs)


def mirror_until(storage: StorageConfig, name: str, stop: Connection) -> bool:
    """Mirror a study until `stop` is closed at its other end, by whoever holds it or with its
    process, then once more. The body of the mirror's process.

    Returns whether the last pass went well.
    """
    workspace = open_workspace(storage)
    study = require_study(workspace, name)
    mirror = Mirror(workspace.tracking_uri, workspace.artifacts)
    histories, choices = Histories(workspace.store), Choices(study)
    while True:
        last = stop.poll()
        try:
            with workspace.lock(f"mirror-{study.key}", timeout=60.0 if last else 1.0):
                mirror_once(study, mirror, histories, choices)
            done = True
        except BusyError:
            done = False  # another mirror is at it
        except Exception as error:
            done = False
            log.warning("MLflow is not up to date, but nothing is lost: %s", _obstacle(error))
        if last:
            return done
        stop.poll(PAUSE_S)


def reconcile(study: Study) -> Written:
    """Make MLflow agree with a study, trial by trial; returns what had to be written.

    Raises:
        TrackingError: MLflow is out of reach; what was written until then stays valid.
    """
    mirror = Mirror(study.workspace.tracking_uri, study.workspace.artifacts)
    with study.workspace.lock(f"mirror-{study.key}", timeout=60.0):
        mirror_once(study, mirror)
    return mirror.written


def catch_up(study: Study) -> str | None:
    """Mirror a study now; returns what stands in the way, or None when MLflow agrees."""
    try:
        reconcile(study)
    except Exception as error:
        return _obstacle(error)
    return None


def _obstacle(error: Exception) -> str:
    """What keeps MLflow from being up to date, in words. Any other error is raised again."""
    if isinstance(error, TrackingError | StoreError):
        return str(error)
    if is_outage(error):
        return told(error)
    raise error


def register_model(
    study: Study, record: StudyRecord, trial: TrialRecord, files: Sequence[Path], alias: str
) -> str:
    """Put a trial's model into MLflow's registry under the study's name; returns the version.

    Raises:
        TrackingError: MLflow is out of reach, or takes no such name.
    """
    if (obstacle := catch_up(study)) is not None:
        raise UnreachableError(obstacle)
    return register(study.workspace.tracking_uri, record, trial, files, alias, record.name)

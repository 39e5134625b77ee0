"""Epochs and evaluations of trials, each blob of them read once: a blob never changes."""

import json
import logging
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from sys import intern
from typing import final

from optuna.trial import FrozenTrial

from pruning.errors import CheckpointError
from pruning.training.checkpoint import epoch_from_json, read_history
from pruning.training.state import Epoch
from search.errors import StoreError
from search.storage.blobs import Store
from search.storage.trial_record import TrialNotes, result_of
from tracking.errors import DamagedError
from tracking.evaluation import Evaluation
from tracking.evaluation_file import read_evaluations
from tracking.records import Costs, EpochRow

log = logging.getLogger("paring.record")
MOST = 200_000  # epochs that are kept, of about 400 bytes each
EPOCHS = "epochs.json"  # of a finished trial's files
_CURVES = "the record of its epochs is lost, so its curves are missing"
Rows = tuple[EpochRow, ...]
Evaluations = Mapping[str, Evaluation]  # by split


@final
class Histories:
    """Reads epochs and evaluations, and keeps those of the trials that were asked for last: what
    a record of them holds anyway, and never more epochs than `most`.
    """

    def __init__(self, store: Store, most: int = MOST) -> None:
        self._store, self._most = store, most
        self._cache: Mapping[str, Rows] = {}
        self._evaluated: Mapping[str, Evaluations] = {}
        self._lost: set[str] = set()  # digests that were logged

    def of(self, trials: Sequence[FrozenTrial]) -> dict[int, Rows]:
        """The epochs of trials by number: of their results, or of their last checkpoints.

        Those that are missing or damaged are logged once and left out.
        """
        digests = {trial.number: digest for trial in trials if (digest := _digest(trial))}
        read: dict[str, Rows] = {}
        for trial in trials:
            digest = digests.get(trial.number)
            if digest is not None and digest not in read:
                cached = self._cache.get(digest)
                read[digest] = self._read(trial, digest) if cached is None else cached
        self._cache = _bounded(read, self._most)
        return {number: read[digest] for number, digest in digests.items()}

    def evaluations(self, digests: Mapping[int, str]) -> dict[int, Evaluations]:
        """Evaluations by trial, given the digests of their files.

        Those that are missing or damaged are logged once and left out.
        """
        self._evaluated = {
            digest: self._evaluated.get(digest) or self._evaluations(number, digest)
            for number, digest in digests.items()
        }
        return {number: self._evaluated[digest] for number, digest in digests.items()}

    def _evaluations(self, number: int, digest: str) -> Evaluations:
        try:
            return read_evaluations(self._store.read(digest))
        except (StoreError, DamagedError) as error:
            self._tell(number, digest, f"its evaluation is lost: {error}")
        return {}

    def _read(self, trial: FrozenTrial, digest: str) -> Rows:
        try:
            content = self._store[digest]
            if result_of(trial) is None:
                return tuple(map(_row, read_history(content)))
            return tuple(_row(epoch_from_json(entry)) for entry in json.loads(content))
        except KeyError:
            if result_of(trial):  # a checkpoint goes when a later one comes, or the trial is over
                self._tell(trial.number, digest, f"{_CURVES}: they are not in the store")
        except (StoreError, CheckpointError) as error:
            self._tell(trial.number, digest, f"{_CURVES}: {error}")
        return ()

    def _tell(self, number: int, digest: str, what: str) -> None:
        if digest not in self._lost:
            self._lost.add(digest)
            log.warning("trial %d: %s", number, what)


def _digest(trial: FrozenTrial) -> str | None:
    """The digest of the blob that holds a trial's epochs."""
    result = result_of(trial)
    return TrialNotes.of(trial).checkpoint if result is None else result.files.get(EPOCHS)


def _bounded(read: Mapping[str, Rows], room: int) -> dict[str, Rows]:
    """The first histories, `room` epochs at most; without those that could not be read."""
    bounded: dict[str, Rows] = {}
    for digest, rows in read.items():
        if rows and len(rows) <= room:
            bounded[digest] = rows
            room -= len(rows)
    return bounded


def _row(epoch: Epoch) -> EpochRow:
    return EpochRow(
        epoch=epoch.epoch,
        phase=intern(epoch.phase),
        loss=epoch.loss,
        score=epoch.score,
        costs=Costs(**asdict(epoch.cost)),
        bottleneck=intern(epoch.bottleneck),
        seconds=epoch.seconds,
    )

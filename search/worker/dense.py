"""The dense network that every trial of a study starts from: trained once, shared by digest."""

import logging
from collections.abc import Sequence
from typing import Any, final

import optuna

from pruning.errors import CheckpointError
from pruning.export.files import digest_of
from pruning.export.stored_model import packed
from pruning.training.checkpoint import StoredNetwork, unpack_network, unpack_state
from pruning.training.job import Job
from pruning.training.state import Epoch, TrainState
from search.errors import StoreError
from search.storage.blobs import lost
from search.study.factory import SweepFactory, start_key
from search.study.study import Study
from search.study.trials import BLOBS
from search.worker.stop_signals import StopMonitor
from search.worker.training_loop import train_on

log = logging.getLogger("paring.dense")


def ensure_dense(study: Study, factory: SweepFactory, monitor: StopMonitor) -> StoredNetwork:
    """The study's dense network: stored, found in another study of the same key, or trained.

    One worker trains while the others wait; if it dies, the next goes on from its checkpoint.

    Raises:
        StudyError: what it starts from has changed since the study was created.
        Stopped: there was a reason to leave.
    """
    key = start_key(study, factory)
    with monitor.lock(f"dense-{key}"):
        if (found := _stored(study, key)) is None:
            return _trained(study, factory, key, monitor)
        _DenseLog(study, key).close()  # its trainer may have been killed before that
        return found


def _stored(study: Study, key: str) -> StoredNetwork | None:
    note = study.note("dense")
    if note is None or note["key"] != key:
        note = _from_another_study(study, key)
    if note is None:
        return None
    try:
        network = unpack_network(study.workspace.store[note["digest"]])
    except (KeyError, StoreError, CheckpointError) as error:
        log.warning("the dense network is lost and will be trained again: %s", lost(error))
        return None
    if study.note("dense") != note:
        study.set_note("dense", note)
    return network


def _from_another_study(study: Study, key: str) -> dict[str, object] | None:
    for summary in optuna.get_all_study_summaries(study.storage):
        note = summary.user_attrs.get("dense")
        if isinstance(note, dict) and note.get("key") == key:
            return note
    return None


def _trained(study: Study, factory: SweepFactory, key: str, monitor: StopMonitor) -> StoredNetwork:
    job, book = factory.dense_job(), _DenseLog(study, key)
    state = _begun(study, factory, job, book)
    train_on(state, job, study.workspace, book, monitor)
    return monitor.outlast(lambda: _stored_result(study, state, job, book))


def _stored_result(study: Study, state: TrainState, job: Job, book: "_DenseLog") -> StoredNetwork:
    content = packed(state, job)
    network = unpack_network(content)
    book.announce([digest_of(content)])
    note = {
        "key": book.key,
        "digest": study.workspace.store.put(content),
        "score": state.history[-1].score,
        "seconds": sum(epoch.seconds for epoch in state.history),
    }
    study.set_note("dense", note)
    book.close()
    return network


@final
class _DenseLog:
    """The dense training run's notes, kept with the study."""

    def __init__(self, study: Study, key: str) -> None:
        self._study, self.key = study, key

    def checkpoint(self) -> str | None:
        note = self._study.note("dense_checkpoint")
        return note["digest"] if note is not None and note["key"] == self.key else None

    def announce(self, digests: Sequence[str]) -> None:
        before = set(self._study.note("dense_pending") or ())
        with self._study.workspace.lock(BLOBS):
            kept = before.union(digests) - {self.checkpoint()}
            self._study.set_note("dense_pending", sorted(kept))

    def note_checkpoint(self, digest: str) -> None:
        self._study.set_note("dense_checkpoint", {"key": self.key, "digest": digest})

    def note_progress(self, progress: dict[str, Any]) -> None:
        self._study.set_note("dense_progress", progress)

    def close(self) -> None:
        """Forget what was kept for going on: the network is stored and noted."""
        notes, store = self._study.notes(), self._study.workspace.store
        kept = {*(notes.get("dense_pending") or ()), self.checkpoint()}
        for digest in filter(None, kept - {notes["dense"]["digest"]}):
            store.remove(digest)
        for key in ("dense_pending", "dense_checkpoint"):
            if notes.get(key) is not None:
                self._study.set_note(key, None)

    def verdict(self, _epoch: Epoch, _of: int, /) -> str | None:
        return None


def _begun(study: Study, factory: SweepFactory, job: Job, book: _DenseLog) -> TrainState:
    if (digest := book.checkpoint()) is not None:
        try:
            return unpack_state(study.workspace.store[digest], job)
        except (KeyError, StoreError, CheckpointError) as error:
            log.warning("the dense training begins anew: %s", lost(error))
    return TrainState.begin(factory.start.graph, factory.start.tensors, job)

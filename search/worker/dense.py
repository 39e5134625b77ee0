"""The dense network that every trial of a study starts from: trained once, shared by digest."""

import logging
from collections.abc import Sequence
from typing import final

from pruning.errors import CheckpointError
from pruning.export.files import digest_of
from pruning.export.stored_model import packed
from pruning.training.checkpoint import StoredNetwork, unpack_network
from pruning.training.job import Job
from pruning.training.state import Epoch, TrainState
from search.errors import StoreError
from search.storage.blobs import lost
from search.storage.trial_record import Progress
from search.study.factory import SweepFactory, start_key
from search.study.scale import normalized_score
from search.study.study import Study
from search.study.study_record import DenseCheckpoint, DenseNote, dense_notes
from search.study.trials import BLOBS
from search.worker.stop_signals import StopMonitor
from search.worker.training_loop import resumed, train_on

log = logging.getLogger("paring.dense")
LEAST_GAIN = 0.05  # on the scale from chance to the best possible score


def ensure_dense(study: Study, factory: SweepFactory, monitor: StopMonitor) -> StoredNetwork:
    """The study's dense network: stored, taken from another study with the same key, or trained.

    One worker trains while the others wait; if it dies, the next one resumes its checkpoint.

    Raises:
        StudyError: the model's code or weights have changed since the study was created.
        Stopped: there was a reason to leave.
    """
    key = start_key(study, factory)
    with monitor.lock(f"dense-{key}"):
        if (network := _stored(study, key)) is None:
            return _trained(study, factory, key, monitor)
        _DenseLog(study, key).close()  # the worker that trained it may have been killed before
        return network


def _stored(study: Study, key: str) -> StoredNetwork | None:
    stored = study.notes().dense
    note = stored if stored is not None and stored.key == key else _of_another_study(study, key)
    if note is None:
        return None
    try:
        network = unpack_network(study.workspace.store[note.digest])
    except (KeyError, StoreError, CheckpointError) as error:
        log.warning("the dense network is lost and will be trained again: %s", lost(error))
        return None
    if note != stored:
        study.note(dense=note)
    return network


def _of_another_study(study: Study, key: str) -> DenseNote | None:
    return next((note for note in dense_notes(study.storage) if note.key == key), None)


def _trained(study: Study, factory: SweepFactory, key: str, monitor: StopMonitor) -> StoredNetwork:
    job, book = factory.dense_job(), _DenseLog(study, key)
    state = resumed(book, job, study.workspace.store, "the dense training")
    if state is None:
        state = TrainState.begin(factory.start.graph, factory.start.tensors, job)
    train_on(state, job, study.workspace, book, monitor)
    return monitor.outlast(lambda: _stored_result(study, state, job, book))


def _stored_result(study: Study, state: TrainState, job: Job, book: "_DenseLog") -> StoredNetwork:
    content = packed(state, job)
    network = unpack_network(content)
    book.announce([digest_of(content)])
    note = DenseNote(
        key=book.key,
        digest=study.workspace.store.put(content),
        score=state.history[-1].score,
        seconds=sum(epoch.seconds for epoch in state.history),
    )
    study.note(dense=note)
    book.close()
    _tell_if_at_chance(study, state, job)
    return network


def _tell_if_at_chance(study: Study, state: TrainState, job: Job) -> None:
    """Warn where the unpruned network has learnt nothing: no pruned one will be better."""
    facts, last = study.facts, state.history[-1]
    if normalized_score(last.score, facts.chance, facts.best) > LEAST_GAIN:
        return
    log.warning(
        "the unpruned network has learnt next to nothing in %d epochs: %s %.4f, chance %.4f, "
        "training loss %.4g. Pruned ones will not be better: give method.phases.dense_epochs "
        "more, or another task.optimizer.lr, or look at the data",
        job.epochs, facts.metric, last.score, facts.chance, last.loss,
    )  # fmt: skip


@final
class _DenseLog:
    """The notes of the dense training, stored with the study."""

    def __init__(self, study: Study, key: str) -> None:
        self._study, self.key = study, key

    def checkpoint(self) -> str | None:
        note = self._study.notes().dense_checkpoint
        return note.digest if note is not None and note.key == self.key else None

    def announce(self, digests: Sequence[str]) -> None:
        pending = self._study.notes().dense_pending
        with self._study.workspace.lock(BLOBS):
            named = {*pending, *digests} - {self.checkpoint()}
            self._study.note(dense_pending=sorted(named))

    def note_checkpoint(self, digest: str) -> None:
        self._study.note(dense_checkpoint=DenseCheckpoint(self.key, digest))

    def note_progress(self, progress: Progress) -> None:
        self._study.note(dense_progress=progress)

    def close(self) -> None:
        """Remove what a resumed training would need: the network is stored and noted."""
        notes, store = self._study.notes(), self._study.workspace.store
        network = notes.dense.digest if notes.dense is not None else None
        for digest in filter(None, {*notes.dense_pending, self.checkpoint()} - {network}):
            store.remove(digest)
        if notes.dense_pending:
            self._study.note(dense_pending=())
        if notes.dense_checkpoint is not None:
            self._study.note(dense_checkpoint=None)

    def verdict(self, _epoch: Epoch, _of: int, /) -> str | None:
        return None

"""The dense networks that the trials of a study start from: each trained once, shared by digest."""

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
from search.study.scale import normalized_score
from search.study.study import Study
from search.study.study_record import DenseNote, dense_notes
from search.study.trials import BLOBS
from search.study.variants import Variant
from search.worker.stop_signals import StopMonitor
from search.worker.training_loop import resumed, train_on
from tracking.errors import BusyError

log = logging.getLogger("paring.dense")
LEAST_GAIN = 0.05  # on the scale from chance to the best possible score


def ensure_dense(study: Study, variant: Variant, monitor: StopMonitor) -> StoredNetwork:
    """A variant's dense network: stored, taken from another study with the same key, or trained.

    One worker trains while those that need it wait; if it dies, the next one resumes its
    checkpoint.

    Raises:
        Stopped: there was a reason to leave.
    """
    with monitor.lock(training_lock(variant.key)):
        if (network := _stored(study, variant.key)) is None:
            return _trained(study, variant, monitor)
        # The worker that trained it may have been killed before.
        _DenseLog(study, variant.key).close()
        return network


def is_in_training(study: Study, key: str) -> bool:
    """Whether another worker trains the dense network of a key just now."""
    if key in study.notes().dense:
        return False
    try:
        with study.workspace.lock(training_lock(key), timeout=0):
            return False
    except BusyError:
        return True


def training_lock(key: str) -> str:
    """The name of the workspace's lock that the worker which trains a dense network holds."""
    return f"dense-{key}"


def _stored(study: Study, key: str) -> StoredNetwork | None:
    stored = study.notes().dense.get(key)
    note = stored or _of_another_study(study, key)
    if note is None:
        return None
    try:
        network = unpack_network(study.workspace.store[note.digest])
    except (KeyError, StoreError, CheckpointError) as error:
        log.warning("the dense network is lost and will be trained again: %s", lost(error))
        return None
    if note != stored:
        study.note(dense={key: note})
    return network


def _of_another_study(study: Study, key: str) -> DenseNote | None:
    return next((note for note in dense_notes(study.storage) if note.key == key), None)


def _trained(study: Study, variant: Variant, monitor: StopMonitor) -> StoredNetwork:
    factory, book = variant.factory, _DenseLog(study, variant.key)
    job, name = factory.dense_job(), variant.facts.name
    log.info("the dense network%s: training begins", name and f" of {name}")
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
    study.note(dense={book.key: note})
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
        self._removed: set[str] = set()

    def checkpoint(self) -> str | None:
        return self._study.notes().dense_checkpoint.get(self.key)

    def announce(self, digests: Sequence[str]) -> None:
        stored = {*self._pending(), *filter(None, [self.checkpoint()])}
        with self._study.workspace.lock(BLOBS):
            named = (stored - self._removed).union(digests)
            self._study.note(dense_pending={self.key: sorted(named)})

    def forget(self, digest: str) -> None:
        self._removed.add(digest)

    def note_checkpoint(self, digest: str) -> None:
        self._study.note(dense_checkpoint={self.key: digest})

    def note_progress(self, progress: Progress) -> None:
        self._study.note(dense_progress={self.key: progress})

    def close(self) -> None:
        """Remove what a resumed training would need: the network is stored and noted."""
        notes, pending = self._study.notes(), self._pending()
        network = notes.dense[self.key].digest if self.key in notes.dense else None
        for digest in filter(None, {*pending, self.checkpoint()} - {network}):
            self._study.workspace.store.remove(digest)
        if pending:
            self._study.note(dense_pending={self.key: ()})
        if self.checkpoint() is not None:
            self._study.note(dense_checkpoint={self.key: None})

    def _pending(self) -> tuple[str, ...]:
        return self._study.notes().dense_pending.get(self.key, ())

    def verdict(self, _epoch: Epoch, _of: int, /) -> str | None:
        return None

"""A training run that may be left at any batch, and is resumed at its last stored epoch.

After every epoch its state is packed; the latest one goes into the store now and then, and when
the run is left. A run that is killed loses the epochs since then, and no more.
"""

import logging
import time
from collections.abc import Sequence
from typing import Protocol

from pruning.errors import CheckpointError
from pruning.export.files import digest_of
from pruning.training.checkpoint import pack_state, unpack_state
from pruning.training.job import Job
from pruning.training.state import Epoch, TrainState
from pruning.training.train import steps
from search.errors import StoreError
from search.storage.blobs import Store, lost
from search.storage.outage import tolerated
from search.storage.trial_record import Progress
from search.storage.workspace import Workspace
from search.worker.stop_signals import Reason, StopMonitor, Stopped

log = logging.getLogger("paring.training")
PROGRESS_EVERY_S = 1.0


class Logbook(Protocol):
    """Where a run stores its notes: with its trial, or with the study for the dense network."""

    def checkpoint(self) -> str | None:
        """The digest of the last stored state."""
        ...

    def announce(self, digests: Sequence[str]) -> None:
        """Name blobs that are about to be stored, so that a kill leaves none unnamed."""
        ...

    def forget(self, digest: str) -> None:
        """A blob was removed: it is named until the next announcement, and not by that."""
        ...

    def note_checkpoint(self, digest: str) -> None:
        """Note the digest of a stored state."""
        ...

    def note_progress(self, progress: Progress) -> None:
        """Note the last epoch, for whoever looks."""
        ...

    def verdict(self, epoch: Epoch, of: int, /) -> str | None:
        """Why the run should end at this epoch, one of `of`; None if it should go on."""
        ...


def resumed(book: Logbook, job: Job, store: Store, what: str) -> TrainState | None:
    """The state that a run was left in; None if it was not begun, or its checkpoint is lost: it
    begins again then, with the same result.
    """
    if (digest := book.checkpoint()) is None:
        return None
    try:
        return unpack_state(store[digest], job)
    except (KeyError, StoreError, CheckpointError) as error:
        log.warning("%s starts again: %s", what, lost(error))
        return None


def train_on(
    state: TrainState, job: Job, workspace: Workspace, book: Logbook, monitor: StopMonitor
) -> str | None:
    """Train to the end of the recipe, or to a verdict, which is returned.

    Raises:
        Stopped: there was a reason to leave; the last epoch's state is stored, unless another
            worker has taken the run over. And what `pruning.training.train.train` raises.
    """
    latest: bytes | None = None  # the last epoch's state, while it is not in the store
    stored = shown = time.monotonic()
    try:
        for epoch in steps(state, job):
            if epoch is None:
                monitor.check()
                continue
            now, last = time.monotonic(), epoch.epoch == job.epochs
            if now - shown >= PROGRESS_EVERY_S or last or epoch.epoch == 1:
                shown = now
                with tolerated("progress is not shown"):
                    book.note_progress(_progress(epoch, job))
            if last:
                return None
            with tolerated("not judged"):
                if (verdict := book.verdict(epoch, job.epochs)) is not None:
                    return verdict
            latest = pack_state(state)
            if now - stored >= workspace.config.checkpoint_s:
                with tolerated("no checkpoint now"):
                    _store(workspace, book, latest)
                    latest, stored = None, now
    except Stopped as stopped:
        if latest is not None and stopped.reason is not Reason.LOST:
            with tolerated("the last epochs are lost"):
                _store(workspace, book, latest)
        raise
    return None


def _progress(epoch: Epoch, job: Job) -> Progress:
    return Progress(epoch.epoch, job.epochs, epoch.phase, epoch.score, epoch.cost)


def _store(workspace: Workspace, book: Logbook, content: bytes) -> None:
    """Store a state, and remove the one before it."""
    before, digest = book.checkpoint(), digest_of(content)
    book.announce([digest])
    workspace.store.put(content)
    book.note_checkpoint(digest)
    if before is not None and before != digest:
        workspace.store.remove(before)
        book.forget(before)

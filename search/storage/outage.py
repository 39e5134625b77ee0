"""Databases and disks that are out of reach for a while: nobody may lose work by it.

A restarted server, a cut connection or a full disk is no fault of a trial, and must not cost it.
Workers wait for it (`search.worker.stop_signals`); whoever only looks goes on without a look.
"""

import logging
from collections.abc import Iterator
from contextlib import contextmanager

from optuna.exceptions import StorageInternalError
from sqlalchemy.exc import InterfaceError, OperationalError, PendingRollbackError

from search.errors import UnwritableError
from tracking.databases.urls import mask
from tracking.errors import BusyError, LockedError, UnreachableError

log = logging.getLogger("paring.outage")
_KINDS = (
    OperationalError,
    InterfaceError,
    PendingRollbackError,
    StorageInternalError,
    UnreachableError,
    LockedError,
    BusyError,
    UnwritableError,
)


def is_outage(error: BaseException) -> bool:
    """Whether an error says that a database or the store is out of reach.

    Optuna's storage meets an outage in some places with an UnboundLocalError of its own, which
    names the outage as its context.
    """
    return any(isinstance(each, _KINDS) for each in _chain(error))


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__


@contextmanager
def tolerated(what: str) -> Iterator[None]:
    """Go on behind the block when an outage ends it; `what` was not done, the log says."""
    try:
        yield
    except Exception as error:
        if not is_outage(error):
            raise
        log.warning("%s: %s", what, told(error))


def told(error: BaseException) -> str:
    """The first line of what lies beneath an error, without passwords: Optuna tells of a lock
    that is held as of invalid data.
    """
    root = [each for each in _chain(error) if isinstance(each, _KINDS) or each is error][-1]
    lines = mask(str(root)).strip().splitlines()
    return f"{type(root).__name__}: {lines[0] if lines else ''}"

"""Databases and stores that are out of reach for a while: no work may be lost by that.

A restarted server, a broken connection or a full disk is no fault of a trial, which must not fail
by it. Workers wait until the outage is over (`search.worker.stop_signals`); displays and mirrors
go on without fresh numbers.
"""

import logging
from collections.abc import Iterator
from contextlib import contextmanager

from optuna.exceptions import StorageInternalError
from sqlalchemy.exc import InterfaceError, OperationalError, PendingRollbackError

from search.errors import UnreadableError, UnwritableError
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
    UnreadableError,
    UnwritableError,
)


def is_outage(error: BaseException) -> bool:
    """Whether an error says that a database or the store is out of reach.

    In some places Optuna's storage raises an UnboundLocalError during an outage, with the outage
    as its context.
    """
    return any(isinstance(link, _KINDS) for link in _chain(error))


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__


@contextmanager
def tolerated(message: str) -> Iterator[None]:
    """Go on after the block if an outage ends it, and log a message on what was not done."""
    try:
        yield
    except Exception as error:
        if not is_outage(error):
            raise
        log.warning("%s: %s", message, told(error))


def told(error: BaseException) -> str:
    """The first line of an error's root cause, without passwords: Optuna reports a lock that is
    held as invalid data.
    """
    root = [link for link in _chain(error) if isinstance(link, _KINDS) or link is error][-1]
    lines = mask(str(root)).strip().splitlines()
    return f"{type(root).__name__}: {lines[0] if lines else ''}"

"""A named mutex between processes, which is released when its holder is killed."""

import hashlib
import re
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from filelock import FileLock, Timeout
from sqlalchemy import Connection, text
from sqlalchemy.exc import DBAPIError

from tracking.databases.database import connected, mapped
from tracking.databases.urls import Databases
from tracking.errors import BusyError, UnreachableError

_NO_TIMEOUT = -1.0


@contextmanager
def lock(databases: Databases, name: str, timeout: float | None = 60.0) -> Iterator[None]:
    """Hold the mutex `name` of a project while the block runs.

    `timeout` is in seconds: 0 tries once, None waits without end. It is not re-entrant. On
    PostgreSQL it is an advisory lock of an open session, on SQLite a locked file beside the
    databases: both end with the process, SIGKILL included. (A child that was *forked* inside the
    block keeps the file locked; spawned ones do not.)

    Raises:
        BusyError: another process holds it all that time. UnreachableError: the database or the
            folder cannot be used.
    """
    mutex = (
        _session_lock(databases, name, timeout)
        if databases.folder is None
        else _file_lock(databases.folder, name, timeout)
    )
    with mutex:
        yield


@contextmanager
def _file_lock(folder: Path, name: str, timeout: float | None) -> Iterator[None]:
    mutex = FileLock(
        folder / f"{_slug(name)}.lock", timeout=_NO_TIMEOUT if timeout is None else timeout
    )
    try:
        folder.mkdir(parents=True, exist_ok=True)
        mutex.acquire()
    except Timeout:
        raise _busy(name, timeout) from None
    except OSError as error:
        raise UnreachableError(
            f"the lock file {mutex.lock_file} cannot be used ({error.strerror}): its folder "
            "must be writable and on a file system with locks"
        ) from error
    try:
        yield
    finally:
        mutex.release()


@contextmanager
def _session_lock(databases: Databases, name: str, timeout: float | None) -> Iterator[None]:
    """Hold an advisory lock; closing the session is what releases it."""
    url = databases.optuna
    session = ExitStack()  # unlike `with`, its close() does not translate errors of the block
    try:
        connection = session.enter_context(connected(url, autocommit=True))
        with mapped(url):
            acquired = _acquired(connection, _number(f"{databases.schema}/{name}"), timeout)
        if not acquired:
            raise _busy(name, timeout)
        yield
    finally:
        session.close()


def _acquired(connection: Connection, number: int, timeout: float | None) -> bool:
    if timeout == 0:
        query = text("SELECT pg_try_advisory_lock(:number)")
        return bool(connection.execute(query, {"number": number}).scalar())
    milliseconds = 0 if timeout is None else max(1, round(1000 * timeout))
    connection.execute(text(f"SET lock_timeout = {milliseconds}"))
    try:
        connection.execute(text("SELECT pg_advisory_lock(:number)"), {"number": number})
    except DBAPIError as error:
        if type(error.orig).__name__ == "LockNotAvailable":
            return False
        raise
    return True


def _busy(name: str, timeout: float | None) -> BusyError:
    waited = "" if not timeout else f" after {timeout:g} s"
    return BusyError(
        f"another process still holds the lock {name!r}{waited}: wait for it, or end that process"
    )


def _number(name: str) -> int:
    """Return a signed 64-bit number for a name, the same in every process."""
    return int.from_bytes(hashlib.sha256(name.encode()).digest()[:8], signed=True)


def _slug(name: str) -> str:
    """Return a file name for a lock's name; different names have different files."""
    digest = hashlib.sha256(name.encode()).hexdigest()[:8]
    return f"{re.sub(r'[^A-Za-z0-9_-]+', '-', name)[:60]}-{digest}"

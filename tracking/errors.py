"""Errors that come from outside this code: databases, stored files, MLflow.

    TrackingError                something that a user can correct
    ├── DatabaseError            a database that cannot be used
    │   ├── AddressError         its address is malformed, or holds a password
    │   ├── UnreachableError     nobody answers, access is refused, the disk is read-only
    │   ├── LockedError          another program has locked it, and keeps it locked
    │   └── ForeignError         it holds tables of another program, or is no database at all
    ├── DamagedError             a stored file does not hold what it should
    ├── BusyError                another process of paring holds the named lock
    ├── ServerError              a request to MLflow failed
    │   └── GoneError            a run or an experiment was deleted meanwhile
    ├── RegistryError            a model cannot be registered as asked
    └── PrintingError            no browser, or one that cannot print a page

Every message says what happened, the value, the limit, and the cure, and hides passwords.
Errors of SQLAlchemy, MLflow and requests are translated into these where they are called.
"""


class TrackingError(Exception):
    """An error from outside this code that a user can correct."""


class DatabaseError(TrackingError):
    """A database that cannot be used."""


class AddressError(DatabaseError):
    """The address of a database is malformed, or holds a password."""


class UnreachableError(DatabaseError):
    """Nobody answers at the address, access is refused, or the disk is read-only."""


class LockedError(DatabaseError):
    """Another program has locked the database for longer than the timeout."""


class ForeignError(DatabaseError):
    """The database holds tables of another program, or the file is no database."""


class DamagedError(TrackingError):
    """A stored file does not hold what it should."""


class BusyError(TrackingError):
    """Another process of paring holds the named lock."""


class ServerError(TrackingError):
    """A request to MLflow, its server or its database failed."""


class GoneError(ServerError):
    """A run or an experiment does not exist any more, or was deleted."""


class RegistryError(TrackingError):
    """A model cannot be registered under this name or alias."""


class PrintingError(TrackingError):
    """There is no browser, or it cannot print a page."""

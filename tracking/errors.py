"""What can go wrong outside our own code, under names of our own.

    TrackingError                something that a person can put right
    ├── DatabaseError            a database that cannot be used
    │   ├── AddressError         its address is malformed, or holds a password
    │   ├── UnreachableError     nobody answers, access is refused, the disk is read-only
    │   ├── LockedError          another program holds it and does not let go
    │   └── ForeignError         it holds somebody else's tables, or is no database at all
    ├── DamagedError             a stored file does not hold what it should
    ├── BusyError                another process of ours holds the named lock
    ├── ServerError              MLflow did not do what it was asked
    │   └── GoneError            a run or experiment was deleted behind our back
    └── RegistryError            a model cannot be registered as asked

Every message says what happened, the value, the limit, and the cure, and hides passwords.
Errors of SQLAlchemy, MLflow and requests are turned into these where they enter.
"""


class TrackingError(Exception):
    """Something outside our own code that a person can put right."""


class DatabaseError(TrackingError):
    """A database that cannot be used."""


class AddressError(DatabaseError):
    """The address of a database is malformed, or holds a password."""


class UnreachableError(DatabaseError):
    """Nobody answers at the address, access is refused, or the disk is read-only."""


class LockedError(DatabaseError):
    """Another program holds the database and does not let go in time."""


class ForeignError(DatabaseError):
    """The database holds somebody else's tables, or the file is no database."""


class DamagedError(TrackingError):
    """A stored file does not hold what it should."""


class BusyError(TrackingError):
    """Another process of ours holds the named lock."""


class ServerError(TrackingError):
    """MLflow, its server or its database did not do what it was asked."""


class GoneError(ServerError):
    """A run or an experiment is no longer there, or was moved to the bin."""


class RegistryError(TrackingError):
    """A model cannot be registered under this name or alias."""

"""The databases: prepared, and checked before they are used."""

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from enum import StrEnum
from pathlib import Path

from sqlalchemy import URL, Connection, Engine, create_engine, inspect, make_url, text
from sqlalchemy.exc import DatabaseError as SqlError
from sqlalchemy.exc import IntegrityError, SQLAlchemyError
from sqlalchemy.pool import NullPool
from sqlalchemy.schema import CreateSchema

from tracking.databases.urls import Databases, mask
from tracking.errors import DatabaseError, ForeignError, LockedError, UnreachableError

_PATIENCE = 5.0  # seconds to wait for the lock of another program
_NO_DATABASE = "file is not a database"
_LOCKED_TEXTS = ("database is locked", "lock timeout", "LockNotAvailable")
_TABLES = {
    "Optuna": frozenset({"studies", "trials"}),
    "MLflow": frozenset({"experiments", "runs"}),
}
# What can be there besides if the process was killed while it created the tables.
_EARLY_TABLES = {
    "Optuna": frozenset({"version_info", "study_directions", "study_user_attributes"}),
    "MLflow": frozenset({"metrics", "params", "tags", "latest_metrics", "experiment_tags"}),
}


class Content(StrEnum):
    """What a database holds."""

    EMPTY = "empty"
    OURS = "ours"


def prepare(databases: Databases) -> None:
    """Create the folder or the schemas if they are missing, and check what is in them.

    Raises:
        UnreachableError, LockedError, ForeignError: see `check`.
    """
    if databases.folder is not None:
        _create_folder(databases.folder)
    else:
        _create_schemas(databases.optuna, databases.mlflow)
    check(databases.optuna, "Optuna")
    check(databases.mlflow, "MLflow")


def prepare_users(url: str) -> None:
    """Create the schema of MLflow's users if it is missing; only a login needs it."""
    if make_url(url).drivername != "sqlite":
        _create_schemas(url)


def check(url: str, owner: str, patience: float = _PATIENCE) -> Content:
    """Connect to the database of `owner` ("Optuna" or "MLflow") and return what it holds.

    Creates nothing: a SQLite file that does not exist yet is empty.

    Raises:
        UnreachableError: it cannot be used. ForeignError: it holds other tables. LockedError:
            another program has locked it for longer than `patience` seconds.
    """
    parsed = make_url(url)
    if parsed.drivername == "sqlite" and not Path(parsed.database or "").exists():
        return Content.EMPTY
    with connected(url, patience=patience) as connection:
        _take_write_lock(connection, patience)
        tables = frozenset(inspect(connection).get_table_names())
        version = _version(connection, tables)
        connection.rollback()
    if not tables:
        return Content.EMPTY
    _refuse_foreign(url, owner, tables, version)
    return Content.OURS


@contextmanager
def connected(
    url: str, autocommit: bool = False, patience: float = _PATIENCE
) -> Iterator[Connection]:
    """Open one connection that waits only seconds for a host or a lock; translate its errors."""
    with mapped(url), _engine(make_url(url), patience).connect() as connection:
        if autocommit:
            connection.execution_options(isolation_level="AUTOCOMMIT")
        yield connection


@contextmanager
def mapped(url: str) -> Iterator[None]:
    """Turn SQLAlchemy's errors inside the block into ours."""
    try:
        yield
    except SQLAlchemyError as error:
        raise _translated(url, error) from error


def _engine(url: URL, patience: float) -> Engine:
    if url.drivername == "sqlite":
        arguments: dict[str, object] = {"timeout": patience}
    else:
        arguments = {"application_name": "paring"}
    return create_engine(url, poolclass=NullPool, connect_args=arguments)


def _translated(url: str, error: SQLAlchemyError) -> DatabaseError:
    where, cause = _place(url), mask(_cause(error))
    if _NO_DATABASE in cause:
        return ForeignError(
            f"{where} is not a SQLite database: move the file away, or choose another folder"
        )
    if any(words in cause for words in _LOCKED_TEXTS):
        return LockedError(
            f"{where} is locked by another program ({cause}): close the program that holds it "
            "(a database browser, an open transaction)"
        )
    return UnreachableError(f"{where} cannot be used ({cause}): {_cure(url)}")


def _cause(error: SQLAlchemyError) -> str:
    original = error.orig if isinstance(error, SqlError) else None
    return " ".join(str(original or error).split())


def _cure(url: str) -> str:
    if make_url(url).drivername == "sqlite":
        return "the file and its folder must be writable, and the disk must have room"
    return (
        "is the server running, does the database exist (createdb), and do PGUSER and "
        "PGPASSWORD or ~/.pgpass hold valid credentials?"
    )


def _place(url: str) -> str:
    parsed = make_url(url)
    if parsed.drivername == "sqlite":
        return f"the database {parsed.database}"
    host = f"{parsed.host or 'the local socket'}:{parsed.port or 5432}"
    return f"the PostgreSQL database {parsed.database} at {host}{_schema_in(parsed)}"


def _schema_in(url: URL) -> str:
    schema = _schema_of(url)
    return f", schema {schema}" if schema else ""


def _schema_of(url: URL) -> str:
    """Return the schema that a URL from `locate` selects."""
    return str(url.query.get("options", "")).rpartition("search_path=")[2]


def _create_folder(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UnreachableError(
            f"the folder {folder} for the databases cannot be made ({error.strerror}): choose "
            "one that you may write to"
        ) from error


def _create_schemas(*urls: str) -> None:
    """Create the schemas in URLs of one database; other processes may do so at the same time."""
    with connected(urls[0], autocommit=True) as connection:
        present = frozenset(inspect(connection).get_schema_names())
        for url in urls:
            name = _schema_of(make_url(url))
            if name not in present:
                # PostgreSQL checks, then creates: a schema that another process created in
                # between is a duplicate key, even with "if not exists".
                with suppress(IntegrityError):
                    connection.execute(CreateSchema(name, if_not_exists=True))


def _take_write_lock(connection: Connection, patience: float) -> None:
    if connection.dialect.name == "sqlite":
        connection.exec_driver_sql("BEGIN IMMEDIATE")
    else:
        connection.execute(text(f"SET LOCAL lock_timeout = {max(1, round(1000 * patience))}"))


def _version(connection: Connection, tables: frozenset[str]) -> str | None:
    if "alembic_version" not in tables:
        return None
    query = text("SELECT version_num FROM alembic_version")
    return connection.execute(query).scalars().first()


def _refuse_foreign(url: str, owner: str, tables: frozenset[str], version: str | None) -> None:
    """Raise ForeignError unless the tables are the owner's, perhaps not all of them."""
    other = "MLflow" if owner == "Optuna" else "Optuna"
    holder = _holder(owner, other, tables, version)
    if holder is None:
        return
    names = ", ".join(sorted(tables)[:6]) + (", ..." if len(tables) > 6 else "")
    raise ForeignError(
        f"{_place(url)} is to hold {owner}'s tables, but it holds {holder} ({names}): choose "
        "another folder, database or schema; nothing was changed"
    )


def _holder(owner: str, other: str, tables: frozenset[str], version: str | None) -> str | None:
    """Return whose tables these are; None for the owner's alone."""
    if _TABLES[other] & tables:
        return f"{other}'s too" if _TABLES[owner] <= tables else f"{other}'s"
    if not tables & (_TABLES[owner] | _EARLY_TABLES[owner]):
        return "another program's"
    # Optuna names its versions v3.0.0.a; MLflow's are hexadecimal.
    if version is not None and version.startswith("v") != (owner == "Optuna"):
        return f"the migrations of another program (alembic_version {version})"
    return None

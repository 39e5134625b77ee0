"""The databases: made ready, and examined before anybody relies on them."""

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

_PATIENCE = 5.0  # seconds to wait for somebody else's lock
_NO_DATABASE = "file is not a database"
_LOCKED_TEXTS = ("database is locked", "lock timeout", "LockNotAvailable")
_MARKS = {
    "Optuna": frozenset({"studies", "trials"}),
    "MLflow": frozenset({"experiments", "runs"}),
}
# What a crash while the tables were made can leave behind, besides the marks.
_PARTS = {
    "Optuna": frozenset({"version_info", "study_directions", "study_user_attributes"}),
    "MLflow": frozenset({"metrics", "params", "tags", "latest_metrics", "experiment_tags"}),
}


class Content(StrEnum):
    """What a database holds."""

    EMPTY = "empty"
    OURS = "ours"


def prepare(databases: Databases) -> None:
    """Make the folder or the schemas if they are missing, and check what is in them."""
    if databases.folder is not None:
        _make_folder(databases.folder)
    else:
        _make_schemas(databases.optuna, databases.mlflow)
    check(databases.optuna, "Optuna")
    check(databases.mlflow, "MLflow")


def prepare_users(url: str) -> None:
    """Make the schema of MLflow's users if it is missing; only a login needs it."""
    if make_url(url).drivername != "sqlite":
        _make_schemas(url)


def check(url: str, owner: str, patience: float = _PATIENCE) -> Content:
    """Connect to the database of `owner` ("Optuna" or "MLflow") and say what it holds.

    Raises UnreachableError, ForeignError, or LockedError when another program holds it for
    longer than `patience` seconds. Creates nothing: a SQLite file that does not exist yet is
    empty.
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
    """Open one connection that waits only seconds for a host or a lock; map its errors."""
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
    """Return the schema that a URL of ours selects."""
    return str(url.query.get("options", "")).rpartition("search_path=")[2]


def _make_folder(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UnreachableError(
            f"the folder {folder} for the databases cannot be made ({error.strerror}): choose "
            "one that you may write to"
        ) from error


def _make_schemas(*urls: str) -> None:
    """Create the schemas in URLs of one database, at ease with others doing the same."""
    with connected(urls[0], autocommit=True) as connection:
        present = frozenset(inspect(connection).get_schema_names())
        for url in urls:
            name = _schema_of(make_url(url))
            if name not in present:
                # PostgreSQL looks first and creates then: a schema made in between by somebody
                # else is a duplicate key, even "if not exists".
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
    """Raise ForeignError unless the tables are the owner's, perhaps half-made."""
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
    """Return whose tables these are when they are not the owner's alone."""
    if _MARKS[other] & tables:
        return f"{other}'s too" if _MARKS[owner] <= tables else f"{other}'s"
    if not tables & (_MARKS[owner] | _PARTS[owner]):
        return "another program's"
    # Optuna names its versions v3.0.0.a; MLflow's are hexadecimal.
    if version is not None and version.startswith("v") != (owner == "Optuna"):
        return f"the migrations of another program (alembic_version {version})"
    return None

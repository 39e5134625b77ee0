"""URLs of a project's databases, and passwords hidden in any text."""

import os
import re
from dataclasses import dataclass
from pathlib import Path

from sqlalchemy import URL, make_url
from sqlalchemy.exc import ArgumentError

from tracking.errors import AddressError

# A connection that broke must end on both sides: the client notices by keepalive probes and by
# data that is not acknowledged; the server closes idle transactions, and sessions that do not
# answer its probes. Waiting for the lock of a row has a timeout.
_CLIENT = {
    "connect_timeout": "5",  # s
    "keepalives": "1",
    "keepalives_idle": "10",  # s
    "keepalives_interval": "5",  # s
    "keepalives_count": "3",
    "tcp_user_timeout": "20000",  # ms
}
_SERVER = {
    "lock_timeout": "10s",
    "idle_in_transaction_session_timeout": "20s",
    "tcp_keepalives_idle": "10",  # s
    "tcp_keepalives_interval": "5",  # s
    "tcp_keepalives_count": "3",
}
_FILES = ("optuna.db", "mlflow.db", "users.db")
_SECRETS = frozenset({"password", "sslpassword", "passwd", "pwd"})
_LOOPBACK = frozenset({None, "", "localhost", "127.0.0.1", "::1"})
_POSTGRES = frozenset({"postgres", "postgresql", "postgresql+psycopg"})
_SCHEMA = re.compile(r"[a-z_][a-z0-9_]{0,50}")
_IN_URL = re.compile(r"(\w[\w+.-]*://[^\s:/@]*):\S*@")
_TOKEN = re.compile(r"(\b(?:https?|s3|gs)://)[^\s:/@]+@", re.IGNORECASE)  # as a user
_IN_WHOLE_URL = re.compile(r"(\w[\w+.-]*://[^:/@]*):.*@", re.DOTALL)
_BARE = re.compile(r"(\w):(?!/|\d+/)[^\s@]*@")  # a user and a password without `://` before them
_IN_QUERY = re.compile(
    r"\b(ssl)?(password|passwd|pwd)(\s*=\s*)('(?:[^'\\]|\\.)*'|[^&\s]*)", re.IGNORECASE
)


@dataclass(frozen=True, slots=True)
class Databases:
    """The databases of a project, as URLs for Optuna, MLflow, and MLflow's users.

    They are SQLite files in `folder`, or schemas of one PostgreSQL database (then `folder` is
    None): Optuna and MLflow both keep a table `alembic_version`, so they cannot share one.
    """

    optuna: str
    mlflow: str
    users: str
    folder: Path | None
    schema: str

    @property
    def place(self) -> str:
        """Where they are, for people."""
        if self.folder is not None:
            return str(self.folder)
        url = make_url(self.optuna).set(query={}, drivername="postgresql")
        return f"{url.render_as_string()}, schema {self.schema}"

    @property
    def of_one_machine(self) -> bool:
        """Whether other machines find other databases in the same place, or none."""
        return self.folder is not None or make_url(self.optuna).host in _LOOPBACK


def locate(location: str | Path, schema: str = "paring") -> Databases:
    """Return the databases at a folder or a `postgresql://` URL; creates and opens nothing.

    On PostgreSQL the schemas are `<schema>_optuna`, `<schema>_mlflow` and `<schema>_users`.

    Raises:
        AddressError: the location or the schema cannot be used, or the URL holds a password.
    """
    text = os.fspath(location)
    if "://" not in text:
        return _files(Path(text), schema)
    url = _parsed(text)
    if url.drivername == "sqlite":
        return _files(Path(url.database or "."), schema)
    if url.drivername.lower() in _POSTGRES:
        return _schemas(url, schema)
    raise AddressError(
        f"databases of kind {url.drivername!r} are not supported: give a folder (SQLite files) "
        "or postgresql+psycopg://HOST:PORT/DATABASE"
    )


def mask(text: str) -> str:
    """Hide every password or token in a URL, or in a message that contains URLs."""
    text = _TOKEN.sub(r"\1***@", _IN_QUERY.sub(r"\1\2\3***", text))
    is_url = re.match(r"\s*\w[\w+.-]*://", text) is not None and "\n" not in text
    return _BARE.sub(r"\1:***@", (_IN_WHOLE_URL if is_url else _IN_URL).sub(r"\1:***@", text))


def _files(folder: Path, schema: str) -> Databases:
    folder = folder.expanduser().resolve()
    if folder.exists() and not folder.is_dir():
        raise AddressError(
            f"{folder} is a file, but the two databases need a folder: give the folder that "
            "is to hold optuna.db and mlflow.db"
        )
    if unfit := set("?#%") & set(str(folder)):
        raise AddressError(
            f"the folder {folder} has {' '.join(sorted(unfit))} in its name, which database "
            "URLs cannot carry: choose another folder"
        )
    optuna, mlflow, users = (f"sqlite:///{(folder / name).as_posix()}" for name in _FILES)
    return Databases(optuna, mlflow, users, folder, schema)


def _schemas(url: URL, schema: str) -> Databases:
    _refuse_password(url)
    if not _SCHEMA.fullmatch(schema):
        raise AddressError(
            f"{schema!r} cannot prefix a schema: use lower-case letters, digits and _, "
            "at most 51, not starting with a digit"
        )
    if not url.database:
        raise AddressError(
            f"{mask(url.render_as_string())} names no database: write postgresql+psycopg://HOST:PORT/DATABASE"
        )
    return Databases(
        _with_schema(url, f"{schema}_optuna"),
        _with_schema(url, f"{schema}_mlflow"),
        _with_schema(url, f"{schema}_users"),
        None,
        schema,
    )


def _parsed(text: str) -> URL:
    try:
        return make_url(text)
    except (ArgumentError, ValueError):
        raise AddressError(
            f"{mask(text)} is not a database URL: give a folder (SQLite files) or "
            "postgresql+psycopg://HOST:PORT/DATABASE"
        ) from None


def _refuse_password(url: URL) -> None:
    secret = next((key for key in url.query if key.strip().lower() in _SECRETS), None)
    if url.password is None and secret is None:
        return
    place = f"its query ({secret}=...)" if secret else "it"
    raise AddressError(
        f"the database URL {url.drivername}://*** has a password in {place}; it would end in "
        "logs, process lists and stored configurations: take it out and set PGPASSWORD, or "
        "add a line to ~/.pgpass"
    )


def _with_schema(url: URL, schema: str) -> str:
    values = url.query.get("options", "")
    options = values if isinstance(values, str) else " ".join(values)
    defaults = " ".join(f"-c{name}={value}" for name, value in _SERVER.items())
    query = {**_CLIENT, **url.query}
    query["options"] = f"{defaults} {f'{options} ' if options else ''}-csearch_path={schema}"
    return (
        url.set(drivername="postgresql+psycopg")
        .update_query_dict(query)
        .render_as_string(hide_password=False)
    )

"""Blobs at an address that fsspec opens, such as s3://bucket/prefix: a store that needs no shared
disk.

Errors of fsspec and of the libraries below it end here: a blob that is missing is a
FileNotFoundError, a server that is out of reach or refuses is an outage.
"""

import io
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import datetime
from importlib.util import find_spec
from typing import Any, BinaryIO, final
from urllib.parse import urlsplit
from uuid import uuid4

from search.errors import ConfigError, SearchError, UnreadableError, UnwritableError
from search.storage.blobs import Entry
from tracking.databases.urls import mask

_TIMES = ("LastModified", "mtime")  # what file systems call when a file was written
_PUT_BYTES = 5 << 30  # the largest object that S3 takes in one request


@dataclass(frozen=True, slots=True)
class _Kind:
    """What paring knows of a kind of addresses.

    extra, module: what must be installed for it. example: of an address.
    credentials: where its library finds them, for people.
    whole: whether a file that is written appears at once or not at all; else it is written aside
        and renamed.
    artifacts: whether MLflow writes to such addresses, too.
    packages: the libraries whose errors say that the server is out of reach, or refuses.
    options: of the file system. put: of writing a file.
    """

    extra: str
    module: str
    example: str
    credentials: str
    whole: bool
    artifacts: bool
    packages: frozenset[str]
    options: Mapping[str, Any] = field(default_factory=dict)
    put: Mapping[str, Any] = field(default_factory=dict)


_KINDS = {
    "s3": _Kind(
        extra="s3",
        module="s3fs",
        example="s3://BUCKET/PREFIX",
        credentials="AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or AWS_PROFILE, and for other "
        "servers than Amazon's AWS_ENDPOINT_URL",
        whole=True,
        artifacts=True,
        packages=frozenset({"aiobotocore", "aiohttp", "botocore"}),
        options={
            "use_listings_cache": False,  # other machines write, too
            "max_concurrency": 1,  # else every read asks for the size first
            "config_kwargs": {"retries": {"mode": "standard", "total_max_attempts": 3}},
        },
        put={"chunksize": _PUT_BYTES},  # in parts, a kill would leave some that cost money
    ),
    "gs": _Kind(
        extra="gs",
        module="gcsfs",
        example="gs://BUCKET/PREFIX",
        credentials="GOOGLE_APPLICATION_CREDENTIALS, and for other servers than Google's "
        "STORAGE_EMULATOR_HOST",
        whole=True,
        artifacts=True,
        packages=frozenset({"aiohttp", "gcsfs", "google", "requests"}),
        options={"use_listings_cache": False},
    ),
    "sftp": _Kind(
        extra="sftp",
        module="paramiko",
        example="sftp://USER@HOST/PATH",
        credentials="the keys of SSH_AUTH_SOCK's agent or of ~/.ssh, and the server's own in "
        "~/.ssh/known_hosts",
        whole=False,
        artifacts=False,
        packages=frozenset({"paramiko"}),
    ),
}


@final
class Remote:
    """A store at an address; its files have the names that they have in a folder.

    Args:
        address: without credentials.

    Raises:
        ConfigError: it cannot be used, or what it needs is not installed.
    """

    def __init__(self, address: str) -> None:
        self._address = _checked(address)
        self._kind = _KINDS[urlsplit(address).scheme]

    @property
    def place(self) -> str:
        """The address."""
        return f"{self._address}/store"

    @property
    def artifacts(self) -> str | None:
        """Where MLflow's artifacts lie beside the store; None if MLflow cannot write there."""
        return f"{self._address}/artifacts" if self._kind.artifacts else None

    def open_reader(self, artifact_id: str) -> BinaryIO:
        """The content of a blob."""
        with self._reached(UnreadableError, "read") as (system, root):
            return io.BytesIO(system.cat_file(_path(root, artifact_id)))

    def write(self, artifact_id: str, content_body: BinaryIO) -> None:
        """Write a blob, so that readers see all of it or none.

        What killed processes have left of the same blob goes.
        """
        content = content_body.read()
        with self._reached(UnwritableError, f"write {len(content)} bytes") as (system, root):
            path = _path(root, artifact_id)
            if self._kind.whole:
                system.pipe_file(path, content, **self._kind.put)
            else:
                _write_aside(system, path, content)
                _remove_unfinished(system, path)

    def remove(self, artifact_id: str) -> None:
        """Delete a blob, if it is there, and what killed processes have left of it."""
        with self._reached(UnwritableError, "remove a blob") as (system, root):
            path = _path(root, artifact_id)
            with suppress(FileNotFoundError):
                system.rm_file(path)
            if not self._kind.whole:
                _remove_unfinished(system, path)

    def entries(self) -> Iterator[Entry]:
        """Every file two levels down, half-written ones among them."""
        with self._reached(UnreadableError, "list") as (system, root):
            files = system.find(root, detail=True)
        for path, info in files.items():
            name = path.removeprefix(f"{root}/").replace("/", "", 1)
            yield Entry(name, info["size"], _written(info))

    @contextmanager
    def _reached(self, error: type[SearchError], what: str) -> Iterator[tuple[Any, str]]:
        """The file system and the path of the store in it, with the errors of both translated.

        Raises:
            error: the server is out of reach, or refuses. FileNotFoundError: as it is if the
                block only reads.
        """
        from fsspec.core import url_to_fs  # here: local stores need none of it

        system = None
        try:
            system, path = url_to_fs(self.place, **self._kind.options)
            yield system, path
        except Exception as cause:
            if isinstance(cause, FileNotFoundError) and error is UnreadableError:
                raise
            if not _is_theirs(cause, self._kind.packages):
                raise
            if system is not None:
                system.clear_instance_cache()  # its connections may be broken: next time anew
            raise error(
                f"store {self.place}: cannot {what} ({_told(cause)}); is the server running, and "
                f"may you use the store? Credentials come from {self._kind.credentials}"
            ) from cause


def _checked(address: str) -> str:
    """An address without a slash at its end.

    Raises:
        ConfigError: it cannot be used. The message does not repeat it: it may hold a secret.
    """
    scheme = address.partition("://")[0]
    if (kind := _KINDS.get(scheme)) is None:
        raise ConfigError(
            f"storage.folder: a store cannot be at an address of the kind {scheme!r}; write "
            f"{', '.join(f'{each}://...' for each in _KINDS)}, or the path of a folder"
        )
    user, found, rest = address.removeprefix(f"{scheme}://").rpartition("@")
    if ":" in user or (found and kind.whole):  # over SFTP a user's name is no secret
        raise ConfigError(
            f"storage.folder: the {scheme}:// address has a password or a key in it, which would "
            f"end in logs and process lists; take it out. Credentials come from {kind.credentials}"
        )
    if not rest.strip("/") or not rest.isprintable() or set(rest) & set(" ?#%*[]\\"):
        raise ConfigError(
            f"storage.folder: the {scheme}:// address cannot be used; write {kind.example}, "
            "without spaces and any of ?#%*[]\\"
        )
    if find_spec(kind.module) is None:
        raise ConfigError(
            f"storage.folder={address}: {kind.module} is not installed; run: "
            f"pip install 'paring[{kind.extra}]'"
        )
    return address.rstrip("/")


def _path(root: str, artifact_id: str) -> str:
    return f"{root}/{artifact_id[:2]}/{artifact_id[2:]}"


def _write_aside(system: Any, path: str, content: bytes) -> None:
    """Write a file under another name in its folder, then rename it."""
    folder, _, name = path.rpartition("/")
    part = f"{folder}/.part-{name}-{uuid4().hex[:8]}"
    with suppress(OSError):  # another process makes it at the same time
        system.makedirs(folder, exist_ok=True)
    try:
        system.pipe_file(part, content)
        system.mv(part, path)
    except BaseException:
        with suppress(Exception):  # the error tells more
            system.rm_file(part)
        raise


def _remove_unfinished(system: Any, path: str) -> None:
    folder, _, name = path.rpartition("/")
    with suppress(FileNotFoundError):  # removed meanwhile
        for other in system.ls(folder, detail=False):
            if other.rpartition("/")[2].startswith(f".part-{name}-"):
                system.rm_file(other)


def _written(info: Mapping[str, Any]) -> float:
    """When a file was written, in seconds since the epoch."""
    stamp = next(info[key] for key in _TIMES if key in info)
    return (datetime.fromisoformat(stamp) if isinstance(stamp, str) else stamp).timestamp()


def _is_theirs(error: Exception, packages: frozenset[str]) -> bool:
    """Whether an error comes from a library, a server or a connection, and is no fault here."""
    if isinstance(error, OSError | EOFError):
        return True
    return any(kind.__module__.partition(".")[0] in packages for kind in type(error).__mro__)


def _told(error: Exception) -> str:
    lines = mask(str(error)).strip().splitlines()
    return f"{type(error).__name__}: {lines[0]}" if lines else type(error).__name__

"""Content-addressed blobs: a blob's name is the SHA-256 of its bytes.

Each blob is checked against its name when it is read, so a truncated or altered file is noticed
and never used.
"""

import io
import shutil
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Protocol, final
from uuid import uuid4

from pruning.atomic_write import atomic_write, unfinished
from pruning.export.files import digest_of
from search.errors import StoreError, UnwritableError

_MARK = "the store of"
_MARK_BYTES = 2000  # at most


@dataclass(frozen=True, slots=True)
class Entry:
    """A file of a store: a blob, or a half-written file that a killed process has left (whose
    `name` is no digest). `written` is in seconds since the epoch.
    """

    name: str
    size_bytes: int
    written: float


class Backend(Protocol):
    """Where blobs are stored: Optuna's artifact store protocol, and a list of all entries.

    What is out of reach raises UnreadableError or UnwritableError.
    """

    @property
    def place(self) -> str:
        """Where it is, for people."""
        ...

    def open_reader(self, artifact_id: str) -> BinaryIO:
        """A readable binary stream; LookupError or OSError if there is no such artifact."""
        ...

    def write(self, artifact_id: str, content_body: BinaryIO) -> None:
        """Store a stream under a name."""
        ...

    def remove(self, artifact_id: str) -> None:
        """Remove an artifact, if it is there."""
        ...

    def entries(self) -> Iterator[Entry]:
        """All files, among them half-written ones."""
        ...


@final
class Folder:
    """A folder whose files are complete or absent: each is written to a temporary file, which is
    then renamed.
    """

    def __init__(self, root: Path) -> None:
        self.root = root

    @property
    def place(self) -> str:
        """Its path."""
        return str(self.root)

    def _path(self, artifact_id: str) -> Path:
        return self.root / artifact_id[:2] / artifact_id[2:]

    def open_reader(self, artifact_id: str) -> BinaryIO:
        """The file of a blob."""
        return self._path(artifact_id).open("rb")

    def write(self, artifact_id: str, content_body: BinaryIO) -> None:
        """Write a blob; on a full disk nothing is left behind.

        What killed processes have left of the same blob goes.
        """
        path = self._path(artifact_id)
        try:
            with atomic_write(path) as file:
                shutil.copyfileobj(content_body, file)
        except FileNotFoundError:
            if not path.exists():  # else another process has just written the same content
                raise
        self._remove_unfinished(path)

    def remove(self, artifact_id: str) -> None:
        """Delete a blob's file, if it is there, and what killed processes have left of it."""
        path = self._path(artifact_id)
        path.unlink(missing_ok=True)
        self._remove_unfinished(path)

    @staticmethod
    def _remove_unfinished(path: Path) -> None:
        for part in unfinished(path):
            part.unlink(missing_ok=True)

    def entries(self) -> Iterator[Entry]:
        """Every file two levels down, half-written ones among them."""
        for path in self.root.glob("??/*"):
            with suppress(FileNotFoundError):  # removed meanwhile
                stat = path.stat()
                yield Entry(path.parent.name + path.name, stat.st_size, stat.st_mtime)


def mark_of(study: str, database: str) -> bytes:
    """A blob that says to which study and database its store belongs."""
    return f"{_MARK} {study}, {uuid4().hex}, in {database}\n".encode()


def marked(content: bytes) -> str | None:
    """The study and database that a mark names; None for any other blob."""
    text = content[:_MARK_BYTES].decode(errors="replace")
    return text.removeprefix(_MARK).strip() if text.startswith(_MARK) else None


def lost(error: Exception) -> str:
    """Why a blob cannot be read, for a log."""
    return f"blob {error.args[0][:12]} is missing" if type(error) is KeyError else str(error)


@final
class Store(Mapping[str, bytes]):
    """Blobs by digest: a mapping to read from, with `put` and `remove`."""

    def __init__(self, backend: Backend) -> None:
        self._backend = backend

    @property
    def place(self) -> str:
        """Where the blobs are, for people."""
        return self._backend.place

    def put(self, content: bytes) -> str:
        """Store a blob and return its digest.

        Raises:
            UnwritableError: the disk is full or fails, or a server is out of reach; nothing is
                left behind.
        """
        digest = digest_of(content)
        try:
            self._backend.write(digest, io.BytesIO(content))
        except OSError as error:
            raise UnwritableError(
                f"store: cannot write {len(content)} bytes: {error}; free some space or "
                "correct storage.folder"
            ) from error
        return digest

    def __getitem__(self, digest: str) -> bytes:
        """The blob of a digest.

        Raises:
            StoreError: the blob is damaged. KeyError: there is none. UnreadableError: nobody can
                tell now.
        """
        try:
            with self._backend.open_reader(digest) as stream:
                content = stream.read()
        except (OSError, LookupError) as error:
            raise KeyError(digest) from error
        if digest_of(content) != digest:
            raise StoreError(
                f"store: blob {digest[:12]} is damaged ({len(content)} bytes do not match its "
                "name); it will not be used"
            )
        return content

    def read(self, digest: str) -> bytes:
        """The blob of a digest that must be there.

        Raises:
            StoreError: the blob is damaged or missing. UnreadableError: nobody can tell now.
        """
        try:
            return self[digest]
        except KeyError as error:
            raise StoreError(
                f"store: blob {digest[:12]} is missing; set storage.folder to where the "
                "study's workers kept their store"
            ) from error

    def remove(self, digest: str) -> None:
        """Remove a blob that nothing refers to any more."""
        self._backend.remove(digest)

    def entries(self) -> Iterator[Entry]:
        """All files of the store, among them half-written blobs."""
        return self._backend.entries()

    def __iter__(self) -> Iterator[str]:
        raise TypeError("a store cannot be listed")

    def __len__(self) -> int:
        raise TypeError("a store cannot be counted")

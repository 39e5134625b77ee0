"""Content-addressed blobs: a blob's name is the SHA-256 of its bytes.

What is read is checked against its name, so a truncated or altered file is noticed and never
used.
"""

import io
import os
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Protocol, final
from uuid import uuid4

from pruning.export.files import digest_of
from search.errors import StoreError, UnwritableError

_MARK = "the store of"
_LONGEST_MARK = 2000  # bytes


@dataclass(frozen=True, slots=True)
class Entry:
    """A file of a store: a blob, or what a killed process left of one (then `name` is none of a
    blob). `written` is in seconds since the epoch.
    """

    name: str
    size_bytes: int
    written: float


class Backend(Protocol):
    """Where blobs are kept: Optuna's artifact store protocol, and a list of what is there."""

    def open_reader(self, artifact_id: str) -> BinaryIO:
        """A readable binary stream; LookupError or OSError where there is none."""
        ...

    def write(self, artifact_id: str, content_body: BinaryIO) -> None:
        """Store a stream under a name."""
        ...

    def remove(self, artifact_id: str) -> None:
        """Forget an artifact, if it is there."""
        ...

    def entries(self) -> Iterator[Entry]:
        """All that is kept."""
        ...


@final
class Folder:
    """A folder of files that are whole or absent: each is written aside, then renamed."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def _path(self, artifact_id: str) -> Path:
        return self.root / artifact_id[:2] / artifact_id[2:]

    def open_reader(self, artifact_id: str) -> BinaryIO:
        """The file of a blob."""
        return self._path(artifact_id).open("rb")

    def write(self, artifact_id: str, content_body: BinaryIO) -> None:
        """Write a blob; on a full disk nothing is left behind."""
        path = self._path(artifact_id)
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(dir=path.parent, prefix=".part-")
        try:
            with os.fdopen(handle, "wb") as file:
                shutil.copyfileobj(content_body, file)
                file.flush()
                os.fsync(file.fileno())
            Path(name).replace(path)
        except BaseException:
            Path(name).unlink(missing_ok=True)
            raise

    def remove(self, artifact_id: str) -> None:
        """Delete a blob's file, if it is there."""
        self._path(artifact_id).unlink(missing_ok=True)

    def entries(self) -> Iterator[Entry]:
        """Every file two levels down, half-written ones among them."""
        for path in self.root.glob("??/*"):
            with suppress(FileNotFoundError):  # removed meanwhile
                found = path.stat()
                yield Entry(path.parent.name + path.name, found.st_size, found.st_mtime)


def mark_of(study: str, database: str) -> bytes:
    """A blob that tells whose store it lies in."""
    return f"{_MARK} {study}, {uuid4().hex}, in {database}\n".encode()


def marked(content: bytes) -> str | None:
    """What a mark says of its study and database; None of any other blob."""
    text = content[:_LONGEST_MARK].decode(errors="replace")
    return text.removeprefix(_MARK).strip() if text.startswith(_MARK) else None


def lost(error: Exception) -> str:
    """Why a blob cannot be read, for a log."""
    return f"blob {error.args[0][:12]} is missing" if type(error) is KeyError else str(error)


@final
class Store(Mapping[str, bytes]):
    """Blobs by digest. Reading as a mapping; `put` and `remove` to change it."""

    def __init__(self, backend: Backend) -> None:
        self._backend = backend

    def put(self, content: bytes) -> str:
        """Store a blob and return its digest.

        Raises:
            UnwritableError: the disk is full or fails; nothing is left behind.
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
            StoreError: it is damaged. KeyError: there is none.
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
            StoreError: it is damaged or missing.
        """
        try:
            return self[digest]
        except KeyError as error:
            raise StoreError(
                f"store: blob {digest[:12]} is missing; set storage.folder to where the "
                "study's workers kept their store"
            ) from error

    def remove(self, digest: str) -> None:
        """Forget a blob that nothing refers to any more."""
        self._backend.remove(digest)

    def entries(self) -> Iterator[Entry]:
        """All that is kept, half-written blobs among them."""
        return self._backend.entries()

    def __iter__(self) -> Iterator[str]:
        raise TypeError("a store cannot be listed")

    def __len__(self) -> int:
        raise TypeError("a store cannot be counted")

"""Where MLflow keeps files: written through its server, or straight into its folder."""

import os
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path, PurePosixPath
from tempfile import TemporaryDirectory
from typing import Any, final
from urllib.parse import unquote, urlsplit
from urllib.request import url2pathname
from uuid import uuid4

from tracking.databases.urls import mask
from tracking.errors import ServerError

_OF_SERVER = "mlflow-artifacts"  # the scheme of what a server stores, it does not say where


@final
class ArtifactStore:
    """The files of one MLflow.

    A server may keep them in a folder that this process sees, as `paring serve` does. The first
    files that go through the server tell: their place has a random name, so if they lie in the
    folder, and are of this user, then it is the server's. Those that follow are written into it,
    without a request for each.

    Args:
        tracking_uri: of MLflow.
        folder: where a server may keep its files; None if that is not known.
    """

    def __init__(self, tracking_uri: str, folder: Path | None = None) -> None:
        self._uri, self._folder = tracking_uri, folder
        self._is_of_server = False

    def write(self, place: str, contents: Mapping[str, bytes]) -> None:
        """Write files to a place as MLflow names it: contents by their paths there.

        Raises:
            ServerError: they cannot be stored, or a path leads out of the place.
            MlflowException: the server refuses.
        """
        try:
            if (folder := self._folder_of(place)) is not None:
                write_files(folder, contents)
            else:
                self._upload(place, contents)
        except OSError as error:  # requests' errors are OSErrors too
            raise ServerError(
                f"artifacts cannot be stored in {mask(place)} ({mask(str(error))}): the place "
                "must be reachable and writable, and the disk must have room; for files on "
                "their way free some space, or set TMPDIR"
            ) from error

    def _folder_of(self, place: str) -> Path | None:
        """Return the folder that a place is, if it can be written without MLflow."""
        parts = urlsplit(place)
        if parts.scheme == "file":
            return Path(url2pathname(parts.path))
        return self._served(place) if self._is_of_server else None

    def _served(self, place: str) -> Path | None:
        """Return the folder that a place is if the server keeps its files in ours."""
        parts = urlsplit(place)
        if self._folder is None or parts.scheme != _OF_SERVER:
            return None
        return _inside(self._folder, unquote(parts.path).lstrip("/"))

    def _upload(self, place: str, contents: Mapping[str, bytes]) -> None:
        from mlflow.store.artifact.artifact_repository_registry import get_artifact_repository

        with TemporaryDirectory(prefix="paring-") as folder:
            write_files(Path(folder), contents)
            # The client's own call would ask for the place again, once for each run.
            repository: Any = get_artifact_repository(place, self._uri)
            repository.log_artifacts(folder)
        if (served := self._served(place)) is not None:
            self._is_of_server = bool(contents) and all(
                _is_own(served / name, content) for name, content in contents.items()
            )


def _is_own(path: Path, content: bytes) -> bool:
    """Tell whether a file of this user has this content."""
    with suppress(OSError):
        return path.stat().st_uid == os.geteuid() and path.read_bytes() == content
    return False


def write_files(folder: Path, contents: Mapping[str, bytes]) -> None:
    """Write contents into a folder, by their paths in it. Each file is whole or not there.

    Raises:
        ServerError: a path leads out of the folder.
    """
    made: set[Path] = set()
    for name, content in contents.items():
        path = _inside(folder, name)
        if path.parent not in made:
            path.parent.mkdir(parents=True, exist_ok=True)
            made.add(path.parent)
        aside = path.with_name(f".{uuid4().hex}")
        try:
            aside.write_bytes(content)
            aside.replace(path)
        except BaseException:
            aside.unlink(missing_ok=True)
            raise


def _inside(folder: Path, name: str) -> Path:
    """Return a path in a folder, and refuse those that climb out of it."""
    relative = PurePosixPath(name)
    if relative.is_absolute() or ".." in relative.parts or not relative.parts:
        raise ServerError(f"{name!r} is no name for an artifact: it must stay in its folder")
    return folder / relative

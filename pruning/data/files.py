"""Reading arrays from files that strangers wrote: no pickle, and errors a person can act on."""

import zipfile
import zlib
from collections.abc import Iterable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from pruning.errors import DataError

Array = NDArray[np.generic]

# What numpy raises for a damaged archive, for stored objects, and (TypeError) for a lone array.
_UNREADABLE = (ValueError, OSError, EOFError, TypeError, zipfile.BadZipFile, zlib.error)


def existing_file(path: str | Path, what: str) -> Path:
    """`path` as a file that exists; `~` stands for the home folder.

    Raises:
        DataError: there is no such file.
    """
    found = Path(path).expanduser()
    if not found.is_file():
        raise DataError(
            f"no {what} at {found}: {_lacking(found)}. Give the path of the file, or get the "
            "data first."
        )
    return found


def existing_folder(path: str | Path, what: str) -> Path:
    """`path` as a folder that exists; `~` stands for the home folder.

    Raises:
        DataError: there is no such folder.
    """
    found = Path(path).expanduser()
    if not found.is_dir():
        raise DataError(
            f"no folder {found} with {what}: {_lacking(found)}. Give the folder that holds "
            "the files, or get the data first."
        )
    return found


def read_npz(
    path: Path, required: Iterable[str], optional: Iterable[str] = ()
) -> dict[str, Array]:
    """The named arrays of an `.npz` archive; optional ones only where present.

    Raises:
        DataError: the archive is damaged, lacks an array, or stores Python objects.
    """
    try:
        with np.load(path, allow_pickle=False) as archive:
            _require_keys(path, set(archive.files), list(required))
            names = [*required, *(name for name in optional if name in archive.files)]
            return {name: archive[name] for name in names}
    except _UNREADABLE as error:
        raise DataError(
            f"{path} cannot be read as an .npz archive of plain arrays ({error}). Write it "
            "again with numpy.savez; arrays of Python objects are never loaded."
        ) from error


def _require_keys(path: Path, present: set[str], required: list[str]) -> None:
    missing = [name for name in required if name not in present]
    if missing:
        raise DataError(
            f"{path} lacks {', '.join(missing)}; it holds {', '.join(sorted(present))}. It "
            f"must hold {', '.join(required)}."
        )


def _lacking(path: Path) -> str:
    """The first part of the path that does not exist."""
    missing = path
    while not missing.parent.exists():
        missing = missing.parent
    if missing != path:
        return f"{missing} does not exist"
    return "it is not that kind of file" if path.exists() else "it does not exist"

"""Reading arrays from files that strangers wrote: no pickle, and errors a person can act on."""

import zipfile
import zlib
from collections.abc import Collection, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from pruning.errors import DataError, warn_of_data
from pruning.spelling import meant

Array = NDArray[np.generic]

LIKE = 0.55  # x_validation is x_val; what is less like it may be meant for somebody else

# What numpy and zipfile raise for archives that are damaged, encrypted or too large.
_UNREADABLE = (
    ValueError, OSError, EOFError, RuntimeError, MemoryError, zipfile.BadZipFile, zlib.error,
)  # fmt: skip


def existing_file(path: str | Path, what: str) -> Path:
    """`path` as a file that exists; `~` stands for the home folder.

    Raises:
        DataError: there is no such file.
    """
    file = Path(path).expanduser()
    if not file.is_file():
        raise DataError(
            f"no {what} at {file}: {_lacking(file)}. Give the path of the file, or get the "
            "data first."
        )
    return file


def existing_folder(path: str | Path, what: str) -> Path:
    """`path` as a folder that exists; `~` stands for the home folder.

    Raises:
        DataError: there is no such folder.
    """
    folder = Path(path).expanduser()
    if not folder.is_dir():
        raise DataError(
            f"no folder {folder} with {what}: {_lacking(folder)}. Give the folder that holds "
            "the files, or get the data first."
        )
    return folder


def read_npz(
    path: Path,
    required: Sequence[str],
    optional: Sequence[str] = (),
    beside: Collection[str] = (),
) -> dict[str, Array]:
    """The named arrays of an `.npz` archive; optional ones only where present.

    A `DataWarning` names the arrays that are not used, but for those that may lie `beside`.

    Raises:
        DataError: the archive is damaged, lacks an array, holds one whose name is a
            misspelling of one that it lacks, or stores Python objects.
    """
    if not zipfile.is_zipfile(path):  # numpy would take it for a pickle
        raise DataError(_unreadable(path, "it is no zip file, or cut short"))
    try:
        with np.load(path, allow_pickle=False) as archive:
            held = [name for name in archive.files if name not in beside]
            _require_keys(path, held, required, optional)
            arrays = {name: archive[name] for name in (*required, *optional) if name in held}
    except _UNREADABLE as error:
        objects = "allow_pickle" in str(error)  # numpy's advice is to load it all the same
        reason = "it holds Python objects" if objects else str(error) or type(error).__name__
        raise DataError(_unreadable(path, reason)) from error
    for name, array in arrays.items():
        if not isinstance(array, np.ndarray):  # numpy gives the bytes of any other file
            raise DataError(_unreadable(path, f"{name} is no array"))
    return arrays


def require_whole(what: str, array: Array) -> None:
    """Refuse an array that is no list of whole numbers.

    Raises:
        DataError: naming its type and shape.
    """
    if array.ndim != 1 or not np.issubdtype(array.dtype, np.integer):
        raise DataError(
            f"{what} is {array.dtype} of shape {list(array.shape)}; expected a list of whole "
            "numbers. Get the file again."
        )


def _unreadable(path: Path, reason: str) -> str:
    return (
        f"{path} cannot be read as an .npz archive of plain arrays ({reason}). Write it again "
        "with numpy.savez; arrays of Python objects are never loaded."
    )


def _require_keys(
    path: Path, present: Sequence[str], required: Sequence[str], optional: Sequence[str]
) -> None:
    read = (*required, *optional)
    lacking = [name for name in read if name not in present]
    if missing := [name for name in required if name in lacking]:
        raise DataError(
            f"{path} lacks {', '.join(missing)}; it holds {', '.join(sorted(present))}. It "
            f"must hold {', '.join(required)}."
        )
    unread = [name for name in present if name not in read]
    if misspelt := [f"{each} ({m}?)" for each in unread if (m := meant(each, lacking, LIKE))]:
        raise DataError(
            f"{path} holds arrays that nobody reads: {', '.join(misspelt)}. Rename or remove "
            f"them; what is read is {', '.join(read)}."
        )
    if unread:
        warn_of_data(f"{path}: not used: {', '.join(unread)}. What is read is {', '.join(read)}.")


def _lacking(path: Path) -> str:
    """The first part of the path that does not exist."""
    missing = path
    while not missing.parent.exists():
        missing = missing.parent
    if missing != path:
        return f"{missing} does not exist"
    return "it is not that kind of file" if path.exists() else "it does not exist"

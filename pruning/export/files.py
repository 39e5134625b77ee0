"""Files that are whole or absent, and replace nothing that somebody else wrote."""

import json
import os
import tempfile
from collections.abc import Collection, Mapping
from hashlib import sha256
from pathlib import Path

from pruning.errors import OutputError

NOTE = ".paring-files.json"  # what a folder holds of ours: digests by name


def write_own(path: Path, content: str, beginning: str) -> None:
    """Write a file that begins in a way of its own, over nothing that begins otherwise.

    Raises:
        OutputError: another program's file is there, or the folder cannot be written to.
        ValueError: the content does not begin so.
    """
    if not content.startswith(beginning):
        raise ValueError(f"what is written to {path} does not begin with {beginning!r}")
    if path.exists() and not _begins(path, beginning.encode()):
        raise OutputError(
            f"out: {path} is there, and is no such file of paring's; move it away, or choose "
            "another name"
        )
    write_whole(path, content.encode())


def write_all(
    folder: Path,
    files: Mapping[str, bytes],
    stale: Collection[str] = (),
    known: Mapping[str, str] | None = None,
) -> None:
    """Write files into a folder, each whole, over nothing but what an earlier call wrote.

    What is written is noted beside it, with digests, in a hidden file.

    Args:
        folder: where.
        files: contents by name.
        stale: names of files that are to go, if an earlier call wrote them.
        known: digests of what may be replaced where no call has noted any.

    Raises:
        OutputError: a file there was not written by an earlier call, or changed since; or the
            folder cannot be written to. Nothing is written then.
    """
    written = noted(folder) or dict(known or {})
    foreign = [
        name for name, content in files.items()
        if (folder / name).exists() and digest_at(folder / name) not in
        (digest_of(content), written.get(name))
    ]  # fmt: skip
    if foreign:
        raise OutputError(
            f"out: {', '.join(foreign)} in {folder}: not written by paring, or changed since; "
            "move it away, or choose another folder"
        )
    gone = {name for name in stale if digest_at(folder / name) == written.get(name, "")}
    for name, content in files.items():
        write_whole(folder / name, content)
    for name in gone:
        (folder / name).unlink()
    now = written | {name: digest_of(content) for name, content in files.items()}
    note = {name: digest for name, digest in now.items() if name not in gone}
    write_whole(folder / NOTE, json.dumps(note, indent=1).encode())


def noted(folder: Path) -> dict[str, str]:
    """What earlier calls wrote into a folder: digests by name."""
    try:
        return dict(json.loads((folder / NOTE).read_text("utf-8")))
    except (OSError, ValueError, TypeError):
        return {}


def digest_of(content: bytes) -> str:
    """The SHA-256 of a content, in hexadecimal digits."""
    return sha256(content).hexdigest()


def digest_at(path: Path) -> str | None:
    """The digest of a file; None of what cannot be read as one."""
    try:
        return digest_of(path.read_bytes())
    except OSError:
        return None


def _begins(path: Path, beginning: bytes) -> bool:
    try:
        with path.open("rb") as file:
            return file.read(len(beginning)) == beginning
    except OSError:
        return False


def write_whole(path: Path, content: bytes) -> None:
    """Write a file aside and rename it, so that nobody ever sees half of it.

    Raises:
        OutputError: the folder cannot be written to.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}-")
    except OSError as error:
        raise OutputError(f"cannot write {path}: {error}; choose another place") from error
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(content)
        Path(name).chmod(0o644)
        Path(name).replace(path)
    except OSError as error:  # a full disk, or a folder of that name
        Path(name).unlink(missing_ok=True)
        raise OutputError(f"cannot write {path}: {error}; choose another place") from error
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise

"""Files that are complete or absent, and never replace files of other programs."""

import json
from collections.abc import Collection, Mapping
from hashlib import sha256
from pathlib import Path

from pruning.atomic_write import atomic_write
from pruning.errors import OutputError

NOTE = ".paring-files.json"  # the digests of the files in a folder that paring wrote, by name


def write_own(path: Path, content: str, beginning: str) -> None:
    """Write a file that begins with a known text, if no other kind of file is in its place.

    Raises:
        OutputError: another program's file is there, or the folder cannot be written to.
        ValueError: the content does not begin with that text.
    """
    if not content.startswith(beginning):
        raise ValueError(f"the content for {path} does not begin with {beginning!r}")
    if path.exists() and not _begins(path, beginning.encode()):
        raise OutputError(
            f"out: {path} exists and was not written by paring; move it away, or choose "
            "another name"
        )
    write_whole(path, content.encode())


def write_all(
    folder: Path,
    files: Mapping[str, bytes],
    stale: Collection[str] = (),
    known: Mapping[str, str] | None = None,
) -> None:
    """Write files into a folder, replacing only files that an earlier call wrote.

    The digests of the written files are noted in a hidden file beside them.

    Args:
        folder: to write into; it is created if need be.
        files: contents by name.
        stale: names of files to remove, if an earlier call wrote them.
        known: digests of files that may be replaced in a folder without a note.

    Raises:
        OutputError: a file in the way was not written by an earlier call, or has been changed
            since, and nothing is written; or the folder cannot be written to.
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
    removable = {name for name in stale if digest_at(folder / name) == written.get(name, "")}
    for name, content in files.items():
        write_whole(folder / name, content)
    for name in removable:
        (folder / name).unlink()
    digests = written | {name: digest_of(content) for name, content in files.items()}
    note = {name: digest for name, digest in digests.items() if name not in removable}
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
    """The digest of a file; None if there is no readable file."""
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
    """Write to a temporary file and rename it, so that nobody ever reads half a file.

    Raises:
        OutputError: the folder cannot be written to, the disk is full, or a folder has the name.
    """
    try:
        with atomic_write(path) as file:
            file.write(content)
    except OSError as error:
        raise OutputError(f"cannot write {path}: {error}; choose another place") from error

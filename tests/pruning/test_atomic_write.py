"""A file is whole or absent, whatever happens while it is written."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from pruning.atomic_write import atomic_write

KILLED = """
import os, signal, sys
from pathlib import Path
from pruning.atomic_write import atomic_write
with atomic_write(Path(sys.argv[1])) as file:
    file.write(b"half")
    file.flush()
    os.kill(os.getpid(), signal.SIGKILL)
"""


def test_a_file_is_replaced_whole(tmp_path: Path) -> None:
    path = tmp_path / "new" / "file"
    for content in (b"one", b"two"):
        with atomic_write(path) as file:
            file.write(content)
            file.flush()
            assert not path.exists() or path.read_bytes() == b"one"
        assert path.read_bytes() == content
    assert list(path.parent.iterdir()) == [path]


def interrupted(path: Path, error: type[BaseException]) -> None:
    with atomic_write(path) as file:
        file.write(b"half")
        file.flush()
        raise error


@pytest.mark.parametrize("error", [ValueError, OSError, KeyboardInterrupt])
@pytest.mark.parametrize("before", [None, b"before"])
def test_an_error_leaves_what_was_there(
    tmp_path: Path, error: type[BaseException], before: bytes | None
) -> None:
    path = tmp_path / "file"
    if before is not None:
        path.write_bytes(before)
    with pytest.raises(error):
        interrupted(path, error)
    assert (path.read_bytes() if path.exists() else None) == before
    assert list(tmp_path.iterdir()) == ([] if before is None else [path])


def test_a_kill_leaves_what_was_there(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"before")
    done = subprocess.run([sys.executable, "-c", KILLED, path], check=False)
    assert done.returncode == -signal.SIGKILL
    assert path.read_bytes() == b"before"
    (part,) = set(tmp_path.iterdir()) - {path}
    assert part.name.startswith(".part-")
    assert part.read_bytes() == b"half"


def test_a_place_that_cannot_be_written_to(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "file").write_text("kept")
    for place in (tmp_path / "folder", tmp_path / "file" / "below"):
        with pytest.raises(OSError), atomic_write(place) as file:  # noqa: PT011 - of many kinds
            file.write(b"x")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["file", "folder"]
    assert list((tmp_path / "folder").iterdir()) == []


@pytest.mark.parametrize("mask", [0o022, 0o077, 0o002])
def test_the_umask_applies(tmp_path: Path, mask: int) -> None:
    path = tmp_path / "file"
    before = os.umask(mask)
    try:
        with atomic_write(path) as file:
            file.write(b"x")
    finally:
        os.umask(before)
    assert path.stat().st_mode & 0o777 == 0o666 & ~mask


def test_the_content_is_on_the_disk_before_it_has_the_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, sync, states = tmp_path / "file", os.fsync, []

    def recorded(handle: int) -> None:
        (part,) = tmp_path.iterdir()
        states.append((part.name != "file", part.read_bytes()))
        sync(handle)

    monkeypatch.setattr(os, "fsync", recorded)
    with atomic_write(path) as file:
        file.write(b"content")
    assert states == [(True, b"content")]

"""Blobs are whole or absent, checked when read, and never run."""

import hashlib
import io
import os
import pickle
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pruning.checkpoint import unpack_network
from pruning.errors import CheckpointError
from search.errors import ConfigError, StoreError
from search.files import write_whole
from search.store import Folder, Store


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "store"


@pytest.fixture
def store(folder: Path) -> Store:
    return Store(Folder(folder))


def files(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*") if path.is_file())


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.binary(max_size=4096))
def test_a_blob_is_read_as_it_was_written(store: Store, content: bytes) -> None:
    digest = store.put(content)
    assert digest == hashlib.sha256(content).hexdigest()
    assert store[digest] == store.read(digest) == content


def test_equal_blobs_are_one_file(store: Store, folder: Path) -> None:
    assert store.put(b"same") == store.put(b"same")
    assert len(files(folder)) == 1


def test_a_missing_blob(store: Store) -> None:
    with pytest.raises(KeyError):
        store["0" * 64]
    assert "0" * 64 not in store
    assert store.get("0" * 64) is None
    with pytest.raises(StoreError, match=r"blob 0{12} is missing; set storage\.folder"):
        store.read("0" * 64)


@pytest.mark.parametrize("damaged", [b"", b"conten", b"content!", b"cOntent"])
def test_a_damaged_blob_is_refused_and_heals(
    store: Store, folder: Path, damaged: bytes
) -> None:
    digest = store.put(b"content")
    (path,) = files(folder)
    path.write_bytes(damaged)
    with pytest.raises(StoreError, match="is damaged"):
        store[digest]
    assert store.put(b"content") == digest
    assert store[digest] == b"content"


def test_a_removed_blob_is_gone(store: Store) -> None:
    digest = store.put(b"x")
    store.remove(digest)
    assert digest not in store
    store.remove(digest)


class Broken(io.RawIOBase):
    """A stream that ends in an error, like a full disk."""

    def __init__(self) -> None:
        self.given = 0

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: object) -> int:
        self.given += 1
        if self.given > 1:
            raise OSError(28, "No space left on device")
        view = memoryview(buffer)  # type: ignore[arg-type]
        view[:4] = b"half"
        return 4


def test_half_a_blob_is_never_seen(folder: Path) -> None:
    with pytest.raises(OSError, match="No space"):
        Folder(folder).write("ab" * 32, Broken())  # type: ignore[arg-type]
    assert files(folder) == []


def test_a_folder_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StoreError, match=r"cannot write 1 bytes.*storage\.folder"):
        Store(Folder(tmp_path / "file")).put(b"x")


def test_a_pickle_is_never_run(store: Store, tmp_path: Path) -> None:
    class Evil:
        def __reduce__(self) -> tuple[object, tuple[str]]:
            return os.mkdir, (str(tmp_path / "evil"),)

    digest = store.put(pickle.dumps(Evil()))
    with pytest.raises(CheckpointError):
        unpack_network(store[digest])
    assert not (tmp_path / "evil").exists()


# --- files for people


def test_a_file_is_replaced_whole(tmp_path: Path) -> None:
    path = tmp_path / "new" / "file.txt"
    write_whole(path, b"one")
    write_whole(path, b"two")
    assert path.read_bytes() == b"two"
    assert files(tmp_path) == [path]
    assert path.stat().st_mode & 0o777 == 0o644


def test_places_that_cannot_be_written_to(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "file").write_text("kept")
    for place in (tmp_path / "folder", tmp_path / "file" / "below"):
        with pytest.raises(ConfigError, match=r"cannot write .*choose another place"):
            write_whole(place, b"x")
    assert files(tmp_path) == [tmp_path / "file"]
    assert (tmp_path / "file").read_text() == "kept"

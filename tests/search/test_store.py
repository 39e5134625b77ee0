"""Blobs are whole or absent, checked when read, and never run."""

import hashlib
import io
import os
import pickle
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import optuna
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from optuna.trial import TrialState

from pruning.errors import CheckpointError, OutputError
from pruning.export.files import digest_of, write_whole
from pruning.training.checkpoint import unpack_network
from search.config.schema import StorageConfig
from search.errors import StoreError
from search.storage.blobs import Folder, Store, mark_of
from search.storage.workspace import Workspace, open_storage, open_workspace
from search.study.collect import collect, orphans


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
def test_a_damaged_blob_is_refused_and_heals(store: Store, folder: Path, damaged: bytes) -> None:
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


def test_places_that_cannot_be_written_to(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "file").write_text("kept")
    for place in (tmp_path / "folder", tmp_path / "file" / "below"):
        with pytest.raises(OutputError, match=r"cannot write .*choose another place"):
            write_whole(place, b"x")
    assert files(tmp_path) == [tmp_path / "file"]
    assert (tmp_path / "file").read_text() == "kept"


# --- what nobody names


@pytest.fixture
def kept(storage: StorageConfig) -> Workspace:
    """A home with a study that names a blob."""
    workspace = open_workspace(storage)
    study = optuna.create_study(study_name="theirs", storage=open_storage(workspace))
    study.set_user_attr("dense", {"digest": workspace.store.put(b"named by a study")})
    trial = study.ask()
    trial.set_user_attr("result", {"files": {"m": workspace.store.put(b"named by a trial")}})
    return workspace


def age(workspace: Workspace, hours: float) -> None:
    """Let all files of a store be so old."""
    for path in files(workspace.folder / "store"):
        os.utime(path, (time.time() - 3600 * hours,) * 2)


def test_old_files_that_no_study_names_are_collected(kept: Workspace) -> None:
    half = kept.folder / "store" / "ab" / ".part-x"
    half.parent.mkdir(exist_ok=True)
    half.write_bytes(b"ha")
    orphan = kept.store.put(b"nobody names it")
    assert (len(orphans(kept, 86400).young), len(orphans(kept, 86400).old)) == (2, 0)
    assert collect(kept, 86400, force=False).old == []
    age(kept, 25)
    young = kept.store.put(b"about to be named")
    found = collect(kept, 86400, force=False)
    assert {entry.name for entry in found.old} == {orphan, "ab.part-x"}
    assert [entry.name for entry in found.young] == [young]
    assert sum(entry.size_bytes for entry in found.old) == len(b"nobody names it") + 2
    left = {hashlib.sha256(path.read_bytes()).hexdigest() for path in files(half.parent.parent)}
    assert len(left) == 3
    assert orphan not in left
    assert collect(kept, 86400, force=False).old == []


@pytest.mark.parametrize("state", [TrialState.COMPLETE, TrialState.FAIL, TrialState.RUNNING])
@pytest.mark.parametrize("key", ["checkpoint", "pending"])
def test_what_a_trial_goes_on_from_is_named_until_it_is_over(
    kept: Workspace, state: TrialState, key: str
) -> None:
    study = optuna.load_study(study_name="theirs", storage=open_storage(kept))
    trial = study.ask()
    digest = kept.store.put(b"an epoch")
    trial.set_user_attr(key, [digest] if key == "pending" else digest)
    if state is not TrialState.RUNNING:
        study.tell(trial, 1.0 if state is TrialState.COMPLETE else None, state=state)
    age(kept, 25)
    assert bool(collect(kept, 86400, force=False).old) == state.is_finished()


def test_a_store_of_two_databases_is_not_collected_for_one(kept: Workspace) -> None:
    mark = kept.store.put(mark_of("other", "/elsewhere/.paring"))
    kept.store.put(mark_of("half-made", kept.databases.place))
    age(kept, 25)
    with pytest.raises(StoreError, match=r"other.*/elsewhere.*force=true"):
        collect(kept, 86400, force=False)
    assert mark in kept.store
    assert len(collect(kept, 86400, force=True).old) == 2
    assert mark not in kept.store


KILLED_WHILE_WRITING = """
import os, signal, sys
from pathlib import Path
from search.storage.blobs import Folder


class Half:
    def read(self, size):
        if self.left:
            self.left = False
            return b"half of it"
        os.kill(os.getpid(), signal.SIGKILL)

    left = True


Folder(Path(sys.argv[1])).write(sys.argv[2], Half())
"""


@pytest.mark.parametrize("then", ["written again", "removed"])
def test_what_a_kill_leaves_of_a_blob_goes_with_it(tmp_path: Path, then: str) -> None:
    content = b"all of it"
    digest = digest_of(content)
    killed = subprocess.run(
        [sys.executable, "-c", KILLED_WHILE_WRITING, str(tmp_path), digest], check=False
    )
    store = Store(Folder(tmp_path))
    assert killed.returncode == -signal.SIGKILL
    assert len(list(store.entries())) == 1
    if then == "removed":
        store.remove(digest)
    else:
        assert store.put(content) == digest
    assert [entry.name for entry in store.entries()] == [digest] * (then != "removed")


def test_a_blob_that_two_write_at_once_is_stored_by_both(tmp_path: Path) -> None:
    """One that is done takes what the other has written for what a kill has left."""
    content, store = b"the same", Store(Folder(tmp_path))

    class Slow(io.BytesIO):
        def read(self, size: int | None = -1, /) -> bytes:
            store.put(content)
            return super().read(size)

    Folder(tmp_path).write(digest_of(content), Slow(content))
    assert store[digest_of(content)] == content
    assert len(list(store.entries())) == 1


@pytest.mark.slow
def test_the_verbs_count_and_collect(kept: Workspace, paring: Any) -> None:
    where = [f"storage.folder={kept.config.folder}"]
    if kept.config.url is not None:
        where += [f"storage.url='{kept.config.url}'", f"storage.schema={kept.config.schema}"]
    kept.store.put(b"nobody names it")
    assert "0 older than a day, 0 B, 1 younger" in paring("doctor", *where)[1]
    age(kept, 25)
    code, out, _ = paring("doctor", *where, "output=json")
    assert code == 2
    assert "1 older than a day, 15 B, 0 younger: remove the old ones with paring collect" in out
    code, _, err = paring("collect", *where, "older_h=-1")
    assert (code, "older_h=-1" in err) == (2, True)
    code, out, _ = paring("collect", *where)
    assert (code, out) == (0, "removed: 1 files, 15 B\n")
    assert paring("doctor", *where)[0] == 0

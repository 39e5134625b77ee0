"""One contract for every place of a store: blobs are whole or absent, checked when read, and a
place out of reach is an outage.
"""

import hashlib
import io
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import optuna
import pytest
from s3fs import S3FileSystem

from pruning.export.files import digest_of
from search.config.schema import StorageConfig
from search.errors import ConfigError, StoreError, UnreadableError, UnwritableError
from search.storage.blobs import Backend, Store, mark_of
from search.storage.outage import is_outage
from search.storage.workspace import backend_of, open_storage, open_workspace
from search.study.collect import collect, orphans
from search.study.study import require_study
from tests.search.commands import PATIENCE_S, Commands, free_port
from tests.search.s3_server import KEY, SECRET, S3Server, Stalled, s3_credentials, url_of

pytestmark = pytest.mark.slow  # the server takes seconds to start


@pytest.fixture(params=["folder", "s3"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """A `storage.folder` of each kind in turn."""
    if request.param == "folder":
        return str(tmp_path / ".paring")
    address: str = request.getfixturevalue("s3_address")
    return address


@pytest.fixture
def backend(place: str) -> Backend:
    return backend_of(place)


@pytest.fixture
def store(backend: Backend) -> Store:
    return Store(backend)


@pytest.mark.parametrize("content", [b"", b"x", bytes(range(256)) * 40_000])
def test_a_blob_is_read_as_it_was_written(store: Store, content: bytes) -> None:
    digest = store.put(content)
    assert digest == hashlib.sha256(content).hexdigest()
    assert store[digest] == store.read(digest) == content


def test_equal_blobs_are_one_entry(store: Store) -> None:
    before = time.time()
    digest = store.put(b"same")
    assert store.put(b"same") == digest
    (entry,) = store.entries()
    assert (entry.name, entry.size_bytes) == (digest, 4)
    assert before - 2 <= entry.written <= time.time() + 2  # S3 tells whole seconds


def test_a_missing_blob(store: Store) -> None:
    with pytest.raises(KeyError):
        store["0" * 64]
    assert "0" * 64 not in store
    assert store.get("0" * 64) is None
    assert list(store.entries()) == []
    with pytest.raises(StoreError, match=r"blob 0{12} is missing; set storage\.folder"):
        store.read("0" * 64)


@pytest.mark.parametrize("damaged", [b"", b"conten", b"content!", b"cOntent"])
def test_a_damaged_blob_is_refused_and_heals(
    store: Store, backend: Backend, damaged: bytes
) -> None:
    digest = store.put(b"content")
    backend.write(digest, io.BytesIO(damaged))
    with pytest.raises(StoreError, match="is damaged"):
        store[digest]
    assert store.put(b"content") == digest
    assert store[digest] == b"content"


def test_a_removed_blob_is_gone(store: Store) -> None:
    digest = store.put(b"x")
    store.remove(digest)
    assert digest not in store
    store.remove(digest)


def test_two_that_write_one_blob_at_once(store: Store) -> None:
    content = os.urandom(1 << 20)
    with ThreadPoolExecutor(4) as pool:
        digests = set(pool.map(lambda _: store.put(content), range(12)))
    assert digests == {digest_of(content)}
    assert store[digest_of(content)] == content
    assert [entry.name for entry in store.entries()] == [digest_of(content)]


WRITES = """
import os, sys
from search.storage.blobs import Store
from search.storage.workspace import backend_of

store = Store(backend_of(sys.argv[1]))
while True:
    print(store.put(os.urandom(1 << 20)), flush=True)
"""


def test_a_writer_that_is_killed_leaves_no_half_of_a_blob(place: str, store: Store) -> None:
    """Whenever it is killed: what was stored is whole, and what may be left is no blob."""
    stored: set[str] = set()
    for kill in range(4):
        writer = subprocess.Popen(
            [sys.executable, "-c", WRITES, place], stdout=subprocess.PIPE, text=True
        )
        assert writer.stdout is not None
        first = writer.stdout.readline().strip()
        time.sleep(0.05 + 0.013 * kill)
        writer.kill()
        rest, _ = writer.communicate()
        stored |= {first, *rest.split()}
    assert all(len(store.read(digest)) == 1 << 20 for digest in stored)
    blobs = [entry for entry in store.entries() if len(entry.name) == 64]
    assert stored <= {entry.name for entry in blobs}
    assert len(blobs) <= len(stored) + 4  # stored, and killed before it was said
    assert all(digest_of(store.read(entry.name)) == entry.name for entry in blobs)
    for entry in store.entries():
        store.remove(entry.name)
    assert not [entry for entry in store.entries() if len(entry.name) == 64]


# --- what nobody names


def test_old_files_that_no_study_names_are_collected(
    place: str, on_postgres: StorageConfig
) -> None:
    storage = StorageConfig(folder=place, url=on_postgres.url, schema=on_postgres.schema)
    workspace = open_workspace(storage)
    study = optuna.create_study(study_name="theirs", storage=open_storage(workspace))
    named = workspace.store.put(b"named by a study")
    study.set_user_attr("dense", {"digest": named})
    orphan = workspace.store.put(b"nobody names it")
    assert [entry.name for entry in orphans(workspace, 86400).young] == [orphan]
    mark = workspace.store.put(mark_of("other", "/elsewhere/.paring"))
    time.sleep(1)  # S3 tells whole seconds
    with pytest.raises(StoreError, match=r"other.*/elsewhere.*force=true"):
        collect(workspace, 0, force=False)
    assert {entry.name for entry in collect(workspace, 0, force=True).old} == {orphan, mark}
    assert [entry.name for entry in workspace.store.entries()] == [named]


# --- sweeps


def test_a_sweep_without_a_shared_disk(
    s3_address: str, on_postgres: StorageConfig, tmp_path: Path, tiny: list[str]
) -> None:
    """Its front is that of a sweep on a folder, and another machine reads it."""
    local = StorageConfig(folder=str(tmp_path / "kept"))
    shared = StorageConfig(folder=s3_address, url=on_postgres.url, schema=on_postgres.schema)
    found = []
    for storage in (local, shared):
        sweep = run(storage, tmp_path / "here", "sweep", *tiny, "trials=4", "continuation=true")
        assert "Traceback" not in sweep
        study = require_study(open_workspace(storage), "s")
        found.append(
            [(t.number, t.values, t.user_attrs["result"]["widths"]) for t in study.trials()]
        )
        told = run(storage, tmp_path / "there", "front", "output=json")
        front = json.loads(told[told.index("{") :])  # below what was said on stderr
        found[-1].append([point["trial"] for point in front["front"]])
    assert found[0] == found[1]
    assert len(found[0]) == 5


def run(storage: StorageConfig, folder: Path, verb: str, *words: str) -> str:
    """What a command in a folder prints, on a machine that has nothing else of the study."""
    folder.mkdir(exist_ok=True)
    commands = Commands(storage, folder)
    process = commands.start(verb, *words)
    try:
        assert process.wait(PATIENCE_S) == 0, commands.said()
    finally:
        commands.stop()
    return (folder / "0.log").read_text()


# --- S3 alone


def test_a_killed_upload_leaves_nothing(
    s3_server: S3Server, s3_address: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Killed after the first of its 32 MB have come to the server."""
    with Stalled(s3_server.port, 1 << 20) as way:
        environment = {**os.environ, "AWS_ENDPOINT_URL": url_of(way.port)}
        script = WRITES.replace("1 << 20", "1 << 25")
        writer = subprocess.Popen([sys.executable, "-c", script, s3_address], env=environment)
        assert way.reached.wait(60)
        assert writer.poll() is None
        writer.send_signal(signal.SIGKILL)
        writer.wait()
    time.sleep(0.5)  # the server hears of it
    store = Store(backend_of(s3_address))
    assert list(store.entries()) == []
    assert store.put(b"next")


def test_a_server_out_of_reach_is_an_outage(
    s3_address: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    digest = Store(backend_of(s3_address)).put(b"x")
    calls: list[tuple[type[Exception], Callable[[Store], Any]]] = [
        (UnreadableError, lambda store: store[digest]),
        (UnreadableError, lambda store: store.read(digest)),
        (UnreadableError, lambda store: digest in store),
        (UnreadableError, lambda store: list(store.entries())),
        (UnwritableError, lambda store: store.put(b"y")),
        (UnwritableError, lambda store: store.remove(digest)),
    ]
    with s3_credentials(url_of(free_port()), monkeypatch):
        away = Store(backend_of(s3_address))
        for kind, call in calls:
            with pytest.raises(kind) as told:
                call(away)
            assert is_outage(told.value)
            assert f"store {s3_address}/store: cannot" in str(told.value)
            assert "AWS_ENDPOINT_URL" in str(told.value)
            assert not {KEY, SECRET} & set(str(told.value).split())


def test_no_credentials_and_no_bucket(s3_address: str, monkeypatch: pytest.MonkeyPatch) -> None:
    bucket = Store(backend_of("s3://no-such-bucket/x"))
    with pytest.raises(UnwritableError, match=r"bucket does not exist.*AWS_ACCESS_KEY_ID"):
        bucket.put(b"x")
    with pytest.raises(StoreError, match="is missing"):
        bucket.read("0" * 64)
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", "/nowhere")
    S3FileSystem.clear_instance_cache()  # which holds those of before
    with pytest.raises(UnwritableError, match=r"[Cc]redentials.*AWS_ACCESS_KEY_ID"):
        Store(backend_of(f"{s3_address}/other")).put(b"x")


def test_the_doctor_checks_the_store(
    s3_address: str, on_postgres: StorageConfig, paring: Any, monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:  # fmt: skip
    monkeypatch.chdir(tmp_path)
    where = (
        f"storage.folder={s3_address}", f"storage.url='{on_postgres.url}'",
        f"storage.schema={on_postgres.schema}",
    )  # fmt: skip
    code, out, _ = paring("doctor", *where, "output=json")
    assert (code, f"writable: {s3_address}/store" in out) == (0, True)
    assert list(Store(backend_of(s3_address)).entries()) == []
    with s3_credentials(url_of(free_port()), monkeypatch):
        code, out, _ = paring("doctor", *where, "output=json")
    assert code == 2
    assert "cannot write" in out
    assert SECRET not in out
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("address", "words"),
    [
        ("memory://x", "of the kind 'memory'; write s3://..., gs://"),
        ("file:///x", "or the path of a folder"),
        ("http://x/y", "of the kind 'http'"),
        ("s3://", "cannot be used; write s3://BUCKET/PREFIX"),
        ("s3:///", "cannot be used"),
        ("s3://b/x y", "cannot be used"),
        ("s3://b/x?versionId=SECRET", "cannot be used"),
        ("s3://key:HUSH@b/x", "take it out. Credentials come from AWS_ACCESS_KEY_ID"),
        ("s3://HUSH@b/x", "take it out"),
        ("sftp://me:HUSH@host/x", "take it out. Credentials come from the keys"),
    ],
)
def test_addresses_that_are_refused(address: str, words: str, paring: Any) -> None:
    with pytest.raises(ConfigError) as told:
        open_workspace(StorageConfig(folder=address))
    assert words in str(told.value)
    assert "HUSH" not in str(told.value)
    code, _, err = paring("status", "study=x", f"storage.folder='{address}'")
    assert (code, "HUSH" in err) == (2, False)
    assert (words if "@" not in address else "a password on the command line") in err


def test_what_is_not_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("search.storage.remote.find_spec", lambda _: None)
    with pytest.raises(ConfigError, match=r"s3fs is not installed.*pip install 'paring\[s3\]'"):
        backend_of("s3://bucket/x")

"""Files go to MLflow's server, and straight into its folder where that is at hand."""

import tempfile
from pathlib import Path
from typing import Any

import pytest

from tests.search.commands import free_port
from tracking import ServerError, serving
from tracking.mlflow.artifact_store import ArtifactStore, write_files
from tracking.mlflow.client import Client

FILES = {"why.html": b"<p>why</p>", "data/model": b"\0\1"}


def contents(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes()
            for path in folder.rglob("*") if path.is_file()}  # fmt: skip


@pytest.mark.slow
def test_the_folder_of_a_server_is_written_to_without_it(own_store: Any) -> None:
    with serving(own_store.mlflow, own_store.artifacts, port=free_port()) as (url, _):
        Client(url)  # as MLflow's patience with a server that is away is set there
        store = ArtifactStore(url, own_store.artifacts)
        store.write("mlflow-artifacts:/1/a/artifacts", FILES)
        assert contents(own_store.artifacts / "1/a/artifacts") == FILES
    store.write("mlflow-artifacts:/1/b/artifacts", FILES)  # nobody would answer
    assert contents(own_store.artifacts / "1/b/artifacts") == FILES


@pytest.mark.slow
def test_a_folder_that_is_not_the_servers_stays_empty(own_store: Any, tmp_path: Path) -> None:
    other = tmp_path / "other"
    with serving(own_store.mlflow, own_store.artifacts, port=free_port()) as (url, _):
        Client(url)
        store = ArtifactStore(url, other)
        for name in "ab":
            store.write(f"mlflow-artifacts:/1/{name}/artifacts", FILES)
    assert not other.exists()
    assert len(contents(own_store.artifacts)) == 2 * len(FILES)


def test_a_full_temporary_folder_is_a_fault_of_the_moment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", "/nowhere/at/all")
    with pytest.raises(ServerError, match="set TMPDIR"):
        ArtifactStore("http://127.0.0.1:1").write("mlflow-artifacts:/1/a", FILES)


def test_a_file_is_whole_or_as_it_was(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_files(tmp_path, FILES)

    def half(path: Path, content: bytes) -> None:
        with path.open("wb") as file:
            file.write(content[:1])
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", half)
    with pytest.raises(ServerError, match="No space left"):
        ArtifactStore("sqlite://").write(tmp_path.as_uri(), {"why.html": b"another"})
    assert contents(tmp_path) == FILES


@pytest.mark.parametrize("place", ["mlflow-artifacts:/1/../../etc", "file:///tmp/x"])
@pytest.mark.parametrize("name", ["../escape", "/absolute", ""])
def test_a_name_stays_in_its_place(place: str, name: str, tmp_path: Path) -> None:
    with pytest.raises(ServerError, match="must stay in its folder"):
        ArtifactStore("http://127.0.0.1:1", tmp_path).write(place, {name: b""})

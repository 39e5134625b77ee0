"""MLflow's tables appear all at once."""

import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tracking import Content, check
from tracking.mlflow.client import Client
from tracking.mlflow.schema_init import ensure_tables

_MAKE = (
    "import sys; from tracking.mlflow.schema_init import ensure_tables; ensure_tables(sys.argv[1])"
)


@pytest.mark.slow
def test_killed_among_the_migrations_it_starts_again(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'mlflow.db'}"
    process = subprocess.Popen([sys.executable, "-c", _MAKE, url], stderr=subprocess.DEVNULL)
    while not any(draft.stat().st_size > 50_000 for draft in tmp_path.glob(".mlflow-*/*.db")):
        assert process.poll() is None
        time.sleep(0.002)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert check(url, "MLflow") is Content.EMPTY
    ensure_tables(url)
    assert check(url, "MLflow") is Content.OURS
    client = Client(url)
    assert client.create_experiment("after", tmp_path.as_uri(), {"paring.key": "k"})
    assert [experiment.name for experiment in client.experiments("k")] == ["after"]


@pytest.mark.slow
def test_two_at_once_make_one(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'mlflow.db'}"
    command = [sys.executable, "-c", _MAKE, url]
    pair = [subprocess.Popen(command, stderr=subprocess.DEVNULL) for _ in range(2)]
    assert [process.wait(120) for process in pair] == [0, 0]
    assert check(url, "MLflow") is Content.OURS
    assert not list(tmp_path.glob(".mlflow-*"))

"""The compose file: no secret in it, loopback only, images pinned; its commands run."""

import os
import re
import subprocess
import sys
import urllib.error
import urllib.request
from base64 import b64encode
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import psutil
import pytest
import yaml
from sqlalchemy import make_url

from search.cli import main
from search.config.schema import StorageConfig
from search.storage.workspace import open_workspace
from search.study.study import find_study, require_study
from tests.search.commands import PATIENCE_S, free_port, until

TEXT = (Path(__file__).resolve().parents[2] / "docker-compose.yml").read_text()
FILE = yaml.safe_load(TEXT)
SERVICES = FILE["services"]
PASSWORD = "correct horse battery"
WRONG = "wrong horse battery"
Start = Callable[..., subprocess.Popen[bytes]]


def filled(text: str, **variables: str) -> str:
    """What compose makes of ${NAME:-default} and ${NAME:?message}."""
    return re.sub(
        r"\$\{(\w+):([-?])([^}]*)\}",
        lambda found: variables.get(found[1], found[3] if found[2] == "-" else ""),
        text,
    )


def test_no_secret_is_in_the_file():
    secret = [line for line in TEXT.splitlines() if re.search(r"PASSWORD\s*:", line)]
    assert len(secret) == 3
    for line in secret:
        assert re.search(r": \$\{\w+:\?set \w+[^}]*\}$", line)


def test_images_are_pinned_and_nothing_listens_beyond_loopback():
    images = [service["image"] for service in SERVICES.values() if "image" in service]
    images += re.findall(r"^\s*FROM (\S+)", TEXT, flags=re.MULTILINE)
    assert len(images) >= 2
    assert all(re.search(r":\d+\.\d+", image) for image in images)
    ports = [port for service in SERVICES.values() for port in service.get("ports", [])]
    assert ports
    assert all(port.startswith("127.0.0.1:") for port in ports)


def test_what_it_runs_is_not_root_and_its_data_have_names():
    assert re.search(r"^\s*USER paring$", TEXT, flags=re.MULTILINE)
    mounts = [mount for service in SERVICES.values() for mount in service["volumes"]]
    assert {mount.split(":")[0] for mount in mounts} == set(FILE["volumes"])
    assert {name for name, service in SERVICES.items() if "healthcheck" in service} == {
        "postgres", "mlflow"
    }  # fmt: skip


@pytest.mark.parametrize("name", [n for n, s in SERVICES.items() if "command" in s])
def test_the_commands_compose(name, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    verb, *overrides = map(filled, SERVICES[name]["command"])
    assert main.run(verb, [*overrides, "--cfg", "job"]) == 0
    assert "paring" in capsys.readouterr().out


@pytest.fixture
def start(on_postgres: StorageConfig, tmp_path: Path) -> Iterator[Start]:
    """Run a service's command with its environment, but for host, port and schema."""
    url = make_url(on_postgres.url or "")
    here = {
        "PGHOST": url.host or "127.0.0.1",
        "PGPORT": str(url.port or 5432),
        "PGDATABASE": url.database or "test",
        "PGUSER": url.username or os.environ.get("PGUSER", os.environ.get("USER", "root")),
    }
    begun = []

    def run(service: str, command: list[str], *more: str) -> subprocess.Popen[bytes]:
        given = {
            key: filled(value, MLFLOW_PASSWORD=PASSWORD)
            for key, value in SERVICES[service]["environment"].items()
        }
        known = {k: os.environ[k] for k in ("PATH", "HOME", "OMP_NUM_THREADS") if k in os.environ}
        arguments = [*map(filled, command), f"storage.schema={on_postgres.schema}", *more]
        with (tmp_path / f"{len(begun)}.log").open("wb") as log:
            process = subprocess.Popen(
                [Path(sys.executable).with_name("paring"), *arguments],
                cwd=tmp_path, env={**known, **given, **here}, stdout=log, stderr=log,
            )  # fmt: skip
        begun.append(process)
        return process

    yield run
    for process in begun:
        with suppress(psutil.NoSuchProcess):
            for child in psutil.Process(process.pid).children(recursive=True):
                child.kill()
        process.kill()
        process.wait()


def answer(url: str, password: str | None = None) -> int:
    """The status that a server answers with; 0 when there is no answer."""
    request = urllib.request.Request(url)
    if password is not None:
        login = b64encode(f"admin:{password}".encode()).decode()
        request.add_header("Authorization", f"Basic {login}")
    try:
        with urllib.request.urlopen(request, timeout=10) as reply:
            return int(reply.status)
    except urllib.error.HTTPError as error:
        return error.code
    except OSError:
        return 0


@pytest.mark.slow
def test_a_team_sweeps_with_it(
    on_postgres: StorageConfig, tmp_path: Path, start: Start, tiny: list[str]
):
    """The very commands of the file, as processes on this machine."""
    port, workspace = free_port(), open_workspace(on_postgres)
    command = ["sweep", "study=team", "storage=postgres"]
    sweep = start("worker", command, *tiny, "trials=6", "seeds=3")
    until("the study", sweep, lambda: find_study(workspace, "team"))
    workers = [start("worker", SERVICES["worker"]["command"]) for _ in range(2)]
    server = start("mlflow", SERVICES["mlflow"]["command"], "host=127.0.0.1", f"port={port}")
    url = f"http://127.0.0.1:{port}"
    until("the server", server, lambda: answer(f"{url}/health") == 200)
    api = f"{url}/api/2.0/mlflow/experiments/search?max_results=5"
    assert answer(url) == answer(api) == 401
    assert answer(api, WRONG) == 401
    assert answer(url, PASSWORD) == answer(api, PASSWORD) == 200
    assert len(shown := arguments(server, sweep, *workers)) > 6
    assert PASSWORD not in " ".join(shown)
    for process in (sweep, *workers):
        assert process.wait(2 * PATIENCE_S) == 0, said(tmp_path)
    study = require_study(workspace, "team")
    assert study.over()
    assert len(study.trials()) == 6
    server.terminate()
    assert server.wait(PATIENCE_S) == 0
    assert PASSWORD not in said(tmp_path)


def arguments(*begun: subprocess.Popen[bytes]) -> list[str]:
    """The command lines, open to everybody, of processes and all that they started."""
    shown: list[str] = []
    for process in begun:
        with suppress(psutil.NoSuchProcess):
            own = psutil.Process(process.pid)
            for one in (own, *own.children(recursive=True)):
                with suppress(psutil.NoSuchProcess):
                    shown += one.cmdline()
    return shown


def said(folder: Path) -> str:
    return "\n".join(path.read_text() for path in sorted(folder.glob("*.log")))

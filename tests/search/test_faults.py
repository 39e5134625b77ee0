"""Faults that are injected into real sweeps (make test-faults), and what must hold afterwards.

Every trial is over under its number and told once; Optuna, the store and MLflow agree trial by
trial; nothing is left running; and the log says what happened.
"""

import os
import random
import shutil
import signal
import subprocess
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import psutil
import pytest
from optuna.trial import FrozenTrial, TrialState
from sqlalchemy import text

from pruning.training.checkpoint import unpack_network
from search.config.schema import StorageConfig
from search.results.mlflow_sync import reconcile
from search.results.report import state_of, study_record
from search.storage.workspace import open_workspace
from search.study.collect import orphans
from search.study.command import Command
from search.study.control import current_command
from search.study.factory import SweepFactory
from search.study.study import Study, find_study, require_study
from search.study.trials import trial_budget
from tests.search.commands import (
    PATIENCE_S,
    Commands,
    complete,
    family,
    free_port,
    running,
    until,
    until_gone,
)
from tests.search.proxy import Proxy
from tracking import locate
from tracking.databases.database import connected
from tracking.mlflow.client import Client
from tracking.mlflow.mirror import Written
from tracking.mlflow.server import serving
from tracking.records import State

pytestmark = [pytest.mark.faults, pytest.mark.timeout(570)]
Runs = Callable[[Study], list[Any]]
POSTGRES = Path("/usr/lib/postgresql/15/bin")
STATUS = {
    State.COMPLETE: "FINISHED",
    State.INFEASIBLE: "FINISHED",
    State.FAILED: "FAILED",
    State.CANCELLED: "KILLED",
}


@pytest.fixture(scope="session")
def empty_mlflow(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """MLflow's tables without a row: making them takes longer than most sweeps here."""
    path = tmp_path_factory.mktemp("empty") / "mlflow.db"
    Client(f"sqlite:///{path}")
    return path


@pytest.fixture
def here(tmp_path: Path, empty_mlflow: Path) -> StorageConfig:
    """SQLite files and a store in a folder of the test."""
    folder = tmp_path / ".paring"
    folder.mkdir()
    shutil.copy(empty_mlflow, folder / "mlflow.db")
    return StorageConfig(folder=str(folder))


class Lab(Commands):
    """Commands on a storage, their sweep `s`, and whether all places agree on it."""

    def __init__(
        self, storage: StorageConfig, folder: Path, tiny: list[str], runs_of: Runs
    ) -> None:
        super().__init__(storage, folder)
        self.tiny, self.runs_of = tiny, runs_of

    def sweep(self, *overrides: str) -> subprocess.Popen[bytes]:
        return self.start("sweep", *self.tiny, *overrides)

    def worker(self, *wrapper: str) -> subprocess.Popen[bytes]:
        """A worker that another program starts."""
        return self.start("worker", "threads=1", wrapper=wrapper)

    def finish(self, process: subprocess.Popen[bytes], code: int = 0) -> Study:
        """Wait for a command; returns the study."""
        assert process.wait(PATIENCE_S) == code, self.said()
        return require_study(open_workspace(self.storage), "s")

    def check(self, study: Study, total: int) -> None:
        check_agreement(study, total, self.runs_of(study))


@pytest.fixture
def lab_on(
    tmp_path: Path, tiny: list[str], runs_of: Runs
) -> Iterator[Callable[[StorageConfig], Lab]]:
    """A lab on any storage; all its commands are ended with the test."""
    made = []

    def on(storage: StorageConfig) -> Lab:
        made.append(Lab(storage, tmp_path, tiny, runs_of))
        return made[-1]

    yield on
    for each in made:
        each.stop()


@pytest.fixture
def lab(here: StorageConfig, lab_on: Callable[[StorageConfig], Lab]) -> Lab:
    return lab_on(here)


def check_agreement(study: Study, total: int, runs: list[Any]) -> None:
    """No trial lost or doubled, and all three places tell the same of each."""
    trials = study.trials()
    assert [trial.number for trial in trials] == list(range(total))
    assert {trial.user_attrs["slot"]["number"] for trial in trials} == set(range(total))
    assert all(trial.state.is_finished() for trial in trials)
    factory = SweepFactory(study.spec)
    by_trial = {r.data.tags["paring.slot"]: r for r in runs if "paring.slot" in r.data.tags}
    begun = [trial for trial in trials if trial.datetime_start is not None]
    assert sorted(map(int, by_trial)) == [trial.number for trial in begun]
    assert len(by_trial) == len(runs) - 1  # the study's own
    left = orphans(study.workspace, 0.0)
    assert not [*left.old, *left.young]
    for trial in begun:
        run, state = by_trial[str(trial.number)], state_of(trial)
        assert run.info.status == STATUS[state]
        assert run.data.tags["paring.state"] == state.value
        if state is State.COMPLETE:
            _check_result(study, factory, trial, run.data.metrics)


def _check_result(
    study: Study, factory: SweepFactory, trial: FrozenTrial, metrics: dict[str, float]
) -> None:
    result = trial.user_attrs["result"]
    stored = unpack_network(study.workspace.store[result["files"]["model.safetensors"]])
    cost = factory.cost_model(stored.graph).dense
    assert trial_budget(trial).holds(cost)
    told = dict(zip(study.objectives, trial.values, strict=True))
    for name in ("flash_bytes", "sram_bytes", "latency_ms"):
        assert told[name] == result["cost"][name] == getattr(cost, name)
        assert metrics[f"final.{name}"] == pytest.approx(getattr(cost, name))
    assert told["score"] == result["score"] == metrics["final.score"]


# --- killed


@pytest.mark.timeout(600)  # every killed worker takes its time to begin anew
def test_workers_are_killed_at_random_through_sixty_trials(
    on_postgres: StorageConfig, lab_on: Callable[[StorageConfig], Lab]
) -> None:
    lab, dice = lab_on(on_postgres), random.Random(7)
    sweep = lab.sweep("trials=60", "workers=4")
    workspace = open_workspace(on_postgres)
    study = until("the study", sweep, lambda: find_study(workspace, "s"))
    until("a first trial", sweep, lambda: complete(study))
    kills = done = 0
    while sweep.poll() is None:
        time.sleep(dice.uniform(2, 5))
        if complete(study) < done + 4:
            continue  # on a busy machine a new worker takes longer than that to begin
        done = complete(study)
        workers = {
            trial.user_attrs["owner"]["pid"]
            for trial in study.trials()
            if trial.state is TrialState.RUNNING and "owner" in trial.user_attrs
        }
        alive = sorted(pid for pid in workers if psutil.pid_exists(pid))
        if alive and not study.over():
            with suppress(ProcessLookupError):
                os.kill(dice.choice(alive), signal.SIGKILL)
                kills += 1
    assert sweep.returncode == 0, lab.said()
    assert kills >= 3
    assert max(trial.user_attrs["attempt"] for trial in study.trials()) >= 2
    assert "it is started again" in lab.said()
    lab.check(study, 60)
    assert complete(study) == 60


def test_a_worker_is_killed_while_it_trains_one_of_several_dense_networks(lab: Lab) -> None:
    """Its trial keeps its budget and its choice, and the training goes on from its checkpoint."""
    choices = ("+space={model.filters: [4, 6]}", "budget=auto", "budget.count=2")
    long = ("method.phases.dense_epochs=40", "storage.checkpoint_s=0", "trials=6")
    sweep = lab.sweep(*choices, *long, "workers=2")
    study = until("the study", sweep, lambda: find_study(open_workspace(lab.storage), "s"))
    until("a checkpoint", sweep, lambda: study.notes().dense_checkpoint)
    trial = until("a trial that waits for it", sweep, lambda: running(study))
    os.kill(trial.user_attrs["owner"]["pid"], signal.SIGKILL)
    study = lab.finish(sweep)
    lab.check(study, 6)
    assert complete(study) == 6
    again = study.trials()[trial.number]
    assert again.user_attrs["attempt"] >= 2
    assert trial_budget(again) == trial_budget(trial)
    assert study.notes().dense.keys() == {facts.dense_key for facts in study.facts.variants}
    assert not study.notes().dense_checkpoint
    assert Counter(trial.params["model.filters"] for trial in study.trials()).keys() == {4, 6}


def test_trials_whose_worker_always_dies_fail_and_the_others_do_not(lab: Lab) -> None:
    troubles = _troubled(lab.folder, "none", "killed")
    study = lab.finish(lab.sweep(*troubles, "trials=4", "workers=2"))
    for trial in study.trials():
        killed = trial.params["task.augment.trouble"] == "killed"
        assert trial.state is (TrialState.FAIL if killed else TrialState.COMPLETE)
        assert ("perhaps for want of memory" in trial.user_attrs.get("reason", "")) == killed
    assert len({trial.state for trial in study.trials()}) == 2
    lab.check(study, 4)


def test_a_sweep_without_a_model_is_not_complete(lab: Lab) -> None:
    sweep = lab.sweep(*_troubled(lab.folder, "killed"), "trials=1", "workers=1")
    study = lab.finish(sweep, code=2)
    assert {trial.state for trial in study.trials()} == {TrialState.FAIL}
    assert "no trial has a model (1 failed), its worker was killed 3 times" in lab.said()
    assert "is complete" not in lab.said()
    lab.check(study, 1)


# --- workers that cannot see each other


def test_workers_of_one_host_name_in_other_places_leave_each_other_alone(
    lab: Lab, elsewhere: list[str]
) -> None:
    """Containers share a host name, and so do some nodes of a cluster."""
    sweep = lab.sweep("method.phases.finetune_epochs=120", "trials=4", "workers=1")
    workspace = open_workspace(lab.storage)
    study = until("the study", sweep, lambda: find_study(workspace, "s"))
    until("a running trial", sweep, lambda: running(study))
    worker = lab.worker(*elsewhere)
    lab.finish(sweep)
    assert worker.wait(PATIENCE_S) == 0, lab.said()
    lab.check(study, 4)
    assert complete(study) == 4
    assert {trial.user_attrs["attempt"] for trial in study.trials()} == {1}
    owners = [trial.user_attrs["owner"] for trial in study.trials()]
    assert len({owner["host"] for owner in owners}) == 1
    assert len({owner["place"] for owner in owners}) == 2, lab.said()


@pytest.fixture(params=["container", "machine"])
def elsewhere(request: pytest.FixtureRequest, tmp_path: Path) -> list[str]:
    """A command that runs another in a PID namespace of its own, or as if on another boot."""
    if os.geteuid() or subprocess.run(["unshare", "-pfm", "true"]).returncode:
        pytest.skip("needs root and unshare for other namespaces")
    if request.param == "container":
        return ["unshare", "-pf", "--mount-proc"]
    boot = tmp_path / "boot_id"
    boot.write_text("00000000-0000-0000-0000-000000000000\n")
    mount = f"mount --bind {boot} /proc/sys/kernel/random/boot_id"
    return ["unshare", "-m", "sh", "-c", f'{mount} && exec "$@"', "sh"]


def test_a_worker_that_wakes_up_leaves_its_successor_alone(
    here: StorageConfig, lab_on: Callable[[StorageConfig], Lab]
) -> None:
    lab = lab_on(here)
    patience = ("storage.heartbeat_s=1", "storage.lease_s=3")
    long = ("method.phases.finetune_epochs=60", "trials=2", *patience)
    sweep = lab.sweep(*long, "workers=1")
    workspace = open_workspace(here)
    study = until("the study", sweep, lambda: find_study(workspace, "s"))
    first = until("a running trial", sweep, lambda: running(study))
    sleeper = first.user_attrs["owner"]["pid"]
    os.kill(sleeper, signal.SIGSTOP)
    other = lab.start("worker", "threads=1", *patience)

    def taken() -> Any:
        trial = running(study, other.pid)
        return trial is not None and trial.number == first.number and trial

    trial = until("its trial with another", other, taken)
    until("that one's checkpoint", other, lambda: (now := running(study, other.pid)) is not None
          and now.user_attrs["checkpoint"] != trial.user_attrs["checkpoint"])  # fmt: skip
    os.kill(sleeper, signal.SIGCONT)
    lab.finish(sweep)
    assert other.wait(PATIENCE_S) == 0, lab.said()
    lab.check(study, 2)
    assert complete(study) == 2
    assert "another worker has taken it over" in lab.said()
    assert "failed" not in lab.said()
    again = study.trials()[first.number].user_attrs
    assert again["attempt"] == 2
    assert again["owner"]["pid"] == other.pid
    assert again.get("deaths") is None


# --- signals to the whole group


def test_a_group_that_is_told_to_end_ends_and_goes_on_later(lab: Lab) -> None:
    """`timeout` signals a process and then its group, systemd the group."""
    again = ("method.phases.finetune_epochs=20", "trials=8", "workers=2")
    dice = random.Random(11)
    for signalled in range(10):
        sweep = lab.sweep(*again)
        with suppress(subprocess.TimeoutExpired):
            sweep.wait(dice.uniform(0.5, 10))  # from its first import to the midst of training
        children = family(sweep) if sweep.poll() is None else []
        for _ in range(1 + signalled % 2):
            with suppress(ProcessLookupError):
                os.killpg(sweep.pid, signal.SIGTERM)
        assert sweep.wait(PATIENCE_S) in (0, 130, -signal.SIGTERM), lab.said()
        until_gone(children)
    study = lab.finish(lab.sweep(*again))
    lab.check(study, 8)
    assert complete(study) == 8


# --- troubles of one trial

CAMERA = """
import os, signal
from dataclasses import dataclass
import torch

@dataclass(frozen=True)
class Camera:
    trouble: str = "none"

    def __call__(self, inputs, generator):
        match self.trouble:
            case "novalue":
                return inputs * float("nan")
            case "reading":
                raise OSError("the camera has gone")
            case "memory":
                return torch.empty(1 << 60)
            case "killed":
                os.kill(os.getpid(), signal.SIGKILL)
        return inputs
"""


def _troubled(folder: Path, *troubles: str) -> list[str]:
    """A task of the user's own, whose augmentation goes wrong in some trials."""
    (folder / "camera.py").write_text(CAMERA)
    return [
        "~task.augment.shift",
        "~task.augment.flip",
        "task.augment._target_=camera.Camera",
        "+task.augment.trouble=none",
        f"+space={{task.augment.trouble: [{', '.join(troubles)}]}}",
        "sampler=random",
        "seed=3",
    ]


def test_a_trial_with_a_trouble_of_its_own_fails_with_its_reason(lab: Lab) -> None:
    troubles = ("none", "novalue", "reading", "memory")
    study = lab.finish(lab.sweep(*_troubled(lab.folder, *troubles), "trials=10"))
    reasons = {"novalue": "training loss is nan", "reading": "the camera has gone"}
    met = Counter(trial.params["task.augment.trouble"] for trial in study.trials())
    assert set(met) == set(troubles)
    for trial in study.trials():
        trouble = trial.params["task.augment.trouble"]
        assert (trial.state is TrialState.COMPLETE) == (trouble == "none")
        assert reasons.get(trouble, "") in trial.user_attrs.get("reason", "")
        assert f"trial {trial.number}" in lab.said()
    lab.check(study, 10)


def test_three_failures_alike_stop_the_sweep_and_it_says_so(lab: Lab) -> None:
    study = lab.finish(lab.sweep(*_troubled(lab.folder, "reading"), "trials=9"), code=2)
    assert "3 trials in a row failed alike: OSError: the camera has gone" in lab.said()
    assert current_command(study).command is Command.HALT
    states = Counter(trial.state for trial in study.trials())
    assert states == {TrialState.FAIL: 3, TrialState.WAITING: 6}


# --- PostgreSQL


class Cluster:
    """A PostgreSQL server of the test's own, run as the user postgres."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.port = folder, free_port()
        shutil.chown(folder, "postgres", "postgres")
        self._run("initdb", "-D", str(folder / "data"), "-A", "trust", "-U", "paring")
        self.start()
        self._run("createdb", "-h", "127.0.0.1", "-p", str(self.port), "-U", "paring", "paring")

    def _run(self, program: str, *arguments: str) -> None:
        command = ["runuser", "-u", "postgres", "--", str(POSTGRES / program), *arguments]
        subprocess.run(command, check=True, capture_output=True, timeout=60, cwd="/")

    def _ctl(self, what: str, *arguments: str) -> None:
        data, log = str(self.folder / "data"), str(self.folder / "log")
        self._run("pg_ctl", "-w", "-D", data, "-l", log, *arguments, what)

    def start(self) -> None:
        self._ctl("start", "-o", f"-p {self.port} -h 127.0.0.1 -k {self.folder}")

    def stop(self) -> None:
        self._ctl("stop", "-m", "fast")

    @property
    def url(self) -> str:
        return f"postgresql://paring@127.0.0.1:{self.port}/paring"

    @contextmanager
    def frozen(self) -> Iterator[None]:
        """No process of the server does anything while the block runs."""
        first = psutil.Process(int((self.folder / "data/postmaster.pid").read_text().split()[0]))
        processes = [first, *first.children(recursive=True)]
        for process in processes:
            with suppress(psutil.NoSuchProcess):  # a session that has just ended
                process.suspend()
        try:
            yield
        finally:
            for process in processes:
                with suppress(psutil.NoSuchProcess):
                    process.resume()

    def locks(self) -> int:
        """How many transactions with locks of rows wait for their client."""
        query = (
            "SELECT count(DISTINCT a.pid) FROM pg_stat_activity a JOIN pg_locks l USING (pid) "
            "WHERE a.state LIKE 'idle in transaction%' AND l.mode = 'RowExclusiveLock'"
        )
        with connected(locate(self.url).optuna, autocommit=True) as connection:
            return int(connection.execute(text(query)).scalar() or 0)

    def cut_connections(self) -> int:
        """Let the server kill every other connection; returns how many there were."""
        query = (
            "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity "
            "WHERE datname = 'paring' AND pid <> pg_backend_pid()"
        )
        with connected(locate(self.url).optuna, autocommit=True) as connection:
            return int(connection.execute(text(query)).scalar() or 0)


@pytest.fixture
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    if os.geteuid() or not POSTGRES.exists() or not shutil.which("runuser"):
        pytest.skip(f"needs root, runuser and {POSTGRES} for a server that can be stopped")
    folder = Path("/tmp") / f"paring-postgres-{os.getpid()}"  # others must reach it
    folder.mkdir(mode=0o755)
    try:
        made = Cluster(folder)
        yield made
        with suppress(subprocess.CalledProcessError):
            made.stop()
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def test_the_server_is_restarted_stopped_and_cuts_connections(
    cluster: Cluster, tmp_path: Path, lab_on: Callable[[StorageConfig], Lab]
) -> None:
    storage = StorageConfig(folder=str(tmp_path / ".paring"), url=cluster.url)
    lab, workspace = lab_on(storage), open_workspace(storage)
    sweep = lab.sweep("method.phases.finetune_epochs=20", "trials=14", "workers=2")
    study = until("the study", sweep, lambda: find_study(workspace, "s"))
    until("two trials and one in training", sweep, lambda: complete(study) >= 2)

    cluster.stop()  # restarted fast
    cluster.start()
    study = until("a reopened study", sweep, lambda: _reopened(storage))
    done = complete(study)
    until("progress after the restart", sweep, lambda: complete(study) > done)

    assert cluster.cut_connections() > 0
    study = until("a reopened study", sweep, lambda: _reopened(storage))
    done = complete(study)
    until("progress after the cut", sweep, lambda: complete(study) > done)

    cluster.stop()  # for ten seconds
    time.sleep(10)
    cluster.start()
    study = lab.finish(sweep)
    assert complete(study) == 14
    assert "cannot be reached" in lab.said()
    lab.check(study, 14)


def test_connections_that_are_half_open_end_by_themselves(
    cluster: Cluster, tmp_path: Path, lab_on: Callable[[StorageConfig], Lab]
) -> None:
    """Something between resets the clients' ends; the server hears nothing, and keeps locks."""
    with Proxy(cluster.port) as proxy:
        url = f"postgresql://paring@127.0.0.1:{proxy.port}/paring"
        lab = lab_on(StorageConfig(folder=str(tmp_path / ".paring"), url=url))
        workspace = open_workspace(lab.storage)
        long = ("method.phases.finetune_epochs=30", "trials=6", "workers=2")
        sweep = lab.sweep(*long)
        study = until("the study", sweep, lambda: find_study(workspace, "s"))
        until("a running trial", sweep, lambda: running(study))
        while True:
            until("a transaction with locks", sweep, lambda: cluster.locks() > 0)
            proxy.reset_clients()
            if cluster.locks():
                break
            proxy.close_servers()  # it ended between the look and the reset
        until("the server's own end of them", sweep, lambda: cluster.locks() == 0)
        proxy.close_servers()  # what keepalives do to sessions that hold no row
        lab.finish(sweep)
    study = require_study(open_workspace(replace(lab.storage, url=cluster.url)), "s")
    assert complete(study) == 6
    assert "OperationalError" in lab.said()
    lab.check(study, 6)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_sweep_ends_while_the_database_does_not_answer(
    cluster: Cluster, tmp_path: Path, lab_on: Callable[[StorageConfig], Lab], number: int
) -> None:
    storage = StorageConfig(folder=str(tmp_path / ".paring"), url=cluster.url)
    lab, workspace = lab_on(storage), open_workspace(storage)
    again = ("method.phases.finetune_epochs=30", "trials=4", "workers=2")
    sweep = lab.sweep(*again)
    study = until("the study", sweep, lambda: find_study(workspace, "s"))
    until("a running trial", sweep, lambda: running(study))
    children = family(sweep)
    with cluster.frozen():
        time.sleep(2)  # until all wait for an answer
        os.killpg(sweep.pid, number)
        assert sweep.wait(PATIENCE_S) == 130
        until_gone(children)
    assert "stopping, trials are handed back" in lab.said()
    assert "Exception ignored" not in lab.said()
    assert "Traceback" not in (lab.folder / "0.log").read_text()
    study = lab.finish(lab.sweep(*again))
    assert complete(study) == 4
    lab.check(study, 4)


def test_rows_that_somebody_locks_are_waited_for_aloud(
    on_postgres: StorageConfig, lab_on: Callable[[StorageConfig], Lab]
) -> None:
    lab, workspace = lab_on(on_postgres), open_workspace(on_postgres)
    sweep = lab.sweep("method.phases.finetune_epochs=20", "trials=4", "workers=2")
    study = until("the study", sweep, lambda: find_study(workspace, "s"))
    until("a running trial", sweep, lambda: running(study))
    with connected(workspace.databases.optuna) as connection:
        connection.execute(text("SET idle_in_transaction_session_timeout = 0"))
        connection.execute(text("SELECT trial_id FROM trials FOR UPDATE"))
        until("a complaint", sweep, lambda: "lock timeout" in lab.said())
    study = lab.finish(sweep)
    assert complete(study) == 4
    lab.check(study, 4)


def _reopened(storage: StorageConfig) -> Study | None:
    with suppress(Exception):
        return find_study(open_workspace(storage), "s")
    return None


# --- a full disk


@contextmanager
def _small_disk(place: Path, size: str) -> Iterator[None]:
    place.mkdir(parents=True)
    command = ["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(place)]
    if os.geteuid() or subprocess.run(command, capture_output=True).returncode:
        pytest.skip("needs root and tmpfs for a small disk")
    try:
        yield
    finally:
        subprocess.run(["umount", "--lazy", str(place)], check=True)


def test_a_full_disk_is_waited_for(lab: Lab) -> None:
    store = Path(lab.storage.folder) / "store"
    with _small_disk(store, "8m"):
        filler = store / "filler"
        sweep = lab.sweep("trials=6", "workers=2")
        workspace = open_workspace(lab.storage)
        study = until("the study", sweep, lambda: find_study(workspace, "s"))
        until("a trial", sweep, lambda: complete(study) >= 1)
        with filler.open("wb") as file, suppress(OSError):
            while True:
                file.write(bytes(1 << 16))
                file.flush()
        terminal = lab.folder / "0.log"
        until("a complaint", sweep, lambda: "store: cannot write" in terminal.read_text())
        done = complete(study)
        time.sleep(3)
        assert complete(study) == done < 6
        filler.unlink()
        assert sweep.wait(PATIENCE_S) == 0, lab.said()
        assert complete(study) == 6
        assert not list(store.rglob(".part-*"))  # nothing half-written
        lab.check(study, 6)


# --- MLflow


def test_the_server_is_down_for_the_whole_sweep(lab: Lab) -> None:
    port = free_port()
    storage = replace(lab.storage, tracking_uri=f"http://127.0.0.1:{port}")
    where = f"storage.tracking_uri={storage.tracking_uri}"
    sweep = lab.sweep("trials=3", where)
    assert sweep.wait(PATIENCE_S) == 0, lab.said()
    assert "MLflow is not up to date, but nothing is lost" in lab.said()
    study = require_study(open_workspace(storage), "s")
    assert complete(study) == 3
    down = lab.start("reconcile", where)
    assert down.wait(PATIENCE_S) == 2
    with serving(f"sqlite:///{lab.folder}/mlflow.db", lab.folder / "artifacts", port=port):
        again = lab.start("reconcile", where)
        assert again.wait(PATIENCE_S) == 0, lab.said()
        assert "3 trials, 3 runs agree; 4 created" in lab.said()
        lab.check(study, 3)
        assert reconcile(study) == Written()  # nothing is left to do


def test_the_database_is_deleted_and_rebuilt(lab: Lab) -> None:
    study = lab.finish(lab.sweep("trials=4"))
    before = {r.data.tags.get("paring.slot"): r.data.metrics for r in lab.runs_of(study)}
    (Path(lab.storage.folder) / "mlflow.db").unlink()
    assert lab.start("reconcile").wait(PATIENCE_S) == 0, lab.said()
    lab.check(study, 4)
    after = {r.data.tags.get("paring.slot"): r.data.metrics for r in lab.runs_of(study)}
    assert after == before


def test_what_is_wrong_in_mlflow_is_mended(lab: Lab) -> None:
    from mlflow import MlflowClient

    study = lab.finish(lab.sweep("trials=4"))
    client = MlflowClient(study.workspace.tracking_uri)
    by_trial = {run.data.tags.get("paring.slot"): run for run in lab.runs_of(study)}
    client.update_run(by_trial["0"].info.run_id, "RUNNING")  # as a killed worker leaves it
    client.delete_run(by_trial["1"].info.run_id)
    own = by_trial["2"]
    tags = {k: v for k, v in own.data.tags.items() if k.startswith("paring")}
    client.create_run(own.info.experiment_id, tags=tags)  # a second one
    client.create_run(own.info.experiment_id, tags={**tags, "paring.slot": "77"})  # of no trial
    written = reconcile(study)
    assert written.created == 1
    assert written.changed >= 1
    assert written.deleted == 2
    lab.check(study, 4)
    assert reconcile(study) == Written()


# --- many at once


def test_two_sweeps_start_one_study_at_the_same_moment(
    on_postgres: StorageConfig, lab_on: Callable[[StorageConfig], Lab]
) -> None:
    lab = lab_on(on_postgres)
    sweeps = [lab.sweep("trials=6", "workers=1") for _ in range(2)]
    assert [sweep.wait(PATIENCE_S) for sweep in sweeps] == [0, 0], lab.said()
    study = require_study(open_workspace(on_postgres), "s")
    assert complete(study) == 6
    assert all(trial.user_attrs["attempt"] == 1 for trial in study.trials())
    lab.check(study, 6)


def test_eight_workers_on_sqlite(lab: Lab) -> None:
    sweep = lab.sweep("trials=16", "workers=8")
    assert sweep.wait(2 * PATIENCE_S) == 0, lab.said()
    study = require_study(open_workspace(lab.storage), "s")
    assert complete(study) == 16
    assert "locked" not in lab.said()
    lab.check(study, 16)


# --- blobs


@pytest.mark.parametrize("content", ["truncated", "pickle"])
def test_a_damaged_checkpoint_costs_its_epochs_and_nothing_else(lab: Lab, content: str) -> None:
    long = ["method.phases.finetune_epochs=15", "trials=2"]
    first = lab.sweep(*long)
    workspace = open_workspace(lab.storage)
    study = until("the study", first, lambda: find_study(workspace, "s"))
    until("a checkpoint", first, lambda: running(study))
    first.terminate()
    assert first.wait(30) == 130
    trial = next(trial for trial in study.trials() if "checkpoint" in trial.user_attrs)
    assert trial.state is TrialState.WAITING
    digest = trial.user_attrs["checkpoint"]
    blob = workspace.folder / "store" / digest[:2] / digest[2:]
    trap = lab.folder / "unpickled"
    bad = {
        "truncated": blob.read_bytes()[:-100],
        "pickle": b"cos\nsystem\n(S'touch " + str(trap).encode() + b"'\ntR.",
    }
    blob.write_bytes(bad[content])
    assert lab.sweep(*long).wait(PATIENCE_S) == 0, lab.said()
    assert complete(study) == 2
    assert not trap.exists()
    record = study_record(study).trials[trial.number]
    assert [row.epoch for row in record.epochs] == list(range(1, 17))
    assert "is damaged" in lab.said()
    lab.check(study, 2)

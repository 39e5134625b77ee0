"""What the service itself costs, beside training (make bench-service).

Real workers, a real mirror, PostgreSQL, and MLflow over HTTP. Training is replaced by a rest of
two seconds, or of none where what grows with a study is looked for; real is that of which early
stopping saves a part, and that which goes on while MLflow is away. Everything is in schemas and
a folder of its own, which are removed at the end.
"""

import argparse
import multiprocessing
import os
import random
import re
import signal
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path
from statistics import median
from typing import Any
from uuid import uuid4

import torch
from hydra import compose, initialize_config_module
from optuna.trial import TrialState
from sqlalchemy.schema import DropSchema

from pruning.training.job import Job
from pruning.training.state import Epoch, TrainState, widths_of
from search.config.schema import StorageConfig
from search.config.spec import Spec
from search.results.mlflow_sync import mirror_once, reconcile
from search.results.report import study_record
from search.storage.workspace import Workspace, open_workspace
from search.study import create
from search.study.study import Study, require_study
from search.study.trials import claim
from search.study.variants import Variant, Variants
from search.worker import pool, worker
from search.worker import run_trial as trial_module
from search.worker.dense import ensure_dense
from search.worker.run_trial import run_trial, tell
from search.worker.stop_signals import StopMonitor
from search.worker.training_loop import Logbook
from tests.search.commands import free_port
from tests.search.conftest import POSTGRES, TINY
from tracking import locate
from tracking.databases.database import connected
from tracking.mlflow.mirror import Mirror
from tracking.mlflow.server import serving
from tracking.records import TrialRecord

SLOTS, WORKERS, REST_S = 100, 4, 2.0
FEW, MANY, WINDOW = 100, 1_000, 20
WHOLE = 2_000  # trials that are reconciled at once
CURVES = 48  # trials that are trained with and without early stopping
SPAWN = multiprocessing.get_context("spawn")


def main() -> None:
    """Print what was asked for: all of it, or one part."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parts = {
        "sweep": overhead,
        "growth": growth,
        "reconcile": whole_mirror,
        "away": mlflow_away,
        "early": early_stopping,
        "stop": stopping,
    }
    parser.add_argument("parts", nargs="*", choices=[[], *parts], default=list(parts))
    parser.add_argument("--postgres", default=os.environ.get("PARING_TEST_POSTGRES", POSTGRES))
    options = parser.parse_args()
    torch.set_num_threads(1)
    for name in options.parts:
        with place(options.postgres) as workspace:
            parts[name](workspace)


@contextmanager
def place(url: str) -> Iterator[Workspace]:
    """Schemas of its own, a folder, and MLflow's server on them."""
    schema = f"paring_bench_{uuid4().hex[:8]}"
    databases = locate(url, schema)
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        stack.callback(_drop, databases.optuna, schema)
        storage = StorageConfig(folder=str(folder / ".paring"), url=url, schema=schema)
        artifacts = open_workspace(storage).folder / "artifacts"
        address, _ = stack.enter_context(serving(databases.mlflow, artifacts, port=free_port()))
        yield open_workspace(replace(storage, tracking_uri=address))


def _drop(url: str, schema: str) -> None:
    with connected(url, autocommit=True) as connection:
        for kind in ("optuna", "mlflow", "users"):
            connection.execute(DropSchema(f"{schema}_{kind}", cascade=True, if_exists=True))


def _study(workspace: Workspace, trials: int, *overrides: str, name: str = "s") -> Study:
    """A study with a space of two rates, searched by NSGA-II, whose dense network is there."""
    roomy = ["budget=grid", "budget.flash=[64KiB]"]
    tiny = [*TINY, *roomy, "space=rates", "sampler=nsga2", *overrides]
    return _prepared(workspace, name, trials, tiny)


def _prepared(workspace: Workspace, name: str, trials: int, overrides: Sequence[str]) -> Study:
    with initialize_config_module(version_base="1.3", config_module="search.conf"):
        spec = Spec.from_config(compose("sweep", [f"study={name}", *overrides]))
    study = create.prepare(workspace, name, spec, trials)
    ensure_dense(study, Variants(study).first(), StopMonitor(study))
    return study


def _rest(seconds: float) -> Any:
    """In the place of training: nothing for some seconds, then a score."""

    def rest(
        state: TrainState, job: Job, _home: Workspace, _book: Logbook, monitor: StopMonitor
    ) -> None:
        monitor.wait(seconds)
        graph = state.network.graph
        row = Epoch(
            epoch=1,
            phase="rest",
            loss=1.0,
            score=random.Random(job.seed).uniform(0.5, 0.9),
            cost=job.cost_model(graph).dense,
            budget=job.budget,
            bottleneck="",
            widths=widths_of(graph),
            seconds=seconds,
        )
        state.append(row)

    return rest


def _resting_worker(storage: StorageConfig, seconds: float) -> None:
    trial_module.train_on = _rest(seconds)
    worker.work(storage, "s", threads=1)


# --- a sweep


def overhead(workspace: Workspace) -> None:
    """From the first ask to the last tell beside the ideal, and how late the mirror is."""
    study = _study(workspace, SLOTS)
    with pool.mirroring(workspace.config, "s"):
        arguments = (workspace.config, REST_S)
        workers = [SPAWN.Process(target=_resting_worker, args=arguments) for _ in range(WORKERS)]
        for process in workers:
            process.start()
        for process in workers:
            process.join()
    drained = time.time()
    trials = study.trials()
    assert all(trial.state is TrialState.COMPLETE for trial in trials)
    begun = min(trial.datetime_start.timestamp() for trial in trials if trial.datetime_start)
    ended = max(trial.datetime_complete.timestamp() for trial in trials if trial.datetime_complete)
    ideal, took = SLOTS / WORKERS * REST_S, ended - begun
    left = reconcile(study)
    print(f"{SLOTS} trials of {REST_S:g} s, {WORKERS} workers, {os.cpu_count()} cores:")
    print(f"  first ask to last tell {took:.1f} s, {took / ideal:.2f} of the ideal {ideal:g} s")
    print(f"  the mirror had everything {drained - ended:.1f} s later ({left} was left)")


# --- what grows


def growth(workspace: Workspace) -> None:
    """Ask, tell and mirror, a trial, with few and with many finished ones; then reconcile."""
    study, mirror = (
        _study(workspace, MANY + WINDOW),
        Mirror(workspace.tracking_uri, workspace.artifacts),
    )
    variant, monitor = Variants(study).first(), StopMonitor(study)
    dense = ensure_dense(study, variant, monitor)
    trial_module.train_on = _rest(0.0)
    took: dict[int, tuple[float, float]] = {}
    for number in range(MANY + WINDOW):
        if number in (FEW, MANY):
            mirror_once(study, mirror)
            begun, mirrored = time.monotonic(), 0.0
        _one(study, variant, dense, monitor)
        if any(at <= number < at + WINDOW for at in (FEW, MANY)):
            moment = time.monotonic()
            mirror_once(study, mirror)
            mirrored += time.monotonic() - moment
        if number + 1 - WINDOW in (FEW, MANY):
            whole = time.monotonic() - begun
            took[number + 1 - WINDOW] = ((whole - mirrored) / WINDOW, mirrored / WINDOW)
    for at, (told, mirrored) in took.items():
        print(f"with {at:,} finished trials: ask and tell {1000 * told:.0f} ms, ", end="")
        print(f"mirror {1000 * mirrored:.0f} ms a trial")
    few, many = (sum(took[at]) for at in (FEW, MANY))
    print(f"  {MANY:,} beside {FEW:,}: {many / few:.2f}")


def _one(study: Study, variant: Variant, dense: Any, monitor: StopMonitor) -> None:
    trial = claim(study)
    assert trial is not None
    tell(study, trial, run_trial(study, trial, variant, dense, monitor))


# --- MLflow made whole, and away


def whole_mirror(workspace: Workspace) -> None:
    """All trials of a large study written to an empty MLflow, and again with nothing to do."""
    study = _study(workspace, WHOLE)
    workers = [
        SPAWN.Process(target=_resting_worker, args=(workspace.config, 0.0)) for _ in range(WORKERS)
    ]
    for process in workers:
        process.start()
    for process in workers:
        process.join()
    took = []
    for _ in range(2):
        moment = time.monotonic()
        written = reconcile(study)
        took.append(f"{time.monotonic() - moment:.1f} s ({written})")
    print(f"{WHOLE:,} trials reconciled: {took[0]}; again: {took[1]}")


def mlflow_away(workspace: Workspace) -> None:
    """Seconds of the same training epochs with MLflow there, and with nobody at its address."""
    nobody = replace(workspace.config, tracking_uri=f"http://127.0.0.1:{free_port()}")
    for name, storage in (
        ("there", workspace.config),
        ("away", nobody),
        ("there", workspace.config),
    ):
        own = open_workspace(storage)
        study = _study(own, 4, "method.phases.finetune_epochs=40", name=f"{name}-{uuid4().hex[:4]}")
        moment = time.monotonic()
        with pool.mirroring(storage, study.name):
            worker.work(storage, study.name, threads=1)
            took = time.monotonic() - moment
        epochs = [row.seconds for trial in study_record(study).trials for row in trial.epochs]
        print(
            f"MLflow {name}: {len(epochs)} epochs, median {1000 * median(epochs):.1f} ms, ",
            end="",
        )
        print(f"all trials told after {took:.1f} s")


# --- early stopping


def early_stopping(workspace: Workspace) -> None:
    """The same trials with and without rungs: epochs trained, and hypervolume."""
    found = {}
    for rungs in ("none", "rungs"):
        digits = ["experiment=demo", "sampler=random", f"stopping={rungs}"]
        study = _prepared(workspace, f"early-{rungs}", CURVES, digits)
        workers = [
            SPAWN.Process(target=worker.work, args=(workspace.config, study.name, 1))
            for _ in range(os.cpu_count() or 1)
        ]
        for process in workers:
            process.start()
        for process in workers:
            process.join()
        record = study_record(study)
        found[rungs] = (sum(map(_epochs, record.trials)), record.hypervolumes[-1])
    epochs, volume = (a / b for a, b in zip(found["rungs"], found["none"], strict=True))
    print(f"{CURVES} trials of digits: with rungs {epochs:.0%} of the epochs, ", end="")
    print(f"{volume:.1%} of the hypervolume ({found})")


def _epochs(trial: TrialRecord) -> int:
    """What was trained of a trial: all of it, or up to where it says that it was stopped."""
    stopped = re.match(r"stopped at epoch (\d+) of", trial.reason)
    return int(stopped[1]) if stopped else len(trial.epochs)


# --- stopping


def stopping(workspace: Workspace) -> None:
    """From SIGTERM to the end of a worker, its trial handed back."""
    _study(workspace, 4, "method.phases.finetune_epochs=4000")
    times = []
    for _ in range(4):
        process = SPAWN.Process(target=worker.work, args=(workspace.config, "s", 1))
        process.start()
        while not any(_advanced(trial) for trial in require_study(workspace, "s").trials()):
            time.sleep(0.2)
        moment = time.monotonic()
        os.kill(process.pid or 0, signal.SIGTERM)
        process.join()
        times.append(time.monotonic() - moment)
        assert process.exitcode == 0
        assert not any(_advanced(trial) for trial in require_study(workspace, "s").trials())
    print(f"SIGTERM to exit 0: {', '.join(f'{each:.2f}' for each in times)} s")


def _advanced(trial: Any) -> bool:
    return trial.state.name == "RUNNING" and "progress" in trial.user_attrs


if __name__ == "__main__":
    main()

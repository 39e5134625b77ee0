"""A sweep: the study is created or continued, workers are started, and somebody watches."""

import importlib.metadata
import json
import logging
import multiprocessing
import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

from pruning.budget import RESOURCES, Budget
from pruning.reach import require_reachable
from pruning.state import TrainState
from search.build import Blueprint
from search.config import Spec, StorageConfig
from search.errors import ConfigError, StudyError
from search.home import Home
from search.mirroring import catch_up, mirror_until
from search.space import budgets, check_space
from search.study import Study, create_study, find_study, sampler_for
from search.worker import Interrupted, work

log = logging.getLogger("paring.sweep")
OBJECTIVES = ("score", *RESOURCES, "macs")
POLL_S = 0.5
RESTARTS = 3  # of a local worker that died without being asked to


def prepare(home: Home, name: str, spec: Spec | None, total: int | None) -> Study:
    """The study of a name with its slots: created from a spec, or continued.

    Without a spec the study must exist. Continuing checks that nothing else was asked for than
    what the study was created with; a larger total adds slots.

    Raises:
        StudyError: there is no such study, or it was created with another spec.
        BudgetError: a budget is out of reach. ConfigError: a value makes no sense.
    """
    study = find_study(home, name)
    if study is None:
        if spec is None:
            raise StudyError(
                f"study={name}: there is none; add experiment=... or a model and data"
            )
        study = _created(home, name, spec)
    else:
        study.require_data(Blueprint(study.spec).data.digest)
    if spec is not None:
        _require_same(study, spec)  # somebody may have created it just before us
    wanted = total or study.spec["trials"] or len(study.facts["budgets"])
    made = [Budget(**limits) for limits in study.facts["budgets"]]
    study.add_slots(wanted, made, study.spec["seed"])
    return study


def _created(home: Home, name: str, spec: Spec) -> Study:
    typed = spec.typed()
    check_space(typed.space)
    blueprint = Blueprint(spec)
    model = blueprint.cost_model(blueprint.start.graph)
    made = budgets(typed.budget, model.dense)
    for budget in made:
        require_reachable(model, budget)
    task = blueprint.task()
    targets, classes = blueprint.data.validation.targets, len(blueprint.data.classes)
    facts = {
        "metric": task.metric.name,
        "rises": task.rises,
        "chance": task.metric.chance(targets, classes),
        "best": 1.0 if task.rises else 0.0,
        "dense_cost": asdict(model.dense),
        "device_limits": blueprint.device.budget.limits,
        "budgets": [asdict(budget) for budget in made],
        "data_digest": blueprint.data.digest,
        "tags": _tags(blueprint),
    }
    spec.replaced(dict.fromkeys(typed.space, 0))  # every path of the space must exist
    _try_out(blueprint, made[0])
    return create_study(home, name, spec, _directions(typed.objectives, task.rises), facts)


def _try_out(blueprint: Blueprint, budget: Budget) -> None:
    """Make what workers will make, so that a setting nobody can use is refused at once."""
    sampler_for(blueprint.spec, 0)
    start = blueprint.start
    for job in (blueprint.dense_job(), blueprint.slot_job({}, budget, blueprint.spec["seed"])):
        try:
            TrainState.begin(start.graph, start.tensors, job)
        except (TypeError, ValueError) as error:
            raise ConfigError(f"task.optimizer: {error}") from error


def _directions(objectives: list[str], rises: bool) -> dict[str, str]:
    if unknown := [name for name in objectives if name not in OBJECTIVES]:
        raise ConfigError(f"objectives: unknown {unknown}; choose from {', '.join(OBJECTIVES)}")
    if not objectives:
        raise ConfigError(f"objectives: none; choose from {', '.join(OBJECTIVES)}")
    return {
        name: "maximize" if name == "score" and rises else "minimize" for name in objectives
    }


def _require_same(study: Study, spec: Spec) -> None:
    """Refuse to continue a study with another recipe."""
    free = ("trials", "accelerator")  # may differ from one call to the next
    changed = [
        f"{key} (stored {_short(stored)}, now {_short(spec.values.get(key))})"
        for key, stored in study.spec.values.items()
        if key not in free and stored != spec.values.get(key)
    ]
    if changed:
        raise StudyError(
            f"study={study.name}: it was created with other settings: {'; '.join(changed)}. "
            "Continue it without them (paring sweep study=NAME), or choose another name."
        )


def _short(value: Any) -> str:
    text = json.dumps(value)
    return text if len(text) <= 80 else f"{text[:77]}..."


def _tags(blueprint: Blueprint) -> dict[str, str]:
    """Where the numbers come from: code, data and libraries."""
    versions = {
        f"version.{name}": importlib.metadata.version(name)
        for name in ("paring", "torch", "optuna", "mlflow", "numpy")
    }
    return {
        **versions,
        **_git(),
        "data": blueprint.data.name,
        "data.digest": blueprint.data.digest,
    }


def _git() -> dict[str, str]:
    """The commit and whether there are changes on top, where this is a git checkout."""

    def ask(*words: str) -> str:
        return subprocess.run(
            ["git", *words], capture_output=True, text=True, check=True, timeout=10
        ).stdout.strip()

    try:
        return {
            "git.commit": ask("rev-parse", "HEAD"),
            "git.dirty": str(bool(ask("status", "--porcelain"))).lower(),
        }
    except (OSError, subprocess.SubprocessError):
        return {"git.commit": "none", "git.dirty": "false"}


def threads_for(workers: int, asked: int) -> int:
    """Torch threads per worker: cores / workers, unless a number was asked for."""
    return asked or max(1, (os.cpu_count() or 1) // workers)


def run(study: Study, workers: int, threads: int) -> Iterator[None]:
    """Run local workers until every slot is over, yielding now and then for a display.

    Closing the iterator stops the workers; their slots go back.
    """
    context = multiprocessing.get_context("spawn")
    storage = study.home.config
    logs = log_folder(storage, study.name)
    with mirroring(storage, study.name) as mirror:
        crew = [_start(context, storage, study.name, threads, logs, n) for n in range(workers)]
        restarts = 0
        try:
            while any(worker.is_alive() for worker in crew) or not study.over():
                yield
                time.sleep(POLL_S)
                for index, worker in enumerate(crew):
                    if worker.is_alive() or study.over():
                        continue
                    restarts += 1
                    if restarts > RESTARTS:
                        raise StudyError(
                            f"study={study.name}: workers keep dying (exit code "
                            f"{worker.exitcode}); see {logs}"
                        )
                    log.warning("worker %d died with %s; started anew", index, worker.exitcode)
                    study.reap()
                    crew[index] = _start(context, storage, study.name, threads, logs, index)
        finally:
            _stop(crew)
    if mirror.exitcode != 0 and (obstacle := catch_up(study)) is not None:
        log.warning("MLflow is behind, nothing is lost: %s", obstacle)


def _start(
    context: Any, storage: StorageConfig, name: str, threads: int, logs: Path, index: int
) -> BaseProcess:
    process: BaseProcess = context.Process(
        target=local_worker, args=(storage, name, threads, logs / f"worker-{index}.log")
    )
    process.start()
    return process


def local_worker(storage: StorageConfig, name: str, threads: int, log_file: Path) -> None:
    """A worker beside others on this machine: logs to a file, ends with its parent."""
    follow_parent(log_file)
    with suppress(Interrupted, KeyboardInterrupt):  # the slot has been handed back
        work(storage, name, threads)


def follow_parent(log_file: Path) -> None:
    """Send this process's output to a file and end it when its parent is gone."""
    stream = log_file.open("a", buffering=1)
    os.dup2(stream.fileno(), sys.stderr.fileno())
    os.dup2(stream.fileno(), sys.stdout.fileno())
    logging.basicConfig(
        level=logging.INFO, stream=sys.stderr, format="%(asctime)s %(name)s %(message)s"
    )
    parent = multiprocessing.parent_process()

    def watch() -> None:
        if parent is not None:
            parent.join()
            os._exit(1)  # killed at any instruction is what workers are made for

    threading.Thread(target=watch, daemon=True).start()


def log_folder(storage: StorageConfig, name: str) -> Path:
    """Where the workers and the mirror of a study write their logs."""
    folder = Path(storage.folder).resolve() / "logs" / name
    folder.mkdir(parents=True, exist_ok=True)
    return folder


@contextmanager
def mirroring(storage: StorageConfig, name: str) -> Iterator[BaseProcess]:
    """A process that keeps MLflow in step while the block runs.

    When the block has ended its exit code is 0 if MLflow has everything.
    """
    logs = log_folder(storage, name)
    if multiprocessing.get_start_method() not in multiprocessing.get_all_start_methods():
        multiprocessing.set_start_method("spawn", force=True)  # joblib's workers have their own
    context = multiprocessing.get_context("spawn")
    stop = context.Event()
    process = context.Process(
        target=local_mirror, args=(storage, name, stop, logs / "mirror.log")
    )
    process.start()
    try:
        yield process
    finally:
        stop.set()
        process.join(timeout=60)
        if process.is_alive():
            process.kill()
            process.join()


def local_mirror(storage: StorageConfig, name: str, stop: Any, log_file: Path) -> None:
    """A mirror beside the workers; it outlives nobody and disturbs training little."""
    follow_parent(log_file)
    if hasattr(os, "nice"):
        os.nice(10)
    if not mirror_until(storage, name, stop):
        raise SystemExit(1)


def _stop(crew: list[BaseProcess]) -> None:
    for worker in crew:
        if worker.is_alive():
            worker.terminate()
    for worker in crew:
        worker.join(timeout=10)
        if worker.is_alive():
            worker.kill()

"""The processes of a sweep on this machine: workers, and a mirror beside them.

All are spawned, log to files, and end with their parent.
"""

import logging
import multiprocessing
import os
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any, final

from search.config import StorageConfig
from search.errors import StudyError
from search.mirroring import catch_up, mirror_until
from search.orders import given
from search.outage import tolerated
from search.study import Study
from search.worker import work

log = logging.getLogger("paring.crew")
POLL_S = 0.5
RESTARTS = 3  # of workers that died without being asked to, while no slot got finished


def threads_for(workers: int, asked: int) -> int:
    """Torch threads per worker: cores / workers, unless a number was asked for."""
    return asked or max(1, (os.cpu_count() or 1) // workers)


def run(study: Study, workers: int, threads: int) -> Iterator[None]:
    """Run local workers until every slot is over, yielding now and then for a display.

    Closing the iterator stops the workers; their slots go back.

    Raises:
        StudyError: workers die again and again and no slot gets finished.
    """
    with mirroring(study.home.config, study.name) as mirror:
        crew = _Crew(study, workers, threads)
        try:
            while crew.is_needed():
                yield
                time.sleep(POLL_S)
                crew.look_after()
        finally:
            crew.stop()
    if mirror.exitcode != 0 and (obstacle := catch_up(study)) is not None:
        log.warning("MLflow is behind, nothing is lost: %s", obstacle)


@final
class _Crew:
    """The local workers of one study."""

    def __init__(self, study: Study, workers: int, threads: int) -> None:
        self._study, self._threads = study, threads
        self._logs = log_folder(study.home.config, study.name)
        self._deaths, self._finished = 0, 0
        self._workers = [self._start(index) for index in range(workers)]

    def _start(self, index: int) -> BaseProcess:
        log_file = self._logs / f"worker-{index}.log"
        arguments = (self._study.home.config, self._study.name, self._threads, log_file)
        context = multiprocessing.get_context("spawn")
        process = context.Process(target=local_worker, args=arguments)
        process.start()
        return process

    def is_needed(self) -> bool:
        """Whether any worker lives, or should."""
        return any(worker.is_alive() for worker in self._workers) or not self._ended()

    def _ended(self) -> bool:
        """Whether the study is over or was ended; during an outage it goes on."""
        ended = False
        with tolerated("the sweep was not looked at"):
            ended = self._study.over() or given(self._study).ends
        return ended  # noqa: RET504 - False after an outage

    def look_after(self) -> None:
        """Start a new worker for each that died before the study was over."""
        dead = [index for index, each in enumerate(self._workers) if not each.is_alive()]
        if not dead or self._ended():
            return
        with tolerated("the dead workers were not replaced"):
            for index in dead:
                self._count_death(self._workers[index])
                log.warning(
                    "worker %d died with %s; started anew", index, self._workers[index].exitcode
                )
                self._study.reap()
                self._workers[index] = self._start(index)

    def _count_death(self, worker: BaseProcess) -> None:
        finished = sum(trial.state.is_finished() for trial in self._study.slots())
        self._deaths = self._deaths + 1 if finished == self._finished else 1
        self._finished = finished
        if self._deaths > RESTARTS:
            raise StudyError(
                f"study={self._study.name}: workers keep dying (exit code {worker.exitcode}) "
                f"and no slot gets finished; see {self._logs}"
            )

    def stop(self) -> None:
        """Ask all workers to hand back their slots, and end those that do not."""
        for worker in self._workers:
            if worker.is_alive():
                worker.terminate()
        for worker in self._workers:
            worker.join(timeout=10)
            if worker.is_alive():
                worker.kill()


def local_worker(storage: StorageConfig, name: str, threads: int, log_file: Path) -> None:
    """A worker beside others on this machine: logs to a file, ends with its parent."""
    follow_parent(log_file)
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
    folder = Path(storage.folder).expanduser().resolve() / "logs" / name
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

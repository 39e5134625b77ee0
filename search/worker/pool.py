"""The processes of a sweep on this machine: workers, and a mirror beside them.

All log to files, and end with their parent.
"""

import logging
import multiprocessing
import os
import signal
import time
from collections.abc import Generator, Iterator
from contextlib import contextmanager, suppress
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import final

import psutil

from search.config.cores import cores
from search.config.schema import StorageConfig
from search.errors import StudyError
from search.results.mlflow_sync import catch_up, mirror_until
from search.storage.outage import tolerated
from search.storage.owner import Owner
from search.study.control import current_command
from search.study.study import Study
from search.study.trials import hand_back
from search.worker.local_process import start_process
from search.worker.logs import Troubles, log_folder, log_to
from search.worker.worker import reap_or_halt, work

log = logging.getLogger("paring.pool")
POLL_S = 0.5
PATIENCE_S = 5.0  # for processes that were asked to end
MIRROR_S = 60.0  # for the last pass of a mirror
RESTARTS = 3  # of workers that died by themselves while no trial was finished


def threads_for(workers: int, asked: int) -> int:
    """Torch threads per worker: the number asked for, if any, or cores / workers, but at most
    OMP_NUM_THREADS.
    """
    if asked:
        return asked
    allowed = os.environ.get("OMP_NUM_THREADS", "")
    most = int(allowed) if allowed.isdecimal() and int(allowed) else cores()
    return max(1, min(most, cores() // workers))


def run(study: Study, workers: int, threads: int) -> Generator[None]:
    """Run local workers until every trial is over, yielding now and then for a display.

    Closing the iterator stops the workers, and their trials are handed back.

    Raises:
        StudyError: workers die again and again while no trial is finished.
    """
    workspace = study.workspace
    with mirroring(workspace.config, study.name) as mirror:
        pool, troubles = (
            _WorkerPool(study, threads),
            Troubles(log_folder(workspace.config, study.name)),
        )
        try:
            pool.start(workers)
            while pool.is_needed():
                yield
                time.sleep(POLL_S)
                pool.look_after()
                for trouble in troubles.news():
                    log.warning("%s", trouble)
        finally:
            pool.stop()
    if mirror.exitcode != 0 and (obstacle := catch_up(study)) is not None:
        log.warning("MLflow is not up to date, but nothing is lost: %s", obstacle)


@final
class _WorkerPool:
    """The local workers of one study."""

    def __init__(self, study: Study, threads: int) -> None:
        self._study, self._threads = study, threads
        self._logs = log_folder(study.workspace.config, study.name)
        self._deaths, self._finished = 0, 0
        self._workers: list[BaseProcess] = []

    def start(self, workers: int) -> None:
        """Start so many workers."""
        for index in range(workers):
            self._workers.append(self._start(index))

    def _start(self, index: int) -> BaseProcess:
        log_file = self._logs / f"worker-{index}.log"
        storage = self._study.workspace.config
        return start_process(local_worker, storage, self._study.name, self._threads, log_file)

    def is_needed(self) -> bool:
        """Whether a worker is alive, or should be."""
        return any(worker.is_alive() for worker in self._workers) or not self._ended()

    def _ended(self) -> bool:
        """Whether the study is over or was ended; False during an outage."""
        ended = False
        with tolerated("the state of the sweep was not read"):
            ended = self._study.over() or current_command(self._study).ends
        return ended  # noqa: RET504 - False after an outage

    def look_after(self) -> None:
        """Start a new worker for each one that died before the study was over."""
        dead = [index for index, worker in enumerate(self._workers) if not worker.is_alive()]
        if not dead or self._ended():
            return
        with tolerated("the dead workers were not replaced"):
            for index in dead:
                self._count_death(self._workers[index])
                log.warning(
                    "worker %d died with %s; it is started again",
                    index,
                    self._workers[index].exitcode,
                )
                reap_or_halt(self._study)
                self._workers[index] = self._start(index)

    def _count_death(self, worker: BaseProcess) -> None:
        finished = sum(trial.state.is_finished() for trial in self._study.trials())
        self._deaths = self._deaths + 1 if finished == self._finished else 1
        self._finished = finished
        if self._deaths > RESTARTS:
            raise StudyError(
                f"study={self._study.name}: workers keep dying (exit code {worker.exitcode}) "
                f"and no trial gets finished; see {self._logs}"
            )

    def stop(self) -> None:
        """Ask all workers to hand back their trials and end. Those that are too slow are killed;
        their trials are handed back, too, and no death is noted.
        """
        end = time.monotonic() + PATIENCE_S
        alive = [worker for worker in self._workers if worker.is_alive()]
        for worker in alive:
            worker.terminate()
        for worker in alive:
            worker.join(timeout=max(0.0, end - time.monotonic()))
            if worker.is_alive():
                self._kill(worker)

    def _kill(self, worker: BaseProcess) -> None:
        with suppress(psutil.NoSuchProcess):  # it has just ended by itself
            owner = Owner.of(worker.pid or 0)
            worker.kill()
            worker.join()
            with tolerated("a killed worker's trial was not handed back"):
                hand_back(self._study, owner)


def local_worker(storage: StorageConfig, name: str, threads: int, log_file: Path) -> None:
    """The main function of a local worker process, which logs to a file."""
    log_to(log_file)
    work(storage, name, threads)


@contextmanager
def mirroring(storage: StorageConfig, name: str) -> Iterator[BaseProcess]:
    """A process that keeps MLflow in step while the block runs.

    After the block its exit code is 0 if MLflow is up to date.
    """
    logs = log_folder(storage, name)
    # A pipe: unlike an event it has no lock that a killed process could hold for ever.
    reader, writer = multiprocessing.Pipe(duplex=False)
    process = start_process(local_mirror, storage, name, reader, logs / "mirror.log")
    reader.close()
    patience = PATIENCE_S / 2  # after an interruption; the next mirror writes what is missing
    try:
        yield process
        patience = MIRROR_S
    finally:
        writer.close()
        process.join(timeout=patience)
        if process.is_alive():
            process.kill()
            process.join()


def local_mirror(storage: StorageConfig, name: str, stop: Connection, log_file: Path) -> None:
    """The main function of the mirror's process, which logs to a file and has a low priority, so
    that it hardly slows training down.
    """
    for number in (signal.SIGINT, signal.SIGTERM):  # they may be sent to the whole group
        signal.signal(number, signal.SIG_IGN)  # the parent decides when to stop
    log_to(log_file)
    if hasattr(os, "nice"):
        os.nice(10)
    if not mirror_until(storage, name, stop):
        raise SystemExit(1)

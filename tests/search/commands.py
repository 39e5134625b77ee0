"""Commands of paring as processes of their own, and what can be seen of them from outside."""

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

import psutil
from optuna.trial import FrozenTrial, TrialState

from search.config.places import LOCAL, is_address
from search.config.schema import StorageConfig
from search.results.report import counts
from search.study.study import Study

PARING = str(Path(sys.executable).with_name("paring"))
PATIENCE_S = 240


def free_port() -> int:
    with socket.socket() as holder:
        holder.bind(("127.0.0.1", 0))
        return int(holder.getsockname()[1])


def overrides_for(storage: StorageConfig) -> list[str]:
    if storage.url is None:
        return [f"storage.folder={storage.folder}", "storage.checkpoint_s=0"]
    return [
        "storage=postgres",
        f"storage.folder={storage.folder}",
        f"storage.url='{storage.url}'",
        f"storage.schema={storage.schema}",
        "storage.checkpoint_s=0",
    ]


class Commands:
    """Starts commands in process groups of their own, and leaves none of them behind."""

    def __init__(self, storage: StorageConfig, folder: Path) -> None:
        self.storage, self.folder = storage, folder
        self.started: list[subprocess.Popen[bytes]] = []

    def start(
        self, verb: str, *arguments: str, study: str = "s", wrapper: Sequence[str] = ()
    ) -> subprocess.Popen[bytes]:
        own = [f"study={study}", *arguments, *overrides_for(self.storage)]
        command = [*wrapper, PARING, verb, *own]
        with (self.folder / f"{len(self.started)}.log").open("wb") as log:
            process = subprocess.Popen(
                command, cwd=self.folder, stdout=log, stderr=log, start_new_session=True
            )
        self.started.append(process)
        return process

    def said(self) -> str:
        kept = self.storage.folder
        local = self.folder / LOCAL if is_address(kept) else Path(kept)
        logs = [*self.folder.glob("*.log"), *local.glob("logs/s/*.log")]
        return "\n".join(f"== {path.name}\n{path.read_text()}" for path in sorted(logs))

    def stop(self) -> None:
        for process in self.started:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()


def until(what: str, process: subprocess.Popen[bytes], condition: Callable[[], Any]) -> Any:
    """The first true value of a condition while a command runs."""
    end = time.monotonic() + PATIENCE_S
    while not (value := condition()):
        assert process.poll() is None, f"it ended with {process.returncode} before {what}"
        assert time.monotonic() < end, f"not within {PATIENCE_S} s: {what}"
        time.sleep(0.02)
    return value


def complete(study: Study) -> int:
    return counts(study.trials())["complete"]


def running(study: Study, owner: int | None = None) -> FrozenTrial | None:
    """A trial in the midst of its training, perhaps of a certain process."""
    for trial in study.trials():
        known = trial.user_attrs
        if trial.state is not TrialState.RUNNING or "checkpoint" not in known:
            continue
        if owner is None or known["owner"]["pid"] == owner:
            return trial
    return None


def family(process: subprocess.Popen[bytes]) -> list[psutil.Process]:
    return psutil.Process(process.pid).children(recursive=True)


def until_gone(processes: Iterable[psutil.Process]) -> None:
    """Wait until processes are over."""
    end = time.monotonic() + PATIENCE_S
    while left := [process for process in processes if not gone(process)]:
        assert time.monotonic() < end, f"still there: {left}"
        time.sleep(0.05)


def gone(process: psutil.Process) -> bool:
    try:
        return bool(process.status() == psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return True

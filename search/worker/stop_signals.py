"""A worker's look-out: what should make it leave its trial at the next batch."""

import logging
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from enum import StrEnum
from typing import TypeVar, final

import optuna

from search.storage.outage import is_outage, told, tolerated
from search.study.control import Command, current_command
from search.study.study import Study
from search.study.trials import beat, still_mine
from tracking.errors import BusyError

log = logging.getLogger("paring.watch")
T = TypeVar("T")
RETRY_S = 1.0
LOOK_S = 1.0
NAP_S = 0.1


class Reason(StrEnum):
    """Why a worker leaves a trial."""

    ASKED = "asked to stop"
    PAUSED = "the study is paused"
    HALTED = "the study has been halted"
    CANCELLED = "the study has been cancelled"
    LOST = "another worker has taken it over"


_SIGNALS = (signal.SIGTERM, signal.SIGINT)
_ORDERED = {
    Command.PAUSE: Reason.PAUSED,
    Command.HALT: Reason.HALTED,
    Command.CANCEL: Reason.CANCELLED,
}


class Stopped(BaseException):
    """A worker leaves what it does. Raised between two batches, never within one."""

    def __init__(self, reason: Reason) -> None:
        super().__init__(reason.value)
        self.reason = reason


@final
class StopMonitor:
    """What a worker must heed: a signal, orders from anywhere, and whose its trial is."""

    def __init__(self, study: Study) -> None:
        self._study = study
        self._asked = False  # no Event: a signal handler must not wait for its lock
        self._found: Reason | None = None

    @contextmanager
    def heeding_signals(self) -> Iterator[None]:
        """SIGTERM and SIGINT ask the worker to stop while the block runs."""
        before = {number: signal.getsignal(number) for number in _SIGNALS}
        for number in _SIGNALS:
            signal.signal(number, self._ask)
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    def _ask(self, *_signal: object) -> None:
        self._asked = True

    def check(self) -> None:
        """Raise Stopped if there is a reason to."""
        if self._asked:
            raise Stopped(Reason.ASKED)
        if self._found is not None:
            raise Stopped(self._found)

    def wait(self, seconds: float) -> None:
        """Sleep, and raise Stopped as soon as there is a reason to."""
        end = time.monotonic() + seconds
        self.check()
        while (left := end - time.monotonic()) > 0:
            time.sleep(min(left, NAP_S))
            self.check()

    def outlast(self, call: Callable[[], T]) -> T:
        """What a call gives, tried again while an outage lasts, but not for ever.

        Raises:
            Stopped: there is a reason to. Any error that is no outage, and the outage's own
            when it lasts longer than `storage.outage_s`.
        """
        began: float | None = None
        while True:
            try:
                return call()
            except Exception as error:
                if not is_outage(error):
                    raise
                if began is None:
                    began = time.monotonic()
                    log.warning("cannot be reached, trying again: %s", told(error))
                if time.monotonic() - began > self._study.workspace.config.outage_s:
                    raise
            self.wait(RETRY_S)

    @contextmanager
    def lock(self, name: str) -> Iterator[None]:
        """A mutex of the study's home, waited for while there is no reason to stop."""
        with ExitStack() as stack:
            while True:
                self.check()
                try:
                    stack.enter_context(self._study.workspace.lock(name, timeout=RETRY_S))
                    break
                except BusyError:
                    continue
            yield

    @contextmanager
    def over(self, trial: optuna.Trial | None) -> Iterator[None]:
        """Look out from a thread while the block runs, and say that the trial is worked on."""
        self._found, done = None, threading.Event()
        thread = threading.Thread(target=self._look, args=(trial, done), daemon=True)
        thread.start()
        try:
            yield
        finally:
            done.set()
            thread.join()
            self._found = None

    def _look(self, trial: optuna.Trial | None, done: threading.Event) -> None:
        beaten = time.monotonic()
        while not done.wait(min(LOOK_S, self._study.workspace.config.heartbeat_s)):
            with tolerated("did not look"):
                self._found = self._found or self._reason(trial)
                late = time.monotonic() - beaten >= self._study.workspace.config.heartbeat_s
                if trial is not None and late and self._found is None:
                    beat(self._study, trial)
                    beaten = time.monotonic()

    def _reason(self, trial: optuna.Trial | None) -> Reason | None:
        if trial is not None and not still_mine(self._study, trial):
            return Reason.LOST
        return _ORDERED.get(current_command(self._study).order)

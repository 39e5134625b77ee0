"""What should make a worker leave its trial at the next batch."""

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
from search.storage.trial_record import TrialNotes
from search.study.command import Command
from search.study.control import current_command
from search.study.study import Study
from search.study.trials import holds_attempt
from tracking.errors import BusyError

log = logging.getLogger("paring.worker")
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
_COMMANDED = {
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
    """What a worker must heed: signals, commands, and whether its trial is still its own."""

    def __init__(self, study: Study) -> None:
        self._study = study
        self._asked = False  # no Event: a signal handler must not wait for its lock
        self._reason: Reason | None = None

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
        if self._reason is not None:
            raise Stopped(self._reason)

    def wait(self, seconds: float) -> None:
        """Sleep, and raise Stopped as soon as there is a reason to."""
        end = time.monotonic() + seconds
        self.check()
        while (remaining_s := end - time.monotonic()) > 0:
            time.sleep(min(remaining_s, NAP_S))
            self.check()

    def outlast(self, call: Callable[[], T]) -> T:
        """The result of a call, which is repeated while an outage lasts, but not for ever.

        Raises:
            Stopped: there is a reason to stop. Any error that is no outage, and the outage's
            own if it lasts longer than `storage.outage_s`.
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
        """A mutex of the study's workspace, waited for until there is a reason to stop."""
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
        """Look out from a thread while the block runs, and keep the trial's heart beating."""
        self._reason, done = None, threading.Event()
        # Read here: the thread must not copy notes to which the block is adding some.
        attempt = 0 if trial is None else TrialNotes.of(trial).attempt
        thread = threading.Thread(target=self._watch, args=(trial, attempt, done), daemon=True)
        thread.start()
        try:
            yield
        finally:
            done.set()
            thread.join()
            self._reason = None

    def _watch(self, trial: optuna.Trial | None, attempt: int, done: threading.Event) -> None:
        last_beat, interval_s = time.monotonic(), self._study.workspace.config.heartbeat_s
        while not done.wait(min(LOOK_S, interval_s)):
            with tolerated("did not look"):
                self._reason = self._reason or self._look(trial, attempt)
                late = time.monotonic() - last_beat >= interval_s
                if trial is not None and late and self._reason is None:
                    self._study.table.heartbeat(trial)
                    last_beat = time.monotonic()

    def _look(self, trial: optuna.Trial | None, attempt: int) -> Reason | None:
        """A reason to leave the trial, if there is one now."""
        if trial is not None and not holds_attempt(self._study, trial, attempt):
            return Reason.LOST
        return _COMMANDED.get(current_command(self._study).command)

"""Signals that ask a command to stop, which it does within a fixed time."""

import os
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

INTERRUPTED = 130  # the exit code, as a shell gives it after Ctrl-C
_SIGNALS = (signal.SIGTERM, signal.SIGINT)
_APART_S = 1.0  # closer signals are one request: `timeout` signals a process, then its group
_MESSAGE = b"paring: stopping, trials are handed back; Ctrl-C again ends it at once\n"


@contextmanager
def interruptible(within_s: float) -> Iterator[None]:
    """SIGTERM and SIGINT raise KeyboardInterrupt, once, so that the block can clean up.

    The process ends `within_s` seconds later at the latest, even if the block hangs, for example
    because a database does not answer. A second Ctrl-C ends it at once.
    """
    asked: list[float] = []

    def handle(number: int, _frame: FrameType | None) -> None:
        now = time.monotonic()
        if not asked:
            asked.append(now)
            os.write(2, _MESSAGE)  # not print, which may be interrupted in the middle of a line
            timer = threading.Timer(within_s, os._exit, (INTERRUPTED,))
            timer.daemon = True
            timer.start()
            raise KeyboardInterrupt
        if number == signal.SIGINT and now - asked[0] > _APART_S:
            os._exit(INTERRUPTED)

    if threading.current_thread() is not threading.main_thread():
        yield  # only a main thread receives signals
        return
    before = {number: signal.signal(number, handle) for number in _SIGNALS}
    try:
        yield
    finally:
        if not asked:  # else the process is about to end
            for number, handler in before.items():
                signal.signal(number, handler)

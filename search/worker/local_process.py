"""The local processes of a sweep: workers and a mirror, which end with the process that started
them.

On Linux they are forked by a server that has loaded what they need, once: loading torch, Optuna
and SQLAlchemy anew takes each process seconds of a core. Elsewhere they are spawned.
"""

import multiprocessing
import os
import signal
import sys
import threading
from collections.abc import Callable, Mapping
from multiprocessing.context import ForkServerContext, SpawnContext
from multiprocessing.process import BaseProcess
from typing import Any

from search.errors import StudyError

_LOADED = "search.worker.preload"  # by the server, before it forks the first process
_LOOK_S = 1.0


def start_process(target: Callable[..., None], *arguments: Any) -> BaseProcess:
    """Start a process that calls a function of a module, with arguments that can be pickled.

    Raises:
        StudyError: it was killed before it began.
    """
    process = _context().Process(target=_begin, args=(dict(os.environ), target, arguments))
    try:
        process.start()
    except EOFError as error:
        raise StudyError(
            "the process that starts workers was killed, perhaps for want of memory; free some, "
            "then give the same command again"
        ) from error
    return process


def _context() -> ForkServerContext | SpawnContext:
    if multiprocessing.get_start_method() not in multiprocessing.get_all_start_methods():
        multiprocessing.set_start_method("spawn", force=True)  # joblib's workers have their own
    if sys.platform != "linux":  # elsewhere libraries of the system may have threads by then
        return multiprocessing.get_context("spawn")
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload([_LOADED])
    return context


def _begin(
    environment: Mapping[str, str], target: Callable[..., None], arguments: tuple[Any, ...]
) -> None:
    """Call a function in a new process, with the environment of the one that started it: the
    server's is of earlier.
    """
    signal.signal(signal.SIGTERM, signal.SIG_DFL)  # the server ignores it
    os.environ.clear()
    os.environ.update(environment)
    _follow_parent()
    target(*arguments)


def _follow_parent() -> None:
    """End this process when the one that started it is gone, or the server, which alone can tell
    that this one has ended.
    """
    parent, forked_by = multiprocessing.parent_process(), os.getppid()

    def monitor() -> None:
        while parent is not None and parent.is_alive() and os.getppid() == forked_by:
            parent.join(_LOOK_S)
        os._exit(1)  # workers may be killed at any instruction

    threading.Thread(target=monitor, daemon=True).start()

"""Giving up what a sweep has not finished."""

import time
from dataclasses import dataclass

from optuna.trial import TrialState

from search.study.command import Command
from search.study.control import send
from search.study.study import Study
from search.study.trials import cancel_waiting, reap
from search.worker.pool import POLL_S


@dataclass(frozen=True, slots=True)
class Cancelled:
    """Which trials were given up while nobody worked on them, and which still run, as their
    workers have not answered.
    """

    waiting: tuple[int, ...]
    running: tuple[int, ...]


def cancel(study: Study) -> Cancelled:
    """Give up every trial that is not over, and wait for workers to leave theirs."""
    send(study, Command.CANCEL, "cancelled")
    waiting = cancel_waiting(study)
    return Cancelled(tuple(waiting), tuple(_still_running(study)))


def _still_running(study: Study) -> list[int]:
    """Wait for the workers to give up theirs; returns the trials that still run."""
    config = study.workspace.config
    end = time.monotonic() + 2 * config.heartbeat_s + config.lease_s
    while (running := _running(study)) and time.monotonic() < end:
        reap(study)
        cancel_waiting(study)
        time.sleep(POLL_S)
    cancel_waiting(study)  # the last may have come back since
    return running


def _running(study: Study) -> list[int]:
    return [trial.number for trial in study.trials() if trial.state is TrialState.RUNNING]

"""A worker: claims trials of one study until all are over, or until it is asked to stop.

It may be killed at any instruction: the next worker resumes its checkpoint. When it is asked to
stop, it leaves its trial at the next batch, with the last epoch stored.
"""

import logging
import re
import sys
from pathlib import Path

import optuna
import torch
from optuna.exceptions import UpdateFinishedTrialError
from optuna.trial import TrialState

from pruning.training.checkpoint import StoredNetwork
from search.config.schema import StorageConfig
from search.results.evaluate_front import evaluate_front, lock_of
from search.storage.outage import tolerated
from search.storage.outcome import Cancelled, Failed, Outcome
from search.storage.trial_record import TrialNotes
from search.storage.workspace import open_workspace
from search.study.checks import require_store
from search.study.command import Command
from search.study.control import current_command, send
from search.study.study import Study, require_study
from search.study.trials import came_back, cancel_waiting, claim, hand_back, reap, tidy
from search.study.variants import Variant, Variants
from search.worker.run_trial import run_trial, tell
from search.worker.starts import POLL_S, Starts
from search.worker.stop_signals import Reason, StopMonitor, Stopped

log = logging.getLogger("paring.worker")
ALIKE = 3  # failures in a row, of one kind, that halt a study


def work(storage: StorageConfig, name: str, threads: int) -> Reason | None:
    """Work on the study `name` until every trial is over, or until there is a reason to leave,
    which is returned.
    """
    sys.path.append(str(Path.cwd()))  # for user code that the config names
    torch.set_num_threads(max(1, threads))
    study = require_study(open_workspace(storage), name)
    monitor = StopMonitor(study)
    with monitor.heeding_signals():
        try:
            _work_off(study, monitor)
        except Stopped as stopped:
            log.info("left: %s", stopped)
            return stopped.reason
    return None


def _work_off(study: Study, monitor: StopMonitor) -> None:
    monitor.outlast(lambda: require_store(study))
    starts = Starts(study, monitor)
    starts.prepare()
    while (trial := _next_trial(study, starts, monitor)) is not None:
        _attempt(study, trial, starts, monitor)
    monitor.outlast(lambda: tidy(study))
    if not monitor.outlast(lambda: current_command(study)).ends:
        monitor.outlast(lambda: _evaluate_front(study, starts.variants, monitor))


def _next_trial(study: Study, starts: Starts, monitor: StopMonitor) -> optuna.Trial | None:
    """The next trial to work on, or None when there is nothing left to do.

    Waits while the study is paused, and while other workers train: their trials may come back.
    """
    while True:
        done, trial = monitor.outlast(lambda: _look(study, starts))
        if done or trial is not None:
            return trial
        monitor.wait(POLL_S)


def _look(study: Study, starts: Starts) -> tuple[bool, optuna.Trial | None]:
    """Whether there is nothing left to do, and a trial that was claimed."""
    current = current_command(study)
    reap_or_halt(study)
    if current.command is Command.CANCEL:
        cancel_waiting(study)
    if current.ends or study.over():
        return True, None
    paused = current.command is Command.PAUSE
    return False, None if paused else claim(study, starts.blocked())


def _attempt(study: Study, trial: optuna.Trial, starts: Starts, monitor: StopMonitor) -> None:
    log.info("trial %d: attempt %d", trial.number, TrialNotes.of(trial).attempt)
    try:
        if (start := starts.of(trial)) is None:
            outcome = None
        else:
            with monitor.over(trial):
                outcome = _outcome(study, trial, *start, monitor)
    except Stopped as stopped:
        log.info("trial %d: left, %s", trial.number, stopped)
        with tolerated(f"trial {trial.number} is not handed back"):
            _leave(study, trial, stopped.reason)
        if stopped.reason is Reason.ASKED:
            raise
        return
    if outcome is None:
        monitor.outlast(lambda: hand_back(study))
        return
    told = monitor.outlast(lambda: tell(study, trial, outcome))
    log.info("trial %d: %s%s", trial.number, outcome, "" if told else " (taken by another)")
    if isinstance(outcome, Failed):
        monitor.outlast(lambda: halt_if_all_fail(study))


def _leave(study: Study, trial: optuna.Trial, reason: Reason) -> None:
    """Cancel the trial or hand it back, according to the reason for leaving it."""
    if reason is Reason.CANCELLED:
        tell(study, trial, Cancelled())
    elif reason is Reason.LOST:
        came_back(study, trial)
    else:
        hand_back(study)


def _outcome(
    study: Study,
    trial: optuna.Trial,
    variant: Variant,
    dense: StoredNetwork,
    monitor: StopMonitor,
) -> Outcome | None:
    """The trial's outcome, or None if an outage ended the attempt.

    An error in one trial must not end the sweep.
    """
    outcome: Outcome | None = None
    try:
        with tolerated(f"trial {trial.number} is out of reach"):
            outcome = run_trial(study, trial, variant, dense, monitor)
    except UpdateFinishedTrialError:
        raise Stopped(Reason.LOST) from None  # told by another while this process slept
    except Exception as error:
        log.exception("trial %d failed", trial.number)
        return Failed(f"{type(error).__name__}: {error}")
    return outcome


def reap_or_halt(study: Study) -> None:
    """Hand back the trials of workers that are gone; halt if trials fail by that repeatedly."""
    if numbers := reap(study):
        log.info("trials handed back, their workers are gone: %s", numbers)
        halt_if_all_fail(study)


def halt_if_all_fail(study: Study) -> None:
    """Stop the sweep if the last trials, since the last command, all failed in the same way."""
    since = current_command(study).at
    ends = [(t.datetime_complete.timestamp(), t) for t in study.trials() if t.datetime_complete]
    recent = sorted((end, t.number, t) for end, t in ends if end > since)
    last = [trial for *_, trial in recent[-ALIKE:]]
    reasons = [TrialNotes.of(trial).reason for trial in last]
    kinds = {re.sub(r"\d+", "#", reason) for reason in reasons}
    failed = all(trial.state is TrialState.FAIL for trial in last)
    if len(last) == ALIKE and failed and len(kinds) == 1 and kinds != {""}:
        why = f"{ALIKE} trials in a row failed alike: {reasons[-1]}"
        log.error("halted: %s", why)
        send(study, Command.HALT, why)


def _evaluate_front(study: Study, variants: Variants, monitor: StopMonitor) -> None:
    """Score every network of the finished front on the test split, once, and evaluate it."""
    with monitor.lock(lock_of(study)):
        for _ in evaluate_front(study, variants):
            monitor.check()

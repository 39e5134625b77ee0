"""`paring cancel`: give up what a sweep has not finished."""

import time

from omegaconf import DictConfig
from optuna.trial import TrialState

from search.cli.app import verb
from search.cli.options import study_of
from search.results.mlflow_sync import catch_up
from search.study.command import Command
from search.study.control import send
from search.study.study import Study
from search.study.trials import cancel_waiting, reap
from search.worker.pool import POLL_S


@verb("cancel")
def main(config: DictConfig) -> None:
    """Run the verb."""
    study = study_of(config)
    if study.over():
        print(f"study {study.name} is over: there is nothing to cancel")
        return
    send(study, Command.CANCEL, "cancelled")
    numbers = cancel_waiting(study)
    print(f"study {study.name}: {len(numbers)} waiting trials cancelled")
    if left := _given_up(study):
        print(
            f"trials {left} are still running: their workers have not answered. They are cancelled "
            "when the workers answer, or are known to be gone"
        )
    if (obstacle := catch_up(study)) is not None:
        print(f"MLflow is not up to date: {obstacle}; run  paring reconcile")


def _given_up(study: Study) -> list[int]:
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

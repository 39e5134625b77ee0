"""`paring sweep`: create or continue a study, run local workers, show how it goes."""

import sys

from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig

from search.api.running import begin, others, require_models, work_off
from search.cli.app import verb
from search.config.parse import http_address
from search.errors import StudyError
from search.results.notify import notify
from search.results.report import counts
from search.results.status import study_status
from search.study.control import Command, current_command
from search.study.study import Study
from search.worker.interrupts import INTERRUPTED, interruptible

STOP_S = 9.0  # after a signal, all told
RESUME = "go on with  paring resume study={}"


@verb("sweep")
def main(config: DictConfig) -> None:
    """Run the verb."""
    with interruptible(STOP_S):
        _sweep(config)


def _sweep(config: DictConfig) -> None:
    hook = http_address(config.notify.url, "notify.url")
    sweep = begin(config, list(HydraConfig.get().overrides.task))
    study = sweep.study
    if current_command(study).order is Command.PAUSE:
        print(f"study {study.name} is paused: {RESUME.format(study.name)}", file=sys.stderr)
    try:
        work_off(sweep)
    except Exception as error:
        _tell(hook, f"failed: {error}", study)
        raise
    _say_how_it_ended(study, hook)


def _say_how_it_ended(study: Study, hook: str | None) -> None:
    """Tell the web hook, and the caller by the exit code.

    Raises:
        StudyError: it was halted, or no trial has a model. SystemExit: it was cancelled.
    """
    order, done = current_command(study), counts(study)
    try:
        require_models(study)
    except StudyError:
        halted = order.order is Command.HALT
        _tell(hook, "was halted" if halted else "ended without a model", study)
        raise
    if order.order is Command.CANCEL:
        _tell(hook, "was cancelled", study)
        print(f"study {study.name} was cancelled; what it had finished stays", file=sys.stderr)
        raise SystemExit(INTERRUPTED)
    _tell(hook, "is complete", study)
    more = others(done)
    print(
        f"study {study.name} is complete: {done['complete']} of {sum(done.values())} trials have "
        f"a model{more and f' ({more})'}; see  paring front study={study.name}  and  "
        f"paring serve study={study.name}",
        file=sys.stderr,
    )


def _tell(hook: str | None, outcome: str, study: Study) -> None:
    if hook is not None:
        notify(hook, outcome, study_status(study))

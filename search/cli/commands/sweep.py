"""`paring sweep`: create or continue a study, run local workers, show how it goes."""

import sys
from contextlib import closing

from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig

from search.cli.app import verb
from search.cli.display import progress
from search.config.parse import call_from, http_address
from search.config.schema import AcceleratorConfig, StorageConfig
from search.config.spec import Spec
from search.config.validate import validated
from search.errors import StudyError
from search.results.notify import notify
from search.results.report import counts, failures
from search.results.status import study_status
from search.storage.workspace import open_workspace
from search.study import create
from search.study.command import Command
from search.study.control import current_command
from search.study.study import Study
from search.worker import pool
from search.worker.interrupts import INTERRUPTED, interruptible

STOP_S = 9.0  # after a signal, all told
RESUME = "resume it with  paring resume study={}"
NEUTRAL = (
    "study",
    "trials",
    "workers",
    "storage",
    "debug",
    "accelerator.threads",
    "hydra",
    "notify",
)


@verb("sweep")
def main(config: DictConfig) -> None:
    """Run the verb."""
    with interruptible(STOP_S):
        _sweep(config)


def _sweep(config: DictConfig) -> None:
    call = call_from(config)
    hook = http_address(config.notify.url, "notify.url")
    spec = Spec.from_config(config)
    accelerator = validated(config.accelerator, AcceleratorConfig, "accelerator")
    workspace = open_workspace(validated(config.storage, StorageConfig, "storage"))
    asked = spec if _asks_for_something() else None
    study = create.prepare(workspace, call.study, asked, call.trials)
    threads = pool.threads_for(call.workers, accelerator.threads)
    if current_command(study).command is Command.PAUSE:
        print(f"study {study.name} is paused: {RESUME.format(study.name)}", file=sys.stderr)
    try:
        with progress(study) as display, closing(pool.run(study, call.workers, threads)) as run:
            for _ in run:
                display()
    except Exception as error:
        _tell(hook, f"failed: {error}", study)
        raise
    _say_how_it_ended(study, hook)


def _say_how_it_ended(study: Study, hook: str | None) -> None:
    """Tell the web hook, and the caller by the exit code.

    Raises:
        StudyError: it was halted, or no trial has a model. SystemExit: it was cancelled.
    """
    current, done = current_command(study), counts(study)
    models, trials = done["complete"], sum(done.values())
    others = ", ".join(f"{n} {state}" for state, n in done.items() if n and state != "complete")
    if current.command is Command.HALT:
        _tell(hook, "was halted", study)
        raise StudyError(
            f"study={study.name}: halted, {current.why}. If the cause is outside the "
            "settings (data, code, memory), fix it and give the same command again; other "
            "settings need another name. Failed trials stay as they are"
        )
    if current.command is Command.CANCEL:
        _tell(hook, "was cancelled", study)
        print(f"study {study.name} was cancelled; its finished trials stay", file=sys.stderr)
        raise SystemExit(INTERRUPTED)
    if not models:
        _tell(hook, "ended without a model", study)
        why = next(iter(failures(study).values()), "")
        raise StudyError(
            f"study={study.name}: no trial has a model ({others}){why and f', {why}'}; see  "
            f"paring status study={study.name}, fix the cause, and choose another name"
        )
    _tell(hook, "is complete", study)
    print(
        f"study {study.name} is complete: {models} of {trials} trials have a model"
        f"{others and f' ({others})'}; see  paring front study={study.name}  and  "
        f"paring serve study={study.name}",
        file=sys.stderr,
    )


def _tell(hook: str | None, outcome: str, study: Study) -> None:
    if hook is not None:
        notify(hook, outcome, study_status(study))


def _asks_for_something() -> bool:
    """Whether any override decides the result; without one, a stored study just continues."""
    keys = [o.lstrip("+~").split("=")[0] for o in HydraConfig.get().overrides.task]
    return any(not key.startswith(NEUTRAL) for key in keys)

"""A sweep from a composed config: begun, worked off, and judged. The verb does the same."""

import logging
from collections.abc import Callable, Generator, Sequence
from contextlib import AbstractContextManager, closing, nullcontext
from dataclasses import dataclass

from omegaconf import DictConfig

from search.api.compose import choices_of
from search.api.opened import study_of
from search.api.progress import progress
from search.config.parse import call_from, http_address
from search.config.schema import AcceleratorConfig, CallConfig, StorageConfig
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
from search.study.space import check_space
from search.study.study import Study
from search.worker import pool, worker
from search.worker.stop_signals import Reason

log = logging.getLogger("paring")
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


@dataclass(frozen=True, slots=True)
class Sweep:
    """A study that has its trials, the call that asks for them, and who is told of its end."""

    study: Study
    call: CallConfig
    threads: int
    hook: str | None

    def steps(self) -> Generator[None]:
        """Work in processes of their own until every trial is over, with a step now and then for
        a display. Closing the generator stops them; their trials go back.
        """
        yield from pool.run(self.study, self.call.workers, self.threads)


def begin(config: DictConfig, overrides: list[str]) -> Sweep:
    """Create the study that a config describes, or go on with it where no override asks for
    anything else.

    Raises:
        ConfigError: a value makes no sense. StudyError: the study was made with other settings.
        BudgetError: every budget is out of reach.
    """
    call, hook = call_from(config), http_address(config.notify.url, "notify.url")
    spec = spec_of(config, overrides)
    accelerator = validated(config.accelerator, AcceleratorConfig, "accelerator")
    workspace = open_workspace(validated(config.storage, StorageConfig, "storage"))
    asked = spec if asks_for_something(overrides) else None
    study = create.prepare(workspace, call.study, asked, call.trials)
    return Sweep(study, call, pool.threads_for(call.workers, accelerator.threads), hook)


def spec_of(config: DictConfig, overrides: Sequence[str]) -> Spec:
    """What decides the result of a sweep; the first of the networks that a space names takes the
    place of the one that the config has.

    Raises:
        ConfigError: a value makes no sense, or the space is no mapping.
    """
    spec = Spec.from_config(config)
    check_space(spec["space"])
    choices = choices_of(spec["space"], overrides)
    if not choices:
        return spec
    return Spec.from_config(config, choices).replaced(
        {group: next(iter(files)) for group, files in choices.items()}
    )


def run(sweep: Sweep, visible: bool = True) -> None:
    """Work until every trial is over, show how it goes if that is to be visible, and tell the
    web hook how it ended.

    Raises:
        StudyError: it was halted, or no trial has a model.
    """
    study = sweep.study
    try:
        _work_off(sweep, visible)
    except Exception as error:
        _tell(sweep, f"failed: {error}")
        raise
    command = current_command(study).command
    try:
        require_models(study)
    except StudyError:
        _tell(sweep, "was halted" if command is Command.HALT else "ended without a model")
        raise
    _tell(sweep, "was cancelled" if command is Command.CANCEL else "is complete")


def _work_off(sweep: Sweep, visible: bool) -> None:
    picture: AbstractContextManager[Callable[[], None]] = nullcontext(_nothing)
    if visible:
        picture = progress(sweep.study)
    with picture as display, closing(sweep.steps()) as steps:
        for _ in steps:
            display()


def _nothing() -> None:
    """Show nothing."""


def _tell(sweep: Sweep, outcome: str) -> None:
    if sweep.hook is not None:
        notify(sweep.hook, outcome, study_status(sweep.study))


def join(config: DictConfig) -> Reason | None:
    """Work in this process on the study that a config names, until every trial is over; returns
    why it was left before that.

    Raises:
        StudyError: there is no such study.
    """
    call, study = call_from(config), study_of(config)
    threads = pool.threads_for(call.workers, call.threads)
    storage = study.workspace.config
    log.info("worker %s joins study %s", config.worker.index, study.name)
    with pool.mirroring(storage, study.name):
        return worker.work(storage, study.name, threads)


def asks_for_something(overrides: list[str]) -> bool:
    """Whether any override decides the result; without one, a stored study just continues."""
    keys = [override.lstrip("+~").split("=")[0] for override in overrides]
    return any(not key.startswith(NEUTRAL) for key in keys)


def require_models(study: Study) -> None:
    """Refuse a sweep that has ended without a model, or was halted.

    Raises:
        StudyError: saying why, and what to do.
    """
    trials = study.trials()
    current, done = current_command(study), counts(trials)
    if current.command is Command.HALT:
        raise StudyError(
            f"study={study.name}: halted, {current.why}. If the cause is outside the "
            "settings (data, code, memory), fix it and give the same command again; other "
            "settings need another name. Failed trials stay as they are"
        )
    if current.command is not Command.CANCEL and not done["complete"]:
        why = next(iter(failures(trials).values()), "")
        raise StudyError(
            f"study={study.name}: no trial has a model ({others(done)}){why and f', {why}'}; see  "
            f"paring status study={study.name}, fix the cause, and choose another name"
        )


def others(done: dict[str, int]) -> str:
    """How many trials ended otherwise than with a model, in words."""
    return ", ".join(f"{n} {state}" for state, n in done.items() if n and state != "complete")

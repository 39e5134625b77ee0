"""`paring resume`: let a paused or halted sweep go on."""

from omegaconf import DictConfig

from search.api.opened import study_of
from search.cli.app import verb
from search.study.control import Command, current_command, send


@verb("resume")
def main(config: DictConfig) -> None:
    """Run the verb."""
    study = study_of(config)
    before = current_command(study)
    if before.order is Command.CANCEL:
        print(
            f"study {study.name} was cancelled, and what was given up stays so; add trials with "
            f" paring sweep study={study.name} trials={len(study.trials()) + 1}"
        )
        return
    send(study, Command.GO)
    if before.order is Command.HALT:
        print(f"study {study.name} was halted ({before.why}); its workers have ended:")
    print(
        f"study {study.name} goes on where workers wait; start some with  "
        f"paring sweep study={study.name}  or  paring worker study={study.name}"
    )

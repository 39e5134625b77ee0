"""`paring resume`: let a paused or halted sweep go on."""

from omegaconf import DictConfig

from search.api.opened import study_of
from search.cli.app import verb
from search.study.command import Command
from search.study.control import current_command, send


@verb("resume")
def main(config: DictConfig) -> None:
    """Run the verb."""
    study = study_of(config)
    before = current_command(study)
    if before.command is Command.CANCEL:
        print(
            f"study {study.name} was cancelled, and its cancelled trials stay so; add trials with  "
            f"paring sweep study={study.name} trials={len(study.trials()) + 1}"
        )
        return
    send(study, Command.GO)
    if before.command is Command.HALT:
        print(f"study {study.name} was halted ({before.why}); its workers have ended:")
    print(
        f"study {study.name} is resumed; waiting workers continue. Start others with  "
        f"paring sweep study={study.name}  or  paring worker study={study.name}"
    )

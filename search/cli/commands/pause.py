"""`paring pause`: let a sweep wait, from any machine."""

from omegaconf import DictConfig

from search.api.opened import study_of
from search.cli.app import verb
from search.study.command import Command
from search.study.control import send


@verb("pause")
def main(config: DictConfig) -> None:
    """Run the verb."""
    study = study_of(config)
    if study.over():
        print(f"study {study.name} is over: there is nothing to pause")
        return
    send(study, Command.PAUSE, "paused")
    print(
        f"study {study.name} is paused: workers leave their trials at the next batch and wait; "
        f"resume it with  paring resume study={study.name}"
    )

"""Commands to a running sweep, from any machine: they are stored with the study."""

import time

from search.study.command import Command, CurrentCommand
from search.study.study import Study


def current_command(study: Study) -> CurrentCommand:
    """The command in force now."""
    return study.notes().command


def send(study: Study, command: Command, why: str = "") -> None:
    """Tell all workers, who look every few seconds."""
    study.note(command=CurrentCommand(command, why, time.time()))

"""What people tell a running sweep, from any machine: go on, pause, or give up."""

import time
from dataclasses import asdict, dataclass
from enum import StrEnum

from search.study.study import Study

_NOTE = "order"


class Command(StrEnum):
    """What workers are to do. PAUSE: wait; HALT: end, trials wait; CANCEL: give trials up."""

    GO = "go"
    PAUSE = "pause"
    HALT = "halt"
    CANCEL = "cancel"


@dataclass(frozen=True, slots=True)
class CurrentCommand:
    """The order that holds, and why. `at` is in seconds since the epoch."""

    order: Command = Command.GO
    why: str = ""
    at: float = 0.0

    @property
    def ends(self) -> bool:
        """Whether workers leave the study."""
        return self.order in (Command.HALT, Command.CANCEL)


def current_command(study: Study) -> CurrentCommand:
    """The order that holds now."""
    noted = study.note(_NOTE)
    return (
        CurrentCommand()
        if noted is None
        else CurrentCommand(**{**noted, "order": Command(noted["order"])})
    )


def send(study: Study, order: Command, why: str = "") -> None:
    """Tell all workers, who look every few seconds."""
    study.set_note(_NOTE, asdict(CurrentCommand(order, why, time.time())))

"""What people may tell a running sweep: go on, pause, or give up."""

from dataclasses import dataclass
from enum import StrEnum


class Command(StrEnum):
    """What workers are to do. PAUSE: wait; HALT: end, trials wait; CANCEL: give trials up."""

    GO = "go"
    PAUSE = "pause"
    HALT = "halt"
    CANCEL = "cancel"


@dataclass(frozen=True, slots=True)
class CurrentCommand:
    """The command in force, why it was given, and when, in seconds since the epoch."""

    command: Command = Command.GO
    why: str = ""
    at: float = 0.0

    @property
    def ends(self) -> bool:
        """Whether workers leave the study."""
        return self.command in (Command.HALT, Command.CANCEL)

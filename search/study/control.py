"""What people tell a running sweep, from any machine: go on, pause, or give up."""

import time
from dataclasses import asdict, dataclass
from enum import StrEnum

from search.study.study import Study

_NOTE = "order"


class Order(StrEnum):
    """What workers are to do. PAUSE: wait; HALT: end, trials wait; CANCEL: give trials up."""

    GO = "go"
    PAUSE = "pause"
    HALT = "halt"
    CANCEL = "cancel"


@dataclass(frozen=True, slots=True)
class Given:
    """The order that holds, and why. `at` is in seconds since the epoch."""

    order: Order = Order.GO
    why: str = ""
    at: float = 0.0

    @property
    def ends(self) -> bool:
        """Whether workers leave the study."""
        return self.order in (Order.HALT, Order.CANCEL)


def given(study: Study) -> Given:
    """The order that holds now."""
    noted = study.note(_NOTE)
    return Given() if noted is None else Given(**{**noted, "order": Order(noted["order"])})


def give(study: Study, order: Order, why: str = "") -> None:
    """Tell all workers, who look every few seconds."""
    study.set_note(_NOTE, asdict(Given(order, why, time.time())))

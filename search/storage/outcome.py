"""What came of a trial: one of five outcomes, told once."""

from collections.abc import Mapping
from dataclasses import dataclass

from pruning.budget import Cost


@dataclass(frozen=True, slots=True)
class Finished:
    """The trial was trained to the end within its budget, or it copies a trial that was.

    files: digests of blobs in the store, by name. seconds: of training, over all epochs.
    threads: of torch; 0 where an earlier version trained it. planned_sram_bytes: the arena of
    the generated C, if there is C for the network. copy_of: the trial that was the same run.
    """

    score: float
    cost: Cost
    widths: Mapping[str, int]
    bottleneck: str
    files: Mapping[str, str]
    seconds: float
    threads: int = 0
    planned_sram_bytes: int | None = None
    copy_of: int | None = None


@dataclass(frozen=True, slots=True)
class Infeasible:
    """No widths meet the trial's budget."""

    reason: str


@dataclass(frozen=True, slots=True)
class Failed:
    """The trial cannot be trained."""

    reason: str


@dataclass(frozen=True, slots=True)
class Dominated:
    """The trial was stopped early: another one, of no larger budget, was better."""

    reason: str


@dataclass(frozen=True, slots=True)
class Cancelled:
    """The trial was given up before its end."""


Outcome = Finished | Infeasible | Failed | Dominated | Cancelled

"""The records that tracking works on: plain and frozen, without torch, Optuna and Hydra.

`search` builds these from Optuna and the store; everything in `tracking` is a function of
them. Every number has its unit in its name.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from tracking.errors import TrackingError
from tracking.evaluation import Evaluation

Scalar = str | int | float | bool | None

RESOURCES = ("flash_bytes", "sram_bytes", "latency_ms")


class State(StrEnum):
    """The state of a trial."""

    WAITING = "waiting"
    RUNNING = "running"
    COMPLETE = "complete"
    STOPPED = "stopped"
    INFEASIBLE = "infeasible"
    FAILED = "failed"
    CANCELLED = "cancelled"

    @property
    def over(self) -> bool:
        """Whether the trial will not be worked on any more."""
        return self not in (State.WAITING, State.RUNNING)


@dataclass(frozen=True, slots=True, kw_only=True)
class Costs:
    """What one network costs: estimated by the cost model, unless said otherwise."""

    flash_bytes: int
    sram_bytes: int
    latency_ms: float
    macs: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """Upper bounds; None where a resource is not bounded."""

    flash_bytes: int | None = None
    sram_bytes: int | None = None
    latency_ms: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class EpochRow:
    """One epoch of one trial. `epoch` counts from 1 over all phases of the trial."""

    epoch: int
    phase: str
    loss: float
    score: float
    costs: Costs
    bottleneck: str
    seconds: float


@dataclass(frozen=True, slots=True, kw_only=True)
class MeasuredRecord:
    """The costs of a network as firmware, linked for a core and run on an emulated one.

    The latency in `costs` follows from counted instructions and the clock and the cycles per
    instruction that the device's config states. `mismatches` counts, among `results`, those
    that are not what the network was scored with.
    """

    core: str
    costs: Costs
    stack_bytes: int
    instructions: int
    results: int
    mismatches: int


@dataclass(frozen=True, slots=True, kw_only=True)
class TrialRecord:
    """One budget and one set of hyperparameters: one Optuna trial, one MLflow run.

    `held` is what its estimates had to stay within: less than the budget where the device has
    margins. `files` maps artifact names to digests of blobs in the store. `planes` names the
    fronts that the trial is on: "overall" and any of RESOURCES (its front of score against that
    resource). `variant` names the dense network that it started from, where there are several.
    `copy_of` is the trial that was the same run, whose result this one shares; trials of one
    budget and one `draw` differ in their seeds alone. `evaluations` say what the network answers,
    by split: of trials on a front, once the study is over. `started` and `finished` are in seconds
    since the epoch.
    """

    number: int
    state: State
    attempt: int
    budget: Limits
    seed: int
    held: Limits | None = None
    params: Mapping[str, Scalar] = field(default_factory=dict)
    epochs: tuple[EpochRow, ...] = ()
    score: float | None = None
    test_score: float | None = None
    costs: Costs | None = None
    planned_sram_bytes: int | None = None
    measured: MeasuredRecord | None = None
    widths: Mapping[str, int] = field(default_factory=dict)
    planes: tuple[str, ...] = ()
    variant: str = ""
    parent: int | None = None
    copy_of: int | None = None
    draw: int | None = None
    reason: str = ""
    files: Mapping[str, str] = field(default_factory=dict)
    evaluations: Mapping[str, Evaluation] = field(default_factory=dict)
    started: float | None = None
    finished: float | None = None

    @property
    def known_costs(self) -> Costs:
        """The costs of a trial that has some.

        Raises:
            TrackingError: it has none.
        """
        if self.costs is None:
            raise TrackingError(
                f"trial {self.number} is {self.state.value} and has no costs; choose one that "
                "is finished, and measured where costs are those measured"
            )
        return self.costs

    @property
    def train_seconds(self) -> float:
        """The time of its epochs, over all attempts, without scoring and waiting.

        Zero for a copy: its epochs are those of the trial that was trained.
        """
        return 0.0 if self.copy_of is not None else sum(row.seconds for row in self.epochs)


@dataclass(frozen=True, slots=True, kw_only=True)
class DenseRecord:
    """An unpruned network that trials start from.

    `name` says which one where the study chooses among several: "model=resnet8"; else it is empty.
    """

    name: str = ""
    score: float
    costs: Costs
    train_seconds: float | None = None  # None where an earlier version trained it


@dataclass(frozen=True, slots=True, kw_only=True)
class DeviceRecord:
    """A microcontroller's name, and the limits that it sets to a network.

    `memory` is what the chip has, of which firmware, stack and runtime take their part; `core` and
    `clock_hz` are those of its processor. They are unknown where only limits were given.
    """

    name: str
    limits: Limits
    memory: Limits = field(default_factory=Limits)
    core: str = ""
    clock_hz: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class PickRecord:
    """The trial that `paring pick` chooses for a device, None where none fits; `words` are the
    arguments of `pick` that name the device.
    """

    device: DeviceRecord
    trial: int | None
    words: str


@dataclass(frozen=True, slots=True, kw_only=True)
class OptionRecord:
    """A finished trial as it can be chosen for a device: what it costs there by estimate, and the
    least limits that admit it, which are more than its costs where the device has margins.
    """

    trial: int
    costs: Costs
    needed: Limits


@dataclass(frozen=True, slots=True, kw_only=True)
class ChoicesRecord:
    """All that `paring pick` can choose for a device.

    `options` are the finished trials, the best first: the first whose needs are within the limits
    is what `paring pick` gives. `fronts` has for each of RESOURCES the trials that are on the front
    of score against it there, the smallest first; `dense` is what the unpruned networks cost there,
    None for one that is lost.

    `words` are the arguments of `pick` that name the device and the format. Where they name no
    device, what counts are limits alone, those of `device` and others, and costs are those of the
    study's own device. `key` tells the choices of a study apart.
    """

    key: str
    device: DeviceRecord
    words: str
    is_named: bool
    options: tuple[OptionRecord, ...]
    fronts: Mapping[str, tuple[int, ...]] = field(default_factory=dict)
    dense: tuple[Costs | None, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class StudyRecord:
    """One sweep, finished or not.

    `key` identifies the study (a name can be used again after deletion).
    `hypervolumes` holds the hypervolume after each finished trial, in the order they finished.
    `config` is the resolved configuration as YAML, without secrets; `tags` the git commit,
    versions, digests.
    `scores_rise` tells whether a larger score is better. `importances` gives, for each
    objective, the share of every hyperparameter that was searched; `picks` the best trial for
    each device, by estimates and the smallest device first; `choices` everything that can be
    chosen, where that was asked for. `source` says what the trials' costs are: "estimated", or
    "measured"; then trials that were not measured have none. `best` is the best score there can
    be, and `chance` that of a constant answer, where these are known.
    """

    name: str
    key: str
    metric: str
    scores_rise: bool
    precision: str
    config: str
    tags: Mapping[str, str]
    trials: tuple[TrialRecord, ...]
    dense: tuple[DenseRecord, ...] = ()
    device: DeviceRecord | None = None
    hypervolumes: tuple[float, ...] = ()
    importances: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    picks: tuple[PickRecord, ...] = ()
    choices: tuple[ChoicesRecord, ...] = ()
    source: str = "estimated"
    best: float | None = None
    chance: float | None = None

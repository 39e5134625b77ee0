"""The shape of configs: values come from `conf/`, their names and types are defined here.

Hydra needs mutable dataclasses as schemas; all that is made of them is frozen.
"""

from dataclasses import dataclass, field
from typing import Any


@dataclass
class DeviceConfig:
    """A microcontroller. Sizes are bytes or text such as "128 KiB"."""

    name: str = "???"
    core: str = "???"
    clock_hz: float = 1e8
    cycles_per_instruction: float = 1.0
    flash: Any = "???"
    sram: Any = "???"
    reserved_flash: Any = 0
    reserved_sram: Any = 0
    source: str = "assumed"
    loops: dict[str, list[float]] = field(default_factory=dict)
    flash_margin: Any = 0
    latency_margin: Any = 0


@dataclass
class PhasesConfig:
    """How long and how fast: dense once per study, prune and fine-tune once per trial."""

    dense_epochs: int = 20
    warmup_epochs: int = 1
    prune_epochs: int = 8
    finetune_epochs: int = 8
    lr_factor: float = 0.5
    qat_share: float = 0.0


@dataclass
class MethodConfig:
    """The pruning method and its settings (see `pruning.training.job.Pruning`).

    `allocation` describes a method of the user's by its `_target_`; it is empty for those of
    paring, which `name` chooses.
    """

    name: str = "differentiable"
    allocation: dict[str, Any] = field(default_factory=dict)
    loss_exponent: float = 0.5
    shrinkage_factor: float = 0.5
    remove_branches: bool = True
    update_interval: int = 10
    sensitivity_runs: int = 6
    sensitivity_samples: int = 1024
    selection_share: float = 0.05
    selection_candidates: int = 2
    saliency_decay: float = 0.9
    anneal_end: float = 0.9
    removal_interval: int = 60
    reserve: float = 0.1
    phases: PhasesConfig = field(default_factory=PhasesConfig)


@dataclass
class BudgetConfig:
    """A list of budgets, or for `pick` one.

    kind "ladder": every factor in `shares` times the dense cost, resource by resource with its
    exponent in `exponents` (0 leaves a resource unlimited). kind "grid": all combinations of the
    values in `flash`, `sram`, `latency`. kind "range": each of them is [loosest, tightest] and
    `count` budgets are spread geometrically, all resources together. kind "auto": a ladder of
    `count` budgets from the loosest, which `flash`, `sram` and `latency` may give, to the tightest
    that can be met; the budgets of further trials are placed as results come in.
    """

    kind: str = "ladder"
    shares: list[float] = field(default_factory=list)
    exponents: dict[str, float] = field(default_factory=dict)
    count: int = 8
    flash: Any = None
    sram: Any = None
    latency: Any = None


BUDGET_KINDS = {  # and the settings that each uses
    "ladder": ("shares", "exponents"),
    "grid": ("flash", "sram", "latency"),
    "range": ("flash", "sram", "latency", "count"),
    "auto": ("flash", "sram", "latency", "exponents", "count"),
}


@dataclass
class StoppingConfig:
    """When trials end early (see `search.study.pruner`): not at all without rungs."""

    rungs: list[float] = field(default_factory=list)
    margin: float = 0.02
    min_trials: int = 4


@dataclass
class AcceleratorConfig:
    """Where torch runs. `threads` 0 means cores / workers."""

    device: str = "cpu"
    precision: str = "fp32"
    threads: int = 0


@dataclass
class StorageConfig:
    """Where studies live. `url` is null for SQLite files in `folder`.

    `tracking_uri` names an MLflow server; null writes to MLflow's database directly.
    `heartbeat_s` and `lease_s`: how often a worker says that it lives, and after how long a
    silence its trial goes to another. `checkpoint_s`: least time between two checkpoints of a
    training run; 0 stores one after every epoch. `outage_s`: how long workers wait for a
    database, or a disk, that is out of reach.
    """

    folder: str = ".paring"
    url: str | None = None
    schema: str = "paring"
    tracking_uri: str | None = None
    heartbeat_s: int = 5
    lease_s: int = 60
    checkpoint_s: float = 10.0
    outage_s: float = 3600.0


@dataclass
class SpecConfig:
    """What decides the result of a sweep.

    `seeds`: so many trials of a budget share their hyperparameters and differ in their seeds;
    null gives every trial of a budget its own of both. `precision` is how the int8 network is
    scored: "auto" is exact for networks that can be deployed (studies from before were not).
    `target` is the form that every network must have: "any", "c" or "tflite". `choices` holds
    the files of config groups that `space` names, by group and name. `prior_studies` are those
    whose trials the sampler knows from the start.
    """

    model: dict[str, Any] = field(default_factory=dict)
    weights: str | None = None
    reinit: list[str] = field(default_factory=list)
    ignored_layers: list[str] = field(default_factory=list)
    min_channels: dict[str, int] | None = None
    round_to: int = 1
    data: dict[str, Any] = field(default_factory=dict)
    task: dict[str, Any] = field(default_factory=dict)
    device: DeviceConfig = field(default_factory=DeviceConfig)
    method: MethodConfig = field(default_factory=MethodConfig)
    budget: BudgetConfig = field(default_factory=BudgetConfig)
    space: dict[str, Any] = field(default_factory=dict)
    choices: dict[str, Any] = field(default_factory=dict)
    sampler: dict[str, Any] = field(default_factory=dict)
    prior_studies: list[str] = field(default_factory=list)
    objectives: list[str] = field(default_factory=list)
    continuation: bool = False
    stopping: StoppingConfig = field(default_factory=StoppingConfig)
    precision: str = "int8-simulated"
    target: str = "any"
    accelerator: AcceleratorConfig = field(default_factory=AcceleratorConfig)
    seed: int = 0
    seeds: int | None = None
    trials: int | None = None


@dataclass
class CallConfig:
    """What a call asks for besides the study's spec; nothing here decides a result.

    `threads` 0 means cores / workers.
    """

    study: str = "???"
    trials: int | None = None
    workers: int = 1
    threads: int = 0

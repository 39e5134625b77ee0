"""The settings of a training run: data, task, recipe, budget. All of them frozen."""

from contextlib import AbstractContextManager
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import TypeVar

import torch
from torch import Tensor

from pruning.allocation.allocate import Allocation
from pruning.budget import Budget, Cost, Device
from pruning.cost.memory.peak import DEPLOYED, MemoryConventions
from pruning.cost.model import CostModel, Encoding
from pruning.data import Dataset, batch_count
from pruning.deploy.supported import obstacles
from pruning.errors import PruningError, require
from pruning.graph.graph import Graph
from pruning.tasks import Task

Member = TypeVar("Member", bound=StrEnum)
SHARE = 1 / 16  # of a GPU's memory that a data set may take


class PhaseKind(StrEnum):
    """What a phase does besides training. In "quantize" weights and activations are rounded to
    int8 in the forward pass.
    """

    DENSE = "dense"
    PRUNE = "prune"
    FINETUNE = "finetune"
    QUANTIZE = "quantize"


@dataclass(frozen=True, slots=True, kw_only=True)
class Phase:
    """A number of epochs of one kind. The learning rate changes linearly from `lr_factor[0]` to
    `lr_factor[1]` times that of the optimizer, so that phases can be pieces of one schedule.

    Raises:
        PruningError: there is no such kind of phase, or `epochs` is negative.
    """

    kind: PhaseKind
    epochs: int
    lr_factor: tuple[float, float] = (1.0, 0.0)

    def __post_init__(self) -> None:
        object.__setattr__(self, "kind", _member(PhaseKind, "phase", self.kind))
        require("epochs", self.epochs, least=0)

    def lr_factor_at(self, progress: float) -> float:
        """The factor on the learning rate at a share of the phase from 0 to 1."""
        start, end = self.lr_factor
        return start + (end - start) * progress


Recipe = tuple[Phase, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Pruning:
    """Settings of the prune phase.

    update_interval: steps between two updates of the widths. saliency_decay: of the running mean
    of saliency.
    sensitivity_runs: how often the groups' importance is measured, evenly over the phase. Each
    time costs one forward pass per group (two for a group inside a residual branch) over
    `sensitivity_samples` samples, or an eighth of the training set where that is less.
    selection_share: for how many steps candidates without one residual branch or another are
    trained, as a share of all steps of pruning; where these are too few to tell candidates
    apart, no branch is removed. selection_candidates: how many branches are tried, one at a
    time, to find the first one to remove.
    anneal_end: share of the phase at which the annealed budget reaches its target.
    removal_interval: steps between two physical removals of channels far below the threshold.
    reserve: channels that a removal spares, as a share of a group's original size.

    Raises:
        PruningError: a setting that makes no sense.
    """

    allocation: Allocation = field(default_factory=Allocation)
    update_interval: int = 10
    saliency_decay: float = 0.9
    sensitivity_runs: int = 6
    sensitivity_samples: int = 1024
    selection_share: float = 0.05
    selection_candidates: int = 2
    anneal_end: float = 0.9
    removal_interval: int = 60
    reserve: float = 0.1

    def __post_init__(self) -> None:
        for name in (
            "update_interval",
            "removal_interval",
            "sensitivity_runs",
            "sensitivity_samples",
            "selection_candidates",
        ):
            require(name, getattr(self, name), least=1)
        require("saliency_decay", self.saliency_decay, least=0, below=1)
        require("selection_share", self.selection_share, least=0)
        require("anneal_end", self.anneal_end, above=0, most=1)
        require("reserve", self.reserve, least=0, most=1)


def fast_precision(device: str) -> str:
    """The quicker precision: bf16 on a GPU and on CPUs that have instructions for it.

    Other CPUs compute bf16 in software, about ten times slower than fp32.
    """
    capabilities = torch.cpu.get_capabilities()
    native = any(capabilities.get(name) for name in ("avx512_bf16", "amx_bf16", "arm_bf16"))
    return "bf16" if native or torch.device(device).type == "cuda" else "fp32"


@dataclass(frozen=True, slots=True, kw_only=True)
class Accelerator:
    """Where torch computes. `precision` is "fp32" or "bf16" (autocast and channels last)."""

    device: str = "cpu"
    precision: str = "fp32"

    def __post_init__(self) -> None:
        if self.precision not in ("fp32", "bf16"):
            raise PruningError(f"precision {self.precision!r}: write fp32 or bf16")
        if self.device.startswith("cuda") and not torch.cuda.is_available():
            raise PruningError(f"accelerator {self.device!r}: torch sees no GPU here; write cpu")

    def autocast(self) -> AbstractContextManager[object]:
        """The context in which a training step runs."""
        kind = torch.device(self.device).type
        return torch.autocast(kind, dtype=torch.bfloat16, enabled=self.precision == "bf16")

    def place(self, batch: Tensor) -> Tensor:
        """A batch on the device, in the memory format that is fast there."""
        batch = batch.to(self.device)
        # fp32 stays as it is: torch 2.13 corrupts memory in the backward pass of convolutions
        # with odd numbers of channels last, on CPUs without AVX-512.
        channels_last = self.precision == "bf16" and batch.dim() == 4
        return batch.contiguous(memory_format=torch.channels_last) if channels_last else batch

    @property
    def worthwhile(self) -> float:
        """The share of a network's MACs that a removal of channels must save to be worth its
        time during training. A GPU takes seconds to choose kernels for new shapes, and gains
        little by them.
        """
        return 0.5 if torch.device(self.device).type == "cuda" else 0.0

    def hold(self, data: Dataset) -> Dataset:
        """A data set in the memory of a GPU, where batches are cut and augmented many times
        faster; unless it is so large that other trials would have no room beside it.
        """
        device = torch.device(self.device)
        splits = (data.train, data.validation)
        size = sum(split.inputs.nbytes + split.targets.nbytes for split in splits)
        if device.type != "cuda" or size > SHARE * torch.cuda.mem_get_info(device)[1]:
            return data
        train, validation = (split.to(device) for split in splits)
        return replace(data, train=train, validation=validation)


class Precision(StrEnum):
    """How the int8 network is scored: with exactly the integers that a microcontroller computes,
    or simulated in floating point. Costs are counted accordingly: those of generated C, or those
    of a network that an interpreter runs.
    """

    EXACT = "int8-exact"
    SIMULATED = "int8-simulated"

    @property
    def encoding(self) -> Encoding:
        """How weights are stored."""
        return Encoding.C if self is Precision.EXACT else Encoding.INT8

    @property
    def conventions(self) -> MemoryConventions:
        """What counts as memory: buffers overlap in generated C, not in interpreters."""
        return DEPLOYED if self is Precision.EXACT else MemoryConventions()


def precision_of(graph: Graph) -> Precision:
    """How a network is scored by default: exactly, if it can be deployed."""
    return Precision.SIMULATED if obstacles(graph) else Precision.EXACT


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """Everything that decides the result of a training run, besides the starting weights.

    `scoring` None: exact for networks that can be deployed, simulated for others. `encoding`
    and `conventions` None: those that belong to the scoring. The deployed network is within the
    `budget`; for that, estimates must be within `limits`.

    Raises:
        PruningError: there is no such scoring.
    """

    data: Dataset
    task: Task
    recipe: Recipe
    seed: int
    device: Device
    budget: Budget = field(default_factory=Budget)
    pruning: Pruning = field(default_factory=Pruning)
    encoding: Encoding | None = None
    conventions: MemoryConventions | None = None
    accelerator: Accelerator = field(default_factory=Accelerator)
    scoring: Precision | None = None

    def __post_init__(self) -> None:
        if self.scoring is not None:
            object.__setattr__(self, "scoring", _member(Precision, "scoring", self.scoring))

    @property
    def epochs(self) -> int:
        """Epochs of all phases together."""
        return sum(phase.epochs for phase in self.recipe)

    def phase_at(self, epoch: int) -> tuple[Phase, int]:
        """The phase of an epoch (counted from 0) and the epoch's place in it."""
        for phase in self.recipe:
            if epoch < phase.epochs:
                return phase, epoch
            epoch -= phase.epochs
        raise IndexError(f"the recipe ends after {self.epochs} epochs")

    @property
    def prune_steps(self) -> int:
        """Steps of the optimizer in all prune phases together."""
        epochs = sum(phase.epochs for phase in self.recipe if phase.kind is PhaseKind.PRUNE)
        return epochs * batch_count(len(self.data.train), self.task.batch_size)

    def precision(self, graph: Graph) -> Precision:
        """How a graph is scored."""
        return self.scoring or precision_of(graph)

    def settled(self, graph: Graph) -> "Job":
        """The same job with scoring, encoding and conventions fixed as they are for this graph.

        Pruning may remove the operators that keep the graph from being deployed; the way in
        which costs are counted must not change with that.
        """
        model, scoring = self.cost_model(graph), self.precision(graph)
        return replace(
            self, scoring=scoring, encoding=model.encoding, conventions=model.conventions
        )

    def cost_model(self, graph: Graph) -> CostModel:
        """The cost of a graph under this job's device and conventions."""
        scoring = self.precision(graph)
        encoding = self.encoding or scoring.encoding
        return CostModel(graph, self.device, encoding, self.conventions or scoring.conventions)

    def margins(self, model: CostModel) -> Device | None:
        """The device whose margins estimates must leave; None for what is not generated C."""
        return model.encoding.margins(self.device)

    def limits(self, model: CostModel) -> Budget:
        """The limits that estimates must be within so that the deployed network is within the
        budget.
        """
        return model.encoding.guarded(self.budget, self.device)


def _member(kind: type[Member], name: str, value: str) -> Member:
    """The member of an enumeration that a word names."""
    try:
        return kind(value)
    except ValueError:
        raise PruningError(f"{name} {value!r}: write one of {', '.join(kind)}") from None


def annealed(final: Budget, start: Cost, progress: float) -> Budget:
    """The budget at a share of the prune phase: from the starting cost to the target.

    B_r(s) = B_r (R_r(start) / B_r)^((1 - s)^3), for resources that begin above their limit.
    """
    remaining = (1 - min(progress, 1.0)) ** 3
    limits = {
        name: limit * max(getattr(start, name) / limit, 1.0) ** remaining
        for name, limit in final.limits.items()
    }
    return Budget(**limits)

"""What changes while a network trains, and the record of each epoch."""

from dataclasses import dataclass, field

import torch
from torch import Tensor

from pruning.allocation.explain import Explanation, Start
from pruning.allocation.masks import ChannelMasks
from pruning.budget import Budget, Cost
from pruning.errors import PruningError
from pruning.execution.network import Network, Tensors
from pruning.graph.graph import Graph
from pruning.graph.shrink import kept_axes, shrink_graph, shrink_tensors
from pruning.training.job import Job


@dataclass(frozen=True, slots=True, kw_only=True)
class Epoch:
    """What one epoch did. `epoch` counts from 1 over all phases; `score` is that of the int8
    network on the validation split; `cost` is estimated; `budget` is the annealed one.
    """

    epoch: int
    phase: str
    loss: float
    score: float
    cost: Cost
    budget: Budget
    bottleneck: str
    widths: dict[str, int]
    seconds: float


@dataclass
class TrainState:
    """Everything that changes while a network trains."""

    network: Network
    optimizer: torch.optim.Optimizer
    masks: ChannelMasks | None = None
    start: Start | None = None  # the network when pruning began
    explanation: Explanation | None = None  # what pruning found when it ended
    epoch: int = 0
    history: list[Epoch] = field(default_factory=list)

    @staticmethod
    def begin(graph: Graph, tensors: Tensors, job: Job) -> "TrainState":
        """A state before its first epoch; the tensors are copied."""
        network = Network(graph, tensors).to(job.accelerator.device)
        return TrainState(network, make_optimizer(network, job))

    @property
    def graph(self) -> Graph:
        """The network as it physically is."""
        return self.network.graph

    def result(self) -> tuple[Graph, dict[str, Tensor]]:
        """The network without its masked channels, and copies of its tensors (on the CPU)."""
        tensors = {n: t.detach().to("cpu", copy=True) for n, t in self.network.tensors().items()}
        if self.masks is None or bool(self.masks.kept.all()):
            return self.graph, tensors
        kept = self.masks.kept.numpy()
        smaller = shrink_graph(self.graph, kept)
        return smaller, shrink_tensors(tensors, kept_axes(self.graph, kept))


def make_optimizer(network: Network, job: Job) -> torch.optim.Optimizer:
    """The task's optimizer over the network's parameters, by their names in the graph."""
    optimizer = job.task.optimizer(network.trained())
    for group in optimizer.param_groups:
        group.setdefault("initial_lr", group["lr"])
    return optimizer


def optimizer_tensors(
    optimizer: torch.optim.Optimizer, network: Network
) -> dict[str, dict[str, Tensor]]:
    """What the optimizer remembers of each parameter, by the parameter's name.

    Raises:
        PruningError: something that is no tensor, and would be lost when channels go.
    """
    return {
        name: {
            key: _remembered(optimizer, key, value)
            for key, value in optimizer.state.get(parameter, {}).items()
            if value is not None
        }
        for name, parameter in network.trained().items()
    }


def _remembered(optimizer: torch.optim.Optimizer, key: str, value: object) -> Tensor:
    if isinstance(value, Tensor):
        return value
    raise PruningError(
        f"optimizer {type(optimizer).__name__} keeps {key!r} of a parameter as "
        f"{type(value).__name__}: only tensors are stored and follow their channels. Make it a "
        "tensor, or choose another optimizer"
    )


def load_optimizer(
    optimizer: torch.optim.Optimizer, network: Network, entries: dict[str, dict[str, Tensor]]
) -> None:
    """Give a fresh optimizer what an earlier one remembered."""
    for name, parameter in network.trained().items():
        if known := entries.get(name):
            optimizer.state[parameter] = {key: value.clone() for key, value in known.items()}


def widths_of(graph: Graph) -> dict[str, int]:
    """Channels of every prunable group, by its name."""
    return {group.name: group.size for group in graph.channels.groups if group.prunable}

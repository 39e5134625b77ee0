"""What changes while a network trains, and the record of each epoch."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import final

from torch import Tensor
from torch.optim import Optimizer

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


@dataclass(frozen=True, slots=True)
class Dense:
    """Pruning has not begun."""


@dataclass(frozen=True, slots=True)
class Masked:
    """The network is being pruned: some channels are masked. `start` describes it as it was
    when pruning began.
    """

    masks: ChannelMasks
    start: Start


@dataclass(frozen=True, slots=True)
class Pruned:
    """Pruning has ended, and no channel is masked. `explanation` is None where the allocation
    has no model of the loss to explain the widths by.
    """

    start: Start
    explanation: Explanation | None


Stage = Dense | Masked | Pruned
DENSE = Dense()


@final
class TrainState:
    """Everything that changes while a network trains. Its parts always fit together: they
    change by the methods below alone.

    Args:
        network: in training, on the accelerator.
        optimizer: of the network's parameters.
        stage: how far pruning is.
        history: the records of all epochs so far.

    Raises:
        PruningError: the parts do not belong together.
    """

    def __init__(
        self,
        network: Network,
        optimizer: Optimizer,
        stage: Stage = DENSE,
        history: Sequence[Epoch] = (),
    ) -> None:
        _require_optimizer(optimizer, network)
        _require_masks(stage, network.graph)
        _require_numbered(history)
        self._network, self._optimizer, self._stage = network, optimizer, stage
        self._history = tuple(history)

    @staticmethod
    def begin(graph: Graph, tensors: Tensors, job: Job) -> "TrainState":
        """A state before its first epoch; the tensors are copied."""
        network = Network(graph, tensors).to(job.accelerator.device)
        return TrainState(network, make_optimizer(network, job))

    @property
    def network(self) -> Network:
        """The network as it physically is, with masked channels."""
        return self._network

    @property
    def graph(self) -> Graph:
        """The graph of the network as it physically is."""
        return self._network.graph

    @property
    def optimizer(self) -> Optimizer:
        """The optimizer of the network's parameters."""
        return self._optimizer

    @property
    def stage(self) -> Stage:
        """How far pruning is."""
        return self._stage

    @property
    def history(self) -> tuple[Epoch, ...]:
        """The records of all epochs so far."""
        return self._history

    @property
    def epoch(self) -> int:
        """How many epochs are over."""
        return len(self._history)

    def masked(self) -> Masked:
        """The stage of a network that is being pruned.

        Raises:
            PruningError: pruning has not begun, or has ended.
        """
        match self._stage:
            case Masked():
                return self._stage
            case Dense():
                raise PruningError("pruning has not begun: call open_masks first")
            case Pruned():
                raise PruningError("pruning has ended: call open_masks to prune once more")

    def enter(self, stage: Stage) -> None:
        """Begin to prune, or end it.

        Raises:
            PruningError: pruning begins twice, or ends before it has begun; or it ends while
                channels are masked, which would come back.
        """
        match self._stage, stage:
            case (Dense() | Pruned(), Masked()):
                _require_masks(stage, self.graph)
            case (Masked(masks), Pruned()):
                if hidden := int((~masks.kept).sum()):
                    raise PruningError(f"{hidden} channels are still masked: remove them first")
            case before, after:
                raise PruningError(
                    f"pruning cannot go from {_name(before)} to {_name(after)}: it goes from "
                    "dense to masked to pruned, and from there to masked again"
                )
        self._stage = stage

    def become(self, smaller: "TrainState") -> None:
        """Take over network, optimizer and stage of a state of the same run, such as a `fork`.

        Raises:
            PruningError: it is in another stage, or after another epoch.
        """
        before, after = (_name(self.stage), self.epoch), (_name(smaller.stage), smaller.epoch)
        if before != after:
            raise PruningError(
                f"a state that is {before[0]} after epoch {before[1]} cannot become one that is "
                f"{after[0]} after epoch {after[1]}"
            )
        self._network, self._optimizer = smaller.network, smaller.optimizer
        self._stage = smaller.stage

    def append(self, epoch: Epoch) -> None:
        """Add the record of the epoch that has just ended.

        Raises:
            PruningError: it is not the next one.
        """
        history = (*self._history, epoch)
        _require_numbered(history)
        self._history = history

    def result(self) -> tuple[Graph, dict[str, Tensor]]:
        """The network without its masked channels, and copies of its tensors (on the CPU)."""
        tensors = {n: t.detach().to("cpu", copy=True) for n, t in self.network.tensors().items()}
        if not isinstance(self.stage, Masked) or bool(self.stage.masks.kept.all()):
            return self.graph, tensors
        kept = self.stage.masks.kept.numpy()
        smaller = shrink_graph(self.graph, kept)
        return smaller, shrink_tensors(tensors, kept_axes(self.graph, kept))


def _name(stage: Stage) -> str:
    return type(stage).__name__.lower()


def _require_optimizer(optimizer: Optimizer, network: Network) -> None:
    parameters = {id(parameter) for parameter in network.trained().values()}
    stepped = {id(p) for group in optimizer.param_groups for p in group["params"]}
    if parameters and not parameters & stepped:
        raise PruningError(
            f"optimizer {type(optimizer).__name__} has no parameter of the network; make it over "
            "the tensors of network.trained()"
        )


def _require_masks(stage: Stage, graph: Graph) -> None:
    if not isinstance(stage, Masked):
        return
    sizes = (len(stage.masks.kept), len(stage.masks.widths))
    expected = (graph.channels.units, len(graph.channels.groups))
    if sizes != expected:
        raise PruningError(
            f"masks of {sizes[0]} channels in {sizes[1]} groups do not fit a network of "
            f"{expected[0]} in {expected[1]}"
        )


def _require_numbered(history: Sequence[Epoch]) -> None:
    numbers = [record.epoch for record in history]
    if numbers != list(range(1, len(numbers) + 1)):
        raise PruningError(f"the epochs of a state are numbered {numbers}; they count from 1")


def make_optimizer(network: Network, job: Job) -> Optimizer:
    """The task's optimizer over the network's parameters, by their names in the graph."""
    optimizer = job.task.optimizer(network.trained())
    for group in optimizer.param_groups:
        group.setdefault("initial_lr", group["lr"])
    return optimizer


def optimizer_tensors(optimizer: Optimizer, network: Network) -> dict[str, dict[str, Tensor]]:
    """The optimizer's state of each parameter, by the parameter's name.

    Raises:
        PruningError: something in it is no tensor, and would be lost when channels go.
    """
    return {
        name: {
            key: _tensor(optimizer, key, value)
            for key, value in optimizer.state.get(parameter, {}).items()
            if value is not None
        }
        for name, parameter in network.trained().items()
    }


def _tensor(optimizer: Optimizer, key: str, value: object) -> Tensor:
    if isinstance(value, Tensor):
        return value
    raise PruningError(
        f"optimizer {type(optimizer).__name__} keeps {key!r} of a parameter as "
        f"{type(value).__name__}: only tensors are stored and follow their channels. Make it a "
        "tensor, or choose another optimizer"
    )


def load_optimizer(
    optimizer: Optimizer, network: Network, entries: dict[str, dict[str, Tensor]]
) -> None:
    """Copy an earlier optimizer's state of each parameter into a new optimizer."""
    for name, parameter in network.trained().items():
        if stored := entries.get(name):
            optimizer.state[parameter] = {key: value.clone() for key, value in stored.items()}


def widths_of(graph: Graph) -> dict[str, int]:
    """Channels of every prunable group, by its name."""
    return {group.name: group.size for group in graph.channels.groups if group.prunable}

"""The methods compared: each takes a run and gives a network within its budget."""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace

import numpy as np
import torch
from torch import nn

from pruning.allocation.allocate import Allocation
from pruning.allocation.feasibility import scaled_widths, uniform_ratio
from pruning.allocation.fit import grow_to_fill
from pruning.budget import Budget
from pruning.cost.model import CostModel
from pruning.data import Dataset
from pruning.execution.network import Tensors
from pruning.frontend.trace import trace
from pruning.graph.graph import Graph
from pruning.graph.shrink import kept_axes, shrink_graph, shrink_tensors
from pruning.training.job import Job, PhaseKind, Pruning
from pruning.training.state import Epoch, TrainState
from pruning.training.train import train
from tests.benchmarks.quality.problems import Problem
from tests.benchmarks.quality.setting import Parts, Setting, job, recipe

DENSE, PRUNE, FINETUNE = PhaseKind.DENSE, PhaseKind.PRUNE, PhaseKind.FINETUNE
Found = tuple[Graph, Tensors]


@dataclass
class Run:
    """One method at one budget with one seed, and what its training has taken so far.

    `known` is what an earlier run of paring found with the same budget and seed: `widths` by
    group, and `epochs`, how many of uniform training take as long.
    """

    setting: Setting
    problem: Problem
    data: Dataset
    budget: Budget
    seed: int
    widths: Mapping[str, int] = field(default_factory=dict)
    epochs: int = 0
    seconds: float = 0.0
    history: list[Epoch] = field(default_factory=list)

    def job(self, parts: Parts, begun: int = 0, pruning: Pruning | None = None) -> Job:
        """The recipe with these phases, after `begun` epochs."""
        total = max(self.setting.epochs, begun + sum(count for _, count in parts))
        phases = recipe(parts, begun, total)
        pruning = pruning or Pruning()
        return job(self.setting, self.problem, self.data, phases, self.seed, self.budget, pruning)

    def network(self) -> tuple[nn.Module, Graph, Tensors]:
        """The problem's network with the starting weights of the seed."""
        torch.manual_seed(self.seed)
        module = self.problem.network()
        return module, self.trace(module), dict(module.state_dict())

    def trace(self, module: nn.Module) -> Graph:
        """The graph of a module for the problem's inputs."""
        return trace(module, torch.zeros(self.problem.shape))

    def cost_model(self, graph: Graph) -> CostModel:
        """As the budgets count."""
        return self.job(()).cost_model(graph)

    def train(self, state: TrainState, how: Job) -> TrainState:
        """To the end of a job, with the clock running but for scoring."""
        for epoch in train(state, how):
            self.seconds += epoch.seconds
            self.history.append(epoch)
        return state


def dense(run: Run) -> Found:
    """Nothing is pruned: the yardstick for scores and seconds."""
    _, graph, tensors = run.network()
    return _trained(run, graph, tensors, run.setting.epochs)


def uniform(run: Run) -> Found:
    """One keep ratio for all groups, from scratch."""
    return _from_scratch(run, _uniform_widths(run), run.setting.epochs)


def uniform_filled(run: Run) -> Found:
    """The same, with channels added while they fit, to whoever is furthest behind."""
    return _from_scratch(run, _filled(run, _uniform_widths(run)), run.setting.epochs)


def uniform_longer(run: Run) -> Found:
    """The same, for as many seconds as paring takes."""
    return _from_scratch(run, _filled(run, _uniform_widths(run)), run.epochs)


def scratch(run: Run) -> Found:
    """New weights for the widths that paring found."""
    _, graph, _ = run.network()
    groups = graph.channels.groups
    # A group that has lost its first operators is named after one of the others.
    found = [[w for name, w in run.widths.items() if name in g.operators] for g in groups]
    widths = [
        max(f, default=0) if g.prunable else g.size for f, g in zip(found, groups, strict=True)
    ]
    return _from_scratch(run, widths, run.setting.epochs)


def engine(allocation: Allocation) -> Callable[[Run], Found]:
    """Pruned while training, by one of the engine's allocations."""

    def prune(run: Run) -> Found:
        _, graph, tensors = run.network()
        dense, prune, finetune = run.setting.split
        parts = [(DENSE, dense), (PRUNE, prune), (FINETUNE, finetune)]
        how = run.job(parts, pruning=Pruning(allocation=allocation))
        return run.train(TrainState.begin(graph, tensors, how), how).result()

    return prune


def torch_pruning(importance: str) -> Callable[[Run], Found]:
    """Torch-Pruning, 1 % of the channels at a time until all limits hold, then fine-tuning."""

    def prune(run: Run) -> Found:
        module, graph, tensors = run.network()
        warm = run.setting.warm
        how = replace(run.job([(DENSE, warm)]), budget=Budget())  # nothing is pruned yet
        _, tensors = run.train(TrainState.begin(graph, tensors, how), how).result()
        module.load_state_dict(dict(tensors), strict=False)
        began = time.monotonic()
        _shrink_module(run, module, importance)
        run.seconds += time.monotonic() - began
        graph = run.trace(module)
        how = run.job([(FINETUNE, run.setting.epochs - warm)], begun=warm)
        return run.train(TrainState.begin(graph, module.state_dict(), how), how).result()

    return prune


METHODS: Mapping[str, Callable[[Run], Found]] = {
    "dense": dense,
    "uniform": uniform,
    "uniform, filled": uniform_filled,
    "global magnitude": engine(Allocation(method="magnitude")),
    "greedy, branches may go": engine(Allocation(method="greedy")),
    "Torch-Pruning, group magnitude": torch_pruning("magnitude"),
    "Torch-Pruning, Taylor": torch_pruning("taylor"),
    "paring": engine(Allocation()),
    "paring's widths from scratch": scratch,
    "uniform, filled, as long as paring": uniform_longer,
}
OURS = "paring"
AFTER_OURS = ("paring's widths from scratch", "uniform, filled, as long as paring")


def _trained(run: Run, graph: Graph, tensors: Tensors, epochs: int) -> Found:
    how = run.job([(DENSE, epochs)])
    return run.train(TrainState.begin(graph, tensors, how), how).result()


def _from_scratch(run: Run, widths: list[int], epochs: int) -> Found:
    """Weights are drawn anew by He's rule for the narrower layers' own fans."""
    _, graph, tensors = run.network()
    pairs = zip(graph.channels.groups, widths, strict=True)
    kept = np.concatenate([np.arange(group.size) < width for group, width in pairs])
    small = shrink_tensors(tensors, kept_axes(graph, kept))
    generator = torch.Generator().manual_seed(run.seed)
    for name, tensor in small.items():
        if tensor.dim() > 1:
            fan = tensor.shape[0] * tensor[0, 0].numel()
            scale = (2 / fan) ** 0.5 if tensor.dim() == 4 else 0.01
            small[name] = scale * torch.randn(tensor.shape, generator=generator)
    return _trained(run, shrink_graph(graph, kept), small, epochs)


def _uniform_widths(run: Run) -> list[int]:
    _, graph, _ = run.network()
    model, sizes = run.cost_model(graph), torch.tensor(graph.channels.widths)
    return scaled_widths(model, sizes, uniform_ratio(model, sizes, run.budget))


def _filled(run: Run, widths: list[int]) -> list[int]:
    _, graph, _ = run.network()
    behind = [[1 - n / g.size for n in range(g.size)] for g in graph.channels.groups]
    return grow_to_fill(run.cost_model(graph), run.budget, widths, behind)


def _shrink_module(run: Run, module: nn.Module, importance: str) -> None:
    import torch_pruning

    kinds = torch_pruning.importance
    judge = {"magnitude": kinds.GroupMagnitudeImportance, "taylor": kinds.GroupTaylorImportance}
    pruner = torch_pruning.pruner.BasePruner(
        module,
        torch.zeros(1, *run.problem.shape),
        importance=judge[importance](),
        global_pruning=True,
        pruning_ratio=0.99,
        max_pruning_ratio=0.95,
        iterative_steps=99,
        ignored_layers=[_last(module)],
    )
    generator = torch.Generator().manual_seed(run.seed)
    task, train, device = run.problem.task, run.data.train, run.setting.device
    while not run.budget.holds(run.cost_model(run.trace(module)).dense):
        if importance == "taylor":
            few = train.select(torch.randint(len(train), (512,), generator=generator))
            module.train().to(device).zero_grad()
            few = few.to(device)
            task.loss(module(run.data.normalise(few.inputs)), few.targets).backward()
            module.cpu()
        pruner.step()


def _last(module: nn.Module) -> nn.Module:
    """The layer whose outputs are the answer."""
    return [layer for layer in module.modules() if isinstance(layer, nn.Linear)][-1]

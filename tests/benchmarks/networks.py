"""Which networks can be pruned, and rightly: paring beside torch-pruning 1.6.1.

    pip install --no-deps torch-pruning==1.6.1
    python -m tests.benchmarks.networks

Each network loses about half of the channels of every group. It *runs* if that raises nothing,
the output keeps its shape and parameters are fewer. It is *equal* if the small network gives
what the large one gives when nobody reads the removed channels: for torch-pruning, whose
modules say which inputs they lost, when those weights are zero; for paring, when its mask is.
"""

import copy
import json
import logging
import warnings
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
import torch_pruning
from torch import Tensor, nn
from torch.utils._pytree import tree_leaves

from pruning.errors import PruningError
from pruning.execution.network import Network
from pruning.frontend.trace import trace
from pruning.graph.graph import Graph
from pruning.graph.shrink import kept_axes, shrink_graph, shrink_tensors
from tests.pruning.networks import NETWORKS, REFUSED, build

RESULTS = Path(__file__).parent / "results" / "networks.json"
Verdict = dict[str, object]


def with_paring(name: str) -> Verdict:
    model, shape = build(name)
    graph = trace(model, torch.zeros(shape))
    network = Network(graph, {**dict(model.named_parameters()), **dict(model.named_buffers())})
    kept = halved(graph)
    tensors = shrink_tensors(network.tensors(), kept_axes(graph, kept))
    smaller = Network(shrink_graph(graph, kept), tensors).eval()
    inputs = torch.randn(2, *shape)
    with torch.no_grad():
        whole, wanted = (
            model(inputs.clone()),
            network.eval()(inputs, torch.from_numpy(kept).float()),
        )
        return verdict(smaller(inputs), whole, wanted, count(network), count(smaller))


def halved(graph: Graph) -> np.ndarray:
    random = np.random.default_rng(0)
    kept = np.ones(graph.channels.units, dtype=bool)
    for group in graph.channels.groups:
        if group.prunable:
            gone = random.choice(group.size, group.size // 2, replace=False)
            kept[group.start + gone] = False
    return kept


def with_torch_pruning(name: str) -> Verdict:
    model, shape = build(name)
    original, inputs = copy.deepcopy(model), torch.randn(2, *shape)
    before = count(model)
    with torch.no_grad():
        whole = model(inputs.clone())
    pruner = torch_pruning.pruner.MetaPruner(
        model,
        inputs.clone(),
        importance=torch_pruning.importance.MagnitudeImportance(),
        global_pruning=False,
        pruning_ratio=0.5,
        ignored_layers=[model.get_submodule(layer) for layer in outputs_of(name)],
    )
    readers = Readers(model, original)
    for group in pruner.step(interactive=True):
        readers.note(pruner.DG, group)
        group.prune()
    with torch.no_grad():
        found = model(inputs.clone())
        return verdict(found, whole, original(inputs.clone()), before, count(model))


def outputs_of(name: str) -> Iterator[str]:
    """Layers whose channels cannot be pruned: those that make the outputs."""
    model, shape = build(name)
    try:
        graph = trace(model, torch.zeros(shape))
    except PruningError:
        layers = (nn.Linear, nn.Conv2d, nn.Conv3d)
        yield [each for each, module in model.named_modules() if isinstance(module, layers)][-1]
        return
    free = {
        u for g in graph.channels.groups if g.prunable for u in range(g.start, g.start + g.size)
    }
    for operator in graph.operators:
        if operator.kind in ("conv", "conv_transpose", "linear"):
            units = graph.channels.layout[operator.name].tolist()
            if free.isdisjoint(units):
                yield operator.parameters["weight"].removesuffix(".weight")


class Readers:
    """Which inputs the layers of a module have lost, in the numbers of the original."""

    def __init__(self, model: nn.Module, original: nn.Module) -> None:
        self.original = dict(original.named_modules())
        self.names = {module: name for name, module in model.named_modules()}
        self.left: dict[str, list[int]] = {}

    def note(self, dependencies, group) -> None:
        """Silence, in the original, the weights on the inputs that a group removes."""
        for item in group:
            dependency, indices = item[0], item[1]
            module = dependency.target.module
            if dependencies.is_in_channel_pruning_fn(dependency.handler) and module in self.names:
                self._silence(self.names[module], indices)

    def _silence(self, name: str, indices: list[int]) -> None:
        layer = self.original[name]
        if not isinstance(
            layer, nn.Conv1d | nn.Conv2d | nn.Linear | nn.modules.conv._ConvTransposeNd
        ):
            return
        inputs = layer.in_features if isinstance(layer, nn.Linear) else layer.in_channels
        left = self.left.setdefault(name, list(range(inputs)))
        gone = [left[index] for index in indices]
        self.left[name] = [channel for channel in left if channel not in gone]
        for channel in gone:
            read(layer, channel).data.zero_()


def read(layer: nn.Module, channel: int) -> Tensor:
    """The weights with which a layer reads an input channel."""
    if isinstance(layer, nn.modules.conv._ConvTransposeNd):
        return layer.weight[channel]
    groups = getattr(layer, "groups", 1)
    each = layer.weight.shape[1]
    rows = layer.weight.shape[0] // groups
    first = channel // each * rows
    return layer.weight[first : first + rows, channel % each]


def count(model: nn.Module) -> int:
    return sum(parameter.numel() for parameter in model.parameters())


def verdict(found, whole, wanted, before: int, after: int) -> Verdict:
    found, whole, wanted = (tree_leaves(each) for each in (found, whole, wanted))
    if [f.shape for f in found] != [w.shape for w in whole]:
        return {"verdict": "fails", "why": "the shape of an output changed"}
    if after >= before:
        return {"verdict": "fails", "why": "nothing was removed"}
    error = max(
        float((f - w).abs().max() / w.abs().max().clamp_min(1.0))
        for f, w in zip(found, wanted, strict=True)
    )
    same = "equal" if error < 1e-4 else "runs, not equal"
    return {"verdict": same, "parameters": [before, after], "error": error}


def attempt(work, name: str) -> Verdict:
    try:
        torch.manual_seed(1)
        return work(name)
    except PruningError as error:
        return {"verdict": "refused", "why": str(error).splitlines()[0]}
    except Exception as error:  # whatever another library raises
        why = str(error).strip().splitlines() or [""]
        return {"verdict": "fails", "why": f"{type(error).__name__}: {why[0]}"[:160]}


def table(results: dict[str, dict[str, Verdict]]) -> str:
    lines = ["| network | paring | torch-pruning 1.6.1 | why |", "|---|---|---|---|"]
    for name, both in results.items():
        why = "; ".join(str(each["why"]) for each in both.values() if "why" in each)
        verdicts = " | ".join(str(each["verdict"]) for each in both.values())
        lines.append(f"| {name} | {verdicts} | {why.replace('|', '/')[:110]} |")
    for library in ("paring", "torch_pruning"):
        verdicts = [both[library]["verdict"] for both in results.values()]
        tally = {v: verdicts.count(v) for v in dict.fromkeys(verdicts)}
        lines.append(f"\n{library}: " + ", ".join(f"{n} {v}" for v, n in tally.items()))
    return "\n".join(lines)


def main() -> None:
    warnings.simplefilter("ignore")
    logging.disable(logging.ERROR)
    torch.set_num_threads(1)
    results = {
        name: {
            "paring": attempt(with_paring, name),
            "torch_pruning": attempt(with_torch_pruning, name),
        }
        for name in (*NETWORKS, *REFUSED)
    }
    RESULTS.write_text(json.dumps(results, indent=1) + "\n")
    print(table(results))


if __name__ == "__main__":
    main()

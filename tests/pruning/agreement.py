"""Whether networks compute the same: a module and its graph, a masked and a shrunk network."""

import json

import numpy as np
import torch
from torch import Tensor, nn

from pruning.execution.network import Network
from pruning.frontend.trace import tensors_of, trace
from pruning.graph.channel_groups import ChannelGroups
from pruning.graph.graph import Graph
from pruning.graph.shrink import kept_axes, shrink_graph, shrink_tensors


def agree(model: nn.Module, *shape: int, batches: tuple[int, ...] = (1, 3)) -> Graph:
    """Trace, run both on some batch sizes, compare, and check shapes and JSON on the way."""
    model = model.eval()
    graph = trace(model, torch.zeros(shape))
    network = Network(graph, tensors_of(model)).eval()
    for batch in batches:
        inputs = torch.randn(batch, *shape, generator=torch.Generator().manual_seed(batch))
        with torch.no_grad():
            wanted, found = model(inputs.clone()), network(inputs)
        torch.testing.assert_close(found, wanted, rtol=1e-5, atol=1e-5)
    assert Graph.from_json(json.loads(json.dumps(graph.to_json()))) == graph
    return graph


def masks(graph: Graph, seed: int) -> np.ndarray:
    """Units to keep; with seed 0 one of every group."""
    random = np.random.default_rng(seed)
    kept = np.ones(graph.channels.units, dtype=bool)
    for group in graph.channels.groups:
        if group.prunable:
            count = int(random.integers(1, group.size + 1)) if seed else 1
            kept[group.units] = False
            kept[group.start + random.choice(group.size, count, replace=False)] = True
    return kept


def close(found: Tensor, wanted: Tensor) -> None:
    scale = wanted.abs().max().clamp_min(1.0)
    torch.testing.assert_close(found / scale, wanted / scale, rtol=0, atol=2e-5)


def without(network: Network, kept: np.ndarray) -> Network:
    """The network that is left when only the units in `kept` stay."""
    tensors = shrink_tensors(network.tensors(), kept_axes(network.graph, kept))
    return Network(shrink_graph(network.graph, kept), tensors).eval()


def shrunk_as_masked(network: Network, kept: np.ndarray) -> Network:
    """The shrunk network, which computes what the masked one does."""
    inputs = torch.randn(3, *network.graph.input_shape, generator=torch.Generator().manual_seed(3))
    smaller = without(network, kept)
    with torch.no_grad():
        close(smaller(inputs), network(inputs, torch.from_numpy(kept).float()))
    return smaller


def only_one(channels: ChannelGroups) -> np.ndarray:
    """Units to keep: the middle one of every group that can be pruned."""
    assert any(group.prunable and group.size > 1 for group in channels.groups)
    kept = np.ones(channels.units, dtype=bool)
    for group in channels.groups:
        if group.prunable:
            kept[group.units] = False
            kept[group.start + group.size // 2] = True
    return kept

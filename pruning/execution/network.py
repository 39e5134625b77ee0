"""A `Graph` with its tensors as a module that torch trains.

Channels are masked where a removed channel would otherwise not be zero: on the scale and
shift of a batch norm, on the weights of a layer without one, and behind operators that map
zero to something else. A masked network therefore computes what the shrunk one does.
"""

import re
from typing import final

import torch
from torch import Tensor, nn

from pruning.execution.fake_quant import FakeQuant
from pruning.execution.interpreter import EXACT, ChannelMask, Interpreter
from pruning.graph.graph import Graph
from pruning.ops import kind_of
from pruning.ops.base import Tensors

__all__ = ["Network", "Tensors", "first_output", "mask_points"]

BUFFERS = ("mean", "variance", "constant")  # parameter roles that are not trained


@final
class Network(nn.Module):
    """A graph with its tensors, as a module: (batch, *graph.input_shape) -> outputs.

    One output is returned as it is, several as a tuple. A tensor's name in the graph may hold
    any character, or be that of an attribute: it is registered under a number, and `tensors()`
    knows it by its name.
    """

    def __init__(self, graph: Graph, tensors: Tensors) -> None:
        super().__init__()
        self.graph = graph
        buffers = set(graph.frozen) | {
            o.parameters[r] for o in graph.operators for r in BUFFERS if r in o.parameters
        }
        names = dict.fromkeys(n for o in graph.operators for n in o.parameters.values())
        # The number makes it one of a kind; the letters behind it are for who reads an export,
        # no others, since torch writes them into code as they are.
        self._registered = {
            name: f"{number}_{re.sub(r'[^A-Za-z0-9_]', '_', name)}"
            for number, name in enumerate(names)
        }
        for name, key in self._registered.items():
            value = tensors[name].detach().clone()
            if name in buffers:
                self.register_buffer(key, value)
            else:
                self.register_parameter(key, nn.Parameter(value))
        self._interpreter = Interpreter(graph)
        self._masked = {
            name: torch.from_numpy(graph.channels.layout[name]) for name in mask_points(graph)
        }

    def tensors(self) -> dict[str, Tensor]:
        """Parameters and running statistics by their names in the graph (not copied)."""
        return {name: getattr(self, key) for name, key in self._registered.items()}

    def trained(self) -> dict[str, nn.Parameter]:
        """The parameters by their names in the graph."""
        named = self.tensors().items()
        return {name: tensor for name, tensor in named if isinstance(tensor, nn.Parameter)}

    def forward(
        self, batch: Tensor, mask: Tensor | None = None, rounding: FakeQuant | None = None
    ) -> Tensor | tuple[Tensor, ...]:
        """Run the graph. `mask` holds one factor per unit of `graph.channels`; `rounding` makes
        int8 codes of weights and values.
        """
        masks = None if mask is None else ChannelMask(mask, self._masked)
        arithmetic = EXACT if rounding is None else rounding
        return self._interpreter.run(self.tensors(), batch, arithmetic, self.training, masks)


def first_output(outputs: Tensor | tuple[Tensor, ...]) -> Tensor:
    """The first output of a network: the one that a task judges."""
    return outputs if isinstance(outputs, Tensor) else outputs[0]


def mask_points(graph: Graph) -> tuple[str, ...]:
    """The operators whose result must be masked for removed channels to be zero everywhere."""
    consumers = graph.consumers()
    points = []
    for operator in graph.operators:
        readers = consumers[operator.name]
        normalised = len(readers) == 1 and readers[0].kind == "batch_norm"
        masked_next = normalised and operator.name not in graph.outputs
        wakes = kind_of(operator).execution.wakes_zeros(operator)
        if wakes and not (kind_of(operator).folds_norm and masked_next):
            points.append(operator.name)
    return tuple(points)

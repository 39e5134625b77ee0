"""Running a `Graph`: the one interpreter that trains, scores and exports every network.

Channels are masked where a removed channel would otherwise not be zero: on the scale and
shift of a batch norm, on the weights of a layer without one, and behind operators that map
zero to something else. A masked network therefore computes what the shrunk one does.
"""

# ruff: noqa: ARG001 - the rules of a table all take the same arguments

import re
from collections.abc import Callable
from math import isfinite
from typing import final

import torch
from torch import Tensor, nn

from pruning.execution.fake_quant import FakeQuant
from pruning.execution.operations import Tensors, execute
from pruning.graph.fusion import FOLDS
from pruning.graph.graph import Graph
from pruning.ir.kinds import ELEMENTWISE, OPERATORS, WITHOUT_KERNEL, KindTable, either
from pruning.ir.operator import INPUT, Operator

__all__ = ["Network", "Tensors", "first_output", "mask_points"]

BUFFERS = ("mean", "variance", "constant")  # parameter roles that are not trained

# Masked on their weights, which is less work than on results.
SCALED = either(
    "whether its weights are masked",
    OPERATORS,
    yes=("conv", "linear", "batch_norm"),
    no=(
        "conv_transpose", "group_norm", *ELEMENTWISE, "pool", "activation", "prelu", "gather",
        "concat", "reduce", "resize", "softmax", *WITHOUT_KERNEL,
    ),
)  # fmt: skip


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
        self._release = _last_uses(graph)
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
        tensors = self.tensors()
        values: dict[str, Tensor] = {INPUT: batch}
        if rounding is not None:
            values[INPUT] = rounding.value(INPUT, batch)
        for operator in self.graph.operators:
            own: Tensors = {role: tensors[n] for role, n in operator.parameters.items()}
            points = self._masked.get(operator.name) if mask is not None else None
            factors = None if mask is None or points is None else mask[points.to(mask.device)]
            inputs = [values[name] for name in operator.inputs]
            if rounding is not None:
                own = rounding.parameters(operator, own)
            result = _step(operator, inputs, own, self.training, factors)
            if rounding is not None:
                result = rounding.value(operator.name, result)
            values[operator.name] = result
            for name in self._release.get(operator.name, ()):
                del values[name]
        outputs = tuple(values[name] for name in self.graph.outputs)
        return outputs[0] if len(outputs) == 1 else outputs


def first_output(outputs: Tensor | tuple[Tensor, ...]) -> Tensor:
    """The first output of a network: the one that a task judges."""
    return outputs if isinstance(outputs, Tensor) else outputs[0]


def _step(
    operator: Operator, inputs: list[Tensor], own: Tensors, training: bool, mask: Tensor | None
) -> Tensor:
    if mask is None:
        return execute(operator, inputs, own, training)
    if SCALED.of(operator):
        scaled = {
            role: t * mask.reshape(-1, *[1] * (t.dim() - 1)) if role in ("weight", "bias") else t
            for role, t in own.items()
        }
        return execute(operator, inputs, scaled, training)
    result = execute(operator, inputs, own, training)
    return result * mask.reshape(1, -1, *[1] * (result.dim() - 2))


def mask_points(graph: Graph) -> tuple[str, ...]:
    """The operators whose result must be masked for removed channels to be zero everywhere."""
    consumers = graph.consumers()
    points = []
    for operator in graph.operators:
        readers = consumers[operator.name]
        normalised = len(readers) == 1 and readers[0].kind == "batch_norm"
        masked_next = normalised and operator.name not in graph.outputs
        if WAKES.of(operator)(operator) and not (FOLDS.of(operator) and masked_next):
            points.append(operator.name)
    return tuple(points)


def _always(operator: Operator) -> bool:
    return True


def _never(operator: Operator) -> bool:
    return False


def _by_value(operator: Operator) -> bool:
    return bool(execute(operator, [torch.zeros(1, 1, device="cpu")], {}, False) != 0)


def _by_operand(operator: Operator) -> bool:
    return bool(operator.attributes.get("spread") or operator.parameters)


def _by_parameters(operator: Operator) -> bool:
    return bool(operator.parameters)


def _by_filling(operator: Operator) -> bool:
    """A border of infinity stays one; the rest of a removed channel is zero before."""
    fill = operator.attributes.get("fill", 0.0)
    return isfinite(fill) and fill != 0


# Whether a channel of zeros, or one whose filter is to go, comes out as something else.
WAKES: KindTable[str, Callable[[Operator], bool]] = KindTable(
    "whether zeros become something else",
    OPERATORS,
    {
        **dict.fromkeys(("conv", "conv_transpose", "linear", "batch_norm"), _always),
        "activation": _by_value,
        **dict.fromkeys(("add", "sub", "maximum", "minimum"), _by_operand),
        "group_norm": _by_parameters,
        "gather": _by_filling,
        **dict.fromkeys(("mul", "div", "pool", "prelu", "concat"), _never),
        **dict.fromkeys(("reduce", "resize", "softmax", "flatten", "dropout"), _never),
    },
)


def _last_uses(graph: Graph) -> dict[str, tuple[str, ...]]:
    """The values that nobody reads after an operator."""
    last = {name: operator.name for operator in graph.operators for name in operator.inputs}
    return {
        operator.name: tuple(
            n for n, user in last.items() if user == operator.name and n not in graph.outputs
        )
        for operator in graph.operators
    }

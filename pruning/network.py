"""Running a `Graph`: the one interpreter that trains, scores and exports every network.

Channels are masked where a removed channel would otherwise not be zero: on the scale and
shift of a batch norm, on the weights of a layer without one, and behind operators that map
zero to something else. A masked network therefore computes what the shrunk one does.
"""

# ruff: noqa: ARG001 - the rules of a table all take the same arguments

from collections.abc import Callable, Mapping
from typing import final

import torch
from torch import Tensor, nn
from torch.nn import functional

from pruning.graph import Graph
from pruning.records import INPUT, Operator

Tensors = Mapping[str, Tensor]
Execute = Callable[[Operator, list[Tensor], Tensors, bool], Tensor]

BUFFERS = ("mean", "variance")  # parameter roles that are not trained


@final
class Network(nn.Module):
    """A graph with its tensors, as a module: (batch, *graph.input_shape) -> outputs.

    One output is returned as it is, several as a tuple. Tensor names are those of the graph
    with "/" for "." (`tensors()` gives them back).
    """

    def __init__(self, graph: Graph, tensors: Tensors) -> None:
        super().__init__()
        self.graph = graph
        buffers = {
            o.parameters[r] for o in graph.operators for r in BUFFERS if r in o.parameters
        }
        for name in dict.fromkeys(n for o in graph.operators for n in o.parameters.values()):
            if name in buffers:
                self.register_buffer(name.replace(".", "/"), tensors[name].detach().clone())
            else:
                value = nn.Parameter(tensors[name].detach().clone())
                self.register_parameter(name.replace(".", "/"), value)
        self._release = _last_uses(graph)
        self._masked = {
            name: torch.from_numpy(graph.channels.layout[name]) for name in mask_points(graph)
        }

    def tensors(self) -> dict[str, Tensor]:
        """Parameters and running statistics by their names in the graph (not copied)."""
        named = [*self.named_parameters(), *self.named_buffers()]
        return {name.replace("/", "."): tensor for name, tensor in named}

    def forward(self, batch: Tensor, mask: Tensor | None = None) -> Tensor | tuple[Tensor, ...]:
        """Run the graph. `mask` holds one factor per unit of `graph.channels`."""
        tensors = self.tensors()
        values: dict[str, Tensor] = {INPUT: batch}
        for operator in self.graph.operators:
            own = {role: tensors[name] for role, name in operator.parameters.items()}
            points = self._masked.get(operator.name) if mask is not None else None
            factors = None if mask is None or points is None else mask[points.to(mask.device)]
            inputs = [values[name] for name in operator.inputs]
            values[operator.name] = _step(operator, inputs, own, self.training, factors)
            for name in self._release.get(operator.name, ()):
                del values[name]
        outputs = tuple(values[name] for name in self.graph.outputs)
        return outputs[0] if len(outputs) == 1 else outputs


def first(outputs: Tensor | tuple[Tensor, ...]) -> Tensor:
    """The first output of a network: the one that a task judges."""
    return outputs if isinstance(outputs, Tensor) else outputs[0]


def _step(
    operator: Operator, inputs: list[Tensor], own: Tensors, training: bool, mask: Tensor | None
) -> Tensor:
    if mask is None:
        return execute(operator, inputs, own, training)
    if operator.parameters:
        scaled = {
            role: t * mask.reshape(-1, *[1] * (t.dim() - 1))
            if role in ("weight", "bias")
            else t
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
        makes = operator.kind == "batch_norm" or (
            operator.kind in ("conv", "linear")
            and not (normalised and _private(graph, operator))
        )
        if makes or _wakes(operator):
            points.append(operator.name)
    return tuple(points)


def _wakes(operator: Operator) -> bool:
    """Whether a channel of zeros comes out as something else."""
    a = operator.attributes
    if operator.kind == "add":
        return bool(a.get("spread"))
    outside = a.get("min_val", 0.0) > 0 or a.get("max_val", 0.0) < 0
    return a.get("function") in NONZERO_AT_ZERO or outside


def _private(graph: Graph, operator: Operator) -> bool:
    return operator.name not in graph.outputs


def _last_uses(graph: Graph) -> dict[str, tuple[str, ...]]:
    """The values that nobody reads after an operator."""
    last = {name: operator.name for operator in graph.operators for name in operator.inputs}
    return {
        operator.name: tuple(
            n for n, user in last.items() if user == operator.name and n not in graph.outputs
        )
        for operator in graph.operators
    }


def execute(operator: Operator, inputs: list[Tensor], own: Tensors, training: bool) -> Tensor:
    """One operator on batched inputs; `own` maps parameter roles to tensors."""
    return EXECUTE[operator.kind](operator, inputs, own, training)


def _convolution(o: Operator, inputs: list[Tensor], own: Tensors, training: bool) -> Tensor:
    a = o.attributes
    convolve = functional.conv1d if len(a["kernel"]) == 1 else functional.conv2d
    settings = (a["stride"], a["padding"], a["dilation"], a["groups"])
    return convolve(inputs[0], own["weight"], own.get("bias"), *settings)


def _linear(o: Operator, inputs: list[Tensor], own: Tensors, training: bool) -> Tensor:
    return functional.linear(inputs[0], own["weight"], own.get("bias"))


def _batch_norm(o: Operator, inputs: list[Tensor], own: Tensors, training: bool) -> Tensor:
    return functional.batch_norm(
        inputs[0],
        own["mean"],
        own["variance"],
        own["weight"],
        own["bias"],
        training,
        o.attributes["momentum"],
        o.attributes["epsilon"],
    )


def _pool(o: Operator, inputs: list[Tensor], own: Tensors, training: bool) -> Tensor:
    a = o.attributes
    flat = len(a["kernel"]) == 1
    window = (a["kernel"], a["stride"], a["padding"])
    if a["mode"] == "max":
        pool = functional.max_pool1d if flat else functional.max_pool2d
        return pool(inputs[0], *window, ceil_mode=a["ceil"])
    average = functional.avg_pool1d if flat else functional.avg_pool2d
    result = average(
        inputs[0], *window, ceil_mode=a["ceil"], count_include_pad=a["count_padding"]
    )
    return result.flatten(1) if a.get("squeeze") else result


def _activation(o: Operator, inputs: list[Tensor], own: Tensors, training: bool) -> Tensor:
    settings = {key: value for key, value in o.attributes.items() if key != "function"}
    return ACTIVATIONS[o.attributes["function"]](inputs[0], **settings)


def _add(o: Operator, inputs: list[Tensor], own: Tensors, training: bool) -> Tensor:
    return inputs[0] + inputs[1]


def _multiply(o: Operator, inputs: list[Tensor], own: Tensors, training: bool) -> Tensor:
    return inputs[0] * inputs[1]


def _concat(o: Operator, inputs: list[Tensor], own: Tensors, training: bool) -> Tensor:
    return torch.cat(inputs, dim=1)


def _flatten(o: Operator, inputs: list[Tensor], own: Tensors, training: bool) -> Tensor:
    return inputs[0].flatten(1) if len(o.shape) == 1 else inputs[0].reshape(-1, *o.shape)


def _softmax(o: Operator, inputs: list[Tensor], own: Tensors, training: bool) -> Tensor:
    return inputs[0].softmax(1)


def _dropout(o: Operator, inputs: list[Tensor], own: Tensors, training: bool) -> Tensor:
    drop = torch.feature_dropout if o.attributes.get("channels") else torch.dropout
    return drop(inputs[0], o.attributes["p"], training)


ACTIVATIONS: Mapping[str, Callable[..., Tensor]] = {
    "relu": functional.relu,
    "relu6": functional.relu6,
    "hardtanh": functional.hardtanh,
    "hardswish": functional.hardswish,
    "hardsigmoid": functional.hardsigmoid,
    "sigmoid": torch.sigmoid,
    "silu": functional.silu,
    "tanh": torch.tanh,
    "leaky_relu": functional.leaky_relu,
    "elu": functional.elu,
    "gelu": functional.gelu,
}
NONZERO_AT_ZERO = ("sigmoid", "hardsigmoid")

EXECUTE: Mapping[str, Execute] = {
    "conv": _convolution,
    "linear": _linear,
    "batch_norm": _batch_norm,
    "pool": _pool,
    "activation": _activation,
    "add": _add,
    "multiply": _multiply,
    "concat": _concat,
    "flatten": _flatten,
    "softmax": _softmax,
    "dropout": _dropout,
}

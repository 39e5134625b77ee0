"""Folding batch norms, and the score of the int8 network, simulated in floating point.

Weights are symmetric per output channel in [-127, 127], activations asymmetric per tensor in
[-128, 127]; ranges come from calibration inputs. Max pooling, flattening and concatenation of
one buffer keep its values, so every buffer is rounded exactly once.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from math import isnan

import numpy as np
import torch
from torch import Tensor

from pruning.errors import DivergedError
from pruning.execution.interpreter import Arithmetic, Interpreter, RangeObserver, value_range
from pruning.graph.fusion import fuse
from pruning.graph.graph import Graph
from pruning.ir.operator import INPUT, Operator
from pruning.ops import filters, kind_of
from pruning.ops.base import Tensors

LEVELS = 255


def fold(graph: Graph, tensors: Mapping[str, Tensor]) -> tuple[Graph, dict[str, Tensor]]:
    """The graph without the batch norms that a layer can absorb, and its new tensors.

    Outputs are equal in inference mode up to rounding.
    """
    norms = {k.main.name: graph[k.chain[1]] for k in fuse(graph) if _norm_follows(graph, k.chain)}
    renamed = {norm.name: name for name, norm in norms.items()}
    operators: list[Operator] = []
    folded: dict[str, Tensor] = {}
    for operator in graph.operators:
        if operator.name in renamed:
            continue
        own = {role: tensors[name].detach() for role, name in operator.parameters.items()}
        if operator.name in norms:
            norm = norms[operator.name]
            scales = {r: tensors[n].detach() for r, n in norm.parameters.items()}
            own = _folded(operator, own, norm, scales)
        names = {role: f"{operator.name}.{role}" for role in own}
        folded.update({names[role]: tensor for role, tensor in own.items()})
        inputs = tuple(renamed.get(name, name) for name in operator.inputs)
        operators.append(replace(operator, inputs=inputs, parameters=names))
    outputs = tuple(renamed.get(name, name) for name in graph.outputs)
    ignored = tuple(name for name in graph.ignored_layers if name not in renamed)
    unbound = replace(
        graph, operators=tuple(operators), outputs=outputs, ignored_layers=ignored, min_channels={}
    )
    return unbound, folded


def _norm_follows(graph: Graph, chain: tuple[str, ...]) -> bool:
    return (
        kind_of(graph[chain[0]]).folds_norm
        and len(chain) > 1
        and graph[chain[1]].kind == "batch_norm"
    )


def _folded(
    layer: Operator, own: Mapping[str, Tensor], norm: Operator, its: Mapping[str, Tensor]
) -> dict[str, Tensor]:
    factor = its["weight"] / torch.sqrt(its["variance"] + norm.attributes["epsilon"])
    weight = filters(layer, own["weight"])
    bias = own.get("bias", torch.zeros_like(its["bias"]))
    return {
        "weight": filters(layer, weight * factor.reshape(-1, *[1] * (weight.dim() - 1))),
        "bias": its["bias"] + (bias - its["mean"]) * factor,
    }


@dataclass(frozen=True, slots=True)
class QuantParams:
    """The affine int8 code of a tensor: real = scale * (integer - zero_point)."""

    scale: float
    zero_point: int


@dataclass(frozen=True, slots=True)
class FakeQuant(Arithmetic):
    """Weights and values as int8 codes while a network learns: the way back passes straight
    through, except where a value was clipped.

    `codes` are those of values by the name of the operator that ends their kernel; the input
    is among them. Symmetric codes by output channel are the same before and after a batch norm
    is folded, so a layer's own weights are rounded, and the norm may still learn.
    """

    codes: Mapping[str, QuantParams]

    @staticmethod
    def of(graph: Graph, codes: Mapping[str, QuantParams]) -> "FakeQuant":
        """From the codes of a graph's folded form."""
        ends = {
            k.output: k.main.name if graph[k.output].kind == "batch_norm" else k.output
            for k in fuse(graph)
            if not copies(k.main)
        }
        own = {name: codes[folded] for name, folded in ends.items()}
        return FakeQuant({INPUT: codes[INPUT], **own})

    def value(self, name: str, value: Tensor) -> Tensor:
        """A value as its kernel leaves it."""
        return _coded(value.float(), self.codes[name]) if name in self.codes else value

    def parameters(self, operator: Operator, parameters: Tensors) -> Tensors:
        """An operator's parameters as they are stored."""
        if not kind_of(operator).folds_norm:
            return parameters
        weight = parameters["weight"]
        stored = _rounded(operator, "weight", weight.detach())
        return {**parameters, "weight": weight + (stored - weight.detach())}


class QuantizedNetwork:
    """A folded graph whose weights and buffers are rounded to int8 codes."""

    def __init__(self, graph: Graph, tensors: Mapping[str, Tensor], calibration: Tensor) -> None:
        """`calibration` holds normalised inputs, (batch, *graph.input_shape)."""
        self.graph, floating = fold(graph, tensors)
        self._interpreter = Interpreter(self.graph)
        observer = RangeObserver()
        with torch.no_grad():
            self._interpreter.run(floating, calibration, observer)
        rounded = (INPUT, *_rounded_values(self.graph))
        self.ranges = {name: qparams_between(*observer.ranges[name]) for name in rounded}
        self.tensors = {
            name: _rounded(operator, role, floating[name])
            for operator in self.graph.operators
            for role, name in operator.parameters.items()
        }

    @torch.no_grad()
    def __call__(self, batch: Tensor) -> Tensor | tuple[Tensor, ...]:
        """Outputs as the int8 network gives them, in real units."""
        return self._interpreter.run(self.tensors, batch, _RoundedValues(self.ranges))


@dataclass(frozen=True, slots=True)
class _RoundedValues(Arithmetic):
    """Values as int8 codes; the parameters are rounded already."""

    codes: Mapping[str, QuantParams]

    def value(self, name: str, value: Tensor) -> Tensor:
        return _coded(value, self.codes[name]) if name in self.codes else value


def _rounded_values(graph: Graph) -> list[str]:
    """The buffers that are requantised: all but those that copy the codes of another."""
    return [k.output for k in fuse(graph, norms=False) if not copies(k.main)]


def copies(main: Operator) -> bool:
    """Whether all results are among the operands, or zero."""
    return kind_of(main).execution.copies(main)


def _coded(value: Tensor, code: QuantParams) -> Tensor:
    return torch.fake_quantize_per_tensor_affine(value, code.scale, code.zero_point, -128, 127)


def qparams_between(low: float, high: float) -> QuantParams:
    """The code of values between two, zero among them. Files and kernels hold its scale in
    single precision, so that is what it has.

    Raises:
        DivergedError: the values are no numbers.
    """
    if isnan(low) or isnan(high):
        raise DivergedError(
            "the network computes NaN, which no int8 code holds; lower the learning rate"
        )
    low, high = min(low, 0.0), max(high, 0.0)
    # What was always zero has the widest of codes: the narrowest would clip whatever comes.
    step = max((high - low) / LEVELS, 1e-8) if low < high else 1.0
    scale = float(np.float32(step))
    return QuantParams(scale, max(-128, min(127, round(-128 - low / scale))))


def _range(value: Tensor) -> QuantParams:
    return qparams_between(*value_range(value))


def _rounded(operator: Operator, role: str, tensor: Tensor) -> Tensor:
    """A parameter as it is stored: weights by output channel, constant operands by tensor."""
    rule = kind_of(operator).execution
    if role in rule.coded_roles:
        values = tensor.float()
        if rule.stores_reciprocals:
            return 1 / _coded(1 / values, _range(1 / values))
        return _coded(values, _range(values))
    if role != "weight" or not kind_of(operator).folds_norm:
        return tensor
    weight = filters(operator, tensor)
    axes = tuple(range(1, weight.dim()))
    scale = (weight.abs().amax(dim=axes, keepdim=True) / 127).clamp_min(1e-12)
    return filters(operator, (weight / scale).round().clamp(-127, 127) * scale)

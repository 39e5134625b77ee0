"""Running a `Graph`: the one loop behind training, scoring, simulation and calibration.

What differs between them is how numbers are represented: an `Arithmetic` sees every parameter
before it is used and every value as soon as it is computed.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from math import isinf
from typing import NamedTuple, final

from torch import Tensor

from pruning.graph.graph import Graph
from pruning.ir.operator import INPUT, Operator
from pruning.ops import execute, kind_of
from pruning.ops.base import Tensors


class Arithmetic:
    """The representation of a network's numbers while it runs: here, as torch computes them."""

    __slots__ = ()

    def parameters(self, operator: Operator, parameters: Tensors) -> Tensors:  # noqa: ARG002
        """An operator's parameters, by their roles, as they are stored."""
        return parameters

    def value(self, name: str, value: Tensor) -> Tensor:  # noqa: ARG002
        """A value, (batch, *shape), as it is stored; "input" is that of the network."""
        return value


EXACT = Arithmetic()


class ChannelMask(NamedTuple):
    """One factor for every unit of a graph's channels, (units,), and the units of the channels
    of every operator whose result is masked, (channels,).
    """

    factors: Tensor
    units: Mapping[str, Tensor]

    def of(self, operator: Operator) -> Tensor | None:
        """The factors of an operator's channels; None where it is not masked."""
        units = self.units.get(operator.name)
        return None if units is None else self.factors[units.to(self.factors.device)]


@final
@dataclass(frozen=True, slots=True)
class RangeObserver(Arithmetic):
    """Numbers as torch computes them; `ranges` has the least and the largest of every value."""

    ranges: dict[str, tuple[float, float]] = field(default_factory=dict)

    def value(self, name: str, value: Tensor) -> Tensor:
        """The value itself; its range is noted."""
        self.ranges[name] = value_range(value)
        return value


@final
class Interpreter:
    """Runs one graph. A value is released as soon as its last reader has run."""

    def __init__(self, graph: Graph) -> None:
        self._graph = graph
        last = {name: operator.name for operator in graph.operators for name in operator.inputs}
        self._released: dict[str, list[str]] = {}
        for name, reader in last.items():
            if name not in graph.outputs:
                self._released.setdefault(reader, []).append(name)

    def run(
        self,
        tensors: Tensors,
        batch: Tensor,
        arithmetic: Arithmetic = EXACT,
        training: bool = False,
        mask: ChannelMask | None = None,
    ) -> Tensor | tuple[Tensor, ...]:
        """The outputs for a batch, (batch, *graph.input_shape): a tensor, or a tuple of several.

        `tensors` maps the names of parameters to tensors.
        """
        values: dict[str, Tensor] = {INPUT: arithmetic.value(INPUT, batch)}
        for operator in self._graph.operators:
            stored = {role: tensors[name] for role, name in operator.parameters.items()}
            factors = None if mask is None else mask.of(operator)
            inputs = [values[name] for name in operator.inputs]
            parameters = arithmetic.parameters(operator, stored)
            result = _masked(operator, inputs, parameters, training, factors)
            values[operator.name] = arithmetic.value(operator.name, result)
            for name in self._released.get(operator.name, ()):
                del values[name]
        outputs = tuple(values[name] for name in self._graph.outputs)
        return outputs[0] if len(outputs) == 1 else outputs


def _masked(
    operator: Operator,
    inputs: list[Tensor],
    parameters: Tensors,
    training: bool,
    factors: Tensor | None,
) -> Tensor:
    if factors is None:
        return execute(operator, inputs, parameters, training)
    if kind_of(operator).execution.masks_weights:
        masked = {
            role: t * factors.reshape(-1, *[1] * (t.dim() - 1)) if role in ("weight", "bias") else t
            for role, t in parameters.items()
        }
        return execute(operator, inputs, masked, training)
    result = execute(operator, inputs, parameters, training)
    return result * factors.reshape(1, -1, *[1] * (result.dim() - 2))


def value_range(value: Tensor) -> tuple[float, float]:
    """The least and the largest number; infinities, as pad a maximum, are left to clipping."""
    low, high = value.min().item(), value.max().item()
    if isinf(low) or isinf(high):
        finite = value[~value.isinf()]
        return value_range(finite) if finite.numel() else (0.0, 0.0)
    return low, high

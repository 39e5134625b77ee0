"""A network as data: operators, the shapes they make, and the channels they share.

A `Graph` holds no weights and no Python code: operators name their parameters, and whoever
executes the graph brings a mapping from names to tensors. Shapes leave the batch out, so a
feature map is (channels, height, width) and a feature vector is (channels,).
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from math import prod
from typing import Any

from pruning.channels import Channels, find_channels

Shape = tuple[int, ...]
INPUT = "input"


@dataclass(frozen=True, slots=True, kw_only=True)
class Operator:
    """One step of a network. Its output value bears its name.

    `parameters` maps roles ("weight", "bias", "mean", "variance") to tensor names.
    `attributes` holds JSON values only (strides, paddings, epsilon, ...).
    """

    name: str
    kind: str
    inputs: tuple[str, ...]
    shape: Shape
    attributes: Mapping[str, Any] = field(default_factory=dict)
    parameters: Mapping[str, str] = field(default_factory=dict)

    @property
    def label(self) -> str:
        """The kind, or the function of an activation."""
        return str(self.attributes.get("function", self.kind))

    @property
    def elements_per_channel(self) -> int:
        """How many numbers one channel of the output holds."""
        return prod(self.shape[1:])


@dataclass(frozen=True, kw_only=True)
class Graph:
    """Operators in a valid order, from one input to the outputs.

    `keep` names operators whose output channels must not be pruned; the channels of the
    network's input and outputs never are.
    """

    input_shape: Shape
    operators: tuple[Operator, ...]
    outputs: tuple[str, ...]
    keep: tuple[str, ...] = ()
    channels: Channels = field(init=False, compare=False, repr=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "channels", find_channels(self))

    def __getitem__(self, name: str) -> Operator:
        return next(operator for operator in self.operators if operator.name == name)

    def shape(self, value: str) -> Shape:
        """The shape of a value, batch left out."""
        return self.input_shape if value == INPUT else self[value].shape

    def consumers(self) -> dict[str, list[Operator]]:
        """Which operators read each value (a key for every value)."""
        table: dict[str, list[Operator]] = {INPUT: []}
        for operator in self.operators:
            table[operator.name] = []
            for name in dict.fromkeys(operator.inputs):
                table[name].append(operator)
        return table

    def to_json(self) -> dict[str, Any]:
        """The graph as JSON values; `Graph.from_json` reads it back."""
        return {
            "input_shape": list(self.input_shape),
            "outputs": list(self.outputs),
            "keep": list(self.keep),
            "operators": [
                {
                    "name": operator.name,
                    "kind": operator.kind,
                    "inputs": list(operator.inputs),
                    "shape": list(operator.shape),
                    "attributes": dict(operator.attributes),
                    "parameters": dict(operator.parameters),
                }
                for operator in self.operators
            ],
        }

    @staticmethod
    def from_json(spec: Mapping[str, Any]) -> "Graph":
        """The graph that `to_json` wrote."""
        operators = tuple(
            Operator(
                name=entry["name"],
                kind=entry["kind"],
                inputs=tuple(entry["inputs"]),
                shape=tuple(entry["shape"]),
                attributes=entry["attributes"],
                parameters=entry["parameters"],
            )
            for entry in spec["operators"]
        )
        return Graph(
            input_shape=tuple(spec["input_shape"]),
            operators=operators,
            outputs=tuple(spec["outputs"]),
            keep=tuple(spec["keep"]),
        )

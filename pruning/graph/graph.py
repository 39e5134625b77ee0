"""A network as data: operators, the shapes they make, and the channels they share.

A `Graph` holds no weights and no Python code: operators name their parameters, and whoever
executes the graph brings a mapping from names to tensors.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from pruning.graph.channel_groups import ChannelGroups, find_channel_groups
from pruning.ir.operator import INPUT, Operator, Shape


@dataclass(frozen=True, kw_only=True)
class Graph:
    """Operators in a valid order, from one input to the outputs.

    `ignored_layers` names operators whose output channels must not be pruned; the channels of the
    network's input and outputs never are. `min_channels` maps operators to the fewest channels that
    they may be pruned to; `round_to` divides every pruned width. `frozen` names tensors that are
    not trained.
    """

    input_shape: Shape
    operators: tuple[Operator, ...]
    outputs: tuple[str, ...]
    ignored_layers: tuple[str, ...] = ()
    min_channels: Mapping[str, int] = field(default_factory=dict)
    round_to: int = 1
    frozen: tuple[str, ...] = ()
    channels: ChannelGroups = field(init=False, compare=False, repr=False)

    def __post_init__(self) -> None:
        channels = find_channel_groups(
            self.input_shape,
            self.operators,
            self.outputs,
            self.ignored_layers,
            self.min_channels,
            self.round_to,
        )
        object.__setattr__(self, "channels", channels)

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
            "keep": list(self.ignored_layers),
            "least": dict(self.min_channels),
            "align": self.round_to,
            **({"frozen": list(self.frozen)} if self.frozen else {}),
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
            ignored_layers=tuple(spec["keep"]),
            min_channels=spec.get("least", {}),  # files of earlier versions know none of these
            round_to=spec.get("align", 1),
            frozen=tuple(spec.get("frozen", ())),
        )

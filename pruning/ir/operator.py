"""What a network is made of: operators, and the shapes of what they make.

Shapes leave the batch out, so a feature map is (channels, height, width) and a feature vector
is (channels,).
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from math import prod
from typing import Any

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

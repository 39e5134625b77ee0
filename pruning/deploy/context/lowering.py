"""What the lowering of a kernel works with: the graph, its tensors and the codes of its buffers."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, final

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from pruning.deploy.fixed_point import FixedPointMultiplier, fixed_point_multiplier
from pruning.deploy.integer_ir import HIGH, LOW, Codes, Shape3, in_order, plane, quantize
from pruning.errors import DeployError
from pruning.execution.fake_quant import QuantParams, qparams_between
from pruning.graph.graph import Graph
from pruning.ir.kernel import Kernel
from pruning.ir.operator import INPUT

Reals = NDArray[np.float64]


@final
@dataclass(slots=True, kw_only=True)
class LoweringContext:
    """A graph whose batch norms are folded, and the buffers of its integer network so far.

    `tensors` are the graph's own; `codes` and `shapes` are those of buffers, by name, and
    `constants` what is stored of them. Lowering a kernel adds the shape of its output, and its
    constant operand if it has one.
    """

    graph: Graph
    tensors: Mapping[str, Tensor]
    codes: dict[str, QuantParams]
    shapes: dict[str, Shape3] = field(default_factory=dict)
    constants: dict[str, Codes] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.shapes[INPUT] = plane(self.graph.input_shape)

    def fields(self, kernel: Kernel, shape: Shape3 | None = None) -> dict[str, Any]:
        """The fields that all integer kernels have. `shape` is the output's where it is not
        that of the value that the operator makes.

        Raises:
            DeployError: an operator fused into the kernel is no clamp.
        """
        self.shapes[kernel.output] = shape or plane(kernel.main.shape)
        low, high = self._clamp(kernel)
        return {
            "name": kernel.name,
            "inputs": kernel.inputs,
            "output": kernel.output,
            "reads": tuple(map(self.read_shape, kernel.main.inputs, kernel.inputs)),
            "shape": self.shapes[kernel.output],
            "low": low,
            "high": high,
        }

    def parameters(self, kernel: Kernel) -> dict[str, Tensor]:
        """The tensors of a kernel's main operator by role, such as "weight"."""
        return {role: self.tensors[name] for role, name in kernel.main.parameters.items()}

    def scale(self, buffer: str) -> float:
        """The real step of a buffer's code."""
        return self.codes[buffer].scale

    def multipliers(self, kernel: Kernel, factors: Sequence[float]) -> FixedPointMultiplier:
        """One multiplier for each factor, from the code of the first input to that of the
        output.
        """
        steps = self.scale(kernel.inputs[0]) * np.asarray(factors, dtype=np.float64)
        return fixed_point_multiplier(steps / self.scale(kernel.output))

    def add_constant(self, kernel: Kernel, values: Reals) -> str:
        """Store a constant operand, (channels, height, width); returns its name."""
        name = f"{kernel.name}..operand"  # no value is named so: no module's name is empty
        code = self.codes[name] = qparams_between(float(values.min()), float(values.max()))
        self.shapes[name] = plane(values.shape)
        self.constants[name] = quantize(values, code)
        return name

    def read_shape(self, value: str, buffer: str) -> Shape3:
        """The shape that a buffer is read in: the value's, unless a layer flattens it."""
        shape, stored = plane(self.graph.shape(value)), self.shapes[buffer]
        return shape if in_order(stored, shape) else stored

    def _clamp(self, kernel: Kernel) -> tuple[int, int]:
        """The lowest and the highest code that the operators fused behind the main one let."""
        code = self.codes[kernel.output]
        low, high = LOW, HIGH
        for name in kernel.chain[1:]:
            low = max(low, code.zero_point)
            match self.graph[name].label:
                case "relu6":
                    high = min(high, code.zero_point + round(6.0 / code.scale))
                case "relu":
                    pass
                case other:
                    raise DeployError(f"{name}: no clamp of integers is known for {other}")
        return low, high


def as_numpy(tensor: Tensor) -> Reals:
    """A tensor in double precision."""
    return tensor.detach().double().cpu().numpy()

"""From a trained network to one of integers: `lower`.

Weights are rounded to symmetric codes by output channel; biases to the steps of what is added
up.
"""

# ruff: noqa: ARG001 - the rules of a table all take the same arguments

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from math import prod
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from pruning.cost.memory.peak import DEPLOYED, schedule
from pruning.deploy.fixed_point import FixedPointMultiplier, fixed_point_multiplier, requantize
from pruning.deploy.integer_ir import (
    ADD_SHIFT,
    HIGH,
    LOW,
    Add,
    Codes,
    Concat,
    Conv,
    ConvTranspose,
    Gather,
    IntegerKernel,
    IntegerNetwork,
    Lut,
    Mean,
    Mul,
    Pool,
    Prelu,
    Shape3,
    Window,
)
from pruning.deploy.supported import in_order, plane, require_deployable
from pruning.errors import DeployError
from pruning.execution.fake_quant import QuantParams, fold, qparams_between
from pruning.graph.fusion import buffers, fuse
from pruning.graph.graph import Graph
from pruning.ir.gather import PAD, index_tables, source_indices
from pruning.ir.kernel import Kernel, along_two
from pruning.ir.kinds import KindTable
from pruning.ir.operator import INPUT, Operator
from pruning.ops import execute, filters

Reals = NDArray[np.float64]
BIAS_BITS, SUM_BITS = 28, 29  # of biases and of sums of products: together below 2 ** 30


def lower(
    graph: Graph, tensors: Mapping[str, Tensor], codes: Mapping[str, QuantParams]
) -> IntegerNetwork:
    """The integer network of a graph, its tensors and the codes of its buffers.

    It depends on nothing else, and its kernels come in the order that needs least memory.

    Raises:
        DeployError: an operator has no integer kernel, or a buffer no code.
    """
    require_deployable(graph)
    folded, floating = fold(graph, {name: tensor.cpu() for name, tensor in tensors.items()})
    kernels = _in_order(folded)
    if missing := {INPUT, *(kernel.output for kernel in kernels)} - set(codes):
        raise DeployError(
            f"no codes for {', '.join(sorted(missing))}: they are those of another network"
        )
    lowering = _Lowering(folded, floating, dict(codes))
    lowered = tuple(lowering.kernel(kernel) for kernel in kernels)
    holds = buffers(folded, kernels)
    return IntegerNetwork(
        kernels=lowered,
        outputs=tuple(holds[name] for name in folded.outputs),
        shown=tuple(folded.shape(name) for name in folded.outputs),
        codes=lowering.codes,
        shapes=lowering.shapes,
        constants=lowering.constants,
    )


def _window(main: Operator) -> Window:
    a = main.attributes
    return Window(
        kernel=along_two(a["kernel"], 1),
        stride=along_two(a["stride"], 1),
        padding=along_two(a["padding"], 0),
        dilation=along_two(a.get("dilation", [1] * len(a["kernel"])), 1),
    )


def _numbers(tensor: Tensor) -> Reals:
    return tensor.detach().double().cpu().numpy()


def _in_order(graph: Graph) -> list[Kernel]:
    """The kernels of a graph in the order that needs least memory."""
    kernels = fuse(graph, norms=False)
    sizes = {name: prod(graph.shape(name)) for name in (INPUT, *(k.output for k in kernels))}
    holds = buffers(graph, kernels)
    outputs = [holds[name] for name in graph.outputs]
    return [kernels[step.kernel] for step in schedule(kernels, sizes, outputs, DEPLOYED)]


@dataclass
class _Lowering:
    """What is known while kernels are lowered one after the other."""

    graph: Graph
    tensors: Mapping[str, Tensor]
    codes: dict[str, QuantParams]
    shapes: dict[str, Shape3] = field(default_factory=dict)
    constants: dict[str, Codes] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.shapes[INPUT] = plane(self.graph.input_shape)

    def kernel(self, kernel: Kernel) -> IntegerKernel:
        """The integer kernel of one kernel."""
        main = kernel.main
        self.shapes[kernel.output] = plane(main.shape)
        if main.kind == "pool" and main.attributes.get("squeeze"):
            self.shapes[kernel.output] = self._squeezed(kernel)
        own = {role: self.tensors[name] for role, name in main.parameters.items()}
        return LOWERINGS.at(main.kind, main.name)(self, kernel, own)

    def base(self, kernel: Kernel) -> dict[str, Any]:
        """The fields that all kernels have."""
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
        return {
            "name": kernel.name,
            "inputs": kernel.inputs,
            "output": kernel.output,
            "reads": tuple(map(self._read, kernel.main.inputs, kernel.inputs)),
            "shape": self.shapes[kernel.output],
            "low": low,
            "high": high,
        }

    def scale(self, name: str) -> float:
        """The real step of a buffer's code."""
        return self.codes[name].scale

    def scalings(self, kernel: Kernel, factors: Sequence[float]) -> FixedPointMultiplier:
        """One scaling for each factor, from the code of what is read to that of the result."""
        read = self.scale(kernel.inputs[0]) * np.asarray(factors, dtype=np.float64)
        return fixed_point_multiplier(read / self.scale(kernel.output))

    def constant(self, kernel: Kernel, values: Reals) -> str:
        """Store a constant operand, (channels, height, width); returns its name."""
        name = f"{kernel.name}..operand"  # no value is named so: no module's name is empty
        code = self.codes[name] = qparams_between(float(values.min()), float(values.max()))
        self.shapes[name] = plane(values.shape)
        self.constants[name] = _coded(values, code)
        return name

    def _read(self, value: str, buffer: str) -> Shape3:
        """The shape that a buffer is read in: the value's, unless a layer flattens it."""
        shape, lies = plane(self.graph.shape(value)), self.shapes[buffer]
        return shape if in_order(lies, shape) else lies

    def _squeezed(self, kernel: Kernel) -> Shape3:
        channels, *read = self._read(kernel.main.inputs[0], kernel.inputs[0])
        height, width = (
            n // k
            for n, k in zip(read, along_two(kernel.main.attributes["kernel"], 1), strict=True)
        )
        return channels, height, width


def _coded(values: Reals, code: QuantParams) -> Codes:
    whole = np.rint(values / code.scale) + code.zero_point
    return whole.clip(LOW, HIGH).astype(np.int8)


Own = Mapping[str, Tensor]
Rule = Callable[[_Lowering, Kernel, Own], IntegerKernel]


def _layer(at: _Lowering, kernel: Kernel, own: Own) -> Conv:
    main = kernel.main
    weight = _numbers(filters(main, own["weight"]))
    window, base = Window(), at.base(kernel)
    if main.kind == "linear":  # one window over all that was flattened
        weight = weight.reshape(len(weight), *_flattened(weight.shape[1], base["reads"][0]))
        height, width = weight.shape[2:]
        window = Window(kernel=(height, width))
    else:
        weight = weight.reshape(*weight.shape[:2], *along_two(weight.shape[2:], 1))
        window = _window(main)
    bias = _numbers(own["bias"]) if "bias" in own else np.zeros(len(weight))
    make = ConvTranspose if main.kind == "conv_transpose" else Conv
    groups = main.attributes.get("groups", 1)
    return _weighted(at, kernel, make, weight, bias, {"window": window, "groups": groups})


def _flattened(inputs: int, read: Shape3) -> Shape3:
    """What a linear layer sees in a buffer: all of it, or the channels of each pixel."""
    return read if inputs == prod(read) else (inputs, 1, 1)


def _weighted(
    at: _Lowering,
    kernel: Kernel,
    make: type[Conv],
    weight: Reals,
    bias: Reals,
    settings: Mapping[str, Any],
) -> Conv:
    read = at.scale(kernel.inputs[0])
    sizes = np.abs(weight).reshape(len(weight), -1)
    # Where the weights are next to nothing, the bias must still find room; where there are very
    # many, their sum.
    least = np.maximum(np.abs(bias) / (read * 2.0**BIAS_BITS), 1e-12)
    least = np.maximum(least, sizes.sum(1) * 256 / 2.0**SUM_BITS)
    steps = np.maximum(sizes.max(1) / 127, least).astype(np.float32).astype(np.float64)
    whole = np.rint(weight / steps[:, None, None, None]).clip(-127, 127)
    return make(
        weight=whole.astype(np.int8),
        steps=steps,
        bias=np.rint(bias / (read * steps)).astype(np.int32),
        scaling=at.scalings(kernel, steps.tolist()),
        **settings,
        **at.base(kernel),
    )


def _norm(at: _Lowering, kernel: Kernel, own: Own) -> Conv:
    """A batch norm with no layer before it: one weight for every channel."""
    deviation = np.sqrt(_numbers(own["variance"]) + kernel.main.attributes["epsilon"])
    factor = _numbers(own["weight"]) / deviation
    bias = _numbers(own["bias"]) - _numbers(own["mean"]) * factor
    weight = factor.reshape(-1, 1, 1, 1)
    return _weighted(at, kernel, Conv, weight, bias, {"groups": len(factor)})


def _sum(at: _Lowering, kernel: Kernel, own: Own) -> Add:
    base, names = _operands(at, kernel, own)
    first, second = (at.scale(name) for name in names)
    widest = 2 * max(first, second)
    result = widest / (2.0**ADD_SHIFT * at.scale(kernel.output))
    factors = (first / widest, second / widest, result)
    return Add(
        scalings=(
            fixed_point_multiplier(factors[0]),
            fixed_point_multiplier(factors[1]),
            fixed_point_multiplier(factors[2]),
        ),
        difference=kernel.main.kind == "sub",
        **base,
    )


def _product(at: _Lowering, kernel: Kernel, own: Own) -> Mul:
    base, names = _operands(at, kernel, own, inverse=kernel.main.kind == "div")
    factor = at.scale(names[0]) * at.scale(names[1]) / at.scale(kernel.output)
    return Mul(scaling=fixed_point_multiplier(factor), **base)


def _operands(
    at: _Lowering, kernel: Kernel, own: Own, inverse: bool = False
) -> tuple[dict[str, Any], tuple[str, ...]]:
    """The fields of a kernel of two operands, and their names. A stored one is a constant."""
    base = at.base(kernel)
    if own:
        (stored,) = own.values()
        values = _numbers(stored).reshape(kernel.main.attributes["shape"])[0]
        name = at.constant(kernel, 1 / values if inverse else values)
        first = kernel.main.attributes["first"]
        order = slice(None, None, -1 if first else 1)
        base["inputs"] = (*kernel.inputs, name)[order]
        base["reads"] = (*base["reads"], at.shapes[name])[order]
    return base, base["inputs"]


def _pool(at: _Lowering, kernel: Kernel, own: Own) -> Pool | Mean:
    a, base = kernel.main.attributes, at.base(kernel)
    if kernel.averages_planes:
        count = prod(base["reads"][0][1:])
        scaling = _mean_scaling(at, kernel, count)
        return Mean(scaling=scaling, total=a["mode"] == "sum", **base)
    return Pool(
        window=_window(kernel.main),
        average=a["mode"] == "average",
        padded=a["count_padding"],
        **base,
    )


def _mean_scaling(at: _Lowering, kernel: Kernel, count: int) -> FixedPointMultiplier:
    """The factor of a sum; of a mean, its mantissa divided by the count, as the kernel does."""
    scaling = at.scalings(kernel, [1.0])
    if kernel.main.attributes["mode"] == "sum":
        return scaling
    exponent = int(scaling.left[0] - scaling.right[0])
    shift = min(count.bit_length() - 1, 32, 31 + exponent)
    mantissa, exponent = (int(scaling.mantissa[0]) << shift) // count, exponent - shift
    return FixedPointMultiplier(
        np.array([mantissa]), np.array([max(exponent, 0)]), np.array([max(-exponent, 0)])
    )


def _table(at: _Lowering, kernel: Kernel, own: Own) -> Lut:
    base = at.base(kernel)
    entries = _entries(at, kernel)
    slope = float(kernel.main.attributes.get("negative_slope", 0.0))
    return Lut(entries=entries, function=kernel.main.label, slope=slope, **base)


def _entries(at: _Lowering, kernel: Kernel) -> Codes:
    main, result = kernel.main, at.codes[kernel.output]
    code = at.codes[kernel.inputs[0]]
    steps = np.arange(LOW, HIGH + 1) - code.zero_point
    slopes = {"relu": 0.0, "relu6": 0.0, "leaky_relu": main.attributes.get("negative_slope")}
    if (slope := slopes.get(main.label)) is not None and slope >= 0:  # as their kernels compute
        above, below = (requantize(steps, *at.scalings(kernel, [f])) for f in (1.0, slope))
        whole = np.where(steps >= 0, above, below) + result.zero_point
        top = round(6 / result.scale) + result.zero_point if main.label == "relu6" else HIGH
        return whole.clip(LOW, min(HIGH, top)).astype(np.int8)
    values = execute(main, [torch.from_numpy(steps * code.scale)], {}, False)
    return _coded(_numbers(values), result)


def _prelu(at: _Lowering, kernel: Kernel, own: Own) -> Prelu | Lut:
    slopes = _numbers(own["slope"])
    slopes = np.broadcast_to(slopes, at.shapes[kernel.output][:1])
    step = float(np.float32(max(float(np.abs(slopes).max()) / 127, 1e-12)))
    return Prelu(
        slope=np.rint(slopes / step).astype(np.int8),
        step=step,
        above=at.scalings(kernel, [1.0]),
        below=at.scalings(kernel, [step]),
        **at.base(kernel),
    )


def _move(at: _Lowering, kernel: Kernel, own: Own) -> Gather:
    main, base = kernel.main, at.base(kernel)
    channels, positions = source_indices(main.attributes, main.shape)
    hole = (channels == PAD) | (positions == PAD)
    source = np.where(hole, PAD, channels * prod(base["reads"][0][1:]) + positions)
    code = at.codes[kernel.output]
    fill = int(_coded(np.array(main.attributes.get("fill", 0.0)), code))
    return Gather(
        source=source.reshape(base["shape"]),
        fill=fill,
        tables=index_tables(main.attributes, main.shape),
        **base,
    )


def _concat(at: _Lowering, kernel: Kernel, own: Own) -> Concat:
    axis = kernel.main.attributes.get("axis", 1) - 1
    if axis and len(kernel.main.shape) == 2:  # series lie along the width
        axis = 2
    return Concat(axis=axis, **at.base(kernel))


_RULES: Mapping[str, Rule] = {
    "conv": _layer,
    "conv_transpose": _layer,
    "linear": _layer,
    "batch_norm": _norm,
    "add": _sum,
    "sub": _sum,
    "mul": _product,
    "div": _product,
    "pool": _pool,
    "activation": _table,
    "prelu": _prelu,
    "gather": _move,
    "concat": _concat,
}
LOWERINGS = KindTable("its integer kernel", _RULES, _RULES)

"""An integer network as a file of TensorFlow Lite: int8, height and width before channels.

Its interpreters find their own factors from the scales in the file. The scales here are those
that the network's factors were made of, so tflite-micro gives the very codes of the arbiter.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pruning.deploy.backends.flatbuffer import Call, Tensor, packed
from pruning.deploy.integer_ir import (
    HIGH,
    INTEGER_KERNELS,
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
from pruning.errors import DeployError
from pruning.ir.gather import PAD
from pruning.ir.kinds import KindTable
from pruning.ir.operator import INPUT

SAME, VALID = 0, 1
NONE, RELU, RELU6 = 0, 1, 3


def tflite_file(network: IntegerNetwork) -> bytes:
    """The bytes of a .tflite file.

    Raises:
        DeployError: a kernel has no operator there that gives the same codes.
    """
    writer = _Writer(network)
    for kernel in network.kernels:
        writer.add(kernel)
    outputs = [*map(writer.shown, network.outputs, network.shown)]
    return packed(writer.tensors, writer.calls, [writer.number[INPUT]], outputs)


class _Writer:
    """Tensors and operators so far; tensors have the numbers of their places."""

    def __init__(self, network: IntegerNetwork) -> None:
        self.network = network
        self.tensors: list[Tensor] = []
        self.calls: list[Call] = []
        self.number: dict[str, int] = {}
        self.number[INPUT] = self.value(INPUT, _nhwc(network.shapes[INPUT]))

    def add(self, kernel: IntegerKernel) -> None:
        """Write a kernel."""
        WRITTEN.at(type(kernel), kernel.name)(self, kernel)

    def tensor(self, tensor: Tensor) -> int:
        """A tensor's number."""
        self.tensors.append(tensor)
        return len(self.tensors) - 1

    def value(self, buffer: str, shape: tuple[int, ...]) -> int:
        """A value in the code of a buffer."""
        code = self.network.codes[buffer]
        return self.tensor(Tensor(shape=shape, scales=(code.scale,), zero=code.zero_point))

    def stored(self, values: Sequence[Any] | NDArray[Any], shape: Sequence[int]) -> int:
        """Whole numbers that steer an operator, or are added to sums."""
        data = np.asarray(values, np.int32)
        return self.tensor(Tensor(shape=tuple(shape), kind="int32", data=data))

    def call(
        self,
        operator: str,
        version: int,
        inputs: Sequence[int],
        output: int,
        options: str = "",
        **fields: Any,
    ) -> int:
        """An operator; returns its output."""
        self.calls.append(
            Call(
                operator=operator,
                version=version,
                inputs=tuple(inputs),
                outputs=(output,),
                options=options,
                fields=fields,
            )
        )
        return output

    def read(self, kernel: IntegerKernel, index: int = 0) -> int:
        """An operand of a kernel, in the shape in which it is read."""
        return self.shaped(kernel.inputs[index], _nhwc(kernel.reads[index]))

    def shaped(self, buffer: str, shape: tuple[int, ...]) -> int:
        """A buffer, or a constant, in a shape."""
        if buffer in self.network.constants and buffer not in self.number:
            code, codes = self.network.codes[buffer], self.network.constants[buffer]
            self.number[buffer] = self.tensor(
                Tensor(
                    shape=shape,
                    scales=(code.scale,),
                    zero=code.zero_point,
                    data=_channels_last(codes.reshape(self.network.shapes[buffer])),
                )
            )
        number = self.number[buffer]
        if self.tensors[number].shape == shape:
            return number
        wanted = self.stored(shape, [len(shape)])
        return self.call("RESHAPE", 1, [number, wanted], self.value(buffer, shape))

    def shown(self, buffer: str, shape: tuple[int, ...]) -> int:
        """An output in the network's own shape."""
        own = self.tensors[self.number[buffer]].shape
        return self.shaped(buffer, (1, *shape) if len(shape) == 1 else own)

    def made(self, kernel: IntegerKernel, shape: tuple[int, ...] | None = None) -> int:
        """The result of a kernel, before the operator that makes it."""
        number = self.value(kernel.output, shape or _nhwc(kernel.shape))
        self.number[kernel.output] = number
        return number

    def clamp(self, kernel: IntegerKernel) -> int:
        """The activation that clips a kernel's results as it does.

        Raises:
            DeployError: there is none.
        """
        code = self.network.codes[kernel.output]
        zero, six = code.zero_point, code.zero_point + round(6 / code.scale)
        for activation, low, high in (
            (NONE, LOW, HIGH),
            (RELU, max(LOW, zero), HIGH),
            (RELU6, max(LOW, zero), min(HIGH, six)),
        ):
            if (kernel.low, kernel.high) == (low, high):
                return activation
        raise _no_operator(kernel, "clips its results as no activation does")

    def around(self, kernel: IntegerKernel, window: Window, fill: int | None) -> tuple[int, int]:
        """What a kernel reads and the kind of padding, with a PAD before it where neither kind
        gives the same windows. `fill`: a code that lies around; None: the zero point.
        """
        read, made = kernel.reads[0][1:], kernel.shape[1:]
        pads = window.pads(read, made)
        if not any(map(any, pads)):
            return self.read(kernel), VALID
        if fill is None and pads == _same(read, made, window):
            return self.read(kernel), SAME
        return self.padded(kernel, pads, fill), VALID

    def padded(
        self, kernel: IntegerKernel, pads: Sequence[tuple[int, int]], fill: int | None
    ) -> int:
        """What a kernel reads, with more around it."""
        channels, *read = kernel.reads[0]
        wide = [before + n + behind for n, (before, behind) in zip(read, pads, strict=True)]
        result = self.value(kernel.inputs[0], (1, *wide, channels))
        paddings = self.stored([(0, 0), *pads, (0, 0)], (4, 2))
        if fill is None:
            return self.call("PAD", 2, [self.read(kernel), paddings], result, "PadOptions")
        code = self.network.codes[kernel.inputs[0]]
        filling = self.tensor(
            Tensor(
                shape=(1,),
                scales=(code.scale,),
                zero=code.zero_point,
                data=np.array([fill], np.int8),
            )
        )
        inputs = [self.read(kernel), paddings, filling]
        return self.call("PADV2", 2, inputs, result, "PadV2Options")


def _nhwc(shape: Shape3) -> tuple[int, ...]:
    channels, height, width = shape
    return 1, height, width, channels


def _channels_last(codes: Codes) -> Codes:
    return np.moveaxis(codes, 0, -1)[None]


def _same(
    read: Sequence[int], made: Sequence[int], window: Window
) -> tuple[tuple[int, int], ...] | None:
    """The padding that is called SAME there; None where it would give another result."""
    if any(n != -(-size // s) for n, size, s in zip(made, read, window.stride, strict=True)):
        return None
    pads = []
    for size, count, kernel, stride, dilation in zip(
        read, made, window.kernel, window.stride, window.dilation, strict=True
    ):
        total = max((count - 1) * stride + (kernel - 1) * dilation + 1 - size, 0)
        pads.append((total // 2, total - total // 2))
    return tuple(pads)


def _no_operator(kernel: IntegerKernel, why: str) -> DeployError:
    return DeployError(
        f"{kernel.name}: {why}; TensorFlow Lite has no operator with the same results. "
        "format=c has all of them"
    )


def _strides(window: Window) -> dict[str, int]:
    return {"StrideH": window.stride[0], "StrideW": window.stride[1]}


def _layer(to: _Writer, kernel: Conv) -> None:
    if _covers(kernel):
        _connected(to, kernel)
        return
    read, padding = to.around(kernel, kernel.window, None)
    one_each = kernel.depthwise
    order = (1, 2, 3, 0) if one_each else (0, 2, 3, 1)
    inputs = [read, *_weights(to, kernel, kernel.weight.transpose(order), 3 if one_each else 0)]
    fields = {
        "Padding": padding,
        **_strides(kernel.window),
        "DilationHFactor": kernel.window.dilation[0],
        "DilationWFactor": kernel.window.dilation[1],
        "FusedActivationFunction": to.clamp(kernel),
    }
    made = to.made(kernel)
    if one_each:
        fields["DepthMultiplier"] = len(kernel.weight) // kernel.groups
        to.call("DEPTHWISE_CONV_2D", 3, inputs, made, "DepthwiseConv2DOptions", **fields)
    else:
        to.call("CONV_2D", 3, inputs, made, "Conv2DOptions", **fields)


def _covers(kernel: Conv) -> bool:
    """Whether one window covers all that is read."""
    whole = kernel.window.kernel == kernel.reads[0][1:] and kernel.shape[1:] == (1, 1)
    return whole and kernel.window.padding == (0, 0) and kernel.groups == 1


def _connected(to: _Writer, kernel: Conv) -> None:
    outputs = len(kernel.weight)
    flat = kernel.weight.transpose(0, 2, 3, 1).reshape(outputs, -1)
    inputs = [to.read(kernel), *_weights(to, kernel, flat, 0)]
    to.call(
        "FULLY_CONNECTED", 4, inputs, to.made(kernel, (1, outputs)), "FullyConnectedOptions",
        FusedActivationFunction=to.clamp(kernel),
    )  # fmt: skip


def _weights(to: _Writer, kernel: Conv, weight: Codes, axis: int) -> tuple[int, int]:
    """The weights and the biases of a layer."""
    steps = tuple(kernel.steps.tolist())
    filters = to.tensor(Tensor(shape=weight.shape, scales=steps, axis=axis, data=weight))
    # A bias has a scale that follows from the others; interpreters read only a single one.
    read = to.network.codes[kernel.inputs[0]].scale
    own = tuple(float(np.float32(read) * np.float32(step)) for step in steps)
    scales = own if len(own) == 1 else ()
    bias = Tensor(shape=(len(kernel.bias),), kind="int32", scales=scales, data=kernel.bias)
    return filters, to.tensor(bias)


def _transposed(to: _Writer, kernel: ConvTranspose) -> None:
    """Its windows fill a plane, of which the padding is cut off afterwards."""
    window = kernel.window
    if kernel.groups > 1 or window.dilation != (1, 1):
        raise _no_operator(kernel, "transposes a convolution with groups or dilation")
    plane = [
        (n - 1) * stride + size
        for n, stride, size in zip(kernel.reads[0][1:], window.stride, window.kernel, strict=True)
    ]
    wanted = [pad + n for pad, n in zip(window.padding, kernel.shape[1:], strict=True)]
    if any(n > whole for n, whole in zip(wanted, plane, strict=True)):
        raise _no_operator(kernel, "makes pixels that no window reaches")
    outputs = len(kernel.weight)
    shape = (1, *plane, outputs)
    weights = _weights(to, kernel, kernel.weight.transpose(0, 2, 3, 1), 0)
    inputs = [to.stored(shape, [4]), weights[0], to.read(kernel), weights[1]]
    whole = to.value(kernel.output, shape)
    to.call(
        "TRANSPOSE_CONV", 4, inputs, whole, "TransposeConvOptions",
        Padding=VALID, **_strides(window), FusedActivationFunction=to.clamp(kernel),
    )  # fmt: skip
    if shape == _nhwc(kernel.shape):
        to.number[kernel.output] = whole
        return
    begins = [0, *window.padding, 0]
    parts = [begins, [1, *wanted, outputs], [1] * 4]
    cut = [whole, *(to.stored(part, [4]) for part in parts)]
    to.call("STRIDED_SLICE", 2, cut, to.made(kernel), "StridedSliceOptions")


def _sum(to: _Writer, kernel: Add) -> None:
    operator, options = ("SUB", "SubOptions") if kernel.difference else ("ADD", "AddOptions")
    mantissa, left, _ = (int(part.reshape(-1)[0]) for part in kernel.scalings[2])
    if left or not mantissa:
        raise _no_operator(kernel, "adds numbers whose sum is next to nothing")
    inputs = [to.read(kernel, 0), to.read(kernel, 1)]
    fields = {"FusedActivationFunction": to.clamp(kernel)}
    to.call(operator, 2, inputs, to.made(kernel), options, **fields)


def _product(to: _Writer, kernel: Mul) -> None:
    inputs = [to.read(kernel, 0), to.read(kernel, 1)]
    fields = {"FusedActivationFunction": to.clamp(kernel)}
    to.call("MUL", 2, inputs, to.made(kernel), "MulOptions", **fields)


def _pool(to: _Writer, kernel: Pool) -> None:
    """Windows count what exists; what is padded for the largest lies below everything."""
    operator = "AVERAGE_POOL_2D" if kernel.average else "MAX_POOL_2D"
    window, zero = kernel.window, to.network.codes[kernel.inputs[0]].zero_point
    pads = window.pads(kernel.reads[0][1:], kernel.shape[1:])
    same = pads == _same(kernel.reads[0][1:], kernel.shape[1:], window)
    if kernel.average and not kernel.padded and any(map(any, pads)) and not same:
        raise _no_operator(kernel, "averages only what exists in windows that hang over")
    if not kernel.average or kernel.padded:
        fill: int | None = zero if kernel.average else LOW
        read, padding = to.around(kernel, window, None if same and not kernel.average else fill)
    else:
        read, padding = to.around(kernel, window, None)
    to.call(
        operator, 2, [read], to.made(kernel), "Pool2DOptions",
        Padding=padding, **_strides(window), FilterHeight=window.kernel[0],
        FilterWidth=window.kernel[1], FusedActivationFunction=to.clamp(kernel),
    )  # fmt: skip


def _mean(to: _Writer, kernel: Mean) -> None:
    if kernel.total:
        raise _no_operator(kernel, "adds up whole planes")
    if (kernel.low, kernel.high) != (LOW, HIGH):
        raise _no_operator(kernel, "clips a mean")
    inputs = [to.read(kernel), to.stored([1, 2], [2])]
    to.call("MEAN", 2, inputs, to.made(kernel), "ReducerOptions", KeepDims=True)


def _table(to: _Writer, kernel: Lut) -> None:
    if kernel.function == "leaky_relu":
        fields = {"Alpha": kernel.slope}
        inputs = [to.read(kernel)]
        to.call("LEAKY_RELU", 2, inputs, to.made(kernel), "LeakyReluOptions", **fields)
    elif kernel.function == "relu":
        to.call("RELU", 2, [to.read(kernel)], to.made(kernel))
    else:
        raise _no_operator(kernel, f"is a table of {kernel.function}")


def _prelu(to: _Writer, kernel: Prelu) -> None:
    slope = Tensor(shape=(1, 1, len(kernel.slope)), scales=(kernel.step,), data=kernel.slope)
    if (kernel.low, kernel.high) != (LOW, HIGH):
        raise _no_operator(kernel, "clips what has slopes")
    to.call("PRELU", 1, [to.read(kernel), to.tensor(slope)], to.made(kernel))


def _concat(to: _Writer, kernel: Concat) -> None:
    inputs = [to.read(kernel, index) for index in range(len(kernel.inputs))]
    axis = (3, 1, 2)[kernel.axis]
    fields = {"Axis": axis, "FusedActivationFunction": to.clamp(kernel)}
    to.call("CONCATENATION", 2, inputs, to.made(kernel), "ConcatenationOptions", **fields)


def _move(to: _Writer, kernel: Gather) -> None:
    """Along each axis what is picked, and what is filled at its ends."""
    axes = _along_axes(kernel)
    if axes is None:
        raise _no_operator(kernel, "carries elements around in no order of rows and columns")
    current, buffer = to.read(kernel), kernel.inputs[0]
    shape = list(_nhwc(kernel.reads[0]))
    pads = [(0, 0)]
    for axis, places in zip((1, 2, 3), (axes[1], axes[2], axes[0]), strict=True):
        there = np.flatnonzero(places != PAD)
        first, last = int(there[0]), int(there[-1]) + 1
        pads.append((first, len(places) - last))
        picked = places[first:last]
        if (picked == PAD).any():
            raise _no_operator(kernel, "fills in between")
        if not np.array_equal(picked, np.arange(shape[axis])):
            shape[axis] = len(picked)
            picks = to.stored(picked, [len(picked)])
            result = to.value(buffer, tuple(shape))
            current = to.call("GATHER", 2, [current, picks], result, "GatherOptions", Axis=axis)
    result = to.made(kernel)
    code = to.network.codes[buffer]
    filling = Tensor(
        shape=(1,), scales=(code.scale,), zero=code.zero_point,
        data=np.array([kernel.fill], np.int8),
    )  # fmt: skip
    if any(map(any, pads)):
        inputs = [current, to.stored(pads, (4, 2)), to.tensor(filling)]
        to.call("PADV2", 2, inputs, result, "PadV2Options")
    else:
        to.number[kernel.output] = current


def _along_axes(kernel: Gather) -> tuple[NDArray[np.int64], ...] | None:
    """The places that are read along channels, rows and columns; None where one depends on
    another.
    """
    hole = kernel.source == PAD
    if hole.all():
        return None
    found = []
    for axis, places in enumerate(np.unravel_index(np.maximum(kernel.source, 0), kernel.reads[0])):
        others = tuple(n for n in range(3) if n != axis)
        highest = np.where(hole, PAD, places).max(others)
        shape = [1, 1, 1]
        shape[axis] = -1
        if not np.array_equal(np.where(hole, PAD, places),
                              np.where(hole, PAD, highest.reshape(shape))):  # fmt: skip
            return None
        found.append(highest)
    rows = (found[0] == PAD)[:, None, None] | (found[1] == PAD)[:, None]
    filled = rows | (found[2] == PAD)
    return tuple(found) if np.array_equal(filled, hole) else None


_RULES: Mapping[type, Callable[[_Writer, Any], None]] = {
    Conv: _layer,
    ConvTranspose: _transposed,
    Add: _sum,
    Mul: _product,
    Pool: _pool,
    Mean: _mean,
    Lut: _table,
    Prelu: _prelu,
    Gather: _move,
    Concat: _concat,
}
WRITTEN = KindTable("how it is written", INTEGER_KERNELS, _RULES)

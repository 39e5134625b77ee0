"""What a kernel is written to TensorFlow Lite with: tensors and operators by their numbers.

Height and width come before channels. An interpreter derives its own factors from the scales in
the file; they are those that the network's factors were made of.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, final

import numpy as np
from numpy.typing import ArrayLike, NDArray

from pruning.deploy.integer_ir import (
    HIGH,
    LOW,
    IntegerKernel,
    IntegerNetwork,
    Shape3,
    Window,
    channels_last,
)
from pruning.errors import DeployError
from pruning.ir.operator import INPUT

SAME, VALID = 0, 1
NONE, RELU, RELU6 = 0, 1, 3


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class TfliteTensor:
    """A value, or a stored one if it has `data`. A code q stands for scale * (q - zero).

    Several scales are those along `axis`. Without scales it has no code.
    """

    shape: tuple[int, ...]
    kind: str = "int8"
    scales: tuple[float, ...] = ()
    zero: int = 0
    axis: int = 0
    data: NDArray[Any] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class TfliteOperator:
    """An operator: a name of BuiltinOperator, the version of its meaning, tensors by number,
    and the fields of its options.
    """

    builtin: str
    version: int
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]
    options: str = ""
    fields: Mapping[str, Any] = field(default_factory=dict)


@final
class TfliteModel:
    """The tensors and operators of one network, as its kernels add them. A tensor's number is
    its place in `tensors`; `numbers` has that of every buffer.
    """

    def __init__(self, network: IntegerNetwork) -> None:
        self.network = network
        self.tensors: list[TfliteTensor] = []
        self.operators: list[TfliteOperator] = []
        self.numbers: dict[str, int] = {}
        self.numbers[INPUT] = self.value(INPUT, nhwc(network.shapes[INPUT]))

    def tensor(self, tensor: TfliteTensor) -> int:
        """Add a tensor; returns its number."""
        self.tensors.append(tensor)
        return len(self.tensors) - 1

    def value(self, buffer: str, shape: tuple[int, ...], data: ArrayLike | None = None) -> int:
        """Add a tensor in the code of a buffer; with `data`, int8 codes, it is stored."""
        code = self.network.codes[buffer]
        stored = None if data is None else np.asarray(data, np.int8)
        return self.tensor(
            TfliteTensor(shape=shape, scales=(code.scale,), zero=code.zero_point, data=stored)
        )

    def int32(self, values: ArrayLike, shape: Sequence[int]) -> int:
        """Add integers that steer an operator, such as a shape."""
        data = np.asarray(values, np.int32)
        return self.tensor(TfliteTensor(shape=tuple(shape), kind="int32", data=data))

    def operator(
        self,
        builtin: str,
        version: int,
        inputs: Sequence[int],
        output: int,
        options: str = "",
        **fields: Any,
    ) -> int:
        """Add an operator; returns its output."""
        self.operators.append(
            TfliteOperator(
                builtin=builtin,
                version=version,
                inputs=tuple(inputs),
                outputs=(output,),
                options=options,
                fields=fields,
            )
        )
        return output

    def operand(self, kernel: IntegerKernel, index: int = 0) -> int:
        """An input of a kernel, in the shape in which it is read."""
        return self.reshaped(kernel.inputs[index], nhwc(kernel.reads[index]))

    def reshaped(self, buffer: str, shape: tuple[int, ...]) -> int:
        """A buffer in a shape; a constant is stored the first time."""
        if buffer in self.network.constants and buffer not in self.numbers:
            codes = self.network.constants[buffer].reshape(self.network.shapes[buffer])
            self.numbers[buffer] = self.value(buffer, shape, np.moveaxis(codes, 0, -1)[None])
        number = self.numbers[buffer]
        if self.tensors[number].shape == shape:
            return number
        new_shape = self.int32(shape, [len(shape)])
        return self.operator("RESHAPE", 1, [number, new_shape], self.value(buffer, shape))

    def graph_output(self, buffer: str, shape: tuple[int, ...]) -> int:
        """An output in the network's own shape, batch left out."""
        stored = self.tensors[self.numbers[buffer]].shape
        return self.reshaped(buffer, (1, *shape) if len(shape) == 1 else stored)

    def result(self, kernel: IntegerKernel, shape: tuple[int, ...] | None = None) -> int:
        """Add the tensor of a kernel's output, before the operator that computes it."""
        number = self.value(kernel.output, shape or nhwc(kernel.shape))
        self.numbers[kernel.output] = number
        return number

    def activation(self, kernel: IntegerKernel) -> int:
        """The fused activation that clips a kernel's results as it does.

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
        raise no_operator(kernel, "clips its results as no activation does")

    def windowed_operand(
        self, kernel: IntegerKernel, window: Window, fill: int | None
    ) -> tuple[int, int]:
        """A kernel's input and the kind of padding, with a PAD before it where neither kind
        gives the same windows. `fill`: the code around the input; None: its zero point.
        """
        sizes = kernel.reads[0][1:], kernel.shape[1:]
        pads = window.pads(*sizes)
        if not any(map(any, pads)):
            return self.operand(kernel), VALID
        if fill is None and pads == same_pads(*sizes, window):
            return self.operand(kernel), SAME
        return self._padded_operand(kernel, pads, fill), VALID

    def _padded_operand(
        self, kernel: IntegerKernel, pads: Sequence[tuple[int, int]], fill: int | None
    ) -> int:
        channels, *sizes = kernel.reads[0]
        padded = [before + n + behind for n, (before, behind) in zip(sizes, pads, strict=True)]
        buffer = kernel.inputs[0]
        result = self.value(buffer, (1, *padded, channels))
        paddings = self.int32([(0, 0), *pads, (0, 0)], (4, 2))
        if fill is None:
            inputs = [self.operand(kernel), paddings]
            return self.operator("PAD", 2, inputs, result, "PadOptions")
        filling = self.value(buffer, (1,), [fill])
        inputs = [self.operand(kernel), paddings, filling]
        return self.operator("PADV2", 2, inputs, result, "PadV2Options")


def nhwc(shape: Shape3) -> tuple[int, ...]:
    """A shape with a batch of one before it and the channels behind."""
    return 1, *channels_last(shape)


def stride_fields(window: Window) -> dict[str, int]:
    """The strides as options of an operator."""
    return {"StrideH": window.stride[0], "StrideW": window.stride[1]}


def same_pads(
    input_size: Sequence[int], output_size: Sequence[int], window: Window
) -> tuple[tuple[int, int], ...] | None:
    """The padding before and behind that is called SAME; None where it gives an output of
    another size.
    """
    if any(
        count != -(-size // stride)
        for count, size, stride in zip(output_size, input_size, window.stride, strict=True)
    ):
        return None
    pads = []
    for size, count, kernel, stride, dilation in zip(
        input_size, output_size, window.kernel, window.stride, window.dilation, strict=True
    ):
        total = max((count - 1) * stride + (kernel - 1) * dilation + 1 - size, 0)
        pads.append((total // 2, total - total // 2))
    return tuple(pads)


def no_operator(kernel: IntegerKernel, reason: str) -> DeployError:
    """The error for a kernel that no operator computes to the last bit."""
    return DeployError(
        f"{kernel.name}: {reason}; TensorFlow Lite has no operator with the same results. "
        "format=c has all of them"
    )

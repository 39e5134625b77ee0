"""What the C text of a kernel is written with: arrays, records of settings, and steps."""

from collections.abc import Mapping
from typing import Any, final

import numpy as np
from numpy.typing import NDArray

from pruning.cost.memory.arena import ArenaPlan
from pruning.deploy.fixed_point import FixedPointMultiplier
from pruning.deploy.integer_ir import IntegerKernel, IntegerNetwork, Shape3, channels_last

PER_LINE = 16


@final
class CSource:
    """The definitions and the steps of one network, as its kernels add them.

    All symbols begin with the network's name; kernels number theirs by their own index.
    """

    def __init__(self, network: IntegerNetwork, plan: ArenaPlan, name: str) -> None:
        self.network, self.plan, self.name = network, plan, name
        self.definitions: list[str] = []
        self.steps: list[str] = []
        self._constants: dict[str, str] = {}

    def pointer(self, buffer: str) -> str:
        """A pointer to a buffer, or to a constant, which is stored the first time."""
        if buffer in self.network.constants:
            if buffer not in self._constants:
                values = pixelwise(self.network.constants[buffer])
                symbol = f"constant{len(self._constants)}"
                self._constants[buffer] = self.array("int8_t", symbol, values)
            return self._constants[buffer]
        return f"{self.name}_arena + {self.plan.offsets[buffer]}"

    def zero_point(self, buffer: str) -> int:
        """The code of a buffer that stands for zero."""
        return self.network.codes[buffer].zero_point

    def runs_backward(self, kernel: IntegerKernel) -> int:
        """1 if the memory plan has the kernel write from the last pixel to the first, else 0."""
        return int(kernel.output in self.plan.backward)

    def array(self, kind: str, symbol: str, values: NDArray[Any]) -> str:
        """Define an array of the C type `kind`; returns its whole symbol."""
        symbol = f"{self.name}_{symbol}"
        numbers = [str(value) for value in values.ravel().tolist()]
        rows = (numbers[n : n + PER_LINE] for n in range(0, len(numbers), PER_LINE))
        body = "".join(f"    {', '.join(row)},\n" for row in rows)
        self.definitions.append(
            f"PARING_ALIGNED static const {kind} {symbol}[{len(numbers)}] = {{\n{body}}};\n\n"
        )
        return symbol

    def record(self, kind: str, symbol: str, fields: Mapping[str, Any]) -> str:
        """Define a struct of the C type `kind`; returns a pointer to it."""
        symbol = f"{self.name}_{symbol}"
        body = "".join(f"    .{key} = {value},\n" for key, value in fields.items())
        self.definitions.append(f"static const {kind} {symbol} = {{\n{body}}};\n\n")
        return f"&{symbol}"

    def step(
        self, kernel: IntegerKernel, function: str, settings: str, read: str = "", write: str = ""
    ) -> None:
        """Add a step: `paring_function` with a record of settings, from the first input to the
        output unless `read` and `write` point elsewhere.
        """
        read, write = read or self.pointer(kernel.inputs[0]), write or self.pointer(kernel.output)
        self.steps.append(
            f"    /* {in_comment(kernel.name)} */\n"
            f"    {{paring_{function}, {settings}, {read}, {write}}},\n"
        )

    def output_params(self, kernel: IntegerKernel) -> dict[str, int]:
        """How results are offset and clipped."""
        return {
            "zero_out": self.zero_point(kernel.output),
            "low": kernel.low,
            "high": kernel.high,
        }


_NO_COMMENTS = str.maketrans("", "", "*/")


def in_comment(text: str) -> str:
    """A text that can neither open nor close a comment."""
    return text.translate(_NO_COMMENTS)


def c_shape(shape: Shape3) -> str:
    """The initializer of a `paring_shape`."""
    return "{" + ", ".join(map(str, channels_last(shape))) + "}"


def c_factor(multiplier: FixedPointMultiplier) -> str:
    """The initializer of a `paring_multiplier`, from the first factor of a multiplier."""
    mantissa, shift = (
        int(part.reshape(-1)[0]) for part in (multiplier.mantissa, shifts(multiplier))
    )
    return f"{{{mantissa}, {shift}}}"


def shifts(multiplier: FixedPointMultiplier) -> NDArray[np.int64]:
    """The powers of two as generated C stores them: to the left above zero."""
    return multiplier.left - multiplier.right


def pixelwise(values: NDArray[Any]) -> NDArray[Any]:
    """(..., channels, height, width) with the channels of each pixel together."""
    return np.moveaxis(np.atleast_3d(values), -3, -1)

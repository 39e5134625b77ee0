"""What a microcontroller executes: an operator with what is fused into it."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from math import prod

from pruning.ir.operator import Operator

Pair = tuple[int, int]


@dataclass(frozen=True, slots=True, kw_only=True)
class Kernel:
    """A main operator with what is fused into it.

    `inputs` name the buffers that it reads and `output` the buffer that it writes; a buffer is
    named after the value that it holds. `chain` lists the operators from main to last.
    `channels` are those of the first operand, when nothing is pruned, and `plane` the rest of
    its shape.
    """

    main: Operator
    inputs: tuple[str, ...]
    chain: tuple[str, ...]
    channels: int
    plane: tuple[int, ...] = ()

    @property
    def name(self) -> str:
        """The main operator's name."""
        return self.main.name

    @property
    def output(self) -> str:
        """The buffer that holds the result."""
        return self.chain[-1]

    @property
    def kind(self) -> str:
        """The main operator's kind; depthwise convolutions are a kind of their own."""
        return "depthwise" if self.main.attributes.get("depthwise") else self.main.kind

    @property
    def averages_planes(self) -> bool:
        """Whether it computes the mean, or the sum, of every whole plane."""
        a = self.main.attributes
        if self.main.kind != "pool" or a["mode"] == "max":
            return False
        return tuple(a["kernel"]) == self.plane and not any(a["padding"])

    @property
    def groups(self) -> int:
        """Of a convolution: inputs of one group do not meet outputs of another."""
        return int(self.main.attributes.get("groups", 1))

    @property
    def pixels(self) -> int:
        """Elements of an output channel."""
        return self.main.elements_per_channel

    @property
    def taps(self) -> int:
        """Elements of a window: kernel height times width."""
        return prod(self.main.attributes.get("kernel", ()))

    @property
    def windows(self) -> int:
        """How often a window is applied: once for every output pixel, or for every input pixel
        of a transposed convolution.
        """
        return int(self.main.attributes.get("pixels", self.main.elements_per_channel))

    def axes(self) -> Iterator[tuple[int, ...]]:
        """Of every axis of a window: input, output, taps, stride, padding and dilation."""
        a = self.main.attributes
        settings = (a[name] for name in ("kernel", "stride", "padding", "dilation"))
        return zip(self.plane, self.main.shape[1:], *settings, strict=True)


def along_two(values: Sequence[int], single: int) -> Pair:
    """A setting as (height, width); a series has one row, for which it is `single`."""
    height, width = (single, *values) if len(values) == 1 else values
    return height, width

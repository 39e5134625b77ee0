"""How much one kernel does: bytes of weights, multiply-accumulates, instructions.

Pure functions from a kernel to its `Work`, a form that is bilinear in the channels it reads
and writes. A kind that no function knows raises: nothing counts as zero by accident.
"""

from collections.abc import Mapping
from enum import StrEnum
from typing import NamedTuple

from pruning.errors import PruningError
from pruning.kernels import ELEMENTWISE, Kernel


class Work(NamedTuple):
    """product * c_in * c_out + output * c_out + input * c_in + constant."""

    product: float = 0.0
    output: float = 0.0
    input: float = 0.0
    constant: float = 0.0

    def scaled(self, factor: float) -> "Work":
        """The same shape of work, `factor` times as much."""
        return Work(*(factor * value for value in self))


class Encoding(StrEnum):
    """How weights are stored.

    int8: int8 weights; per output channel an int32 bias, an int32 multiplier and an int8 shift.
    published: one byte per weight and per bias and no scales, as uNAS counts.
    """

    INT8 = "int8"
    PUBLISHED = "published"


BYTES_PER_CHANNEL = {Encoding.INT8: 4 + 4 + 1, Encoding.PUBLISHED: 1}


def _pixels(kernel: Kernel) -> int:
    return kernel.main.elements_per_channel


def _groups(kernel: Kernel) -> int:
    return int(kernel.main.attributes.get("groups", 1))


def flash(kernel: Kernel, encoding: Encoding) -> Work:
    """Bytes of weights, biases and scales."""
    each = BYTES_PER_CHANNEL[encoding]
    match kernel.kind:
        case "conv" | "transposed":
            return Work(product=kernel.taps / _groups(kernel), output=each)
        case "linear":
            return Work(product=1, output=each)
        case "depthwise":
            return Work(output=kernel.taps + each)
        case "batch_norm":  # a scale and a shift of its own
            return Work(output=1 + each)
        case "group_norm":
            return Work(output=kernel.main.attributes["scales"] * (1 + each))
        case _:
            return _constant(kernel)


def _constant(kernel: Kernel) -> Work:
    """Bytes of a constant operand or of slopes: one an element, by channel or altogether."""
    elements = kernel.main.attributes.get("elements", 0)
    by_channel = kernel.main.attributes.get("axis") is not None
    return Work(output=elements) if by_channel else Work(constant=elements)


def macs(kernel: Kernel) -> Work:
    """Multiply-accumulates; a pooled or added element counts as one (as uNAS counts)."""
    pixels = _pixels(kernel)
    match kernel.kind:
        case "conv" | "transposed":
            return Work(product=kernel.taps * kernel.windows / _groups(kernel))
        case "linear":
            return Work(product=pixels)
        case "reduce":
            return Work(input=pixels)
        case "depthwise" | "pool" | "resize":
            return Work(output=kernel.taps * kernel.windows)
        case "batch_norm" | "prelu":
            return Work(output=pixels)
        case kind if kind in ELEMENTWISE:
            return Work(output=pixels)
        case "group_norm":  # the mean, the variance, and with both the result
            return Work(output=3 * pixels)
        case "concat" | "move" | "activation" | "softmax":
            return Work()
    raise PruningError(f"kernel {kernel.name}: no MACs known for kind {kernel.kind}")


class Loops(NamedTuple):
    """Instructions of a kernel by the loops of a plain int8 C implementation.

    Per multiply-accumulate, per window position of an output, per output element (bias,
    requantisation, store), per output channel and per call.
    """

    mac: float
    tap: float
    element: float
    channel: float
    call: float


# Cortex-M4. `conv` (per MAC and per window position) and `depthwise` (per MAC) are fitted to
# executed instructions of generated int8 C: ResNet-8 30.15 M at 16 filters, 2.65 a MAC at 13
# and 2.85 at 10; DS-CNN 9.71 M at 64 filters, 4.73 a MAC at 37. All five come out within 2 %,
# the two totals within 0.3 %. The other kinds are small there: read off their loops.
LOOPS = {
    "conv": Loops(1.57, 11.8, 25.0, 12.0, 200.0),
    "depthwise": Loops(1.4, 0.0, 13.0, 12.0, 200.0),
    "linear": Loops(1.57, 0.0, 34.0, 12.0, 100.0),
    "transposed": Loops(1.57, 11.8, 25.0, 12.0, 200.0),  # as a convolution, by analogy
    **dict.fromkeys(ELEMENTWISE, Loops(0.0, 0.0, 14.0, 0.0, 100.0)),
    "divide": Loops(0.0, 0.0, 26.0, 0.0, 100.0),
    "batch_norm": Loops(0.0, 0.0, 20.0, 12.0, 100.0),
    "pool": Loops(3.0, 0.0, 20.0, 6.0, 100.0),
    "group_norm": Loops(0.0, 0.0, 40.0, 60.0, 200.0),
    "reduce": Loops(4.0, 0.0, 20.0, 0.0, 100.0),
    "resize": Loops(3.0, 0.0, 20.0, 6.0, 100.0),
    "concat": Loops(0.0, 0.0, 2.0, 0.0, 100.0),
    "move": Loops(0.0, 0.0, 4.0, 4.0, 100.0),
    "activation": Loops(0.0, 0.0, 5.0, 0.0, 50.0),
    "prelu": Loops(0.0, 0.0, 9.0, 4.0, 100.0),
    "softmax": Loops(0.0, 0.0, 60.0, 0.0, 300.0),
}
# One scale per core and kind. Cortex-M3: `conv` fitted to ResNet-8's 38.37 M, then `depthwise`
# to DS-CNN's 15.07 M (no SMLAD, and loads of single bytes). M0+ is a guess: 1.5 times the M3.
SCALES: Mapping[str, Mapping[str, float]] = {
    "cortex-m0+": {"conv": 1.91, "transposed": 1.91, "depthwise": 6.81, "*": 1.73},
    "cortex-m3": {"conv": 1.2733, "transposed": 1.2733, "depthwise": 4.539, "*": 1.15},
    "cortex-m4": {"*": 1.0},
    "cortex-m7": {"*": 1.0},
    "cortex-m33": {"*": 1.0},
}


def instructions(kernel: Kernel, core: str) -> Work:
    """Executed instructions on a core."""
    if core not in SCALES:
        raise PruningError(
            f"no instruction counts for core {core!r}; known: {', '.join(SCALES)}"
        )
    loops, pixels = LOOPS[kernel.kind], _pixels(kernel)
    work = macs(kernel)
    windows = kernel.taps * loops.tap * kernel.windows
    per_output = loops.element * pixels + windows + loops.channel
    total = Work(
        product=loops.mac * work.product,
        output=per_output + (loops.mac * work.output if kernel.taps else 0.0),
        input=loops.mac * work.input,
        constant=loops.call,
    )
    scales = SCALES[core]
    return total.scaled(scales.get(kernel.kind, scales["*"]))

"""An integer network as C99: a folder that any C compiler builds, on any core.

`model.c`, or whatever the network is called, holds the weights, the arena and the steps in
their order; `kernels.c` is the same for every network. Nothing allocates memory; of a library,
memcpy and memset are needed.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import cache
from hashlib import sha256
from importlib.resources import files
from math import gcd, prod
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pruning.cost.memory.arena import WORD, ArenaPlan
from pruning.deploy.backends.c_name import DEFAULT, checked_c_name
from pruning.deploy.fixed_point import FixedPointMultiplier
from pruning.deploy.integer_ir import (
    INTEGER_KERNELS,
    ONE_PIXEL,
    Add,
    Concat,
    Conv,
    ConvTranspose,
    Gather,
    IntegerNetwork,
    Kernel,
    Lut,
    Mean,
    Mul,
    Pool,
    Prelu,
    Shape3,
    Window,
)
from pruning.deploy.memory_plan import plan
from pruning.ir.gather import PAD, IndexTables
from pruning.ir.kinds import KindTable
from pruning.ir.operator import INPUT

# What budgets hold for: `verify` and the CMakeLists of a folder compile with it.
OPTIONS = ("-std=c99", "-O2", "-ffunction-sections", "-fdata-sections")
NO_VERSION = "00000000"  # stands in kernels.h for their digest
PER_LINE = 16
SMALL, LARGE = 0xFFFF, 0xFFFFFFFF  # the place of a hole, in 16 and in 32 bits


def c_files(
    network: IntegerNetwork, name: str = DEFAULT, origin: Sequence[str] = ()
) -> dict[str, str]:
    """The files of a folder, by name.

    All that others can see of the network begins with `name`; `origin` is said in its files,
    line by line. The kernels are the same whatever the network.

    Raises:
        DeployError: `name` is none of C's.
    """
    written = _Writer(network, plan(network), checked_c_name(name), origin)
    kernels = kernel_files()
    return {
        f"{name}.h": written.header(),
        f"{name}.c": written.source(),
        **kernels,
        **{file: written.named(_shared(file)) for file in ("main.c", "CMakeLists.txt")},
    }


@cache
def kernel_files() -> Mapping[str, str]:
    """The kernels, with their digest in them."""
    texts = {name: _shared(name) for name in ("kernels.h", "kernels.c")}
    return {name: text.replace(NO_VERSION, kernel_version()) for name, text in texts.items()}


@cache
def kernel_version() -> str:
    """A digest of the kernels: a network needs those that it was written for."""
    return sha256((_shared("kernels.h") + _shared("kernels.c")).encode()).hexdigest()[:8]


def run_symbol() -> str:
    """What linkers know `paring_run` as."""
    return f"paring_run_{kernel_version()}"


def _shared(name: str) -> str:
    return (files("pruning.deploy") / "c" / name).read_text("utf-8")


class _Writer:
    """Writes one network. Symbols are numbered in the order of the kernels."""

    def __init__(
        self, network: IntegerNetwork, planned: ArenaPlan, name: str, origin: Sequence[str]
    ) -> None:
        self.network, self.plan = network, planned
        self.name, self.upper, self.origin = name, name.upper(), origin
        self._data: list[str] = []
        self._stored: dict[str, str] = {}
        self._steps: list[str] = []

    def named(self, text: str) -> str:
        """A text of the folder with the network's name in it, and what it is compiled with."""
        for word, own in (
            ("@OPTIONS@", ";".join(OPTIONS)),
            (NO_VERSION, kernel_version()),
            ("MODEL", self.upper),
            ("model", self.name),
        ):
            text = text.replace(word, own)
        return text

    def header(self) -> str:
        """The public face: how to feed the network and read what it gives."""
        network, name, upper = self.network, self.name, self.upper
        code = network.codes[INPUT]
        height, width, channels = _nhwc(network.shapes[INPUT])
        sizes = [prod(network.shapes[output]) for output in network.outputs]
        outputs = [
            f"#define {upper}_OUTPUT_{n}_SCALE {_real(network.codes[output].scale)}\n"
            f"#define {upper}_OUTPUT_{n}_ZERO ({network.codes[output].zero_point})\n"
            for n, output in enumerate(network.outputs)
        ]
        return (
            f"{self.about('A network of int8 codes: real = scale * (code - zero).')}"
            f"#ifndef {upper}_H\n#define {upper}_H\n\n#include <stdint.h>\n\n"
            '#ifdef __cplusplus\nextern "C" {\n#endif\n\n'
            f"#define {upper}_ARENA_BYTES {self.plan.arena_bytes}\n\n"
            f"#define {upper}_INPUT_HEIGHT {height}\n#define {upper}_INPUT_WIDTH {width}\n"
            f"#define {upper}_INPUT_CHANNELS {channels}\n"
            f"#define {upper}_INPUT_BYTES {height * width * channels}\n"
            f"#define {upper}_INPUT_ALIGNMENT {self.alignment()} /* bytes, of its address */\n"
            f"#define {upper}_INPUT_SCALE {_real(code.scale)}\n"
            f"#define {upper}_INPUT_ZERO ({code.zero_point})\n\n"
            f"#define {upper}_OUTPUTS {len(network.outputs)}\n"
            f"#define {upper}_OUTPUT_BYTES {{{', '.join(map(str, sizes))}}} /* of each */\n"
            f"{''.join(outputs)}\n"
            "/* Fill this before every run: (height, width, channels); a run overwrites. */\n"
            f"int8_t *{name}_input(void);\n\nvoid {name}_run(void);\n\n"
            "/* Valid from a run until the input is filled again. */\n"
            f"const int8_t *{name}_output(int index);\n\n"
            "#ifdef __cplusplus\n}\n#endif\n\n#endif\n"
        )

    def source(self) -> str:
        """Weights, arena and steps."""
        for index, kernel in enumerate(self.network.kernels):
            STEPS.at(type(kernel), kernel.name)(self, kernel, index)
        name, upper, version = self.name, self.upper, kernel_version()
        outputs, count = ", ".join(map(self.place, self.network.outputs)), len(self._steps)
        return (
            f"{self.about('The network of ' + name + '.h.')}"
            f'#include "{name}.h"\n\n#include "kernels.h"\n\n'
            f"#if PARING_KERNELS != 0x{version}\n"
            f'#error "{name}.c needs the kernels of its own version: export both again"\n'
            "#endif\n\n"
            "/* All buffers; what is not needed at once lies in the same place. */\n"
            f"PARING_ALIGNED static int8_t {name}_arena[{upper}_ARENA_BYTES];\n\n"
            f"{''.join(self._data)}"
            f"static const paring_step {name}_steps[{count}] = {{\n"
            f"{''.join(self._steps)}}};\n\n"
            f"static const int8_t *const {name}_outputs[{upper}_OUTPUTS] = {{{outputs}}};\n\n"
            f"int8_t *{name}_input(void)\n{{\n    return {self.place(INPUT)};\n}}\n\n"
            f"void {name}_run(void)\n{{\n    paring_run({name}_steps, {count});\n}}\n\n"
            f"const int8_t *{name}_output(int index)\n{{\n"
            f"    return index >= 0 && index < {upper}_OUTPUTS ? {name}_outputs[index] : 0;\n"
            "}\n"
        )

    def about(self, what: str) -> str:
        """The comment that a file begins with: what it is, and where it is from."""
        told = (f" * {line.translate(_NO_COMMENTS)}".rstrip() for line in self.origin)
        return "\n".join([f"/* {what}", *told, " */\n"])

    def alignment(self) -> int:
        """Bytes that the input's address is a multiple of, up to a word."""
        return gcd(self.plan.offsets[INPUT], WORD)

    def place(self, buffer: str) -> str:
        """A pointer to a buffer, or to a constant."""
        if buffer in self.network.constants:
            if buffer not in self._stored:
                values = _pixelwise(self.network.constants[buffer])
                self._stored[buffer] = self.array("int8_t", f"constant{len(self._stored)}", values)
            return self._stored[buffer]
        return f"{self.name}_arena + {self.plan.offsets[buffer]}"

    def zero(self, buffer: str) -> int:
        """A buffer's zero point."""
        return self.network.codes[buffer].zero_point

    def array(self, kind: str, name: str, values: NDArray[Any]) -> str:
        """Store numbers; returns their whole name."""
        name = f"{self.name}_{name}"
        numbers = [str(value) for value in values.ravel().tolist()]
        rows = (numbers[n : n + PER_LINE] for n in range(0, len(numbers), PER_LINE))
        body = "".join(f"    {', '.join(row)},\n" for row in rows)
        self._data.append(
            f"PARING_ALIGNED static const {kind} {name}[{len(numbers)}] = {{\n{body}}};\n\n"
        )
        return name

    def record(self, kind: str, name: str, fields: Mapping[str, Any]) -> str:
        """Store settings; returns a pointer to them."""
        name = f"{self.name}_{name}"
        body = "".join(f"    .{key} = {value},\n" for key, value in fields.items())
        self._data.append(f"static const {kind} {name} = {{\n{body}}};\n\n")
        return f"&{name}"

    def step(
        self, kernel: Kernel, function: str, settings: str, read: str = "", made: str = ""
    ) -> None:
        """Add a step: from the first input to the output, unless told otherwise."""
        read, made = read or self.place(kernel.inputs[0]), made or self.place(kernel.output)
        self._steps.append(
            f"    /* {kernel.name.translate(_NO_COMMENTS)} */\n"
            f"    {{paring_{function}, {settings}, {read}, {made}}},\n"
        )

    def ends(self, kernel: Kernel) -> dict[str, int]:
        """How results are offset and clipped."""
        return {"zero_out": self.zero(kernel.output), "low": kernel.low, "high": kernel.high}


_NO_COMMENTS = str.maketrans("", "", "*/")  # a name may neither open nor close one


def _real(value: float) -> str:
    return f"{value:.9e}f"


def _nhwc(shape: Shape3) -> Shape3:
    channels, height, width = shape
    return height, width, channels


def _shape(shape: Shape3) -> str:
    return "{" + ", ".join(map(str, _nhwc(shape))) + "}"


def _pixelwise(values: NDArray[Any]) -> NDArray[Any]:
    """(..., channels, height, width) with the channels of each pixel together."""
    return np.moveaxis(np.atleast_3d(values), -3, -1)


def _shifts(scaling: FixedPointMultiplier) -> NDArray[np.int64]:
    return scaling.left - scaling.right


def _factor(scaling: FixedPointMultiplier) -> str:
    mantissa, shift = (int(part.reshape(-1)[0]) for part in (scaling[0], _shifts(scaling)))
    return f"{{{mantissa}, {shift}}}"


def _layer(to: _Writer, kernel: Conv, index: int) -> None:
    transposed = isinstance(kernel, ConvTranspose)
    one_each = kernel.depthwise and not transposed
    order = (1, 2, 3, 0) if one_each else (0, 2, 3, 1)  # (1, rows, columns, outputs), or O..I
    zero = to.zero(kernel.inputs[0])
    bias = kernel.bias if transposed else _with_zero(kernel, zero)
    read, made, window = _as_read(kernel)
    settings = {
        "in": _shape(read),
        "out": _shape(made),
        "weights": to.array("int8_t", f"weights{index}", kernel.weight.transpose(order)),
        "bias": to.array("int32_t", f"bias{index}", bias),
        "mantissas": to.array("int32_t", f"mantissas{index}", kernel.scaling.mantissa),
        "shifts": to.array("int8_t", f"shifts{index}", _shifts(kernel.scaling)),
        "groups": kernel.groups,
        **_settings(window),
        "dilation_y": window.dilation[0],
        "dilation_x": window.dilation[1],
        "backward": int(kernel.output in to.plan.backward),
        "zero_in": zero,
        **to.ends(kernel),
    }
    record = to.record("paring_layer", f"layer{index}", settings)
    kind = "transposed" if transposed else "depthwise" if one_each else "convolution"
    to.step(kernel, kind, record)


def _with_zero(kernel: Conv, zero: int) -> NDArray[np.int64]:
    """The bias with the input's zero point in it, so that codes are multiplied as they are."""
    weight = kernel.weight.astype(np.int64)
    folded: NDArray[np.int64] = kernel.bias - zero * weight.reshape(len(weight), -1).sum(1)
    return folded


def _as_read(kernel: Conv) -> tuple[Shape3, Shape3, Window]:
    """A layer's shapes and window, as long runs of memory: a window over a whole plane is one
    over one pixel, and the pixels that windows of one pixel are laid on are one row.
    """
    (read,), made, window = kernel.reads, kernel.shape, kernel.window
    plain = window.stride, window.padding, window.dilation
    if kernel.groups > 1 or isinstance(kernel, ConvTranspose):
        return read, made, window
    if window.kernel == read[1:] and made[1:] == (1, 1) and window.padding == (0, 0):
        return (prod(read), 1, 1), made, ONE_PIXEL
    if window.kernel == (1, 1) and plain == tuple(ONE_PIXEL[1:]):
        return (read[0], 1, prod(read[1:])), (made[0], 1, prod(made[1:])), window
    return read, made, window


def _settings(window: Window) -> dict[str, int]:
    names = (("rows", "columns"), ("stride_y", "stride_x"), ("pad_y", "pad_x"))
    return {
        name: value
        for pair, values in zip(names, window[:3], strict=True)
        for name, value in zip(pair, values, strict=True)
    }


def _pair(to: _Writer, kernel: Add | Mul, index: int) -> None:
    factors: Iterable[FixedPointMultiplier | None] = (None, None)
    if isinstance(kernel, Add):
        *factors, result = kernel.scalings
        function = "subtract" if kernel.difference else "add"
    else:
        result, function = kernel.scaling, "multiply"
    made, *reads = (kernel.shape, *kernel.reads)
    if set(reads) == {made}:  # element by element
        made, *reads = [(prod(made), 1, 1)] * 3
    operands = zip(("first", "second"), kernel.inputs, reads, factors, strict=True)
    settings: dict[str, Any] = {"out": _shape(made)}
    for name, buffer, read, factor in operands:
        settings[name] = _operand(read, factor, to.zero(buffer))
    settings |= {"other": to.place(kernel.inputs[1]), "factor": _factor(result)}
    record = to.record("paring_pair", f"pair{index}", settings | to.ends(kernel))
    to.step(kernel, function, record)


def _operand(read: Shape3, factor: FixedPointMultiplier | None, zero: int) -> str:
    """An operand's steps: where it has one pixel, or one channel, it stays where it is."""
    height, width, channels = _nhwc(read)
    steps = (
        width * channels if height > 1 else 0,
        channels if width > 1 else 0,
        1 if channels > 1 else 0,
    )
    scale = "{0, 0}" if factor is None else _factor(factor)
    return f"{{{', '.join(map(str, steps))}, {scale}, {zero}}}"


def _pool(to: _Writer, kernel: Pool, index: int) -> None:
    settings = {
        "in": _shape(kernel.reads[0]),
        "out": _shape(kernel.shape),
        **_settings(kernel.window),
        "backward": int(kernel.output in to.plan.backward),
        "padded": int(kernel.padded),
        "zero": to.zero(kernel.inputs[0]),
        "low": kernel.low,
        "high": kernel.high,
    }
    record = to.record("paring_pool", f"pool{index}", settings)
    to.step(kernel, "average_pool" if kernel.average else "max_pool", record)


def _mean(to: _Writer, kernel: Mean, index: int) -> None:
    channels, *plane = kernel.reads[0]
    settings = {
        "pixels": prod(plane),
        "channels": channels,
        "factor": _factor(kernel.scaling),
        "zero_in": to.zero(kernel.inputs[0]),
        **to.ends(kernel),
    }
    to.step(kernel, "mean", to.record("paring_planes", f"planes{index}", settings))


def _prelu(to: _Writer, kernel: Prelu, index: int) -> None:
    channels, *plane = kernel.reads[0]
    settings = {
        "pixels": prod(plane),
        "channels": channels,
        "slopes": to.array("int8_t", f"factors{index}", kernel.slope),
        "above": _factor(kernel.above),
        "below": _factor(kernel.below),
        "zero_in": to.zero(kernel.inputs[0]),
        **to.ends(kernel),
    }
    to.step(kernel, "prelu", to.record("paring_slopes", f"slopes{index}", settings))


def _table(to: _Writer, kernel: Lut, index: int) -> None:
    entries = to.array("int8_t", f"table{index}", kernel.entries)
    settings = {"entries": entries, "count": prod(kernel.shape)}
    to.step(kernel, "table", to.record("paring_entries", f"entries{index}", settings))


def _move(to: _Writer, kernel: Gather, index: int) -> None:
    """Places count pixel by pixel on both sides."""
    channels, *plane = kernel.reads[0]
    pixels = prod(plane)
    if kernel.tables is not None and pixels < SMALL and channels < SMALL:
        _gather(to, kernel, kernel.tables, index)
        return
    source = kernel.source
    places = source % pixels * channels + source // pixels
    large = channels * pixels > SMALL
    kind, which, hole = ("uint32_t", "_large", LARGE) if large else ("uint16_t", "", SMALL)
    places = np.where(source == PAD, hole, places)
    table = to.array(kind, f"table{index}", _pixelwise(places))
    settings = {"places": table, "count": places.size, "fill": kernel.fill}
    record = to.record("paring_places", f"places{index}", settings)
    to.step(kernel, f"move{which}", record)


def _gather(to: _Writer, kernel: Gather, tables: IndexTables, index: int) -> None:
    """Whole pixels, or some channels of them, by short tables."""
    rows, columns, which = (
        np.where(table == PAD, SMALL, table)
        for table in (tables.rows, tables.columns, tables.channels)
    )
    settings = {
        "height": len(rows),
        "width": len(columns),
        "channels": kernel.shape[0],
        "channels_in": kernel.reads[0][0],
        "rows": to.array("uint16_t", f"rows{index}", rows),
        "columns": to.array("uint16_t", f"columns{index}", columns),
        "which": to.array("uint16_t", f"which{index}", which) if len(which) else 0,
        "first": tables.first,
        "fill": kernel.fill,
    }
    to.step(kernel, "gather", to.record("paring_tables", f"tables{index}", settings))


def _concat(to: _Writer, kernel: Concat, index: int) -> None:
    """A step for each part: as many runs as there are places before the axis."""
    axis = (2, 0, 1)[kernel.axis]
    whole = _nhwc(kernel.shape)
    settings, offset = {"times": prod(whole[:axis]), "step": prod(whole[axis:])}, 0
    for part, (name, read) in enumerate(zip(kernel.inputs, kernel.reads, strict=True)):
        run = prod(_nhwc(read)[axis:])
        record = to.record("paring_part", f"part{index}_{part}", settings | {"run": run})
        made = f"{to.place(kernel.output)} + {offset}"
        to.step(kernel, "place", record, to.place(name), made)
        offset += run


_RULES: Mapping[type, Callable[[_Writer, Any, int], None]] = {
    Conv: _layer,
    ConvTranspose: _layer,
    Add: _pair,
    Mul: _pair,
    Pool: _pool,
    Mean: _mean,
    Lut: _table,
    Prelu: _prelu,
    Gather: _move,
    Concat: _concat,
}
STEPS = KindTable("which C runs it", INTEGER_KERNELS, _RULES)

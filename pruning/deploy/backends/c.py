"""An integer network as C99: a folder that any C compiler builds, on any core.

`model.c`, or whatever the network is called, holds the weights, the arena and the steps in
their order; `kernels.c` is the same for every network. Nothing allocates memory; of a library,
memcpy and memset are needed.
"""

from collections.abc import Mapping, Sequence
from functools import cache
from hashlib import sha256
from importlib.resources import files
from math import gcd, prod

from pruning.cost.memory.arena import WORD
from pruning.deploy.backends.c_name import DEFAULT, checked_c_name
from pruning.deploy.context.c_source import CSource, in_comment
from pruning.deploy.integer_ir import IntegerNetwork, channels_last
from pruning.deploy.kernels.registry import family_of
from pruning.deploy.memory_plan import plan
from pruning.ir.operator import INPUT

# What budgets hold for: `verify` and the CMakeLists of a folder compile with it.
OPTIONS = ("-std=c99", "-O2", "-ffunction-sections", "-fdata-sections")
NO_VERSION = "00000000"  # stands in kernels.h for their digest


def c_files(
    network: IntegerNetwork, name: str = DEFAULT, origin: Sequence[str] = ()
) -> dict[str, str]:
    """The files of a folder, by name.

    All that others can see of the network begins with `name`; `origin` is said in its files,
    line by line. The kernels are the same whatever the network.

    Raises:
        DeployError: `name` is none of C's.
    """
    writer = _Writer(network, checked_c_name(name), origin)
    return {
        f"{name}.h": writer.header(),
        f"{name}.c": writer.source(),
        **kernel_files(),
        **{file: writer.with_name(_shared(file)) for file in ("main.c", "CMakeLists.txt")},
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
    """Writes the files of one network; its kernels write their own part of the source."""

    def __init__(self, network: IntegerNetwork, name: str, origin: Sequence[str]) -> None:
        self.network, self.plan = network, plan(network)
        self.name, self.upper, self.origin = name, name.upper(), origin

    def with_name(self, text: str) -> str:
        """A text of the folder with the network's name in it, and what it is compiled with."""
        for word, replacement in (
            ("@OPTIONS@", ";".join(OPTIONS)),
            (NO_VERSION, kernel_version()),
            ("MODEL", self.upper),
            ("model", self.name),
        ):
            text = text.replace(word, replacement)
        return text

    def header(self) -> str:
        """The public face: how to feed the network and read what it gives."""
        network, name, upper = self.network, self.name, self.upper
        code = network.codes[INPUT]
        height, width, channels = channels_last(network.shapes[INPUT])
        sizes = [prod(network.shapes[output]) for output in network.outputs]
        outputs = [
            f"#define {upper}_OUTPUT_{n}_SCALE {_real(network.codes[output].scale)}\n"
            f"#define {upper}_OUTPUT_{n}_ZERO ({network.codes[output].zero_point})\n"
            for n, output in enumerate(network.outputs)
        ]
        return (
            f"{self._about('A network of int8 codes: real = scale * (code - zero).')}"
            f"#ifndef {upper}_H\n#define {upper}_H\n\n#include <stdint.h>\n\n"
            '#ifdef __cplusplus\nextern "C" {\n#endif\n\n'
            f"#define {upper}_ARENA_BYTES {self.plan.arena_bytes}\n\n"
            f"#define {upper}_INPUT_HEIGHT {height}\n#define {upper}_INPUT_WIDTH {width}\n"
            f"#define {upper}_INPUT_CHANNELS {channels}\n"
            f"#define {upper}_INPUT_BYTES {height * width * channels}\n"
            f"#define {upper}_INPUT_ALIGNMENT {self._alignment()} /* bytes, of its address */\n"
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
        source = CSource(self.network, self.plan, self.name)
        for index, kernel in enumerate(self.network.kernels):
            family_of(kernel).write_c(kernel, source, index)
        name, upper, version = self.name, self.upper, kernel_version()
        outputs, count = ", ".join(map(source.pointer, self.network.outputs)), len(source.steps)
        return (
            f"{self._about('The network of ' + name + '.h.')}"
            f'#include "{name}.h"\n\n#include "kernels.h"\n\n'
            f"#if PARING_KERNELS != 0x{version}\n"
            f'#error "{name}.c needs the kernels of its own version: export both again"\n'
            "#endif\n\n"
            "/* All buffers; what is not needed at once lies in the same place. */\n"
            f"PARING_ALIGNED static int8_t {name}_arena[{upper}_ARENA_BYTES];\n\n"
            f"{''.join(source.definitions)}"
            f"static const paring_step {name}_steps[{count}] = {{\n"
            f"{''.join(source.steps)}}};\n\n"
            f"static const int8_t *const {name}_outputs[{upper}_OUTPUTS] = {{{outputs}}};\n\n"
            f"int8_t *{name}_input(void)\n{{\n    return {source.pointer(INPUT)};\n}}\n\n"
            f"void {name}_run(void)\n{{\n    paring_run({name}_steps, {count});\n}}\n\n"
            f"const int8_t *{name}_output(int index)\n{{\n"
            f"    return index >= 0 && index < {upper}_OUTPUTS ? {name}_outputs[index] : 0;\n"
            "}\n"
        )

    def _about(self, what: str) -> str:
        """The comment that a file begins with: what it is, and where it is from."""
        lines = (f" * {in_comment(line)}".rstrip() for line in self.origin)
        return "\n".join([f"/* {what}", *lines, " */\n"])

    def _alignment(self) -> int:
        """Bytes that the input's address is a multiple of, up to a word."""
        return gcd(self.plan.offsets[INPUT], WORD)


def _real(value: float) -> str:
    return f"{value:.9e}f"

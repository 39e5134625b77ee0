"""Generated C by any compiler, for any bare Arm core, run on an emulated one."""

import shutil
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.resources import files
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pruning.deploy import IntegerNetwork, c_files
from pruning.deploy.backends.c import OPTIONS
from pruning.ir.operator import INPUT
from tests.toolchain import COMPILER

unicorn = pytest.importorskip("unicorn", reason="needs the extra [verify]")
arm = pytest.importorskip("unicorn.arm_const")
elffile = pytest.importorskip("elftools.elf.elffile", reason="needs the extra [verify]")

RAM, ROOM = 0x20000000, 64 << 20  # as in memory.ld
LIMIT_US = 60_000_000
# All that is needed of one: none comes with gcc for big-endian cores.
LIBRARY = """#include <stddef.h>

void *memcpy(void *to, const void *from, size_t count)
{
    char *at = to;
    for (const char *byte = from; count; count--)
        *at++ = *byte++;
    return to;
}

void *memset(void *to, int byte, size_t count)
{
    for (char *at = to; count; count--)
        *at++ = (char)byte;
    return to;
}
"""

needs_arm_gcc = pytest.mark.skipif(
    shutil.which(COMPILER) is None, reason=f"{COMPILER} is not installed (make system-deps)"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Core:
    """How a core is compiled for, and which one is emulated."""

    options: tuple[str, ...]
    linking: tuple[str, ...] = ("-nostartfiles", "--specs=nano.specs")
    model: int
    mode: int


THUMB = unicorn.UC_MODE_THUMB
M = THUMB | unicorn.UC_MODE_MCLASS
CORES = {
    "m0+": Core(options=("-mcpu=cortex-m0plus", "-mthumb"), model=arm.UC_CPU_ARM_CORTEX_M0, mode=M),
    "m3": Core(options=("-mcpu=cortex-m3", "-mthumb"), model=arm.UC_CPU_ARM_CORTEX_M3, mode=M),
    "m4": Core(options=("-mcpu=cortex-m4", "-mthumb"), model=arm.UC_CPU_ARM_CORTEX_M4, mode=M),
    "m33": Core(options=("-mcpu=cortex-m33", "-mthumb"), model=arm.UC_CPU_ARM_CORTEX_M33, mode=M),
    "r5": Core(options=("-mcpu=cortex-r5", "-mthumb"), model=arm.UC_CPU_ARM_CORTEX_R5, mode=THUMB),
    "r5-arm": Core(
        options=("-mcpu=cortex-r5", "-marm"),
        model=arm.UC_CPU_ARM_CORTEX_R5,
        mode=unicorn.UC_MODE_ARM,
    ),
    "r5-big-endian": Core(
        options=("-mcpu=cortex-r5", "-mthumb", "-mbig-endian"),
        linking=("-nostdlib", "-Wl,--be8", "library.c"),
        model=arm.UC_CPU_ARM_CORTEX_R5,
        mode=THUMB | unicorn.UC_MODE_ARMBE8,
    ),
    "arm9": Core(
        options=("-mcpu=arm926ej-s", "-marm"),
        model=arm.UC_CPU_ARM_926,
        mode=unicorn.UC_MODE_ARM,
    ),
}


def elf_of(path: Path) -> Any:
    return elffile.ELFFile(BytesIO(path.read_bytes()))


def run(*command: str | Path, folder: Path) -> str:
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout


def linked(
    network: IntegerNetwork,
    folder: Path,
    core: Core,
    options: Sequence[str] = OPTIONS,
    compiler: Sequence[str] = (COMPILER,),
    more: Mapping[str, str] | None = None,
) -> Path:
    """A program; `more` sources are compiled without `options`."""
    board = files("pruning.deploy") / "board"
    texts = {name: (board / name).read_text("utf-8") for name in ("start.c", "memory.ld")}
    texts |= {**c_files(network), "library.c": LIBRARY, **(more or {})}
    for name, text in texts.items():
        (folder / name).write_text(text)
    for source in ("model.c", "kernels.c"):
        run(*compiler, *core.options, *options, "-ffreestanding", "-c", source, folder=folder)
    plain = ("-O1", "-ffreestanding", "-fno-tree-loop-distribute-patterns")  # no memcpy in it
    run(
        COMPILER, *core.options, *plain, "model.o", "kernels.o", "start.c", *(more or {}),
        "-T", "memory.ld", *core.linking, "-o", "linked.elf", folder=folder,
    )  # fmt: skip
    return folder / "linked.elf"


def answers(
    program: Path, core: Core, network: IntegerNetwork, codes: np.ndarray
) -> list[np.ndarray]:
    """What a core makes of (batch, channels, height, width) codes: each output alike."""
    machine = _Machine(program, core)
    parts: list[list[np.ndarray]] = []
    for sample in codes.reshape(-1, *network.shapes[INPUT]):
        machine.write(machine.call("model_input"), np.moveaxis(sample, 0, -1).tobytes())
        machine.call("model_run")
        parts.append(
            [
                machine.output(machine.call("model_output", n), network.shapes[name])
                for n, name in enumerate(network.outputs)
            ]
        )
    return [np.stack(outputs) for outputs in zip(*parts, strict=True)]


class _Machine:
    def __init__(self, program: Path, core: Core) -> None:
        elf = elf_of(program)
        table = elf.get_section_by_name(".symtab")
        self.places = {s.name: s["st_value"] for s in table.iter_symbols()}
        self.core = unicorn.Uc(unicorn.UC_ARCH_ARM, core.mode)
        self.core.ctl_set_cpu_model(core.model)
        for start in (0, RAM):
            self.core.mem_map(start, ROOM)
        for segment in elf.iter_segments("PT_LOAD"):
            self.core.mem_write(segment["p_paddr"], segment.data())
        self.call("reset")

    def call(self, name: str, argument: int = 0) -> int:
        """Run a function until it comes back, or stops at `ready`."""
        ready = self.places["ready"]
        for register, value in (
            (arm.UC_ARM_REG_SP, RAM + ROOM),
            (arm.UC_ARM_REG_LR, ready),
            (arm.UC_ARM_REG_R0, argument),
        ):
            self.core.reg_write(register, value)
        self.core.emu_start(self.places[name], ready & ~1, timeout=LIMIT_US)
        assert self.core.reg_read(arm.UC_ARM_REG_PC) & ~1 == ready & ~1
        return self.core.reg_read(arm.UC_ARM_REG_R0)

    def write(self, place: int, content: bytes) -> None:
        self.core.mem_write(place, content)

    def output(self, place: int, shape: tuple[int, int, int]) -> np.ndarray:
        channels, height, width = shape
        content = bytes(self.core.mem_read(place, channels * height * width))
        return np.moveaxis(np.frombuffer(content, np.int8).reshape(height, width, -1), -1, 0)

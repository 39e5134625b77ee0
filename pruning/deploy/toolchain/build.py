"""Generated C, compiled and linked for a core: what it takes there, to the byte."""

import shutil
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.resources import files
from io import BytesIO
from pathlib import Path
from tempfile import TemporaryDirectory

from elftools.elf.elffile import ELFFile
from elftools.elf.sections import SymbolTableSection

from pruning.deploy.backends.c import OPTIONS, c_files
from pruning.deploy.integer_ir import IntegerNetwork
from pruning.errors import ToolchainError

COMPILER = "arm-none-eabi-gcc"
LINKING = ("-nostartfiles", "--specs=nano.specs", "-Wl,--gc-sections",
           "-Wl,-u,model_input,-u,model_output")  # fmt: skip
CORES: Mapping[str, tuple[str, ...]] = {
    "cortex-m0+": ("-mcpu=cortex-m0plus", "-mthumb"),
    "cortex-m3": ("-mcpu=cortex-m3", "-mthumb"),
    "cortex-m4": ("-mcpu=cortex-m4", "-mthumb"),
    "cortex-m7": ("-mcpu=cortex-m7", "-mthumb"),
    "cortex-m33": ("-mcpu=cortex-m33", "-mthumb"),
}
PATIENCE_S = 120  # seconds for a compiler that takes one


@dataclass(frozen=True, slots=True, kw_only=True)
class Firmware:
    """A linked program. `flash_bytes` and `sram_bytes` are those of the network, without
    start-up code and stack; `runtime_bytes` those of the kernels that it uses. `segments` are
    its bytes by address, `symbols` the address and the size of what it defines.
    """

    core: str
    flash_bytes: int
    runtime_bytes: int
    sram_bytes: int
    segments: Mapping[int, bytes]
    symbols: Mapping[str, tuple[int, int]]


def build_firmware(network: IntegerNetwork, core: str) -> Firmware:
    """Compile and link the C of a network for a core.

    Raises:
        ToolchainError: the compiler is missing or fails, or the core is unknown.
    """
    if core not in CORES:
        raise ToolchainError(f"core {core!r} cannot be built for; known: {', '.join(CORES)}")
    if shutil.which(COMPILER) is None:
        raise ToolchainError(
            f"{COMPILER} is not installed: apt-get install gcc-arm-none-eabi "
            "libnewlib-arm-none-eabi"
        )
    board = files("pruning.deploy") / "board"
    static = {name: (board / name).read_text("utf-8") for name in ("start.c", "memory.ld")}
    with TemporaryDirectory(prefix="paring-") as name:
        folder = Path(name)
        for file, text in (c_files(network) | static).items():
            (folder / file).write_text(text)
        sources = ("model.c", "kernels.c", "start.c")
        for source in sources:
            _run(folder, *CORES[core], *OPTIONS, "-c", source)
        objects = [source.replace(".c", ".o") for source in sources]
        _run(folder, *CORES[core], *LINKING, "-T", "memory.ld", *objects, "-o", "linked.elf")
        return _read(core, (folder / "linked.elf").read_bytes())


def _run(folder: Path, *arguments: str) -> None:
    try:
        done = subprocess.run(
            [COMPILER, *arguments],
            cwd=folder,
            capture_output=True,
            text=True,
            timeout=PATIENCE_S,
        )
    except subprocess.TimeoutExpired as error:
        raise ToolchainError(f"{COMPILER} did not end within {PATIENCE_S} s") from error
    if done.returncode:
        told = [line for line in done.stderr.splitlines() if "error" in line.lower()]
        raise ToolchainError(f"{COMPILER} failed: {'; '.join(told[:3]) or done.stderr[:500]}")


def _read(core: str, content: bytes) -> Firmware:
    elf = ELFFile(BytesIO(content))
    sizes = {section.name: section["sh_size"] for section in elf.iter_sections()}
    symbols = elf.get_section_by_name(".symtab")
    if not isinstance(symbols, SymbolTableSection):
        raise ToolchainError(
            f"{COMPILER} linked a program without symbols, in which nothing is found: "
            "no option may strip it (-s)"
        )
    return Firmware(
        core=core,
        flash_bytes=sizes[".model"] + sizes.get(".data", 0),
        runtime_bytes=sizes[".runtime"],
        sram_bytes=sizes.get(".data", 0) + sizes.get(".bss", 0),
        segments={
            segment["p_paddr"]: segment.data()
            for segment in elf.iter_segments("PT_LOAD")
            if segment["p_filesz"]
        },
        symbols={
            symbol.name: (symbol["st_value"] & ~1, symbol["st_size"])
            for symbol in symbols.iter_symbols()
            if symbol.name
        },
    )

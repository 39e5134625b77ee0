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

from pruning.cost.core import Toolchain
from pruning.cost.cores import core_named
from pruning.deploy.backends.c import OPTIONS, c_files
from pruning.deploy.integer_ir import IntegerNetwork
from pruning.errors import ToolchainError

LINKING = ("-Wl,--gc-sections", "-Wl,-u,model_input,-u,model_output")
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
        PruningError: the core is unknown. ToolchainError: the compiler is missing or fails.
    """
    tools = core_named(core).toolchain
    if shutil.which(tools.compiler) is None:
        raise ToolchainError(
            f"{tools.compiler} is not installed: apt-get install {' '.join(tools.packages)}"
        )
    board = files("pruning.deploy") / "board"
    copies = {"start.c": tools.start_code, "memory.ld": tools.linker_script}
    static = {name: (board / file).read_text("utf-8") for name, file in copies.items()}
    with TemporaryDirectory(prefix="paring-") as name:
        folder = Path(name)
        for file, text in (c_files(network) | static).items():
            (folder / file).write_text(text)
        units = ("model.c", "kernels.c", "start.c")
        for unit in units:
            _run(tools, folder, *OPTIONS, "-c", unit)
        objects = [unit.replace(".c", ".o") for unit in units]
        options = (*tools.linking, *LINKING, "-T", "memory.ld")
        _run(tools, folder, *options, *objects, "-o", "linked.elf")
        return _read(core, tools, (folder / "linked.elf").read_bytes())


def _run(tools: Toolchain, folder: Path, *arguments: str) -> None:
    try:
        done = subprocess.run(
            [tools.compiler, *tools.flags, *arguments],
            cwd=folder,
            capture_output=True,
            text=True,
            timeout=PATIENCE_S,
        )
    except subprocess.TimeoutExpired as error:
        raise ToolchainError(f"{tools.compiler} did not end within {PATIENCE_S} s") from error
    if done.returncode:
        told = [line for line in done.stderr.splitlines() if "error" in line.lower()]
        reason = "; ".join(told[:3]) or done.stderr[:500]
        raise ToolchainError(f"{tools.compiler} failed: {reason}")


def _read(core: str, tools: Toolchain, content: bytes) -> Firmware:
    elf = ELFFile(BytesIO(content))
    sizes = {section.name: section["sh_size"] for section in elf.iter_sections()}
    symbols = elf.get_section_by_name(".symtab")
    if not isinstance(symbols, SymbolTableSection):
        raise ToolchainError(
            f"{tools.compiler} linked a program without symbols, in which nothing is found: "
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
            symbol.name: (symbol["st_value"] & ~tools.code_bit, symbol["st_size"])
            for symbol in symbols.iter_symbols()
            if symbol.name
        },
    )

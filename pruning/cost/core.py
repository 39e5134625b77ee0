"""What paring knows of a processor core: how fast generated C is on it, how to build and run it.

One record a core, in `pruning.cost.cores`: whoever estimates, compiles or emulates asks it.
"""

import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.resources import files
from typing import Any

from pruning.errors import PruningError
from pruning.ir.kinds import KindTable
from pruning.ir.loops import LoopCosts
from pruning.ops import ROUTINES

_TABLES: Mapping[str, Any] = tomllib.loads(
    (files("pruning.cost") / "cores" / "loop_costs.toml").read_text("utf-8")
)


def loops_of(*tables: str) -> KindTable[str, LoopCosts]:
    """Instructions of each loop by routine, from tables of loop_costs.toml: where several have a
    routine, the last one counts.

    Raises:
        TypeError: a routine has no row, or there is no such routine or loop.
    """
    rows = {routine: row for table in tables for routine, row in _TABLES[table].items()}
    return _loop_table({routine: LoopCosts(**row) for routine, row in rows.items()})


def _loop_table(loops: Mapping[str, LoopCosts]) -> KindTable[str, LoopCosts]:
    return KindTable("what its loops take", ROUTINES, loops)


@dataclass(frozen=True, slots=True, kw_only=True)
class RatesSource:
    """Where a core's rates are from, and how to find out whether they still hold.

    compiler, optimisation: what built the C whose instructions were counted.
    fitted: day of the last fit (ISO 8601).
    make_target: measures how far the estimates are off, on networks that nothing was fitted to.
    command: fits rates anew to random prunings on the emulated core, into the file of a device;
    no make target writes the rows of a record. Kinds that these networks lack keep their rates:
    the single layers that those were fitted to are not kept.
    """

    compiler: str
    optimisation: str
    fitted: str
    make_target: str = "bench-estimates"
    command: str = "paring calibrate device=NAME out=FILE"


@dataclass(frozen=True, slots=True, kw_only=True)
class Toolchain:
    """How C is compiled and linked for a core.

    compiler: a program, gcc or one that takes its options; packages: of Debian, that hold it.
    flags: options that choose the core; linking: those of the linker, for a program without an
    operating system. start_code, linker_script: files in `pruning/deploy/board`. The linker
    script names the sections .start, .model, .runtime, .data and .bss and the symbol stack_top;
    the start code defines `reset` and `ready`.
    code_bit: what is added to the address of a function to call it: 1 for Thumb, 0 elsewhere.
    """

    compiler: str
    packages: tuple[str, ...]
    flags: tuple[str, ...]
    linking: tuple[str, ...]
    start_code: str
    linker_script: str
    code_bit: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Emulator:
    """How unicorn emulates a core, in the names of its constants.

    constants: the module that has those of the architecture, such as unicorn.arm_const.
    program_counter, stack_pointer, return_address, first_argument: registers; results come back
    in the last.
    long_mask, long_prefixes: an instruction has two half-words where its first, masked, is one
    of the prefixes, and otherwise one.
    """

    constants: str
    architecture: str
    modes: tuple[str, ...]
    model: str
    program_counter: str
    stack_pointer: str
    return_address: str
    first_argument: str
    long_mask: int
    long_prefixes: tuple[int, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Core:
    """A processor core.

    name: as in the `core` of a device.
    loops: executed instructions of each loop, by kind of kernel. source: where they are from.
    network_bytes: of flash that generated C takes once, whatever the network: its own three
    functions, as `source.compiler` links them.
    clocks_hz: the lowest and the highest clock of chips with this core.
    """

    name: str
    loops: KindTable[str, LoopCosts]
    source: RatesSource
    network_bytes: int
    clocks_hz: tuple[float, float]
    toolchain: Toolchain
    emulator: Emulator

    def loop_costs(self, device: Mapping[str, Sequence[float]]) -> KindTable[str, LoopCosts]:
        """The rates of a device with this core: the core's, but for kinds that have their own.

        Raises:
            PruningError: a kind of kernel that there is not.
        """
        if odd := sorted(device.keys() - self.loops.keys()):
            raise PruningError(
                f"loops of unknown kinds {', '.join(odd)}; known: {', '.join(self.loops)}"
            )
        return _loop_table(self.loops | {kind: LoopCosts(*row) for kind, row in device.items()})

"""Cortex-M7: executes what an M4 does, which the compiler orders otherwise. Rates as there."""

from dataclasses import replace

from pruning.cost.core import loops_of
from pruning.cost.cores import cortex_m4

M4 = cortex_m4.CORE
CORE = replace(
    M4,
    name="cortex-m7",
    clocks_hz=(100e6, 600e6),
    toolchain=replace(M4.toolchain, flags=("-mcpu=cortex-m7", "-mthumb")),
    emulator=replace(M4.emulator, model="UC_CPU_ARM_CORTEX_M7"),
    loops=loops_of("cortex-m4", "cortex-m7"),
)

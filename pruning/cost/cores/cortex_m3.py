"""Cortex-M3: no instructions that multiply several numbers at once. Kinds not named: an M4's."""

from dataclasses import replace

from pruning.cost.core import loops_of
from pruning.cost.cores import cortex_m4

M4 = cortex_m4.CORE
CORE = replace(
    M4,
    name="cortex-m3",
    clocks_hz=(16e6, 120e6),
    toolchain=replace(M4.toolchain, flags=("-mcpu=cortex-m3", "-mthumb")),
    emulator=replace(M4.emulator, model="UC_CPU_ARM_CORTEX_M3"),
    loops=loops_of("cortex-m4", "cortex-m3"),
)

"""Cortex-M0+: half the registers and no long multiplication."""

from dataclasses import replace

from pruning.cost.core import loops_of
from pruning.cost.cores import cortex_m3

M3 = cortex_m3.CORE
CORE = replace(
    M3,
    name="cortex-m0+",
    network_bytes=40,
    clocks_hz=(16e6, 150e6),
    toolchain=replace(M3.toolchain, flags=("-mcpu=cortex-m0plus", "-mthumb")),
    emulator=replace(M3.emulator, model="UC_CPU_ARM_CORTEX_M0"),
    loops=loops_of("cortex-m0+"),
)

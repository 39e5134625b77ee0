"""Cortex-M33: its counts are within 1 % of the M4's, whose rates it has."""

from dataclasses import replace

from pruning.cost.cores import cortex_m4

M4 = cortex_m4.CORE
CORE = replace(
    M4,
    name="cortex-m33",
    clocks_hz=(32e6, 250e6),
    toolchain=replace(M4.toolchain, flags=("-mcpu=cortex-m33", "-mthumb")),
    emulator=replace(M4.emulator, model="UC_CPU_ARM_CORTEX_M33"),
)

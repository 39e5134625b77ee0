"""Cortex-M7: executes what an M4 does, which the compiler orders otherwise. Rates as there."""

from dataclasses import replace

from pruning.cost.core import loop_table
from pruning.cost.cores import cortex_m4
from pruning.cost.trip_counts import LoopCosts

M4 = cortex_m4.CORE
CORE = replace(
    M4,
    name="cortex-m7",
    clocks_hz=(100e6, 600e6),
    toolchain=replace(M4.toolchain, flags=("-mcpu=cortex-m7", "-mthumb")),
    emulator=replace(M4.emulator, model="UC_CPU_ARM_CORTEX_M7"),
    loops=loop_table(
        M4.loops
        | {
            "conv": LoopCosts(
                1.316, 1.568, 17.86, 38.37, 145.4, 387.7, 36.34, 9.564, 1.132, 1.932, 32.44
            ),
            "depthwise": LoopCosts(
                mac=3.32, cut_tap=6.414, element=48.39, pixel=87.27, tap=17.54, copy=14.05
            ),
            "linear": LoopCosts(mac=1.814, element=33.39, pixel=264.6, run=38.04, tail=1.481),
            "batch_norm": LoopCosts(mac=45.2, pixel=88.55),
        }
    ),
)

"""Cortex-M3: no instructions that multiply several numbers at once. Kinds not named: an M4's."""

from dataclasses import replace

from pruning.cost.core import loop_table
from pruning.cost.cores import cortex_m4
from pruning.cost.trip_counts import LoopCosts

M4 = cortex_m4.CORE
CORE = replace(
    M4,
    name="cortex-m3",
    clocks_hz=(16e6, 120e6),
    toolchain=replace(M4.toolchain, flags=("-mcpu=cortex-m3", "-mthumb")),
    emulator=replace(M4.emulator, model="UC_CPU_ARM_CORTEX_M3"),
    loops=loop_table(
        M4.loops
        | {
            "conv": LoopCosts(
                2.315, 2.85, 24.74, 39.19, 122.6, 378.5, 37.9, 21.93, 0.9668, 2.025, 36.93
            ),
            "depthwise": LoopCosts(3.124, 0.0, 8.563, 53.74, 84.41, 49.76, 23.75, 0.0, 0.0, 11.18),
            "linear": LoopCosts(mac=3.498, element=29.98, pixel=261.5, run=43.97),
            "grouped": LoopCosts(
                2.599, 2.379, 28.86, 53.17, 69.07, 2001, 26.53, 5.93, 1.439, 5.238
            ),
            "multiplied": LoopCosts(mac=17.1, element=142, pixel=69.95, call=50.28),
            "conv_transpose": LoopCosts(
                cut_mac=6.003, cut_tap=17.28, element=116.1, pixel=39.44, run=21.04
            ),
            "batch_norm": LoopCosts(mac=46.2, pixel=86.56),
            "pool": LoopCosts(13.88, element=72.79, pixel=27.24),
            "mean": LoopCosts(7.051, element=33.84, pixel=22.02),
            "add": LoopCosts(element=85.99),
            "sub": LoopCosts(element=86.97),
            "mul": LoopCosts(element=50.98, pixel=8.0, call=86.0),
            "div": LoopCosts(element=50.98, pixel=8.0, call=86.0),
            "prelu": LoopCosts(element=42.6, pixel=6.0),
        }
    ),
)

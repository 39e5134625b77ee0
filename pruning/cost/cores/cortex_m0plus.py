"""Cortex-M0+: half the registers and no long multiplication. Kinds not named, which have no C,
are taken to need half as much again as on an M3.
"""

from dataclasses import replace

from pruning.cost.core import loop_table
from pruning.cost.cores import cortex_m3
from pruning.cost.trip_counts import LoopCosts

M3 = cortex_m3.CORE
CORE = replace(
    M3,
    name="cortex-m0+",
    network_bytes=40,
    clocks_hz=(16e6, 150e6),
    toolchain=replace(M3.toolchain, flags=("-mcpu=cortex-m0plus", "-mthumb")),
    emulator=replace(M3.emulator, model="UC_CPU_ARM_CORTEX_M0"),
    loops=loop_table(
        {kind: LoopCosts(*(1.5 * rate for rate in row)) for kind, row in M3.loops.items()}
        | {
            "conv": LoopCosts(
                6.967, 7.781, 38.04, 93.83, 185.8, 338.6, 32.96, 32.9, 2.661, 11.26, 64.24
            ),
            "depthwise": LoopCosts(9.46, 0.0, 14.36, 114.5, 150.3, 28.25, 38.95, 0.0, 0.0, 18.2),
            "linear": LoopCosts(mac=5.497, element=93.31, pixel=465.5, run=44.46),
            "grouped": LoopCosts(7.144, 7.079, 43.25, 119.0, 120.0, 4296, 38.98, 0.0, 3.476, 8.949),
            "multiplied": LoopCosts(mac=24.36, element=279.3, pixel=50.84, tap=0.2694),
            "conv_transpose": LoopCosts(
                cut_mac=7.972, cut_tap=55.87, element=263.3, pixel=37.28, call=3147, run=22.93
            ),
            "batch_norm": LoopCosts(mac=113.1, pixel=141.2),
            "pool": LoopCosts(18.73, element=131.1, pixel=40.79, tap=0.8053),
            "mean": LoopCosts(8.062, element=89.78, pixel=37.61),
            "add": LoopCosts(element=252.2),
            "sub": LoopCosts(element=253.3),
            "mul": LoopCosts(element=116.9, pixel=21.0, call=2100.0),
            "div": LoopCosts(element=116.9, pixel=21.0, call=2100.0),
            "prelu": LoopCosts(element=100.1, pixel=16.0),
            "activation": LoopCosts(element=9.0, call=10.0),
            "gather": LoopCosts(8.5, element=5.56, pixel=39.4, call=80.0),
            "concat": LoopCosts(element=5.57, pixel=43.0, call=110.0),
        }
    ),
)

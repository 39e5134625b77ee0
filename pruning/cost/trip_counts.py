"""What the loops of kernels in generated C take, core by core."""

from collections.abc import Mapping, Sequence

from pruning.errors import PruningError
from pruning.ir.kinds import KindTable
from pruning.ir.loops import LoopCosts
from pruning.ops import ROUTINES

# Fitted to generated C, built by arm-none-eabi-gcc 12.2 -O2 and counted kernel by kernel on an
# emulated core. "conv", "depthwise", "linear" and "batch_norm" to half of 64 random prunings of
# ResNet-8, DS-CNN, MobileNetV1, VGG-16, two autoencoders and networks of all other kinds, and
# of 127 single layers; make bench-estimates tells how far off others are. "grouped",
# "multiplied", "conv_transpose", "pool" and "mean" to half of 118 single layers: on the other half
# they are 2, 0, 1, 7 and 0.3 % off in the mean, 7, 0, 3, 16 and 0.6 % at worst (M4). Kinds
# without C are a guess. Numbers without a name are in the order of the fields.
M4 = {
    "conv": LoopCosts(1.318, 1.565, 18.06, 37.43, 144.9, 391.6, 35.74, 9.587, 1.136, 1.895, 29.71),
    "depthwise": LoopCosts(
        mac=3.205, cut_tap=6.916, element=48.33, pixel=85.67, tap=16.14, copy=14.58
    ),
    "grouped": LoopCosts(1.47, 1.34, 19.84, 47.47, 86.85, 912, 25.88, 1.219, 1.21, 5.29),
    "multiplied": LoopCosts(mac=16.98, element=137.1, pixel=70.74, call=46.96),
    "linear": LoopCosts(mac=1.814, element=31.39, pixel=261.6, run=40.04, tail=1.481),
    "conv_transpose": LoopCosts(cut_mac=6.003, cut_tap=17.28, element=113.1, pixel=39.4, run=21.05),
    "batch_norm": LoopCosts(mac=44.22, pixel=87.91),
    "pool": LoopCosts(13.88, element=73.88, pixel=26.66),
    "mean": LoopCosts(7.051, element=28.83, pixel=22.03),
    "add": LoopCosts(element=75.98),
    "sub": LoopCosts(element=76.97),
    "mul": LoopCosts(element=47.98, pixel=8.0, call=80.0),
    "div": LoopCosts(element=47.98, pixel=8.0, call=80.0),
    "prelu": LoopCosts(element=40.5, pixel=6.0),
    "activation": LoopCosts(element=6.0, call=11.0),
    "gather": LoopCosts(9.5, element=0.93, pixel=41.0, call=60.0),
    "concat": LoopCosts(element=0.94, pixel=54.2, call=140.0),
    "maximum": LoopCosts(element=14.0, call=100.0),
    "minimum": LoopCosts(element=14.0, call=100.0),
    "group_norm": LoopCosts(element=40.0, call=200.0),
    "reduce": LoopCosts(4.0, element=20.0, call=100.0),
    "resize": LoopCosts(3.0, element=20.0, call=100.0),
    "softmax": LoopCosts(element=60.0, call=300.0),
}
M7 = M4 | {
    "conv": LoopCosts(1.316, 1.568, 17.86, 38.37, 145.4, 387.7, 36.34, 9.564, 1.132, 1.932, 32.44),
    "depthwise": LoopCosts(
        mac=3.32, cut_tap=6.414, element=48.39, pixel=87.27, tap=17.54, copy=14.05
    ),
    "linear": LoopCosts(mac=1.814, element=33.39, pixel=264.6, run=38.04, tail=1.481),
    "batch_norm": LoopCosts(mac=45.2, pixel=88.55),
}
M3 = M4 | {
    "conv": LoopCosts(2.315, 2.85, 24.74, 39.19, 122.6, 378.5, 37.9, 21.93, 0.9668, 2.025, 36.93),
    "depthwise": LoopCosts(3.124, 0.0, 8.563, 53.74, 84.41, 49.76, 23.75, 0.0, 0.0, 11.18),
    "linear": LoopCosts(mac=3.498, element=29.98, pixel=261.5, run=43.97),
    "grouped": LoopCosts(2.599, 2.379, 28.86, 53.17, 69.07, 2001, 26.53, 5.93, 1.439, 5.238),
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
M0 = {kind: LoopCosts(*(1.5 * value for value in loops)) for kind, loops in M3.items()} | {
    "conv": LoopCosts(6.967, 7.781, 38.04, 93.83, 185.8, 338.6, 32.96, 32.9, 2.661, 11.26, 64.24),
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
WHAT = "what its loops take"
LOOP_COSTS: Mapping[str, KindTable[str, LoopCosts]] = {
    "cortex-m0+": KindTable(WHAT, ROUTINES, M0),
    "cortex-m3": KindTable(WHAT, ROUTINES, M3),
    "cortex-m4": KindTable(WHAT, ROUTINES, M4),
    "cortex-m7": KindTable(WHAT, ROUTINES, M7),
    "cortex-m33": KindTable(WHAT, ROUTINES, M4),  # within 1 % of the M4's counts
}


def loop_costs(core: str, own: Mapping[str, Sequence[float]]) -> KindTable[str, LoopCosts]:
    """Instructions of each loop by kind of kernel: a core's, or a device's own if it has any.

    Raises:
        PruningError: the core is unknown, or a kind of kernel.
    """
    if core not in LOOP_COSTS:
        raise PruningError(
            f"no instruction counts for core {core!r}; known: {', '.join(LOOP_COSTS)}"
        )
    if odd := sorted(own.keys() - LOOP_COSTS[core].keys()):
        raise PruningError(
            f"loops of unknown kinds {', '.join(odd)}; known: {', '.join(LOOP_COSTS[core])}"
        )
    rates = {kind: LoopCosts(*rates) for kind, rates in own.items()}
    return KindTable(WHAT, ROUTINES, {**LOOP_COSTS[core], **rates})

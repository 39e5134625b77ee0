"""Cortex-M4, without its floating-point unit: generated C has integers only.

The rates were fitted to generated C that was counted kernel by kernel on the emulated core.
"conv", "depthwise", "linear" and "batch_norm" to half of 64 random prunings of ResNet-8, DS-CNN,
MobileNetV1, VGG-16, two autoencoders and networks of all other kinds, and of 127 single layers;
make bench-estimates tells how far off others are. "grouped", "multiplied", "conv_transpose",
"pool" and "mean" to half of 118 single layers: on the other half they are 2, 0, 1, 7 and 0.3 %
off in the mean, 7, 0, 3, 16 and 0.6 % at worst. Kinds without C are a guess. Numbers without a
name are in the order of the fields.
"""

from pruning.cost.core import Core, Emulator, RatesSource, Toolchain, loop_table
from pruning.cost.trip_counts import LoopCosts

CORE = Core(
    name="cortex-m4",
    source=RatesSource(compiler="arm-none-eabi-gcc 12.2", optimisation="-O2", fitted="2026-11-28"),
    network_bytes=36,
    clocks_hz=(16e6, 250e6),
    toolchain=Toolchain(
        compiler="arm-none-eabi-gcc",
        packages=("gcc-arm-none-eabi", "libnewlib-arm-none-eabi"),
        flags=("-mcpu=cortex-m4", "-mthumb"),
        linking=("-nostartfiles", "--specs=nano.specs"),
        start_code="start.c",
        linker_script="memory.ld",
        code_bit=1,
    ),
    emulator=Emulator(
        constants="unicorn.arm_const",
        architecture="UC_ARCH_ARM",
        modes=("UC_MODE_THUMB", "UC_MODE_MCLASS"),
        model="UC_CPU_ARM_CORTEX_M4",
        program_counter="UC_ARM_REG_PC",
        stack_pointer="UC_ARM_REG_SP",
        return_address="UC_ARM_REG_LR",
        first_argument="UC_ARM_REG_R0",
        long_mask=0xF800,
        long_prefixes=(0xE800, 0xF000, 0xF800),
    ),
    loops=loop_table(
        {
            "conv": LoopCosts(
                1.318, 1.565, 18.06, 37.43, 144.9, 391.6, 35.74, 9.587, 1.136, 1.895, 29.71
            ),
            "depthwise": LoopCosts(
                mac=3.205, cut_tap=6.916, element=48.33, pixel=85.67, tap=16.14, copy=14.58
            ),
            "grouped": LoopCosts(1.47, 1.34, 19.84, 47.47, 86.85, 912, 25.88, 1.219, 1.21, 5.29),
            "multiplied": LoopCosts(mac=16.98, element=137.1, pixel=70.74, call=46.96),
            "linear": LoopCosts(mac=1.814, element=31.39, pixel=261.6, run=40.04, tail=1.481),
            "conv_transpose": LoopCosts(
                cut_mac=6.003, cut_tap=17.28, element=113.1, pixel=39.4, run=21.05
            ),
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
    ),
)

"""Cortex-M4, without its floating-point unit: generated C has integers only."""

from pruning.cost.core import Core, Emulator, RatesSource, Toolchain, loops_of

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
    loops=loops_of("cortex-m4"),
)

"""The microcontroller of the benchmarks."""

from pruning.budget import Device

MCU = Device(
    name="mcu", core="cortex-m4", clock_hz=1e8, cycles_per_instruction=1.3,
    flash_bytes=1 << 20, sram_bytes=1 << 18, reserved_flash_bytes=0, reserved_sram_bytes=0,
)  # fmt: skip

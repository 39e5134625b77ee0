"""Named microcontrollers: one YAML file each, in the words that a config of one's own uses."""

from collections.abc import Mapping
from functools import cache
from importlib.resources import files
from typing import Any

import yaml

from pruning.budget import Device, parse_limit, parse_margin
from pruning.cost.cores import CORES
from pruning.errors import BudgetError, DeviceError
from pruning.ir.loops import LoopCosts
from pruning.migration import KINDS
from pruning.spelling import nearest


def device(name: str) -> Device:
    """A microcontroller by its name.

    Args:
        name: one of those that `devices` lists, such as "stm32f446".

    Returns:
        Its core, clock (Hz), flash and SRAM (bytes), and what of them is reserved for firmware,
        stack and runtime. For a chip that is not listed, make a `Device`.

    Raises:
        DeviceError: there is none of this name; the message lists those that exist.

    Example:
        >>> import pruning
        >>> pruning.device("stm32f103").budget.limits
        {'flash_bytes': 106496, 'sram_bytes': 16384}
    """
    known = {each.name: each for each in devices()}
    if name not in known:
        raise DeviceError(
            f"device {name!r}: not in the catalogue; write {', '.join(nearest(name, known))}, or "
            "make a Device of its numbers"
        )
    return known[name]


@cache
def devices() -> tuple[Device, ...]:
    """Every microcontroller that has a name.

    Returns:
        Their records, by name.

    Example:
        >>> import pruning
        >>> [each.name for each in pruning.devices() if each.core == "cortex-m7"]
        ['stm32f746', 'stm32h743']
    """
    entries = (files("pruning.catalogue") / "device").iterdir()
    texts = [entry.read_text("utf-8") for entry in entries if entry.name.endswith(".yaml")]
    return tuple(sorted(map(_read, texts), key=lambda each: each.name))


def _read(text: str) -> Device:
    return device_from(yaml.safe_load(text))


def device_from(settings: Mapping[str, Any]) -> Device:
    """The record of a device from its settings, as a file of the catalogue or a config has them.

    Args:
        settings: `name`, `core`, `clock_hz`, `cycles_per_instruction`, `flash` and `sram` (bytes,
            or text such as "128 KiB"); perhaps `reserved_flash`, `reserved_sram`, `source`,
            `loops`, `flash_margin` and `latency_margin`.

    Raises:
        DeviceError: a number that no device can have, or a size that cannot be read. BudgetError:
            a margin that cannot be read.
    """
    loops = settings.get("loops") or {}
    _require_core(settings["core"], loops)
    return Device(
        name=settings["name"],
        core=settings["core"],
        clock_hz=_clock("clock_hz", settings),
        cycles_per_instruction=_clock("cycles_per_instruction", settings),
        flash_bytes=_memory("flash", settings),
        sram_bytes=_memory("sram", settings),
        reserved_flash_bytes=_size("reserved_flash", settings),
        reserved_sram_bytes=_size("reserved_sram", settings),
        source=settings.get("source", "assumed"),
        loops={kind: tuple(rates) for kind, rates in loops.items()},
        flash_margin=parse_margin(settings.get("flash_margin", 0)),
        latency_margin=parse_margin(settings.get("latency_margin", 0)),
    )


def _clock(name: str, settings: Mapping[str, Any]) -> float:
    try:
        number = float(settings[name])  # YAML 1.1 takes 48e6 for text
    except (TypeError, ValueError):
        number = 0.0
    if not 0 < number < float("inf"):
        raise DeviceError(f"device.{name}={settings[name]}: write a positive number")
    return number


def _require_core(core: str, loops: Mapping[str, Any]) -> None:
    """Refuse a core that nobody knows, and rates that are none of a kernel's."""
    if core not in CORES:
        raise DeviceError(f"device.core={core}: write one of {', '.join(CORES)}")
    if unknown := loops.keys() - CORES[core].loops.keys():
        now = ", ".join(
            f"{kind} is called {KINDS[kind]}" for kind in sorted(unknown & KINDS.keys())
        )
        raise DeviceError(
            f"device.loops: no kernels of kind {', '.join(sorted(unknown))}"
            + (f"; {now} by now" if now else "")
        )
    count = len(LoopCosts._fields)
    for kind, rates in loops.items():
        if len(rates) != count or not all(0 <= rate < float("inf") for rate in rates):
            raise DeviceError(
                f"device.loops.{kind}={rates}: write {count} numbers of at least 0, the "
                f"instructions per {', '.join(LoopCosts._fields)}"
            )


def _memory(name: str, settings: Mapping[str, Any]) -> int:
    """Bytes of a memory, of which something is left."""
    size, reserved = _size(name, settings), f"reserved_{name}"
    if size <= _size(reserved, settings):
        raise DeviceError(
            f"device.{name}={settings[name]}: nothing is left for a network, device.{reserved} "
            f"is {settings.get(reserved, 0)}"
        )
    return size


def _size(name: str, settings: Mapping[str, Any]) -> int:
    """Bytes; none where nothing is given."""
    if not (value := settings.get(name, 0)):
        return 0
    try:
        return int(parse_limit(f"{name.removeprefix('reserved_')}_bytes", str(value)))
    except BudgetError as error:
        raise DeviceError(f"device.{name}={value}: {error}") from error

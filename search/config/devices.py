"""Devices: from their config, and those that paring knows by name."""

from functools import cache
from importlib.resources import files

from omegaconf import OmegaConf

from pruning.budget import Device, parse_limit
from pruning.cost.cores import CORES
from pruning.errors import BudgetError
from pruning.ir.loops import LoopCosts
from pruning.migration import KINDS
from search.config.parse import margin_from
from search.config.schema import DeviceConfig
from search.config.validate import validated
from search.errors import ConfigError


@cache
def known_devices() -> tuple[Device, ...]:
    """Every shipped device, by name."""
    entries = (files("search.conf") / "device").iterdir()
    texts = [entry.read_text("utf-8") for entry in entries if entry.name.endswith(".yaml")]
    configs = [validated(OmegaConf.create(text), DeviceConfig, "device") for text in texts]
    return tuple(sorted(map(device_from, configs), key=lambda device: device.name))


def device_from(config: DeviceConfig) -> Device:
    """The engine's record of a device.

    Raises:
        ConfigError: a number that no device can have, or a size that cannot be read.
    """
    for name in ("clock_hz", "cycles_per_instruction"):
        if not 0 < (value := getattr(config, name)) < float("inf"):
            raise ConfigError(f"device.{name}={value}: write a positive number")
    if config.core not in CORES:
        raise ConfigError(f"device.core={config.core}: write one of {', '.join(CORES)}")
    if unknown := config.loops.keys() - CORES[config.core].loops.keys():
        now = ", ".join(
            f"{kind} is called {KINDS[kind]}" for kind in sorted(unknown & KINDS.keys())
        )
        raise ConfigError(
            f"device.loops: no kernels of kind {', '.join(sorted(unknown))}"
            + (f"; {now} by now" if now else "")
        )
    rates = len(LoopCosts._fields)
    for kind, own in config.loops.items():
        if len(own) != rates or not all(0 <= rate < float("inf") for rate in own):
            raise ConfigError(
                f"device.loops.{kind}={own}: write {rates} numbers of at least 0, the "
                f"instructions per {', '.join(LoopCosts._fields)}"
            )
    names = ("flash", "sram", "reserved_flash", "reserved_sram")
    sizes = {name: _size(name, getattr(config, name)) for name in names}
    for name in ("flash", "sram"):
        if sizes[name] <= sizes[f"reserved_{name}"]:
            raise ConfigError(
                f"device.{name}={getattr(config, name)}: nothing is left for a network, "
                f"device.reserved_{name} is {getattr(config, f'reserved_{name}')}"
            )
    return Device(
        name=config.name,
        core=config.core,
        clock_hz=config.clock_hz,
        cycles_per_instruction=config.cycles_per_instruction,
        flash_bytes=sizes["flash"],
        sram_bytes=sizes["sram"],
        reserved_flash_bytes=sizes["reserved_flash"],
        reserved_sram_bytes=sizes["reserved_sram"],
        source=config.source,
        loops={kind: tuple(rates) for kind, rates in config.loops.items()},
        flash_margin=margin_from(config.flash_margin),
        latency_margin=margin_from(config.latency_margin),
    )


def _size(name: str, given: object) -> int:
    """Bytes of a memory; none where nothing is given."""
    try:
        resource = f"{name.removeprefix('reserved_')}_bytes"
        return int(parse_limit(resource, str(given))) if given else 0
    except BudgetError as error:
        raise ConfigError(f"device.{name}={given}: {error}") from error

"""Comparing budgets, limit by limit."""

from math import inf
from typing import Any

from pruning.budget import RESOURCES, Budget, Device
from tracking.records import DeviceRecord, Limits


def limits_of(budget: Budget) -> dict[str, Any]:
    """All three limits by name, None where unlimited."""
    return {name: getattr(budget, name) for name in RESOURCES}


def device_record(device: Device, limits: Budget | None = None) -> DeviceRecord:
    """A device as tracking is told of it, with the limits that it sets, or with others."""
    memory = Limits(flash_bytes=device.flash_bytes, sram_bytes=device.sram_bytes)
    return DeviceRecord(
        name=device.name,
        limits=Limits(**limits_of(device.budget if limits is None else limits)),
        memory=memory,
        core=device.core,
        clock_hz=device.clock_hz,
    )


def fits_within(budget: Budget, than: Budget) -> bool:
    """Whether no limit of a budget is larger than another's."""
    limits, others = limits_of(budget), limits_of(than)
    return all(_number(limits[name]) <= _number(others[name]) for name in limits)


def _number(limit: float | None) -> float:
    return inf if limit is None else limit

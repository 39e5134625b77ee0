"""Devices from their config: the engine knows what makes one."""

from dataclasses import asdict

from pruning.budget import Device
from pruning.catalogue import devices
from pruning.errors import BudgetError, DeviceError
from search.config.schema import DeviceConfig
from search.errors import ConfigError


def device_from(config: DeviceConfig) -> Device:
    """The engine's record of a device.

    Raises:
        ConfigError: a number that no device can have, or a size that cannot be read.
    """
    try:
        return devices.device_from(asdict(config))
    except (BudgetError, DeviceError) as error:
        raise ConfigError(str(error)) from error

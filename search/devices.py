"""The devices that paring knows by name: those of the config group `device`."""

from importlib.resources import files

from omegaconf import OmegaConf

from pruning.budget import Device
from search.config import DeviceConfig, cross, device_from


def known_devices() -> tuple[Device, ...]:
    """Every shipped device, by name."""
    entries = (files("search.conf") / "device").iterdir()
    texts = [entry.read_text("utf-8") for entry in entries if entry.name.endswith(".yaml")]
    configs = [cross(OmegaConf.create(text), DeviceConfig, "device") for text in texts]
    return tuple(sorted(map(device_from, configs), key=lambda device: device.name))

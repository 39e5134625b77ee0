"""The devices that paring knows by name."""

from importlib.resources import files

from search.config.devices import known_devices


def test_every_shipped_device_is_known() -> None:
    names = [device.name for device in known_devices()]
    shipped = [entry.name for entry in (files("search.conf") / "device").iterdir()]
    assert names == sorted(name.removesuffix(".yaml") for name in shipped)
    assert "stm32f103" in names


def test_a_device_leaves_less_than_it_has() -> None:
    for device in known_devices():
        left = device.budget.limits
        assert left["flash_bytes"] == device.flash_bytes - device.reserved_flash_bytes > 0
        assert left["sram_bytes"] == device.sram_bytes - device.reserved_sram_bytes > 0

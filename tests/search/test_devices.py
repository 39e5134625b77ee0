"""The devices that paring knows by name, in the engine and as a group of the configs."""

from collections.abc import Callable

import pytest

import pruning
from pruning.catalogue.devices import device, devices
from pruning.errors import DeviceError
from search.config.spec import Spec
from search.study.factory import SweepFactory


def test_every_shipped_device_is_a_choice_of_the_configs(
    compose_spec: Callable[..., Spec],
) -> None:
    names = [each.name for each in devices()]
    assert names == sorted(names)
    for name in ("stm32f103", "rp2040"):
        assert SweepFactory(compose_spec(f"device={name}")).device == device(name)


def test_a_value_of_a_named_device_can_be_overridden(compose_spec: Callable[..., Spec]) -> None:
    spec = compose_spec("device=stm32f446", "device.flash=256 KiB", "device.clock_hz=90e6")
    changed = SweepFactory(spec).device
    assert (changed.flash_bytes, changed.clock_hz) == (2**18, 9e7)
    assert changed.sram_bytes == device("stm32f446").sram_bytes


def test_what_a_study_stores_of_a_device_is_as_it_was(compose_spec: Callable[..., Spec]) -> None:
    """Studies compare it, text by text, when they go on."""
    stored = compose_spec("device=stm32f446")["device"]
    assert stored == {
        "name": "stm32f446", "core": "cortex-m4", "clock_hz": 180e6,
        "cycles_per_instruction": 1.3, "flash": "512 KiB", "sram": "128 KiB",
        "reserved_flash": "64 KiB", "reserved_sram": "16 KiB", "source": "assumed", "loops": {},
        "flash_margin": 0, "latency_margin": "4.0 %",
    }  # fmt: skip


def test_a_device_of_another_name_is_refused_with_those_that_exist() -> None:
    with pytest.raises(DeviceError, match=r"'stm32f445': not in the catalogue; write stm32f446, "):
        pruning.device("stm32f445")


def test_a_device_leaves_less_than_it_has() -> None:
    for each in devices():
        left = each.budget.limits
        assert left["flash_bytes"] == each.flash_bytes - each.reserved_flash_bytes > 0
        assert left["sram_bytes"] == each.sram_bytes - each.reserved_sram_bytes > 0

"""From YAML to frozen values: every config composes, and nonsense is refused by its path."""

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from hydra import compose, initialize_config_module
from hydra.core.global_hydra import GlobalHydra
from hypothesis import given
from hypothesis import strategies as st
from omegaconf import OmegaConf

from pruning.budget import Budget, Device
from pruning.catalogue.devices import device as named
from pruning.catalogue.devices import devices
from pruning.cost.cores import CORES
from pruning.errors import BudgetError
from pruning.training.job import Pruning
from search.cli.main import VERBS
from search.config.devices import device_from
from search.config.parse import call_from, checked_name, one_budget, resolve_below
from search.config.schema import BudgetConfig, DeviceConfig, MethodConfig
from search.config.spec import Spec
from search.config.validate import validated
from search.errors import ConfigError
from search.study.factory import pruning_from

ROOT = Path(__file__).resolve().parents[2]
CONF, DEVICES = ROOT / "conf", ROOT / "pruning" / "catalogue" / "device"
GROUPS = sorted(
    (path.parent.name, path.stem)
    for path in (*CONF.glob("*/*.yaml"), *DEVICES.glob("*.yaml"))
    if path.parent.name != "hydra"
)
NEEDED = {
    "custom": ["_target_=x.Y"],
    "cifar10": ["folder=x"],
    "idx": ["folder=x"],
    "npz": ["path=x"],
    "speech_commands": ["path=x"],
}
composed = Callable[..., Spec]


@pytest.mark.slow
@pytest.mark.parametrize(("group", "choice"), GROUPS)
def test_every_choice_composes(compose_spec: composed, group: str, choice: str) -> None:
    needed = [f"{group}.{rest}" for rest in NEEDED.get(choice, [])]
    if (group, choice) == ("method", "custom"):
        needed = ["method.allocation._target_=x.Y"]
    if (group, choice) == ("experiment", "cifar10"):
        needed = ["data.folder=x"]
    spec = compose_spec(f"{group}={choice}", *needed)
    assert spec.typed().method.phases.prune_epochs > 0


def test_every_config_is_a_verb_or_common() -> None:
    assert {path.stem for path in CONF.glob("*.yaml")} == {*VERBS, "common"}


def test_experiments_begin_with_their_command() -> None:
    for path in (CONF / "experiment").glob("*.yaml"):
        package, command = path.read_text().splitlines()[:2]
        assert package == "# @package _global_"
        assert command.startswith("# paring sweep study=")
        assert f"experiment={path.stem}" in command


@pytest.mark.parametrize("path", sorted(DEVICES.glob("*.yaml")), ids=lambda p: p.stem)
def test_devices_are_named_after_their_file_and_name_a_source(path: Path) -> None:
    values = yaml.safe_load(path.read_text())
    composed_device = OmegaConf.create(path.read_text())  # as Hydra reads it
    device = device_from(validated(composed_device, DeviceConfig, "device"))
    assert device == named(path.stem)  # as the engine does
    assert device.name == values["name"] == path.stem
    assert device.source
    assert all(limit > 0 for limit in device.budget.limits.values())
    assert device.milliseconds(1e6) > 0


@pytest.mark.parametrize("device", devices(), ids=lambda device: device.name)
def test_devices_are_of_this_world(device: Device) -> None:
    low, high = CORES[device.core].clocks_hz
    assert low <= device.clock_hz <= high
    assert 0.5 <= device.cycles_per_instruction <= 2
    assert 2**16 <= device.flash_bytes <= 2**23
    assert 2**13 <= device.sram_bytes <= 2**20
    assert device.sram_bytes < device.flash_bytes
    # Kernels take up to 8 KB, start-up code and stack less than 4 KB.
    assert 2**14 <= device.reserved_flash_bytes <= device.flash_bytes / 4
    assert 2**12 <= device.reserved_sram_bytes <= device.sram_bytes / 4
    assert 0 < device.latency_margin < 0.1
    assert device.flash_margin == 0  # flash is known to the byte
    first = (DEVICES / f"{device.name}.yaml").read_text().splitlines()[0]
    assert re.match(r"# .*(datasheet|product specification)", first)


def test_there_are_devices_to_choose_from() -> None:
    assert len(devices()) >= 10
    assert {device.core for device in devices()} == CORES.keys()


def test_a_method_without_settings_is_the_engine_as_it_is() -> None:
    assert pruning_from(MethodConfig()) == Pruning()


def test_a_spec_survives_its_storage(compose_spec: composed) -> None:
    import json

    spec = compose_spec("experiment=demo", "budget=grid", "budget.flash=['12 %',4096]")
    again = Spec(json.loads(json.dumps(dict(spec.values))))
    assert again == spec
    assert again.typed() == spec.typed()
    assert yaml.safe_load(spec.yaml()) == spec.values
    assert spec["trials"] == 24
    assert "storage" not in spec.values


def test_no_secret_is_in_a_spec(compose_spec: composed, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PGPASSWORD", "hush-hush")
    assert "hush-hush" not in compose_spec("storage=postgres").yaml()


def test_values_are_replaced_by_path(tiny_spec: Spec) -> None:
    before = tiny_spec.yaml()
    other = tiny_spec.replaced({"task.optimizer.lr": 0.5, "method.phases.lr_factor": 0.25})
    assert other["task"]["optimizer"]["lr"] == 0.5
    assert other.typed().method.phases.lr_factor == 0.25
    assert tiny_spec.yaml() == before
    assert (
        other.replaced(
            {
                "task.optimizer.lr": tiny_spec["task"]["optimizer"]["lr"],
                "method.phases.lr_factor": tiny_spec.typed().method.phases.lr_factor,
            }
        )
        == tiny_spec
    )


@pytest.mark.parametrize("path", ["task.optimiser.lr", "lr", "task.optimizer.lr.x"])
def test_a_path_to_nothing_is_refused(tiny_spec: Spec, path: str) -> None:
    with pytest.raises(ConfigError, match=f"{path}.*is not a setting"):
        tiny_spec.replaced({path: 1})


def test_a_setting_that_is_null_can_be_replaced(tiny_spec: Spec) -> None:
    assert tiny_spec["trials"] is None
    assert tiny_spec.replaced({"trials": 3})["trials"] == 3


@pytest.mark.parametrize(
    ("override", "said"),
    [
        ("seed=x", "seed: Value 'x'"),
        ("task.optimizer.lr=nan", r"task\.optimizer\.lr=nan"),
        ("shares=[0.5,inf]", r"budget\.shares\.1=inf"),
        ("device.clock_hz=fast", "clock_hz"),
        ("ignored_layers=stem", "ignored_layers"),
        ("data=npz", r"data\.path"),
    ],
)
def test_nonsense_is_named_by_its_path(compose_spec: composed, override: str, said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        compose_spec(override)


def test_an_unknown_field_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"budget: .*flsh"):
        validated(OmegaConf.create({"flsh": 1}), BudgetConfig, "budget")


@pytest.mark.parametrize(
    ("override", "said"),
    [
        ("workers=0", "workers=0: write a number of at least 1"),
        ("workers=-1", "workers=-1"),
        ("workers=1.5", "workers"),
        ("trials=0", "trials=0"),
        ("trials=two", "trials"),
        ("study=true", "study=True"),
        ("study=[a]", "study"),
        ("study=null", "study"),
    ],
)
def test_calls_are_checked(override: str, said: str) -> None:
    GlobalHydra.instance().clear()
    with initialize_config_module(version_base="1.3", config_module="search.conf"):
        config = compose("sweep", ["study=x", override])
    with pytest.raises(ConfigError, match=said):
        call_from(config)


@pytest.mark.parametrize(
    "changes",
    [
        {"clock_hz": 0.0},
        {"clock_hz": float("nan")},
        {"cycles_per_instruction": -1.0},
        {"flash": "16 KiB"},
        {"sram": 0},
    ],
)
def test_impossible_devices_are_refused(changes: dict[str, Any]) -> None:
    values = {"name": "d", "core": "cortex-m4", "flash": "64 KiB", "sram": 4096}
    values |= {"reserved_flash": "16 KiB", **changes}
    with pytest.raises(ConfigError, match=f"device.{next(iter(changes))}"):
        device_from(DeviceConfig(**values))


def test_one_budget_beside_the_device() -> None:
    device = Budget(flash_bytes=1000, sram_bytes=500)
    given_ = BudgetConfig(flash="512 B", latency="20 ms")
    assert one_budget(given_).intersect(device) == Budget(
        flash_bytes=512, sram_bytes=500, latency_ms=20.0
    )
    assert one_budget(BudgetConfig(sram="9 KiB")).intersect(device) == device  # what it has
    with pytest.raises(BudgetError, match=r"sram_bytes: the limit 0\.5"):
        one_budget(BudgetConfig(sram=0.5))


# --- names and places


@pytest.mark.parametrize("name", ["demo", "a.b-c_9", "2026", "x" * 100])
def test_good_names(name: str) -> None:
    assert checked_name(name) == name


def test_a_number_is_a_name() -> None:
    assert checked_name(2026) == "2026"


@pytest.mark.parametrize(
    "name",
    ["", ".", "..", "../x", "a/b", "a..b", "-x", "x" * 101, "a b", "a\n", None, True, 1.5],
)
def test_bad_names(name: object) -> None:
    with pytest.raises(ConfigError, match="study="):
        checked_name(name)


pieces = st.lists(st.sampled_from(["..", ".", "a", "b c", "", "/", "~", "\\", "…"]), max_size=6)


@given(pieces)
def test_no_path_climbs_out(parts: list[str]) -> None:
    root = Path("/tmp/nowhere/root")
    path = "/".join(parts)
    try:
        place = resolve_below(root, path, "out")
    except ConfigError:
        depth, lowest = 0, 0
        for part in path.split("/"):
            depth += -1 if part == ".." else part not in ("", ".")
            lowest = min(lowest, depth)
        assert path.startswith("/") or depth <= 0 or lowest < 0 or not path.strip()
    else:
        assert root in place.parents
        assert ".." not in place.parts


def test_links_do_not_lead_out(tmp_path: Path) -> None:
    root, other = tmp_path / "root", tmp_path / "other"
    root.mkdir()
    other.mkdir()
    (root / "link").symlink_to(other)
    with pytest.raises(ConfigError, match="climbs out"):
        resolve_below(root, "link/file", "out")
    assert resolve_below(root, "new/file", "out") == root / "new" / "file"
    assert resolve_below(root, str(root / "x"), "out") == root / "x"


@pytest.mark.parametrize("path", [None, "", " ", ".", "x\0y"])
def test_no_place_at_all(tmp_path: Path, path: object) -> None:
    with pytest.raises(ConfigError, match="out="):
        resolve_below(tmp_path, path, "out")

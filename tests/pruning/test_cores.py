"""A core is one record: its numbers name their source, and what it names is there."""

import re
from datetime import date
from importlib import import_module
from importlib.resources import files
from pathlib import Path

import pytest

from pruning.cost.core import Core, loops_of
from pruning.cost.cores import CORES, core_named
from pruning.errors import PruningError

ROOT = Path(__file__).parents[2]
every_core = pytest.mark.parametrize("core", CORES.values(), ids=CORES)


def test_each_module_is_a_core_by_its_own_name():
    modules = {path.stem for path in (ROOT / "pruning/cost/cores").glob("[a-z]*.py")}
    assert modules == {name.replace("-", "_").replace("+", "plus") for name in CORES}
    assert all(core_named(name).name == name for name in CORES)


def test_an_unknown_core_is_told_the_known_ones():
    with pytest.raises(PruningError, match=r"'cortex-m5'; known: cortex-m0\+, .*cortex-m7"):
        core_named("cortex-m5")


@every_core
def test_rates_name_who_measures_them_and_when_they_were_fitted(core: Core):
    source = core.source
    assert date(2026, 11, 1) <= date.fromisoformat(source.fitted) <= date.today()
    assert re.search(rf"^{source.make_target}:", (ROOT / "Makefile").read_text(), re.MULTILINE)
    assert source.command.startswith("paring calibrate ")
    assert (ROOT / "conf" / "calibrate.yaml").exists()
    assert source.compiler.startswith(core.toolchain.compiler)


@every_core
def test_what_is_built_for_a_core_is_shipped(core: Core):
    board = files("pruning.deploy") / "board"
    script = (board / core.toolchain.linker_script).read_text()
    for name in (".start", ".model", ".runtime", ".data", ".bss", "stack_top"):
        assert re.search(rf"^\s*{re.escape(name)}\b", script, re.MULTILINE), name
    start = (board / core.toolchain.start_code).read_text()
    assert "void ready(void)" in start
    assert "void reset(void)" in start


@every_core
def test_the_emulator_has_what_a_core_names(core: Core):
    unicorn = pytest.importorskip("unicorn", reason="needs the extra [verify]")
    emulator = core.emulator
    constants = import_module(emulator.constants)
    registers = {
        getattr(constants, name)
        for name in (
            emulator.program_counter,
            emulator.stack_pointer,
            emulator.return_address,
            emulator.first_argument,
        )
    }
    assert len(registers) == 4
    assert isinstance(getattr(constants, emulator.model), int)
    assert all(isinstance(getattr(unicorn, mode), int) for mode in emulator.modes)
    assert isinstance(getattr(unicorn, emulator.architecture), int)


def test_cores_are_compiled_for_each_as_itself():
    assert len({core.toolchain.flags for core in CORES.values()}) == len(CORES)


def test_a_core_without_the_rates_of_some_kind_is_refused():
    with pytest.raises(TypeError, match="what its loops take: undecided: activation, add, concat"):
        loops_of("cortex-m7")


def test_a_device_has_the_rates_of_its_core_but_for_its_own():
    core = core_named("cortex-m4")
    rates = core.loop_costs({"linear": (3.0, *[0.0] * 10)})
    assert rates["linear"].mac == 3.0
    assert rates["conv"] == core.loops["conv"]
    with pytest.raises(PruningError, match="unknown kinds warp; known: conv, "):
        core.loop_costs({"warp": (1.0,)})

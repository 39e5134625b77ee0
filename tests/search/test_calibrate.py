"""`paring calibrate`: estimates that agree with what was counted or timed."""

import csv
import json
import shutil
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from omegaconf import OmegaConf

from pruning.budget import Budget, Device
from pruning.catalogue.devices import device as named
from pruning.cost.cores import core_named
from pruning.cost.model import deployed, loop_passes
from pruning.graph.graph import Graph
from pruning.ir.loops import LoopCosts
from search.config.devices import device_from
from search.config.schema import DeviceConfig, StorageConfig
from search.config.spec import Spec
from search.config.validate import validated
from search.errors import ConfigError
from search.results.calibrate import (
    Observation,
    calibrated,
    cycles_of,
    quality,
    read_times,
    subjects,
)
from search.storage.workspace import open_workspace
from search.study import create
from search.study.study import Study
from search.worker.worker import work
from tests.toolchain import COMPILER

pytestmark = pytest.mark.slow  # all need studies that were worked on
Paring = Callable[..., tuple[int, str, str]]
OTHER = {
    "conv": LoopCosts(2.0, 2.5, 9.0, 50.0, 100.0, 300.0),
    "linear": LoopCosts(3.0, element=60.0),
}


@pytest.fixture(scope="module")
def device() -> Device:
    return replace(named("stm32f446"), latency_margin=0.0)


@pytest.fixture(scope="module")
def graphs() -> list[Graph]:
    return [subject.graph for subject in subjects(32, seed=1)]


def observed(device: Device, graph: Graph, of_kernels: bool) -> Observation:
    """What a device that is exactly as estimated would take."""
    model = deployed(graph, device)
    cycles = {
        line.name: line.latency_ms * device.clock_hz / 1e3
        for line in model.explain(graph.channels.widths)
    }
    whole = {"": sum(cycles.values())}
    return Observation(name="", graph=graph, cycles=cycles if of_kernels else whole)


def test_loops_are_found_again(device: Device, graphs: list[Graph]) -> None:
    other = replace(device, loops=OTHER)
    seen = [observed(other, graph, of_kernels=True) for graph in graphs]
    found, judged = calibrated(device, seen, board=False)
    assert judged.held_out
    assert judged.networks == 16
    assert judged.worst < 1e-3
    assert judged.kendall == pytest.approx(1)
    assert found.loops["conv"][0] == pytest.approx(2.0, rel=0.01)
    assert found.loops["linear"][0] == pytest.approx(3.0, rel=0.01)
    assert found.cycles_per_instruction == device.cycles_per_instruction
    unseen = observed(other, next(iter(subjects(1, seed=9))).graph, of_kernels=True)
    assert cycles_of(found, unseen.graph) == pytest.approx(unseen.total, rel=1e-3)


def test_times_of_whole_networks_give_cycles_per_instruction(
    device: Device, graphs: list[Graph]
) -> None:
    slower = replace(device, cycles_per_instruction=2.1)
    seen = [observed(slower, graph, of_kernels=False) for graph in graphs]
    found, judged = calibrated(device, seen, board=True)
    assert found.cycles_per_instruction == pytest.approx(2.1)
    assert found.loops == device.loops
    assert judged.worst < 1e-9


def test_few_networks_are_not_called_held_out(device: Device, graphs: list[Graph]) -> None:
    seen = [observed(device, g, of_kernels=False) for g in graphs[:3]]
    _, judged = calibrated(device, seen, board=True)
    assert (judged.networks, judged.held_out) == (3, False)


def test_times_of_kernels_on_a_board_give_both(device: Device, graphs: list[Graph]) -> None:
    """What is counted on an emulated core is then as many milliseconds as on the board."""
    slower = replace(device, cycles_per_instruction=2.1)
    seen = [observed(slower, graph, of_kernels=True) for graph in graphs]
    found, judged = calibrated(device, seen, board=True)
    assert found.cycles_per_instruction == pytest.approx(2.1, rel=0.01)
    assert judged.worst < 1e-2


def test_times_that_no_margin_covers_are_refused(device: Device, graphs: list[Graph]) -> None:
    seen = [observed(device, graph, of_kernels=False) for graph in graphs[:8]]
    odd = [replace(o, cycles={"": o.total * (1 if n < 7 else 9)}) for n, o in enumerate(seen)]
    with pytest.raises(ConfigError, match="too much for a margin"):
        calibrated(device, odd, board=True)


def test_the_margin_is_what_measurements_exceed_estimates_by() -> None:
    judged = quality([100.0, 100.0, 300.0], [110.0, 80.0, 300.0], held_out=True)
    assert judged.margin == pytest.approx(0.10)
    assert judged.worst == pytest.approx(0.25)
    assert judged.kendall < 1


def test_a_guarded_budget_is_held_by_measurements_up_to_the_margin(device: Device) -> None:
    careful = replace(device, latency_margin=0.06, flash_margin=0.01)
    budget = Budget(flash_bytes=10_000, sram_bytes=503, latency_ms=3.0, macs=7)
    guarded = careful.guarded(budget)
    assert guarded.sram_bytes == 500
    assert guarded.macs == 7
    assert guarded.flash_bytes is not None
    assert guarded.latency_ms is not None
    assert 9_890 < guarded.flash_bytes <= 10_000 / 1.01
    assert guarded.latency_ms * 1.06 == pytest.approx(3.0)
    assert device.guarded(Budget()) == Budget()


def test_the_limit_that_an_estimate_needs_is_the_least_that_holds_it(device: Device) -> None:
    careful = replace(device, latency_margin=0.06, flash_margin=0.013)
    for estimate in range(1, 3_000, 7):
        for name in ("flash_bytes", "sram_bytes"):
            needed = int(careful.needed(name, estimate))
            assert careful.guarded(Budget(**{name: needed})).limits[name] >= estimate
            if needed > 4:
                assert careful.guarded(Budget(**{name: needed - 1})).limits[name] < estimate
    assert careful.needed("latency_ms", 2.0) == pytest.approx(2.12)
    assert careful.needed("macs", 5) == 5


def test_random_prunings_are_the_same_again() -> None:
    first, again = ([s.graph.channels.widths for s in subjects(4, seed=3)] for _ in range(2))
    assert first == again
    names = [subject.name for subject in subjects(12, seed=0)]
    assert names[::2] == names[1::2]  # every family fits and checks


def written(path: Path, *rows: Mapping[str, object]) -> Path:
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    return path


def test_a_file_of_times_is_read(tmp_path: Path, device: Device, graphs: list[Graph]) -> None:
    path = written(tmp_path / "times.csv", {"trial": 3, "latency_ms": 2.5, "board": "no. 7"})
    (seen,) = read_times(path, {3: graphs[0]}, device)
    assert seen.total == pytest.approx(2.5e-3 * device.clock_hz)
    names = loop_passes(deployed(graphs[0], device))
    rows = [{"trial": 3, "kernel": name, "latency_ms": 0.5} for name in names]
    (seen,) = read_times(written(path, *rows), {3: graphs[0]}, device)
    assert seen.cycles.keys() == names.keys()


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ({"trial": 4, "latency_ms": 1}, "line 2: trial 4 has no model"),
        ({"number": 3, "latency_ms": 1}, "columns trial"),
        ({"trial": 3, "latency_ms": "fast"}, "columns trial"),
        ({"trial": 3, "latency_ms": -1}, "latency_ms=-1"),
        ({"trial": 3, "latency_ms": "inf"}, "latency_ms=inf"),
        ({"trial": 3, "latency_ms": 1, "kernel": "stem"}, "give one time without a kernel"),
    ],
)
def test_times_that_cannot_be_used_are_refused(
    tmp_path: Path, device: Device, graphs: list[Graph], row: dict[str, object], message: str
) -> None:
    path = written(tmp_path / "times.csv", row)
    with pytest.raises(ConfigError, match=message):
        read_times(path, {3: graphs[0]}, device)


def test_a_time_that_is_there_twice_is_refused(
    tmp_path: Path, device: Device, graphs: list[Graph]
) -> None:
    row = {"trial": 3, "latency_ms": 1}
    with pytest.raises(ConfigError, match=r"line 3: a second time of trial 3;"):
        read_times(written(tmp_path / "twice.csv", row, row), {3: graphs[0]}, device)
    marked = tmp_path / "marked.csv"  # as spreadsheets write it
    marked.write_text("\ufefftrial,latency_ms\n3,1\n", encoding="utf-8")
    assert len(read_times(marked, {3: graphs[0]}, device)) == 1


def test_a_file_without_times_is_refused(tmp_path: Path, device: Device) -> None:
    (tmp_path / "empty.csv").write_text("trial,latency_ms\n")
    (tmp_path / "torn.csv").write_bytes(b"trial,latency_ms\n\xff\xfe")
    for name in ("empty.csv", "torn.csv", "absent.csv"):
        with pytest.raises(ConfigError, match=name):
            read_times(tmp_path / name, {}, device)


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.skipif(
    shutil.which(COMPILER) is None,
    reason=f"{COMPILER} is not installed (make system-deps)",
)
def test_a_calibrated_device_is_a_config(paring: Paring, here: Path) -> None:
    code, out, err = paring(
        "calibrate", "device=stm32f103", "networks=4", "name=mine", "out=conf/device/mine.yaml",
        "output=json",
    )  # fmt: skip
    assert code == 0, err
    told = json.loads(out)
    assert told["schema"] == "paring.calibrate/1"
    assert told["quality"]["networks"] == 2
    text = (here / "conf" / "device" / "mine.yaml").read_text()
    device = device_from(validated(OmegaConf.create(text), DeviceConfig, "device"))
    assert (device.name, device.core) == ("mine", "cortex-m3")
    assert device.loops["conv"] != core_named("cortex-m3").loops["conv"]
    assert device.latency_margin >= told["quality"]["margin"]
    code, out, _ = paring(
        "inspect", "--config-dir", str(here / "conf"), "device=mine", "model=resnet8"
    )
    assert code == 0
    assert "mine" in out


@pytest.fixture(scope="module")
def study(
    tmp_path_factory: pytest.TempPathFactory,
    compose_spec: Callable[..., Spec],
    tiny: list[str],
) -> Study:
    folder = tmp_path_factory.mktemp("timed") / ".paring"
    workspace = open_workspace(StorageConfig(folder=str(folder), checkpoint_s=0))
    study = create.prepare(workspace, "done", compose_spec(*tiny, "trials=2"), None)
    work(workspace.config, "done", threads=1)
    return study


def test_times_of_an_own_board(
    paring: Paring, study: Study, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = Path(study.workspace.config.folder).parent
    monkeypatch.chdir(folder)
    latency = [trial.user_attrs["result"]["cost"]["latency_ms"] for trial in study.trials()]
    rows = [{"trial": n, "latency_ms": 2 * value} for n, value in enumerate(latency)]
    written(folder / "times.csv", *rows)
    code, out, err = paring(
        "calibrate", "device=stm32f446", "study=done", "csv=times.csv", "out=mine.yaml"
    )
    assert code == 0, err
    said = " ".join(out.split())
    assert "measured on a board" in said
    assert "2 fitted networks" in said
    device = device_from(validated(OmegaConf.load(folder / "mine.yaml"), DeviceConfig, "device"))
    assert device.cycles_per_instruction == pytest.approx(2.6, rel=1e-3)


def test_margins_narrow_what_a_trial_may_cost(
    compose_spec: Callable[..., Spec], tiny: list[str]
) -> None:
    from search.study.factory import SweepFactory

    spec = compose_spec(*tiny, "++device.latency_margin=20%", "++device.flash_margin=0.01")
    budget = Budget(flash_bytes=1_000, latency_ms=1.2)
    job = SweepFactory(spec).trial_job({}, budget, 0)
    limits = job.limits(job.cost_model(SweepFactory(spec).start.graph)).limits
    assert limits == {"flash_bytes": 990, "latency_ms": pytest.approx(1.0)}
    simulated = compose_spec(*tiny, "device.latency_margin=20%", "precision=int8-simulated")
    job = SweepFactory(simulated).trial_job({}, budget, 0)
    assert job.limits(job.cost_model(SweepFactory(simulated).start.graph)) == budget


def test_random_weights_leave_torchs_generator_alone() -> None:
    torch.manual_seed(5)
    list(subjects(1, seed=0))
    drawn = torch.rand(3)
    torch.manual_seed(5)
    assert torch.equal(drawn, torch.rand(3))

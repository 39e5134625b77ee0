"""A whole sweep from the command line, with the user's own network, and what comes of it."""

import json
import subprocess
import sys
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest

from pruning.catalogue.devices import device
from pruning.cost.model import deployed
from pruning.export.stored_model import MODEL
from pruning.graph.graph import Graph
from pruning.training.checkpoint import unpack_network
from search.config.schema import StorageConfig
from search.config.spec import Spec
from search.results.report import counts, study_record
from search.results.retarget import record_for
from search.storage.workspace import Workspace, open_workspace
from search.study import create
from search.study.factory import SweepFactory
from search.study.study import Study, require_study
from search.study.trials import trial_budget
from search.study.variants import Variants
from search.worker.dense import ensure_dense
from search.worker.stop_signals import StopMonitor
from tracking.records import TrialRecord
from tracking.tables import duration

pytestmark = pytest.mark.slow
PARING = str(Path(sys.executable).with_name("paring"))
NETWORK = """
from torch import nn

class Net(nn.Sequential):
    def __init__(self, classes, width):
        super().__init__(
            nn.Conv2d(1, width, 3), nn.BatchNorm2d(width), nn.ReLU(),
            nn.Conv2d(width, width, 3, stride=2), nn.ReLU(),
            nn.Flatten(), nn.Linear(width * 4, classes),
        )
"""
OWN = [
    "study=own", "model=custom", "model._target_=mynet.Net", "+model.classes=auto",
    "+model.width=8", "budget.exponents.sram=0", "space=rates",
]  # fmt: skip
COSTS = """
import json, sys
from dataclasses import asdict
from pathlib import Path
from pruning.budget import Device
from pruning.training.checkpoint import unpack_network
from pruning.cost.model import deployed
device = Device(**json.loads(sys.argv[1]))
files = map(Path, sys.argv[2:])
graphs = [unpack_network(f.read_bytes()).graph for f in files]
costs = [asdict(deployed(graph, device).dense) for graph in graphs]
print(json.dumps(costs))
"""


def ran(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [PARING, *arguments], cwd=folder, capture_output=True, text=True, check=False
    )


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("own")
    (place / "mynet.py").write_text(NETWORK)
    return place


@pytest.fixture(scope="module")
def swept(folder: Path, tiny: list[str]) -> subprocess.CompletedProcess[str]:
    given = [word for word in tiny if word != "model.filters=4"]
    return ran(folder, "sweep", *given, *OWN, "trials=4", "workers=2")


@pytest.fixture
def study(folder: Path, swept: subprocess.CompletedProcess[str]) -> Study:
    assert swept.returncode == 0, swept.stderr
    return require_study(open_workspace(StorageConfig(folder=str(folder / ".paring"))), "own")


def test_a_sweep_ends_with_the_asked_total(
    swept: subprocess.CompletedProcess[str], study: Study, folder: Path
) -> None:
    assert swept.stdout == ""
    assert swept.stderr.count("complete: score") == 4
    assert "Traceback" not in swept.stderr
    assert [trial.number for trial in study.trials()] == [0, 1, 2, 3]
    assert counts(study.trials())["complete"] == 4
    assert {path.name for path in folder.iterdir()} <= {"mynet.py", "__pycache__", ".paring"}


def test_it_says_at_its_start_if_the_unpruned_network_fits(
    swept: subprocess.CompletedProcess[str],
) -> None:
    lines = swept.stderr.splitlines()
    (told,) = [line for line in lines if line.startswith("the unpruned network fits stm32f446")]
    assert " as it is: flash " in told
    assert " of 112 KiB" in told
    assert lines.index(told) < min(i for i, line in enumerate(lines) if "complete: score" in line)


@pytest.mark.parametrize(("gain", "count"), [(1.0, 1), (-9.0, 0)])
def test_a_dense_network_that_has_learnt_nothing_is_told_with_its_numbers(
    workspace: Workspace,
    tiny_spec: Spec,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
    gain: float,
    count: int,
) -> None:
    monkeypatch.setattr("search.worker.dense.LEAST_GAIN", gain)
    study = create.prepare(workspace, "s", tiny_spec, 1)
    ensure_dense(study, Variants(study).first(), StopMonitor(study))
    told = [line for line in caplog.messages if "learnt next to nothing" in line]
    assert len(told) == count
    for line in told:
        (note,) = study.notes().dense.values()
        assert f"in 2 epochs: accuracy {note.score:.4f}, chance {study.facts.chance:.4f}" in line


def test_every_cost_is_true_in_a_fresh_process(study: Study) -> None:
    device = SweepFactory(study.spec).device
    facts = {name: getattr(device, name) for name in device.__slots__}
    results = [trial.user_attrs["result"] for trial in study.trials()]
    digests = [result["files"]["model.safetensors"] for result in results]
    files = [str(study.workspace.folder / "store" / name[:2] / name[2:]) for name in digests]
    fresh = subprocess.run(
        [sys.executable, "-c", COSTS, json.dumps(facts), *files],
        capture_output=True,
        check=True,
    )
    costs = json.loads(fresh.stdout)
    assert costs == [result["cost"] for result in results]
    for trial, cost in zip(study.trials(), costs, strict=True):
        limits = trial_budget(trial).limits
        assert limits
        assert all(cost[name] <= limit for name, limit in limits.items())


def test_mlflow_has_one_run_a_trial_and_one_for_the_study(
    study: Study, folder: Path, runs_of: Callable[[Study], list[Any]]
) -> None:
    runs = runs_of(study)
    assert {run.info.status for run in runs} == {"FINISHED"}
    by_trial = {run.data.tags.get("paring.slot"): run for run in runs}
    assert set(by_trial) == {None, "0", "1", "2", "3"}
    assert len(runs) == 5
    front = json.loads(ran(folder, "front", "study=own", "output=json").stdout)
    assert front["front"]
    for entry in front["front"]:
        run = by_trial[str(entry["trial"])]
        assert entry["run_id"] == run.info.run_id
        assert run.data.params["method.anneal_end"] == str(entry["params"]["method.anneal_end"])


def test_joblib_starts_workers_that_find_the_users_code(
    study: Study,
    folder: Path,
    monkeypatch: pytest.MonkeyPatch,
    runs_of: Callable[[Study], list[Any]],
) -> None:
    monkeypatch.syspath_prepend(str(folder))
    create.prepare(study.workspace, "own", None, 6)
    launch = ["-m", "hydra/launcher=joblib", "worker.index=range(0,2)"]
    done = ran(folder, "worker", *launch, "study=own")
    assert done.returncode == 0, done.stderr
    assert "Traceback" not in done.stderr
    assert counts(study.trials())["complete"] == len(study.trials()) == 6
    assert {path.name for path in folder.iterdir()} <= {"mynet.py", "__pycache__", ".paring"}
    runs = runs_of(study)
    assert sorted(run.data.tags.get("paring.slot", "-") for run in runs) == [*"-012345"]
    assert {run.info.status for run in runs} == {"FINISHED"}


def test_a_mistake_of_a_launched_worker_is_one_line(folder: Path, study: Study) -> None:
    assert study.name == "own"
    done = ran(folder, "worker", "-m", "worker.index=range(0,2)", "study=nosuch")
    assert (done.returncode, done.stdout) == (2, "")
    assert "paring: study=nosuch: no study of this name" in done.stderr.splitlines()[-1]
    assert "Error executing job" not in done.stderr
    assert "Traceback" not in done.stderr


def test_picking_registers_the_model(study: Study, folder: Path) -> None:
    from mlflow import MlflowClient

    done = ran(folder, "pick", "study=own", "device=rp2040", "out=best")
    assert done.returncode == 0, done.stderr
    assert "registered: own version 1 as @rp2040" in done.stdout
    client = MlflowClient(study.workspace.tracking_uri)
    version = client.get_model_version_by_alias("own", "rp2040")
    assert int(version.version) == 1
    assert version.tags["device"] == "rp2040"
    assert (folder / "best" / "model.safetensors").is_file()


def test_a_model_for_another_device_is_judged_by_that_devices_costs(
    study: Study, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another core at another clock: the study's own milliseconds say nothing there."""
    monkeypatch.syspath_prepend(str(folder))
    other = device("rp2040")
    own, ported = (
        {trial.number: trial.costs.latency_ms for trial in record.trials if trial.costs}
        for record in (study_record(study), record_for(study, other))
    )
    there = {
        trial.number: deployed(_graph(study, trial), other).dense.latency_ms
        for trial in study_record(study).trials
        if trial.costs
    }
    assert ported == there
    assert all(latency != own[number] for number, latency in there.items())
    least = min(there.values())
    limit = f"budget.latency={least * (1.001 + other.latency_margin)}ms"
    done = ran(folder, "pick", "study=own", "device=rp2040", limit, "out=quick", "register=false")
    assert done.returncode == 0, done.stderr
    quickest = [number for number, latency in there.items() if latency == least]
    assert any(f"trial {number}: " in done.stdout for number in quickest)
    assert f"{duration(least)} on rp2040 (estimated)" in done.stdout
    assert "for rp2040" in (folder / "quick" / "README.md").read_text()
    limit = f"budget.latency={least * (0.999 + other.latency_margin)}ms"
    done = ran(folder, "pick", "study=own", "device=rp2040", limit, "out=none", "register=false")
    assert done.returncode == 2
    assert not (folder / "none").exists()


def test_inspect_counts_as_the_sweep_does(study: Study, folder: Path, tiny: list[str]) -> None:
    given = [word for word in (*tiny, *OWN) if "data" in word or "model" in word]
    network = [word for word in given if word != "model.filters=4"]
    done = ran(folder, "inspect", "output=json", *network)
    assert done.returncode == 0, done.stderr
    facts = json.loads(done.stdout)
    dense = asdict(study.facts.dense_cost)
    assert {name: facts[name] for name in dense} == dense


def _graph(study: Study, trial: TrialRecord) -> Graph:
    return unpack_network(study.workspace.store.read(trial.files[MODEL])).graph

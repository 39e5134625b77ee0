"""`paring verify`: finished trials as firmware on an emulated core."""

import csv
import io
import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from search.config.schema import StorageConfig
from search.config.spec import Spec
from search.results.mlflow_sync import reconcile
from search.results.report import measured_record, run_ids, study_record
from search.storage.workspace import Workspace, open_workspace
from search.study import create
from search.study.study import Study
from search.worker.worker import work
from tests.toolchain import COMPILER
from tracking.mlflow.client import Client
from tracking.tables import errors_of, measured_text

Paring = Callable[..., tuple[int, str, str]]
pytestmark = pytest.mark.skipif(
    shutil.which(COMPILER) is None,
    reason=f"{COMPILER} is not installed (make system-deps)",
)


@pytest.fixture(scope="module")
def workspace(tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    folder = tmp_path_factory.mktemp("verified") / ".paring"
    return open_workspace(StorageConfig(folder=str(folder), checkpoint_s=0))


@pytest.fixture(scope="module")
def done(workspace: Workspace, compose_spec: Callable[..., Spec], tiny: list[str]) -> Study:
    """A study of two trials under budgets that generated C can hold."""
    study = create.prepare(workspace, "done", compose_spec(*tiny, "trials=2"), None)
    work(workspace.config, "done", threads=1)
    reconcile(study)
    return study


@pytest.fixture
def here(monkeypatch: pytest.MonkeyPatch, workspace: Workspace) -> Path:
    folder = Path(workspace.config.folder).parent
    monkeypatch.chdir(folder)
    return folder


@pytest.mark.slow
def test_what_is_measured_is_told_kept_and_mirrored(
    paring: Paring, here: Path, done: Study
) -> None:
    trial = next(trial.number for trial in study_record(done).trials if trial.planes)
    command = ["verify", "study=done", f"trial={trial}", "output=json", "workers=1"]
    code, out, err = paring(*command)
    assert code in (0, 1)  # 1: a tiny network's latency may be over its budget as measured
    told = json.loads(out)
    assert (told["schema"], told["device"], told["core"]) == (
        "paring.verify/1", "stm32f446", "cortex-m4"
    )  # fmt: skip
    (model,) = told["models"]
    assert model["mismatches"] == 0 < model["results"]
    estimate = study_record(done).trials[trial].costs
    assert estimate is not None
    assert model["measured"]["sram_bytes"] - estimate.sram_bytes in range(4)  # whole words
    assert model["errors"]["flash_bytes"] == 0
    assert abs(model["errors"]["latency_ms"]) < 0.1
    measured = model["measured"]
    assert sum(measured["by_kernel"].values()) == measured["instructions"]
    assert measured["latency_ms"] == pytest.approx(measured["instructions"] * 1.3 / 180e6 * 1e3)
    assert ("measured costs exceed the budget" in err) == bool(model["over_budget"])
    _, out, _ = paring("front", "study=done", "output=json")
    front = {entry["trial"]: entry["costs"]["measured"] for entry in json.loads(out)["front"]}
    assert front[trial]["instructions"] == measured["instructions"]
    assert front[trial]["errors"] == model["errors"]
    record = study_record(done).trials[trial]
    assert record.measured is not None
    assert errors_of(record) == model["errors"]
    run = Client(done.workspace.tracking_uri).api.get_run(run_ids(done)[trial])
    assert run.data.metrics["measured.instructions"] == measured["instructions"]
    assert run.data.metrics["measured.flash_bytes"] == measured["flash_bytes"]
    assert run.data.metrics["measured.error.sram_bytes"] == model["errors"]["sram_bytes"]


@pytest.mark.slow
def test_the_whole_front_on_another_device(paring: Paring, here: Path, done: Study) -> None:
    before = study_record(done).trials
    code, out, _ = paring("verify", "study=done", "device=stm32f103", "workers=2")
    assert code in (0, 1)
    assert "done as firmware for stm32f103 (cortex-m3)" in out
    code, out, _ = paring("verify", "study=done", "device=stm32f103", "output=json")
    for model in json.loads(out)["models"]:
        assert abs(model["errors"]["latency_ms"]) < 0.3  # of the device that was asked for
        assert "latency_ms" not in model["over_budget"]
    faster = ["device=stm32f446", "device.clock_hz=90e6"]  # of the same name, but another
    _, out, _ = paring("verify", "study=done", "trial=0", "output=json", *faster)
    (model,) = json.loads(out)["models"]
    assert abs(model["errors"]["latency_ms"]) < 0.3
    assert study_record(done).trials == before  # kept only for the study's own device


@pytest.mark.slow
def test_a_front_in_measured_numbers(paring: Paring, here: Path, done: Study) -> None:
    paring("verify", "study=done", "workers=2")
    measured = {trial.number: trial.measured for trial in study_record(done).trials}
    shown = [trial for trial in measured_record(done).trials if trial.planes]
    assert shown
    for trial in shown:
        assert (taken := measured[trial.number]) is not None
        assert trial.costs == taken.costs
    code, out, _ = paring("front", "study=done", "output=csv", "source=measured")
    assert code == 0
    rows = list(csv.DictReader(io.StringIO(out)))
    assert {int(row["trial"]) for row in rows} == {trial.number for trial in shown}
    assert all(row["flash_bytes"] == row["measured_flash_bytes"] for row in rows)
    _, out, _ = paring("front", "study=done", "source=measured")
    assert "costs: measured as linked" in out
    _, out, _ = paring("front", "study=done")
    assert "measured" in out.splitlines()[2]
    assert measured_text(shown[0]) in out
    code, out, _ = paring("front", "study=done", "output=html", "source=measured")
    page = (here / "front.html").read_text()
    assert "Flash and SRAM are <b>measured</b>" in page
    assert "<th class='text'>measured</th>" not in page
    paring("front", "study=done", "output=html")
    assert "<th class='text'>measured</th>" in (here / "front.html").read_text()


@pytest.mark.slow
def test_nothing_measured_is_told(
    paring: Paring,
    here: Path,
    workspace: Workspace,
    compose_spec: Callable[..., Spec],
    tiny: list[str],
) -> None:
    create.prepare(workspace, "none", compose_spec(*tiny, "trials=1"), None)
    code, _, err = paring("front", "study=none", "source=measured")
    assert code == 2
    assert "no trial has been measured; run: paring verify study=none" in err
    code, _, err = paring("front", "study=none", "source=measured", "output=json")
    assert code == 2
    assert "output=json always has all sources" in err


@pytest.mark.slow
def test_a_device_that_is_too_small_is_told(paring: Paring, here: Path, done: Study) -> None:
    small = ["device=stm32l073", "device.sram=520", "device.reserved_sram=512"]
    code, out, err = paring("verify", "study=done", "trial=0", "output=json", *small)
    (model,) = json.loads(out)["models"]
    assert code == 1
    assert model["over_device"] == ["sram_bytes"]
    assert "too big for stm32l073: trials 0; pick others: paring pick device=stm32l073" in err


@pytest.mark.slow
def test_a_missing_compiler_is_told(
    paring: Paring, here: Path, done: Study, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    code, out, err = paring("verify", "study=done", "trial=0", "workers=1")
    assert (code, out) == (2, "")
    assert "apt-get install gcc-arm-none-eabi" in err

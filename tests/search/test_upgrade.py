"""Studies of earlier versions open, go on, and give what they gave.

`assets/studies-0.1.0.tar.xz` was written by paring 0.1.0 before its names changed: a home with
four studies of the digits (`finished`, one trial of it measured; `midway`, killed within a
trial; `grown`, with continuation and a budget added later; `anomaly`, an autoencoder), fronts
as that version printed them, and small networks of every operator with sums of their outputs.
"""

import json
import shutil
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from pruning.training.checkpoint import unpack_network
from search.config.schema import StorageConfig
from search.config.spec import Spec
from search.results.report import counts, study_record
from search.storage.workspace import open_workspace
from search.study.create import prepare
from search.study.study import Study, require_study
from tests.toolchain import COMPILER
from tracking.evaluation import Classification

Paring = Callable[..., tuple[int, str, str]]
ASSETS = Path(__file__).parent / "assets" / "studies-0.1.0.tar.xz"
NEEDS_COMPILER = pytest.mark.skipif(
    shutil.which(COMPILER) is None,
    reason=f"{COMPILER} is not installed (make system-deps)",
)


@pytest.fixture(scope="session")
def unpacked(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("upgraded")
    with tarfile.open(ASSETS) as archive:
        archive.extractall(folder, filter="data")
    return folder


@pytest.fixture
def here(unpacked: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working folder in which the old studies are."""
    shutil.copytree(unpacked, tmp_path, dirs_exist_ok=True)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def opened(here: Path, name: str) -> Study:
    return require_study(open_workspace(StorageConfig(folder=str(here / ".paring"))), name)


def succeed(paring: Paring, *arguments: str) -> str:
    code, out, err = paring(*arguments)
    assert code == 0, err
    return out


def without_run_ids(front: dict[str, Any]) -> dict[str, Any]:
    """Runs have new ids when MLflow is rebuilt."""
    return {**front, "front": [{**row, "run_id": None} for row in front["front"]]}


@pytest.mark.parametrize("study", ["finished", "grown", "anomaly"])
def test_a_front_is_what_it_was(paring: Paring, here: Path, study: str) -> None:
    front = json.loads(succeed(paring, "front", f"study={study}", "output=json"))
    assert front == json.loads((here / "fronts" / f"{study}.json").read_text())


def test_a_measured_trial_stays_measured(here: Path) -> None:
    trials = study_record(opened(here, "finished")).trials
    assert [trial.number for trial in trials if trial.measured is not None] == [0]


@pytest.mark.slow
def test_mlflow_can_be_rebuilt(paring: Paring, here: Path) -> None:
    before = json.loads((here / "fronts" / "finished.json").read_text())
    (here / ".paring" / "mlflow.db").unlink()
    shutil.rmtree(here / ".paring" / "artifacts")
    succeed(paring, "reconcile", "study=finished")
    after = json.loads(succeed(paring, "front", "study=finished", "output=json"))
    assert without_run_ids(after) == without_run_ids(before)
    assert all(row["run_id"] for row in after["front"])


@pytest.mark.slow
def test_a_model_is_picked_exported_and_explained(paring: Paring, here: Path) -> None:
    succeed(paring, "pick", "study=finished", "budget.flash=32KiB", "format=c", "out=picked")
    succeed(paring, "export", "study=grown", "trial=1", "format=c", "out=exported")
    succeed(paring, "export", "study=anomaly", "trial=0", "format=c", "out=anomaly")
    for folder in ("picked", "exported", "anomaly"):
        assert (here / folder / "model.c").exists()
    for folder in ("exported", "anomaly"):
        assert (here / folder / "why.html").exists()


@pytest.mark.slow
@pytest.mark.parametrize("study", ["finished", "anomaly"])
def test_a_front_is_evaluated_on_validation_when_its_sweep_starts_again(
    paring: Paring, here: Path, study: str
) -> None:
    """Its test split has been read once, and is not read a second time."""
    before = opened(here, study).notes().test_scores
    assert before
    assert not any(trial.evaluations for trial in study_record(opened(here, study)).trials)
    succeed(paring, "sweep", f"study={study}", "workers=1")
    front = [trial for trial in study_record(opened(here, study)).trials if trial.planes]
    assert front
    for trial in front:
        (found,) = trial.evaluations.values()
        assert found.split == "validation"
        told = found.accuracy if isinstance(found, Classification) else found.area
        assert told == pytest.approx(trial.score, rel=1e-5)
    assert opened(here, study).notes().test_scores == before


@NEEDS_COMPILER
@pytest.mark.slow
def test_a_trial_is_verified(paring: Paring, here: Path) -> None:
    out = succeed(paring, "verify", "study=grown", "trial=1", "output=json", "workers=1")
    assert json.loads(out)


@pytest.mark.slow
def test_a_killed_sweep_goes_on_from_its_checkpoint(paring: Paring, here: Path) -> None:
    before = opened(here, "midway").trials()[1].user_attrs
    _, _, err = paring("sweep", "study=midway", "workers=1")
    study = opened(here, "midway")
    assert counts(study.trials())["complete"] == 4, err
    assert "lost" not in err
    assert study.trials()[1].user_attrs["attempt"] == before["attempt"] + 1
    progress = json.loads(study.workspace.store.read(
        study.trials()[1].user_attrs["result"]["files"]["epochs.json"]))  # fmt: skip
    assert progress[2]["score"] == before["progress"]["score"]  # of the epoch before the kill


@pytest.mark.slow
def test_a_grown_study_grows_again(paring: Paring, here: Path) -> None:
    before = opened(here, "grown").notes().dense
    succeed(paring, "sweep", "study=grown", "workers=1", "trials=3")
    study = opened(here, "grown")
    assert counts(study.trials())["complete"] == 3
    assert study.notes().dense == before  # not trained again


@pytest.mark.slow
def test_the_command_that_began_a_study_continues_it_in_todays_words(
    here: Path, compose_spec: Callable[..., Spec]
) -> None:
    phases = {"dense": 2, "warmup": 1, "prune": 2, "finetune": 1}
    spec = compose_spec(
        "model=resnet8", "model.filters=4", "data=digits", "task.batch_size=64", "space=rates",
        "shares=[0.5,0.25]", "trials=4", "seeds=2",
        *(f"method.phases.{name}_epochs={count}" for name, count in phases.items()),
    )  # fmt: skip
    workspace = open_workspace(StorageConfig(folder=str(here / ".paring")))
    study = prepare(workspace, "finished", spec, None)
    assert set(study.space) == {"method.phases.rate", "method.settle"}  # as its trials draw them
    assert len(study.trials()) == 4
    space = {**spec["space"], "method.anneal_end": {"low": 0.5, "high": 0.9}}
    study = prepare(workspace, "finished", Spec({**spec.values, "space": space}), None)
    assert study.space["method.settle"] == {"low": 0.5, "high": 0.9}


@pytest.mark.parametrize(
    "name",
    [
        "attention",
        "bilinear-unet",
        "constants",
        "maxout",
        "narrow",
        "next-blocks",
        "normalised",
        "transposed-depthwise",
        "wide-and-deep",
    ],
)
def test_networks_compute_what_they_computed(unpacked: Path, name: str) -> None:
    stored = unpack_network((unpacked / "networks" / f"{name}.safetensors").read_bytes())
    generator = torch.Generator().manual_seed(1)
    inputs = torch.randn(2, *stored.graph.input_shape, generator=generator)
    with torch.no_grad():
        outputs = stored.module()(inputs)
    outputs = [outputs] if isinstance(outputs, torch.Tensor) else list(outputs)
    for output, sums, absolute in zip(
        outputs, stored.notes["output_sums"], stored.notes["output_absolutes"], strict=True
    ):
        tolerance = 1e-5 * absolute
        assert output.double().flatten(1).sum(1).tolist() == pytest.approx(sums, abs=tolerance)

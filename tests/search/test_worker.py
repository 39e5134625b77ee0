"""Work on real, tiny studies in this process: results, resumption, and the verbs that read."""

import csv
import importlib
import importlib.metadata
import io
import json
import multiprocessing
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from copy import deepcopy
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any, cast

import pytest
import torch
from optuna.trial import FrozenTrial, TrialState

from pruning.budget import Budget, Cost
from pruning.errors import DeployError, PruningError
from pruning.export.stored_model import integer_network
from pruning.training.checkpoint import unpack_network
from search.config.cores import cores
from search.config.schema import StorageConfig
from search.config.spec import Spec
from search.errors import StudyError
from search.results.compare import compare
from search.results.front import Point, points_of
from search.results.mlflow_sync import mirror_once
from search.results.report import counts, run_ids, study_record
from search.results.rerun import Again, rerun
from search.storage.outcome import Failed
from search.storage.workspace import Workspace, open_workspace
from search.study import create
from search.study.factory import SweepFactory
from search.study.study import Study, require_study
from search.study.trials import claim, hand_back, trial_budget
from search.worker import pool
from search.worker.run_trial import tell
from search.worker.worker import work
from tests.pruning.deploy.host import answers, compiled, needs_cc
from tracking.mlflow.mirror import Mirror
from tracking.records import StudyRecord

pytestmark = pytest.mark.slow  # all need studies that were worked on
FORK = multiprocessing.get_context("fork")
Paring = Callable[..., tuple[int, str, str]]


def told(trial: FrozenTrial) -> dict[str, Any]:
    """A trial's result without what differs from run to run: times."""
    result = dict(trial.user_attrs["result"])
    return {
        **{key: result[key] for key in ("score", "cost", "widths", "bottleneck")},
        "model": result["files"]["model.safetensors"],
        "params": trial.params,
    }


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("worked")


@pytest.fixture(scope="module")
def spec(compose_spec: Callable[..., Spec], tiny: list[str]) -> Spec:
    return compose_spec(*tiny, "space=rates", "method.phases.finetune_epochs=6", "trials=4")


@pytest.fixture(scope="module")
def workspace(place: Path) -> Workspace:
    return open_workspace(StorageConfig(folder=str(place / ".paring"), checkpoint_s=0))


@pytest.fixture(scope="module")
def done(workspace: Workspace, spec: Spec) -> Study:
    """A study of four trials that was worked off without interruption."""
    path = list(sys.path)
    create.prepare(workspace, "done", spec, None)
    work(workspace.config, "done", threads=1)
    sys.path[:] = path
    return require_study(workspace, "done")


# --- what a worker leaves behind


def points(study: Study) -> list[Point]:
    return points_of(study.trials(), study.facts.device_limits)


def test_every_trial_is_complete_within_its_budget(done: Study) -> None:
    trials = done.trials()
    assert [trial.number for trial in trials] == [0, 1, 2, 3]
    assert counts(done.trials())["complete"] == 4
    factory = SweepFactory(done.spec)
    for trial in trials:
        network = unpack_network(done.workspace.store[told(trial)["model"]])
        cost = factory.cost_model(network.graph).dense
        assert trial_budget(trial).holds(cost)
        assert Cost(**told(trial)["cost"]) == cost
        assert trial.values == [
            told(trial)["score"],
            cost.flash_bytes,
            cost.sram_bytes,
            cost.latency_ms,
        ]
        assert set(trial.params) == {"method.anneal_end", "method.phases.lr_factor"}
        assert all(value <= 0 for value in trial.constraints.values())
    assert trials[0].params != trials[2].params  # one budget, other hyperparameters


def test_budgets_take_turns_loosest_first(done: Study) -> None:
    dense = asdict(done.facts.dense_cost)
    flash = [trial_budget(trial).flash_bytes for trial in done.trials()]
    assert flash == [int(dense["flash_bytes"] * share) for share in (0.5, 0.25, 0.5, 0.25)]


def test_no_checkpoint_is_left(done: Study) -> None:
    """A finished study's store holds its mark, the dense network, each trial's files, and what the
    networks of the front answer.
    """
    (dense,) = done.notes().dense.values()
    kept = {dense.digest, done.facts.store, *done.notes().evaluations.values()}
    for trial in done.trials():
        kept |= set(trial.user_attrs["result"]["files"].values())
    root = done.workspace.folder / "store"
    assert {p.parent.name + p.name for p in root.rglob("*") if p.is_file()} == kept
    for trial in done.trials():
        assert trial.user_attrs["checkpoint"] not in done.workspace.store


def test_the_test_split_is_read_for_the_front_alone(done: Study) -> None:
    record = study_record(done)
    assert any(trial.planes for trial in record.trials)
    for trial in record.trials:
        assert (trial.test_score is not None) == bool(trial.planes)


def test_a_record_tells_every_epoch(done: Study) -> None:
    phases = done.spec.typed().method.phases
    record = study_record(done)
    (dense,) = record.dense
    assert dense.train_seconds is not None
    assert dense.train_seconds > 0
    for trial in record.trials:
        assert trial.train_seconds == sum(row.seconds for row in trial.epochs) > 0
        assert [row.epoch for row in trial.epochs] == list(
            range(1, phases.prune_epochs + phases.finetune_epochs + 1)
        )
        assert trial.epochs[-1].score == trial.score
        assert trial.epochs[-1].costs == trial.costs


# --- run again, and compared


def test_a_trial_that_is_run_again_gives_the_same_numbers(done: Study) -> None:
    *epochs, again = rerun(done, 2)
    assert len(epochs) == 7
    assert isinstance(again, Again)
    assert again.differences == ()
    assert again.compared > 7 * 8
    assert (again.threads_then, again.threads_now) == (1, 1)


def test_a_difference_is_found_and_named(done: Study, monkeypatch: pytest.MonkeyPatch) -> None:
    trial = deepcopy(done.trials()[1])
    trial.user_attrs["result"]["cost"]["flash_bytes"] = 1
    monkeypatch.setattr(done, "trials", lambda: [trial])
    *_, again = rerun(done, 1)
    assert isinstance(again, Again)
    assert [each.where for each in again.differences] == ["cost.flash_bytes"]
    assert again.differences[0].stored == 1


def test_a_trial_without_a_result_is_refused(done: Study) -> None:
    with pytest.raises(StudyError, match="this trial does not exist; with a result: 0, 1, 2, 3"):
        list(rerun(done, 9))


def test_the_verb_says_whether_anything_differs(done: Study, paring: Paring) -> None:
    where = f"storage.folder={done.workspace.config.folder}"
    code, out, err = paring("rerun", "study=done", "trial=0", where)
    assert code == 0
    assert "0 differ" in out
    assert "epoch 7: score" in err
    told = json.loads(paring("rerun", "study=done", "trial=0", "output=json", where)[1])
    assert told["differences"] == []
    assert paring("rerun", "study=done", "trial=x", where)[0] == 2


def test_studies_are_compared_on_one_scale(
    workspace: Workspace, done: Study, spec: Spec, paring: Paring, tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch, compose_spec: Callable[..., Spec], tiny: list[str],
) -> None:  # fmt: skip
    create.prepare(workspace, "one", spec, 1)
    work(workspace.config, "one", threads=1)
    fewer = require_study(workspace, "one")
    sides = compare([done, fewer])
    assert [(side.study, side.finished) for side in sides] == [("done", 4), ("one", 1)]
    record = study_record(done)
    assert sides[0].hypervolume == pytest.approx(record.hypervolumes[-1])
    assert sides[1].hypervolume <= sides[0].hypervolume
    assert sides[0].front == sum("overall" in trial.planes for trial in record.trials)
    assert sides[1].beaten == 0  # its trial is among the others
    where = f"storage.folder={workspace.config.folder}"
    monkeypatch.chdir(tmp_path)
    table = paring("compare", "study=[done,one]", where)[1]
    assert "against done" in table
    told = json.loads(paring("compare", "study=[done,one]", "output=json", where)[1])
    assert [side["study"] for side in told] == ["done", "one"]
    assert paring("compare", "study=[done,one]", "output=html", where)[0] == 0
    assert "done" in (tmp_path / "compare.html").read_text()
    assert "study=[A,B]" in paring("compare", "study=done", where)[2]
    assert "name two studies" in paring("compare", "study=[done,done]", where)[2]
    other = create.prepare(workspace, "other", compose_spec(*tiny, "data.train=65"), 1)
    with pytest.raises(StudyError, match=r"data_digest is .*, but .* in done"):
        compare([done, other])


# --- killed and resumed


def _work(config: StorageConfig, name: str) -> None:
    work(config, name, threads=1)


def first_running(study: Study) -> FrozenTrial | None:
    return next(
        (
            trial
            for trial in study.trials()
            if trial.state is TrialState.RUNNING and "checkpoint" in trial.user_attrs
        ),
        None,
    )


@pytest.mark.parametrize(
    "number", [signal.SIGKILL, pytest.param(signal.SIGTERM, marks=pytest.mark.slow)]
)
@pytest.mark.usefixtures("quiet_process")
def test_a_resumed_trial_equals_an_uninterrupted_one(
    workspace: Workspace, done: Study, spec: Spec, number: signal.Signals
) -> None:
    name = f"stopped-{number.name}"
    study = create.prepare(workspace, name, spec, None)
    child = FORK.Process(target=_work, args=(workspace.config, name))
    child.start()
    while (trial := first_running(study)) is None:
        assert child.is_alive()
        time.sleep(0.002)
    assert child.pid is not None
    os.kill(child.pid, number)
    child.join()
    stopped = study.trials()[trial.number]
    waits = number is signal.SIGTERM
    assert stopped.state is (TrialState.WAITING if waits else TrialState.RUNNING)
    work(workspace.config, name, threads=1)
    trials = study.trials()
    assert [told(trial) for trial in trials] == [told(trial) for trial in done.trials()]
    attempts = [trial.user_attrs["attempt"] for trial in trials]
    assert attempts == [2 if i == trial.number else 1 for i in range(4)]
    assert study.notes().dense == done.notes().dense  # trained once for both studies


def test_a_dense_network_of_another_study_costs_what_this_one_counts(
    workspace: Workspace, done: Study, compose_spec: Callable[..., Spec], tiny: list[str]
) -> None:
    """An interpreter lays input and output apart, so it needs more memory for the same one."""
    pytest.importorskip("flatbuffers")
    study = create.prepare(workspace, "interpreted", compose_spec(*tiny, "target=tflite"), 1)
    work(workspace.config, "interpreted", threads=1)
    assert study.notes().dense == done.notes().dense
    (own,), (other,) = study_record(study).dense, study_record(done).dense
    assert own.costs.sram_bytes == study.facts.dense_cost.sram_bytes
    assert own.costs.sram_bytes > other.costs.sram_bytes
    assert study_record(study).trials[0].planned_sram_bytes is None  # that would be C's


def test_a_lost_checkpoint_means_another_start_and_the_same_result(
    workspace: Workspace, done: Study, spec: Spec
) -> None:
    study = create.prepare(workspace, "lost", spec, 1)
    trial = claim(study)
    assert trial is not None
    trial.set_user_attr("checkpoint", "0" * 64)
    hand_back(study)
    work(workspace.config, "lost", threads=1)
    assert told(study.trials()[0]) == told(done.trials()[0])


@pytest.mark.parametrize("damage", ["missing", "damaged"])
def test_a_lost_dense_network_is_trained_again_and_said(
    workspace: Workspace, done: Study, spec: Spec, caplog: pytest.LogCaptureFixture, damage: str
) -> None:
    ((key, note),) = done.notes().dense.items()
    digest = note.digest
    file = workspace.folder / "store" / digest[:2] / digest[2:]
    if damage == "missing":
        file.unlink()
    else:
        file.write_bytes(file.read_bytes()[:-1])
    study = create.prepare(workspace, f"dense-{damage}", spec, 1)
    study.note(dense_checkpoint={key: "0" * 64})
    work(workspace.config, study.name, threads=1)
    assert f"will be trained again: {'blob' if damage == 'missing' else 'store'}" in caplog.text
    assert "the dense training starts again: blob 000000000000 is missing" in caplog.text
    assert study.notes().dense[key].digest == digest
    assert told(study.trials()[0]) == told(done.trials()[0])
    assert study.notes().dense_checkpoint == {}


# --- continuing


def test_the_same_total_adds_nothing_and_a_larger_one_adds(
    workspace: Workspace, spec: Spec
) -> None:
    for total, expected in ((None, 4), (4, 4), (3, 4), (6, 6), (None, 6)):
        study = create.prepare(workspace, "grows", spec, total)
        assert [trial.number for trial in study.trials()] == list(range(expected))
    assert create.prepare(workspace, "grows", None, 7).trials()[-1].number == 6


def test_more_trials_are_worked_off(workspace: Workspace, done: Study, spec: Spec) -> None:
    before = [told(trial) for trial in done.trials()]
    study = create.prepare(workspace, "done", None, 5)
    work(workspace.config, "done", threads=1)
    trials = study.trials()
    assert len(trials) == 5
    assert [told(trial) for trial in trials[:4]] == before
    assert trials[4].state is TrialState.COMPLETE


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ("model.filters=5", "model.filters (stored 4, now 5)"),
        ("data.train=65", "data.train (stored 64, now 65)"),
        ("task.optimizer.lr=0.2", "task.optimizer.lr (stored 0.1, now 0.2)"),
        ("method.phases.prune_epochs=2", "method.phases.prune_epochs (stored 1, now 2)"),
        ("seed=1", "seed (stored 0, now 1)"),
        ("device=rp2040", "device.clock_hz (stored 180000000.0, now 133000000.0)"),
        ("sampler=random", "sampler._target_ (stored"),
    ],
)
def test_another_recipe_is_refused(
    workspace: Workspace,
    done: Study,
    compose_spec: Callable[..., Spec],
    tiny: list[str],
    change: str,
    said: str,
) -> None:
    before = len(done.trials())
    base = [*tiny, "space=rates", "method.phases.finetune_epochs=6", "trials=4"]
    other = compose_spec(*base, change)
    with pytest.raises(StudyError, match=f"study=done: .*settings: {re.escape(said)}"):
        create.prepare(workspace, "done", other, 9)
    assert len(done.trials()) == before


def test_only_free_settings_may_differ(
    workspace: Workspace, done: Study, compose_spec: Callable[..., Spec], tiny: list[str]
) -> None:
    base = [*tiny, "space=rates", "method.phases.finetune_epochs=6"]
    same = compose_spec(*base, "trials=2", "accelerator.threads=2")
    assert create.prepare(workspace, "done", same, None).key == done.key


def test_an_unreachable_budget_makes_no_study(
    workspace: Workspace, compose_spec: Callable[..., Spec], tiny: list[str]
) -> None:
    spec = compose_spec(*tiny, "budget=grid", "budget.flash=[10B]")
    with pytest.raises(PruningError, match="flash_bytes 10 is below the least reachable"):
        create.prepare(workspace, "unreachable", spec, None)
    with pytest.raises(StudyError):
        require_study(workspace, "unreachable")


def test_another_keep_is_another_dense_network(
    compose_spec: Callable[..., Spec], tiny: list[str]
) -> None:
    free, kept = compose_spec(*tiny), compose_spec(*tiny, "ignored_layers=[features.stem.conv]")
    assert SweepFactory(free).dense_key() != SweepFactory(kept).dense_key()
    other = compose_spec(*tiny, "device=rp2040", "shares=[0.3]")
    assert SweepFactory(free).dense_key() == SweepFactory(other).dense_key()


NETWORK = """
from torch import nn

class Net(nn.Sequential):
    def __init__(self):
        super().__init__(
            {}nn.Conv2d(1, 8, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(),
            nn.Linear(8, 4),
        )
"""


def test_another_network_of_the_same_name_is_another_dense_network(
    workspace: Workspace,
    compose_spec: Callable[..., Spec],
    tiny: list[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    own = [*(o for o in tiny if not o.startswith(("model.", "scale="))), "shares=[0.9]"]
    spec = compose_spec(*own, "model=custom", "model._target_=paring_own_net.Net")
    monkeypatch.syspath_prepend(tmp_path)

    def write(more: str) -> None:
        (tmp_path / "paring_own_net.py").write_text(NETWORK.format(more))
        sys.modules.pop("paring_own_net", None)
        importlib.invalidate_caches()

    write("")
    study = create.prepare(workspace, "own", spec, None)
    before = SweepFactory(spec).dense_key()
    write("nn.Conv2d(1, 1, 3, padding=1), ")
    assert SweepFactory(spec).dense_key() != before
    with pytest.raises(StudyError, match="the model's code"):
        create.prepare(workspace, "own", spec, None)
    write("")
    assert create.prepare(workspace, "own", spec, None).key == study.key


# --- the verbs that read a study


@pytest.fixture
def here(place: Path, done: Study, monkeypatch: pytest.MonkeyPatch) -> Path:
    assert done.over()
    monkeypatch.chdir(place)
    return place


def test_front_as_json(paring: Paring, here: Path, done: Study) -> None:
    code, out, err = paring("front", "study=done", "output=json")
    assert (code, err) == (0, "")
    front = json.loads(out)
    assert front["schema"] == "paring.front/1"
    assert set(front) == {
        "schema", "study", "metric", "precision", "dense", "trials", "hypervolume", "front"
    }  # fmt: skip
    assert front["trials"]["complete"] == len(done.trials())
    assert front["dense"]["costs"] == asdict(done.facts.dense_cost)
    on = {trial.number: trial for trial in study_record(done).trials if trial.planes}
    assert {entry["trial"] for entry in front["front"]} == set(on)
    for entry in front["front"]:
        trial = done.trials()[entry["trial"]]
        assert entry["score"] == told(trial)["score"]
        assert entry["test_score"] == done.notes().test_scores.get(trial.number)
        assert entry["costs"] == {
            "estimated": told(trial)["cost"],
            "planned": {"sram_bytes": told(trial)["cost"]["sram_bytes"]},
            "measured": None,
        }
        assert Budget(**entry["budget"]) == trial_budget(trial)
        assert entry["widths"] == told(trial)["widths"]
        assert entry["params"] == trial.params
        assert list(on[trial.number].planes) == entry["planes"]


def test_front_as_csv_table_and_page(paring: Paring, here: Path) -> None:
    rows = list(csv.DictReader(io.StringIO(paring("front", "study=done", "output=csv")[1])))
    assert rows
    assert {"trial", "score", "flash_bytes"} <= set(rows[0])
    code, out, _ = paring("front", "study=done")
    assert code == 0
    assert "estimated" in out
    assert paring("front", "study=done", "output=html", "out=pages/f.html")[0] == 0
    assert "plotly" in (here / "pages" / "f.html").read_text()


def test_status_as_json(paring: Paring, here: Path, done: Study) -> None:
    code, out, err = paring("status", "study=done", "output=json")
    assert (code, err) == (0, "")
    assert json.loads(out)["trials"]["complete"] == len(done.trials())
    assert "trials" in paring("status", "study=done")[1]


LOAD = """
import json, sys
from pathlib import Path
from pruning.budget import Device
from pruning.training.checkpoint import unpack_network
from pruning.cost.model import deployed
import dataclasses, torch
facts = json.loads(sys.argv[1])
network = unpack_network(Path(sys.argv[2]).read_bytes())
cost = deployed(network.graph, Device(**facts)).dense
out = network.module()(torch.zeros(2, *network.graph.input_shape))
print(json.dumps({"cost": dataclasses.asdict(cost), "out": list(out.shape)}))
assert not {"optuna", "hydra", "mlflow"} & set(sys.modules)
"""


def test_export_loads_in_a_fresh_process(paring: Paring, here: Path, done: Study) -> None:
    code, out, err = paring("export", "study=done", "trial=1", "out=models/one")
    assert (code, err) == (0, "")
    folder = here / "models" / "one"
    assert {p.name for p in folder.iterdir()} == {
        "model.safetensors",
        "model.json",
        "README.md",
        ".paring-files.json",
        "why.html",
    }
    assert "why this network looks as it does" in (folder / "why.html").read_text()
    assert all(str(path) in out for path in folder.iterdir() if path.name[0] != ".")
    device = SweepFactory(done.spec).device
    facts = {name: getattr(device, name) for name in device.__slots__}
    command = [sys.executable, "-c", LOAD, json.dumps(facts), str(folder / "model.safetensors")]
    fresh = json.loads(subprocess.run(command, capture_output=True, check=True).stdout)
    model = json.loads((folder / "model.json").read_text())
    assert fresh["cost"] == model["costs"]["estimated"] == told(done.trials()[1])["cost"]
    assert fresh["out"] == [2, len(model["classes"])]
    assert model["schema"] == "paring.model/1"
    assert (model["study"], model["trial"]) == ("done", 1)
    assert model["score"] == told(done.trials()[1])["score"]
    assert set(model["input"]) == {"shape", "mean", "std"}
    assert model["data"] == {"name": "synthetic", "digest": done.facts.data_digest}
    assert model["graph"]
    card = (folder / "README.md").read_text()
    assert f"{model['score']:.4f}" in card
    assert "unpack_network" in card
    assert "stm32f446" in card


@needs_cc
def test_exported_c_scores_what_the_trial_scored(paring: Paring, here: Path, done: Study) -> None:
    code, _, err = paring("export", "study=done", "trial=1", "format=c", "out=models/c")
    assert (code, err) == (0, "")
    folder = here / "models" / "c"
    names = {"model.c", "model.h", "kernels.c", "kernels.h", "main.c", "CMakeLists.txt"}
    assert {p.name for p in folder.iterdir()} == {
        *names, "model.json", "README.md", "why.html", ".paring-files.json"
    }  # fmt: skip
    model = json.loads((folder / "model.json").read_text())
    planned, estimated = (model["costs"][source] for source in ("planned", "estimated"))
    assert planned["sram_bytes"] == estimated["sram_bytes"]
    assert "model_run()" in (folder / "README.md").read_text()
    digest = done.trials()[1].user_attrs["result"]["files"]["model.safetensors"]
    network = integer_network(unpack_network(done.workspace.store[digest]))
    data = SweepFactory(done.spec).data
    codes = network.quantized(data.normalise(data.validation.inputs).numpy())
    (output,) = answers(compiled(folder), network, codes)
    right = output[:, :, 0, 0].argmax(1) == data.validation.targets.numpy()
    assert right.mean() == model["score"]


def test_generated_c_says_its_name_and_where_it_is_from(
    paring: Paring, here: Path, done: Study
) -> None:
    """Twice the same text, whoever writes it; by another name it takes the folder."""
    digest = done.trials()[1].user_attrs["result"]["files"]["model.safetensors"]
    command = ["export", "study=done", "trial=1", "format=c"]
    for folder in ("models/first", "models/second"):
        assert paring(*command, "name=kws", f"out={folder}")[::2] == (0, "")
    first, second = here / "models" / "first", here / "models" / "second"
    assert {path.name: path.read_bytes() for path in first.iterdir()} == {
        path.name: path.read_bytes() for path in second.iterdir()
    }
    for path in (first / "kws.c", first / "kws.h"):
        beginning = path.read_text().split("*/")[0]
        version = importlib.metadata.version("paring")
        assert f"Study done, trial 1, by paring {version}:" in beginning
        assert "paring export study=done trial=1 format=c name=kws\n" in beginning
        assert digest in beginning
    assert "`kws_input()`" in (first / "README.md").read_text()
    assert "KWS_INPUT_SCALE" in (first / "README.md").read_text()
    assert json.loads((first / "model.json").read_text())["name"] == "kws"
    paring("export", "study=done", "trial=1", "out=models/first")
    assert (first / "kws.c").exists()  # another form of the same
    paring(*command, "name=digits", "out=models/first")
    assert not (first / "kws.c").exists()
    assert not (first / "kws.h").exists()
    assert {"digits.c", "digits.h", "model.safetensors"} <= {p.name for p in first.iterdir()}
    told = json.loads((first / "model.json").read_text())
    (here / "outside.c").write_text("of the user")
    (first / "model.json").write_text(json.dumps({**told, "name": "../../outside"}))
    paring(*command, "out=models/first")
    assert (here / "outside.c").exists()


def test_an_export_of_another_model_takes_the_folder(
    paring: Paring, here: Path, done: Study
) -> None:
    """Formats of one model share a folder; nothing of it stays beside another's card."""
    folder = here / "models" / "shared"
    for number, form, left in (
        (1, "safetensors", {"model.safetensors", "why.html"}),
        (1, "c", {"model.safetensors", "model.c", "model.h", "why.html"}),
        (0, "safetensors", {"model.safetensors", "why.html"}),
    ):
        (folder / "mine.txt").parent.mkdir(parents=True, exist_ok=True)
        (folder / "mine.txt").write_text("of the user")
        code, _, err = paring(
            "export", "study=done", f"trial={number}", f"format={form}", "out=models/shared"
        )
        assert (code, err) == (0, "")
        own = {"model.safetensors", "model.c", "model.h", "model.tflite", "why.html"}
        assert own & {path.name for path in folder.iterdir()} == left
        assert json.loads((folder / "model.json").read_text())["trial"] == number
    assert (folder / "mine.txt").read_text() == "of the user"
    (folder / "model.tflite").write_text("of the user, too")
    assert paring("export", "study=done", "trial=1", "format=c", "out=models/shared")[0] == 0
    assert (folder / "model.tflite").exists()


@pytest.mark.parametrize("edited", ["model.c", "main.c", "README.md", "why.html"])
def test_no_file_of_the_users_is_replaced(
    paring: Paring, here: Path, done: Study, edited: str
) -> None:
    """Neither one that was there, nor one of ours that has been edited since."""
    folder = here / "models" / f"with-{edited}"
    folder.mkdir(parents=True)
    for export in (0, 1):
        (folder / edited).write_text("of the user")
        before = {path.name: path.read_bytes() for path in folder.iterdir()}
        line = f"export study=done trial={export} format=c out=models/{folder.name}"
        code, _, err = paring(*line.split())
        assert (folder / edited).read_text() == "of the user"
        if edited == "why.html":  # the model is good without it
            assert (code, "why.html in" in err) == (0, True)
            return
        assert code == 2
        assert f"out: {edited} in {folder}: not written by paring" in err
        assert {path.name: path.read_bytes() for path in folder.iterdir()} == before
        (folder / edited).unlink()
        assert paring(*line.split())[0] == 0


def test_a_folder_that_an_earlier_version_wrote_is_taken(
    paring: Paring, here: Path, done: Study
) -> None:
    """It noted nothing, but its model.json tells."""
    folder = here / "models" / "earlier"
    line = "export study=done format=c out=models/earlier"
    assert paring(*line.split(), "trial=0")[0] == 0
    (folder / ".paring-files.json").unlink()
    assert paring(*line.split(), "trial=1")[0] == 0
    assert json.loads((folder / "model.json").read_text())["trial"] == 1
    (folder / ".paring-files.json").unlink()
    (folder / "model.json").unlink()
    assert paring(*line.split(), "trial=0")[0] == 2


@pytest.mark.parametrize("output", ["html", "json", "csv"])
def test_a_page_replaces_pages_alone(paring: Paring, here: Path, done: Study, output: str) -> None:
    line = f"front study=done output={output} out=a.page"
    times = "trial,latency_ms\n0,1\n"
    for text in ("print('mine')\n", "", times, '{\n "schema": "mine"', "<!DOCTYPE html>\n"):
        (here / "a.page").write_text(text)
        code, _, err = paring(*line.split())
        assert (code, "was not written by paring" in err) == (2, True)
        assert (here / "a.page").read_text() == text
    (here / "a.page").unlink()
    for _ in range(2):
        assert paring(*line.split())[0] == 0
    (here / "a.page").unlink()


def test_nothing_is_written_where_studies_are_kept(paring: Paring, here: Path, done: Study) -> None:
    for line in (
        "front study=done output=html out=.paring/optuna.db",
        "compare study=[done,other] output=html out=.paring/store/x",
        "export study=done trial=0 out=.paring/store",
        "pick study=done device=rp2040 out=.paring",
    ):
        code, out, err = paring(*line.split())
        assert (code, out) == (2, "")
        assert "studies are kept below" in err


def test_pick_registers_its_own_files_alone(paring: Paring, here: Path, done: Study) -> None:
    folder = here / "mine"
    folder.mkdir()
    (folder / ".env").write_text("TOKEN=x")
    code, out, err = paring("pick", "study=done", "device=stm32f446", "out=mine")
    assert code == 0, err
    assert "registered: " in out
    kept = {path.name for path in (here / ".paring" / "artifacts").rglob("picked/*/*")}
    assert kept == {"model.safetensors", "model.json", "README.md"}


def test_an_alias_that_cannot_be_is_refused_before_anything_is_written(
    paring: Paring, here: Path, done: Study
) -> None:
    for alias in ("latest", "v1"):
        line = f"pick study=done device=stm32f446 alias={alias} out=refused"
        code, out, err = paring(*line.split())
        assert (code, out) == (2, "")
        assert "cannot be an alias" in err
    assert not (here / "refused").exists()


def test_pick_writes_c_too(paring: Paring, here: Path, done: Study) -> None:
    code, out, err = paring(
        "pick", "study=done", "device=rp2040", "format=c", "name=wake", "out=models/picked",
        "register=false",
    )  # fmt: skip
    assert (code, err) == (0, "")
    assert "wake_run" in (here / "models" / "picked" / "wake.h").read_text()
    assert "wake.c" in out


def test_a_model_that_was_scored_without_integers_has_no_c(done: Study) -> None:
    digest = done.trials()[1].user_attrs["result"]["files"]["model.safetensors"]
    stored = unpack_network(done.workspace.store[digest])
    older = replace(stored, notes={"precision": "int8-simulated"})
    with pytest.raises(DeployError, match=r"int8-simulated.*precision=int8-exact"):
        integer_network(older)


@contextmanager
def damaged(study: Study, name: str) -> Iterator[str]:
    """Half of a file of trial 0 is lost for a while; its digest."""
    digest: str = study.trials()[0].user_attrs["result"]["files"][name]
    (file,) = Path(study.workspace.config.folder, "store").rglob(digest[2:])
    content = file.read_bytes()
    file.write_bytes(content[: len(content) // 2])
    try:
        yield digest
    finally:
        file.write_bytes(content)


def test_export_with_a_damaged_explanation_writes_the_model(
    paring: Paring, here: Path, done: Study
) -> None:
    with damaged(done, "explanation.json"):
        code, _, err = paring("export", "study=done", "trial=0", "out=models/two")
    assert code == 0
    assert "why.html and evaluation.html were not written" in err
    assert {path.name for path in (here / "models" / "two").iterdir()} == {
        "model.safetensors", "model.json", "README.md", ".paring-files.json"
    }  # fmt: skip


def test_a_damaged_blob_is_as_good_as_missing_to_the_mirror(done: Study) -> None:
    class Reader:
        name = "reader"

        def forget(self, _: str) -> None:
            pass

        def sync(self, _: StudyRecord, blobs: Mapping[str, bytes]) -> dict[int, str]:
            assert blobs.get(digest) is None
            assert blobs[told(done.trials()[1])["model"]]
            return run_ids(done)

    with damaged(done, "explanation.json") as digest:
        mirror_once(done, cast(Mirror, Reader()))


def test_mirrors_that_take_turns_double_nothing(
    workspace: Workspace, spec: Spec, runs_of: Callable[[Study], list[Any]]
) -> None:
    study = create.prepare(workspace, "mirrored", spec, 3)
    mirrors = [Mirror(workspace.tracking_uri, workspace.artifacts) for _ in range(2)]
    for turn in range(4):
        trial = claim(study)
        if trial is not None:
            assert tell(study, trial, Failed(f"reason {turn}"))
        mirror_once(study, mirrors[turn % 2])
    trials = [run.data.tags.get("paring.slot", "study") for run in runs_of(study)]
    assert sorted(trials) == ["0", "1", "2", "study"]


@pytest.mark.parametrize("trial", [99, -1])
def test_export_of_no_such_trial(paring: Paring, here: Path, trial: int) -> None:
    code, out, err = paring("export", "study=done", f"trial={trial}")
    assert (code, out) == (2, "")
    assert f"trial={trial}: this trial does not exist; with a model: 0, 1" in err
    assert not (here / "exported").exists()


def test_export_without_its_blob(paring: Paring, here: Path) -> None:
    folder = here / ".paring" / "store"
    folder.rename(here / "elsewhere")
    try:
        code, out, err = paring("export", "study=done", "trial=0")
    finally:
        (here / "elsewhere").rename(folder)
    assert (code, out) == (2, "")
    assert "is missing; set storage.folder" in err
    assert not (here / "exported").exists()


def test_pick_takes_the_best_within_limits(paring: Paring, here: Path, done: Study) -> None:
    limit = sorted(p.cost.flash_bytes for p in points(done))[1]
    given = ["study=done", f"budget.flash={limit}", "register=false", "out=best"]
    code, out, err = paring("pick", *given)
    assert (code, err) == (0, "")
    fitting = [p for p in points(done) if p.cost.flash_bytes <= limit]
    assert json.loads((here / "best" / "model.json").read_text())["score"] == max(
        p.score for p in fitting
    )
    assert "written: " in out


def test_a_margin_leaves_room(paring: Paring, here: Path, done: Study) -> None:
    flash = min(point.cost.flash_bytes for point in points(done))
    wanted = ("pick", "study=done", f"budget.flash={flash}", "register=false")
    assert paring(*wanted)[0] == 0
    code, _, err = paring(*wanted, "margin=10%")
    assert code == 2
    assert "exceeds" in err
    assert "margin=x: a share" in paring(*wanted, "margin=x")[2]
    assert "margin=1.5: a share" in paring(*wanted, "margin=1.5")[2]
    assert [path.name for path in here.iterdir()].count("picked") == 1


def test_what_is_picked_holds_its_limits_as_measured(
    paring: Paring, here: Path, done: Study
) -> None:
    """An estimate at the limit is left: the device says how much more a measurement may be."""
    margin = SweepFactory(done.spec).device.latency_margin
    quickest = min(points(done), key=lambda p: p.cost.latency_ms)
    for share, code in ((1 + margin * 1.01, 0), (1 + margin * 0.99, 2)):
        limit = quickest.cost.latency_ms * share
        line = f"pick study=done budget.latency={limit}ms register=false out=quick"
        assert paring(*line.split())[0] == code
    assert "reduced by the margin of the estimates" in paring(*line.split())[2]
    sram = min(p.cost.sram_bytes for p in points(done))
    whole = -(-sram // 4) * 4
    for limit, code in ((whole, 0), (whole - 1, 2)):
        line = f"pick study=done budget.sram={limit} register=false out=small"
        assert paring(*line.split())[0] == code


def test_pick_where_nothing_fits(paring: Paring, here: Path, done: Study) -> None:
    least = min(p.cost.flash_bytes for p in points(done))
    code, out, err = paring("pick", "study=done", f"budget.flash={least - 1}", "out=none")
    assert (code, out) == (2, "")
    assert f"flash_bytes {least} exceeds {least - 1} by 1 (" in err
    assert "Traceback" not in err
    assert not (here / "none").exists()


def test_reading_a_study_changes_nothing(paring: Paring, here: Path) -> None:
    before = sorted(path.name for path in here.iterdir())
    for line in ("front study=done", "status study=done", "status study=done output=json"):
        assert paring(*line.split())[0] == 0
    assert sorted(path.name for path in here.iterdir()) == before
    code, out, err = paring("status", "study=nosuch")
    assert (code, out) == (2, "")
    assert "studies: " in err


@pytest.mark.parametrize("line", ["study=done seed=5", "study=done model.filters=5"])
def test_the_command_refuses_another_recipe(paring: Paring, here: Path, line: str) -> None:
    code, out, err = paring("sweep", *line.split())
    assert (code, out) == (2, "")
    assert "created with other settings" in err
    assert "or choose another name" in err
    assert here.is_dir()


def test_threads_are_set(done: Study, quiet_process: None) -> None:
    assert done.over()
    before = torch.get_num_threads()
    try:
        work(done.workspace.config, "done", threads=before + 2)
        assert torch.get_num_threads() == before + 2
    finally:
        torch.set_num_threads(before)


def test_workers_share_the_cores(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    assert pool.threads_for(1, 0) == cores()
    assert pool.threads_for(1000, 0) == 1
    assert pool.threads_for(4, 3) == 3
    monkeypatch.setattr(pool, "cores", lambda: 8)
    for asked, threads in (("3", 3), ("16", 4), ("", 4), ("0", 4), ("many", 4)):
        monkeypatch.setenv("OMP_NUM_THREADS", asked)
        assert pool.threads_for(2, 0) == threads

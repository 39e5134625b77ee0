"""Sweeps of each task: what is stored of their fronts is what the networks answer, and test is
read once.
"""

import io
import json
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from sklearn.metrics import confusion_matrix, roc_auc_score

import search
from pruning.deploy import reference
from pruning.export.interface import Interface, Predictor
from pruning.export.stored_model import MODEL, integer_network
from pruning.training.checkpoint import StoredNetwork, unpack_network
from search.config.schema import StorageConfig
from search.config.spec import Spec
from search.results.evaluate_front import evaluate_front
from search.results.report import study_record
from search.storage.workspace import Workspace, open_workspace
from search.study import create
from search.study.collect import orphans
from search.study.factory import SweepFactory
from search.study.study import Study, require_study
from search.study.variants import Variants
from search.worker.worker import work
from tests.pruning.deploy.host import answers, compiled, needs_cc, written
from tests.tracking.outline import Outline
from tracking.evaluation import Classification, Detection, Evaluation, Picture, Regression
from tracking.mlflow.mirror import Mirror
from tracking.records import TrialRecord

Paring = Callable[..., tuple[int, str, str]]
SHORT = [
    "shares=[0.5,0.1]", "model.filters=4", "method.phases.dense_epochs=3",
    "method.phases.prune_epochs=1", "method.phases.finetune_epochs=1",
]  # fmt: skip
SWEEPS = {
    "digits": [*SHORT, "task.batch_size=64"],
    "angle": ["experiment=angle", *SHORT],
    "anomaly": ["experiment=anomaly", *(one for one in SHORT if not one.startswith("model."))],
}


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("evaluated")


@pytest.fixture(scope="module")
def workspace(place: Path) -> Workspace:
    return open_workspace(StorageConfig(folder=str(place / ".paring"), checkpoint_s=0))


@pytest.fixture(scope="module")
def swept(workspace: Workspace, compose_spec: Callable[..., Spec]) -> dict[str, Study]:
    """A finished study of each task."""
    path = list(sys.path)
    for name, overrides in SWEEPS.items():
        create.prepare(workspace, name, compose_spec(*overrides), None)
        work(workspace.config, name, threads=1)
    sys.path[:] = path
    return {name: require_study(workspace, name) for name in SWEEPS}


def front(study: Study) -> list[TrialRecord]:
    trials = [trial for trial in study_record(study).trials if trial.planes]
    assert trials
    return trials


def network_of(study: Study, trial: TrialRecord) -> StoredNetwork:
    return unpack_network(study.workspace.store.read(trial.files[MODEL]))


def splits(study: Study) -> Iterator[tuple[TrialRecord, str, Evaluation, np.ndarray, np.ndarray]]:
    """Every evaluation of a study, with the inputs and targets that it is of."""
    data = SweepFactory(study.spec).data
    for trial in front(study):
        assert set(trial.evaluations) == {"validation", "test"}
        for name, split in (("validation", data.validation), ("test", data.test)):
            found = trial.evaluations[name]
            assert (found.split, found.samples) == (name, len(split))
            yield trial, name, found, split.inputs.numpy(), split.targets.numpy()


def predictor(study: Study, trial: TrialRecord) -> Predictor:
    interface = Interface.from_json(study.workspace.store.read(trial.files["interface.json"]))
    return Predictor(network_of(study, trial), interface)


# --- what is stored is what ships


@pytest.mark.slow
def test_classes_are_those_that_the_model_predicts(swept: dict[str, Study]) -> None:
    for trial, name, found, inputs, targets in splits(swept["digits"]):
        told = predictor(swept["digits"], trial).answers(inputs)
        assert isinstance(found, Classification)
        expected = confusion_matrix(targets, told["class"], labels=range(10))
        assert found.confusion == tuple(map(tuple, expected.tolist()))
        assert found.accuracy == (trial.score if name == "validation" else trial.test_score)
        assert found.classes == tuple("0123456789")
        for mistake in found.mistakes:
            assert told["class"][mistake.index] == mistake.answer != mistake.target
            assert targets[mistake.index] == mistake.target
            assert isinstance(mistake.sample, Picture)
            assert mistake.sample.high == inputs[mistake.index].max()


@needs_cc
@pytest.mark.slow
def test_classes_are_those_of_the_generated_c_and_of_the_reference(
    swept: dict[str, Study], tmp_path: Path
) -> None:
    study = swept["digits"]
    data, trial = SweepFactory(study.spec).data, front(study)[0]
    network = integer_network(network_of(study, trial))
    program = compiled(written(network, tmp_path))
    for name, split in (("validation", data.validation), ("test", data.test)):
        codes = network.quantized(data.normalise(split.inputs).numpy())
        (output,) = answers(program, network, codes)
        matrix = confusion_matrix(split.targets, output[:, :, 0, 0].argmax(1), labels=range(10))
        found = trial.evaluations[name]
        assert isinstance(found, Classification)
        assert found.confusion == tuple(map(tuple, matrix.tolist()))
        worst = [mistake.index for mistake in found.mistakes][:5]
        inputs = codes.reshape(-1, *network.shapes["input"])[worst]
        few = reference(network, inputs)[network.outputs[0]]
        code = network.codes[network.outputs[0]]
        powers = np.exp((few.reshape(len(worst), -1).astype(float) - code.zero_point) * code.scale)
        shares = powers / powers.sum(1, keepdims=True)
        for mistake, share in zip(found.mistakes, shares, strict=False):
            assert mistake.confidence == pytest.approx(share[mistake.answer], abs=1e-5)
            assert mistake.probability == pytest.approx(share[mistake.target], abs=1e-5)


@pytest.mark.slow
def test_numbers_are_those_that_the_model_predicts(swept: dict[str, Study]) -> None:
    for trial, name, found, inputs, targets in splits(swept["angle"]):
        told = predictor(swept["angle"], trial).answers(inputs)["angle_rad"].astype(float)
        assert isinstance(found, Regression)
        (number,) = found.numbers
        assert number.bias == pytest.approx((told - targets).mean(), rel=1e-5)
        score = trial.score if name == "validation" else trial.test_score
        assert number.root_mean_square == pytest.approx(score, rel=1e-5)
        order = np.argsort(-abs(told - targets), kind="stable")[:20]
        assert [miss.index for miss in found.misses] == order.tolist()
        for miss in found.misses:
            assert miss.targets == pytest.approx([targets[miss.index]], rel=1e-5)
            assert miss.answers == pytest.approx([told[miss.index]], rel=1e-5)


@pytest.mark.slow
def test_anomalies_are_those_that_the_model_gives_back_badly(swept: dict[str, Study]) -> None:
    for trial, name, found, inputs, targets in splits(swept["anomaly"]):
        errors = predictor(swept["anomaly"], trial).answers(inputs)["error"]
        assert isinstance(found, Detection)
        assert found.area == pytest.approx(roc_auc_score(targets, errors), rel=1e-5)
        assert found.area == pytest.approx(
            trial.score if name == "validation" else trial.test_score, rel=1e-5
        )
        assert found.threshold == trial.evaluations["validation"].threshold  # type: ignore[union-attr]
        for one in found.misjudged:
            assert one.anomalous == bool(targets[one.index])
            assert (errors[one.index] > found.threshold) != one.anomalous


# --- once


@pytest.mark.slow
def test_what_was_evaluated_is_not_evaluated_again(swept: dict[str, Study]) -> None:
    for study in swept.values():
        before = study.notes()
        assert (
            set(before.evaluations) == set(before.test_scores) == {t.number for t in front(study)}
        )
        assert list(evaluate_front(study, Variants(study))) == []
        work(study.workspace.config, study.name, threads=1)
        assert study.notes() == before


@pytest.mark.slow
def test_test_is_not_read_again_for_trials_of_an_earlier_version(
    workspace: Workspace, compose_spec: Callable[..., Spec], tiny: list[str]
) -> None:
    """They have a test score and no evaluation: validation alone is evaluated."""
    create.prepare(workspace, "earlier", compose_spec(*tiny), None)
    study = require_study(workspace, "earlier")
    work(workspace.config, "earlier", threads=1)
    number = front(study)[0].number
    told = study.trials()[number]
    study.note(test_scores={number: 0.125}, evaluations={number: None})  # type: ignore[dict-item]
    assert told.user_attrs["result"]["files"].keys() == front(study)[0].files.keys()
    assert list(evaluate_front(study, Variants(study))) == [number]
    trial = front(study)[0]
    assert (list(trial.evaluations), trial.test_score) == (["validation"], 0.125)


@pytest.mark.slow
def test_a_kill_between_naming_and_scoring_leaves_nothing_unnamed_and_nothing_undone(
    workspace: Workspace, compose_spec: Callable[..., Spec], tiny: list[str]
) -> None:
    create.prepare(workspace, "killed", compose_spec(*tiny), None)
    study = require_study(workspace, "killed")
    work(workspace.config, "killed", threads=1)
    number = front(study)[0].number
    before = study.notes()
    study.workspace.store.remove(before.evaluations[number])  # named, not yet stored
    study.note(test_scores={number: None})  # type: ignore[dict-item]
    (trial,) = (one for one in study_record(study).trials if one.number == number)
    assert (trial.evaluations, "evaluation.json" in trial.files) == ({}, False)
    work(workspace.config, "killed", threads=1)
    assert study.notes().evaluations == before.evaluations  # the same bytes
    assert study.notes().test_scores == before.test_scores
    assert orphans(workspace, 0.0).old == []


# --- where people see it


@pytest.mark.slow
def test_a_trial_off_the_front_can_be_evaluated_from_python(
    swept: dict[str, Study], workspace: Workspace
) -> None:
    where = [f"storage.folder={workspace.folder}"]
    model = search.load_study("digits", where).model(front(swept["digits"])[0].number)
    assert model.evaluate() == model.evaluations["validation"]


@pytest.mark.slow
@pytest.mark.parametrize("name", SWEEPS)
def test_export_writes_the_page_and_both_pages_lead_to_each_other(
    paring: Paring,
    swept: dict[str, Study],
    place: Path,
    name: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(place)
    trial = front(swept[name])[0]
    out = f"{name}/trial-{trial.number}"
    code, said, err = paring("export", f"study={name}", f"trial={trial.number}", f"out={out}")
    assert (code, err) == (0, "")
    assert "evaluation.html" in said
    pages = {page: (place / out / page).read_text() for page in ("why.html", "evaluation.html")}
    for page, other in (("why.html", "evaluation.html"), ("evaluation.html", "why.html")):
        links = [found["href"] for tag, found in Outline(pages[page]).elements if tag == "a"]
        assert links == [other]
    code, _, err = paring("front", f"study={name}", "output=html", f"out={name}/front.html")
    assert (code, err) == (0, "")
    links = [
        found["href"]
        for tag, found in Outline((place / name / "front.html").read_text()).elements
        if tag == "a"
    ]
    assert f"trial-{trial.number}/evaluation.html" in links


@pytest.mark.slow
def test_mlflow_has_the_file_and_the_page_of_front_trials_alone(
    swept: dict[str, Study], runs_of: Callable[[Study], list[object]], paring: Paring
) -> None:
    import mlflow

    study = swept["digits"]
    mirror = Mirror(study.workspace.tracking_uri, study.workspace.artifacts)
    runs = mirror.sync(study_record(study), study.workspace.store)
    mlflow.set_tracking_uri(study.workspace.tracking_uri)
    client = mlflow.MlflowClient()
    for trial in study_record(study).trials:
        files = {file.path for file in client.list_artifacts(runs[trial.number])}
        wanted = {"evaluation.json", "evaluation.html"}
        assert files & wanted == (wanted if trial.planes else set())
    path = client.download_artifacts(runs[front(study)[0].number], "evaluation.json")
    document = json.loads(Path(path).read_text())
    assert set(document["splits"]) == {"validation", "test"}
    note = client.get_run(runs[front(study)[0].number]).data.tags["mlflow.note.content"]
    assert "evaluation.html: what the network answers on validation and test" in note
    mlflow.set_tracking_uri(None)


@pytest.mark.slow
def test_networks_are_evaluated_on_the_data_that_they_chose(
    workspace: Workspace, compose_spec: Callable[..., Spec]
) -> None:
    words = [*SHORT, "budget=grid", "budget.flash=[12KiB]", "sampler=grid", "trials=2"]
    spec = compose_spec(*words, "+space={data.image_size: [8, 24]}")
    create.prepare(workspace, "sizes", spec, None)
    work(workspace.config, "sizes", threads=1)
    study = require_study(workspace, "sizes")
    trials = [trial for trial in study_record(study).trials if trial.evaluations]
    assert trials
    for trial in trials:
        data = Variants(study).of(trial.params).factory.data
        told = predictor(study, trial).answers(data.test.inputs.numpy())
        found = trial.evaluations["test"]
        assert isinstance(found, Classification)
        matrix = confusion_matrix(data.test.targets, told["class"], labels=range(10))
        assert found.confusion == tuple(map(tuple, matrix.tolist()))
        assert found.accuracy == trial.test_score
        (shown, *_) = [mistake.sample for mistake in found.mistakes]
        assert isinstance(shown, Picture)
        size = trial.params["data.image_size"]
        assert Image.open(io.BytesIO(shown.png)).size == (size, size)

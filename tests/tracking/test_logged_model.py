"""A finished trial is a model in MLflow, with its metrics bound to the data that they are of."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.request import url2pathname

import pytest

from tracking import Mirror, State, StudyRecord
from tracking.mlflow.client import Client
from tracking.mlflow.model_client import ModelClient

MakeStudy = Callable[..., StudyRecord]
Blobs = dict[str, bytes]


def sync(store: Any, study: StudyRecord, blobs: Blobs) -> dict[int, str]:
    """Mirror a study as a process does that knows nothing yet."""
    return Mirror(store.mlflow, store.artifacts).sync(study, blobs)


def models(store: Any, study: StudyRecord) -> list[Any]:
    """All models of a study that are not deleted, as MLflow tells them, by trial."""
    api = Client(store.mlflow).api
    (experiment,) = Client(store.mlflow).experiments(study.key)
    found = api.search_logged_models([experiment.experiment_id])
    return sorted(found, key=lambda model: str(model.name))


def folder(model: Any) -> Path:
    return Path(url2pathname(model.artifact_location.removeprefix("file://")))


def metrics(model: Any) -> dict[tuple[str, str | None], float]:
    return {(metric.key, metric.dataset_name): metric.value for metric in model.metrics}


@pytest.mark.slow
def test_a_finished_trial_is_a_model(store: Any, make_study: MakeStudy, blobs: Blobs) -> None:
    study = make_study(State.COMPLETE, State.FAILED, State.RUNNING)
    runs = sync(store, study, blobs)
    (model,) = models(store, study)
    assert (model.name, str(model.status), model.source_run_id) == ("trial-000", "READY", runs[0])
    assert model.params["lr"] == "0.01"
    assert model.tags["paring.slot"] == "0"
    assert metrics(model) == {
        ("score", "digits (validation)"): 0.98,
        ("flash_bytes", None): 30000,
        ("sram_bytes", None): 9000,
        ("latency_ms", None): 12,
        ("macs", None): 500_000,
    }
    run = Client(store.mlflow).api.get_run(runs[0])
    assert [output.model_id for output in run.outputs.model_outputs] == [model.model_id]
    assert {
        (one.dataset.name, one.dataset.digest, one.tags[0].value)
        for one in run.inputs.dataset_inputs
    } == {(f"digits ({split})", "feed", split) for split in ("training", "validation", "test")}


@pytest.mark.slow
def test_its_files_name_a_loader_of_the_package_and_hold_no_code(
    sqlite_store: Any, make_study: MakeStudy, blobs: Blobs
) -> None:
    from mlflow.models import Model

    study = make_study(State.COMPLETE)
    sync(sqlite_store, study, blobs)
    (model,) = models(sqlite_store, study)
    files = {path.relative_to(folder(model)).as_posix(): path.read_bytes()
             for path in folder(model).rglob("*") if path.is_file()}  # fmt: skip
    assert files.keys() == {
        "MLmodel", "python_env.yaml", "requirements.txt", "input_example.json",
        "serving_input_example.json", "data/model.safetensors", "data/interface.json",
    }  # fmt: skip
    assert files["data/model.safetensors"] == b"network 0"
    assert files["requirements.txt"].startswith(b"paring==")
    told = Model.load(str(folder(model)))
    assert told.model_id == model.model_id
    assert told.flavors["python_function"]["loader_module"] == "search.results.pyfunc"
    (samples,) = told.signature.inputs.inputs
    assert (str(samples.type), samples.shape) == ("uint8", (-1, 1, 2, 2))
    names = ["class", "label", "score.no", "score.yes"]
    assert told.signature.outputs.input_names() == names
    assert told.load_input_example(str(folder(model))).tolist() == [[[[0, 1], [2, 3]]]]


@pytest.mark.slow
def test_a_test_score_comes_later_and_is_of_the_test_split(
    sqlite_store: Any, make_study: MakeStudy, blobs: Blobs
) -> None:
    study = make_study(State.COMPLETE)
    sync(sqlite_store, study, blobs)
    tested = replace(study, trials=(replace(study.trials[0], test_score=0.97),))
    for _ in range(2):
        sync(sqlite_store, tested, blobs)
    (model,) = models(sqlite_store, study)
    assert metrics(model)["test_score", "digits (test)"] == 0.97
    assert len(model.metrics) == 6


def test_models_and_runs_are_found_by_the_filters_of_mlflow(
    store: Any, make_study: MakeStudy, blobs: Blobs
) -> None:
    study = make_study(State.COMPLETE, State.COMPLETE, State.COMPLETE)
    runs = sync(store, study, blobs)
    client = Client(store.mlflow)
    (experiment,) = client.experiments(study.key)
    condition = "metrics.score > 0.95 and metrics.sram_bytes < 5000"
    found = client.api.search_runs([experiment.experiment_id], condition)
    assert [run.info.run_id for run in found] == [runs[1]]
    found = client.api.search_logged_models(
        [experiment.experiment_id], condition,
        order_by=[{"field_name": "metrics.score", "ascending": False}],
    )  # fmt: skip
    assert [model.name for model in found] == ["trial-001"]


def test_a_model_that_a_killed_process_began_is_finished(
    sqlite_store: Any, make_study: MakeStudy, blobs: Blobs, monkeypatch: pytest.MonkeyPatch
) -> None:
    study = make_study(State.COMPLETE)

    def killed(*_: object) -> None:
        raise KeyboardInterrupt

    for step in ("finalize_logged_model", "log_outputs"):
        with monkeypatch.context() as patch:
            patch.setattr(f"mlflow.MlflowClient.{step}", killed)
            with pytest.raises(KeyboardInterrupt):
                sync(sqlite_store, study, blobs)
    sync(sqlite_store, study, blobs)
    (model,) = models(sqlite_store, study)
    assert str(model.status) == "READY"
    assert metrics(model)["score", "digits (validation)"] == 0.98


def test_a_model_whose_run_was_not_told_of_it_is_not_written_again(
    sqlite_store: Any, make_study: MakeStudy, blobs: Blobs, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A process was killed between the model and the entries of its run."""
    study = make_study(State.COMPLETE)

    def killed(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("mlflow.MlflowClient.log_batch", killed)
        with pytest.raises(KeyboardInterrupt):
            sync(sqlite_store, study, blobs)
    (begun,) = models(sqlite_store, study)
    runs = sync(sqlite_store, study, blobs)
    (model,) = models(sqlite_store, study)
    assert model.model_id == begun.model_id
    run = Client(sqlite_store.mlflow).api.get_run(runs[0])
    assert [output.model_id for output in run.outputs.model_outputs] == [model.model_id]
    assert (run.info.status, run.data.metrics["score"]) == ("FINISHED", 0.98)


def test_of_two_models_of_a_run_one_stays(
    sqlite_store: Any, make_study: MakeStudy, blobs: Blobs
) -> None:
    """A server made one, its answer was lost, and the request was repeated."""
    study = make_study(State.COMPLETE)
    runs = sync(sqlite_store, study, blobs)
    (model,) = models(sqlite_store, study)
    Client(sqlite_store.mlflow).api.create_logged_model(
        model.experiment_id, model.name, runs[0], dict(model.tags)
    )
    assert len(models(sqlite_store, study)) == 2
    sync(sqlite_store, study, blobs)
    assert [one.model_id for one in models(sqlite_store, study)] == [model.model_id]


def test_the_model_of_a_deleted_run_goes_with_it(
    sqlite_store: Any, make_study: MakeStudy, blobs: Blobs
) -> None:
    study = make_study(State.COMPLETE)
    runs = sync(sqlite_store, study, blobs)
    (first,) = models(sqlite_store, study)
    Client(sqlite_store.mlflow).api.delete_run(runs[0])
    runs = sync(sqlite_store, study, blobs)
    (second,) = models(sqlite_store, study)
    assert second.model_id != first.model_id
    assert second.source_run_id == runs[0]


def test_nothing_is_written_twice(sqlite_store: Any, make_study: MakeStudy, blobs: Blobs) -> None:
    study = make_study(State.COMPLETE, State.COMPLETE)
    sync(sqlite_store, study, blobs)

    def updated() -> dict[str, int]:
        return {one.model_id: one.last_updated_timestamp for one in models(sqlite_store, study)}

    before = updated()
    sync(sqlite_store, study, blobs)
    assert updated() == before
    client = Client(sqlite_store.mlflow)
    (experiment,) = client.experiments(study.key)
    assert len(list(ModelClient(client).all(experiment.experiment_id, ""))) == 2


@pytest.mark.parametrize("told", [None, b"{}", b"no json"])
def test_without_a_readable_interface_a_model_has_no_signature(
    sqlite_store: Any, make_study: MakeStudy, blobs: Blobs, told: bytes | None
) -> None:
    """As an earlier version stored none."""
    from mlflow.models import Model

    study = make_study(State.COMPLETE)
    (trial,) = study.trials
    if told is None:
        files = {name: digest for name, digest in trial.files.items() if digest != "interface"}
        study = replace(study, trials=(replace(trial, files=files),))
    else:
        blobs["interface"] = told
    runs = sync(sqlite_store, study, blobs)
    (model,) = models(sqlite_store, study)
    assert Model.load(str(folder(model))).signature is None
    warning = Client(sqlite_store.mlflow).api.get_run(runs[0]).data.tags.get("paring.warning", "")
    assert ("no signature: interface.json" in warning) is (told is not None)


def test_a_network_that_is_missing_is_no_model_until_it_is_there(
    sqlite_store: Any, make_study: MakeStudy, blobs: Blobs
) -> None:
    study = make_study(State.COMPLETE)
    network = blobs.pop("network-0")
    sync(sqlite_store, study, blobs)
    assert models(sqlite_store, study) == []
    sync(sqlite_store, study, blobs | {"network-0": network})
    assert len(models(sqlite_store, study)) == 1


def test_json_of_the_schema_of_the_data_is_as_mlflow_reads_it(
    sqlite_store: Any, make_study: MakeStudy, blobs: Blobs
) -> None:
    study = make_study(State.COMPLETE)
    runs = sync(sqlite_store, study, blobs)
    run = Client(sqlite_store.mlflow).api.get_run(runs[0])
    schema = json.loads(run.inputs.dataset_inputs[0].dataset.schema)
    features = json.loads(schema["mlflow_tensorspec"]["features"])
    assert features[0]["tensor-spec"] == {"dtype": "uint8", "shape": [-1, 1, 2, 2]}

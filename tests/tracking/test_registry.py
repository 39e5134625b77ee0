import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.request import url2pathname

import pytest

from tracking import Mirror, RegistryError, State, StudyRecord, register
from tracking.mlflow.client import Client
from tracking.records import DeviceRecord, Limits

MakeStudy = Callable[..., StudyRecord]


@pytest.fixture
def picked(tmp_path: Path) -> Path:
    folder = tmp_path / "picked"
    folder.mkdir()
    (folder / "model.safetensors").write_bytes(b"weights")
    (folder / "model.json").write_text("{}")
    (folder / "README.md").write_text("Picked on Monday.")
    return folder


def files(folder: Path) -> list[Path]:
    return sorted(folder.iterdir())


def held(version: Any) -> set[str]:
    """The files that were picked as a version."""
    root = Path(url2pathname(version.source.removeprefix("file://")))
    return {path.name for path in root.glob(f"picked/{version.tags['paring.digest'][:16]}/*")}


@pytest.fixture
def study(make_study: MakeStudy, store: Any, blobs: dict[str, bytes]) -> StudyRecord:
    made = make_study(State.COMPLETE, State.COMPLETE, State.WAITING)
    Mirror(store.mlflow, store.artifacts).sync(made, blobs)
    return made


def test_a_version_belongs_to_the_trials_run(store: Any, study: StudyRecord, picked: Path) -> None:
    api = Client(store.mlflow).api
    version = register(store.mlflow, study, study.trials[0], files(picked), "stm32f446", study.name)
    found = api.get_model_version_by_alias(study.name, "stm32f446")
    run = api.get_run(found.run_id)
    assert str(found.version) == version == "1"
    assert run.data.tags["paring.slot"] == "0"
    model = api.get_logged_model(run.data.tags["paring.model"])
    assert found.source == model.artifact_location
    assert json.loads(model.tags["mlflow.modelVersions"]) == [
        {"name": study.name, "version": version}
    ]
    assert {metric.key: metric.value for metric in model.metrics}["flash_bytes"] == 30000
    assert not {"score", "flash_bytes"} & found.tags.keys()
    assert held(found) == {"README.md", "model.json", "model.safetensors"}


def test_the_same_model_keeps_its_version(store: Any, study: StudyRecord, picked: Path) -> None:
    trial, name = study.trials[0], study.name
    first = register(store.mlflow, study, trial, files(picked), "stm32f446", name)
    (picked / "README.md").write_text("Picked on Tuesday.")
    assert register(store.mlflow, study, trial, files(picked), "stm32f446", name) == first
    assert register(store.mlflow, study, trial, files(picked), "tiny", name) == first
    api = Client(store.mlflow).api
    assert len(api.search_model_versions(f"name = '{name}'")) == 1
    assert set(api.get_model_version(name, first).aliases) == {"stm32f446", "tiny"}


def test_another_model_takes_the_alias(store: Any, study: StudyRecord, picked: Path) -> None:
    register(store.mlflow, study, study.trials[0], files(picked), "tiny", study.name)
    (picked / "model.json").write_text('{"other": 1}')
    second = register(store.mlflow, study, study.trials[1], files(picked), "tiny", study.name)
    found = Client(store.mlflow).api.get_model_version_by_alias(study.name, "tiny")
    assert str(found.version) == second == "2"


def test_a_version_keeps_its_files(store: Any, study: StudyRecord, picked: Path) -> None:
    trial, name = study.trials[0], study.name
    first = register(store.mlflow, study, trial, files(picked), "tiny", name)
    (picked / "model.c").write_text("int x;")
    second = register(store.mlflow, study, trial, files(picked), "tiny", name)
    api = Client(store.mlflow).api
    before, after = (api.get_model_version(name, version) for version in (first, second))
    assert before.source == after.source  # one model, picked in two forms
    assert held(after) - held(before) == {"model.c"}


def test_costs_on_another_device_are_metrics_of_the_model(
    sqlite_store: Any, make_study: MakeStudy, blobs: dict[str, bytes], picked: Path
) -> None:
    study = make_study(State.COMPLETE)
    Mirror(sqlite_store.mlflow, sqlite_store.artifacts).sync(study, blobs)
    costs = replace(study.trials[0].known_costs, latency_ms=99.0)
    ported = replace(
        study,
        trials=(replace(study.trials[0], costs=costs),),
        device=DeviceRecord(name="stm32f103", limits=Limits()),
    )
    version = register(sqlite_store.mlflow, ported, ported.trials[0], files(picked), "a", "ported")
    api = Client(sqlite_store.mlflow).api
    run = api.get_run(api.get_model_version("ported", version).run_id)
    model = api.get_logged_model(run.data.tags["paring.model"])
    told = {metric.key: metric.value for metric in model.metrics}
    assert (told["stm32f103.latency_ms"], told["latency_ms"]) == (99, 12)


def test_a_trial_whose_network_is_missing_is_refused(
    sqlite_store: Any, make_study: MakeStudy, blobs: dict[str, bytes], picked: Path
) -> None:
    study = make_study(State.COMPLETE)
    del blobs["network-0"]
    Mirror(sqlite_store.mlflow, sqlite_store.artifacts).sync(study, blobs)
    with pytest.raises(RegistryError, match=r"trial 0 .* has no model in MLflow"):
        register(sqlite_store.mlflow, study, study.trials[0], files(picked), "tiny", "missing")


@pytest.mark.parametrize("alias", ["", "a b", "stm32@168", "v1", "a.b", "latest", "ü"])
def test_unfit_aliases_are_refused(make_study: MakeStudy, picked: Path, alias: str) -> None:
    study = make_study()
    with pytest.raises(RegistryError, match="cannot be an alias"):
        register("sqlite:////nowhere", study, study.trials[0], files(picked), alias, "model")


@pytest.mark.parametrize("name", ["", "a/b", "a:b", " "])
def test_unfit_names_are_refused(make_study: MakeStudy, picked: Path, name: str) -> None:
    study = make_study()
    with pytest.raises(RegistryError, match="cannot name a model"):
        register("sqlite:////nowhere", study, study.trials[0], files(picked), "tiny", name)


def test_a_trial_without_a_run_is_refused(store: Any, study: StudyRecord, picked: Path) -> None:
    with pytest.raises(RegistryError, match=r"trial 2 .* mirror the study first"):
        register(store.mlflow, study, study.trials[2], files(picked), "tiny", study.name)


def test_an_empty_folder_is_refused(store: Any, study: StudyRecord, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(RegistryError, match="no file of a model"):
        register(store.mlflow, study, study.trials[0], files(tmp_path / "empty"), "tiny", "m")

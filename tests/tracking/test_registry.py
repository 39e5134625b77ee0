from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tracking import Mirror, RegistryError, State, StudyRecord, register
from tracking.mlflow.client import Client

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
    place = f"picked/{found.tags['paring.digest'][:16]}"
    assert found.source == f"{run.info.artifact_uri}/{place}"
    assert found.tags["flash_bytes"] == "30000"
    assert found.tags["score"] == "0.98"
    names = [file.path for file in api.list_artifacts(found.run_id, place)]
    assert names == [f"{place}/{name}" for name in sorted(
        ["README.md", "model.json", "model.safetensors"])]  # fmt: skip


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
    sources = [api.get_model_version(name, version).source for version in (first, second)]
    places = [source.rpartition("/")[2] for source in sources]
    assert len({*sources}) == 2
    run = api.get_model_version(name, first).run_id
    held = [
        {Path(file.path).name for file in api.list_artifacts(run, f"picked/{place}")}
        for place in places
    ]
    assert held[1] - held[0] == {"model.c"}


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

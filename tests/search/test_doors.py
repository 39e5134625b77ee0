"""Sweeps from Python: the same studies as those of the command line."""

import json
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import plotly.graph_objects as go
import pytest
import torch
from hydra.core.global_hydra import GlobalHydra

import pruning
import search
from search.api.compose import composed
from search.config.spec import Spec

Paring = Callable[..., tuple[int, str, str]]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("doors")


@pytest.fixture(scope="module")
def where(folder: Path) -> list[str]:
    return [f"storage.folder={folder / '.paring'}"]


@pytest.fixture(scope="module")
def study(where: list[str], tiny: list[str]) -> search.SweepStudy:
    exact = "accelerator.threads=1"
    return search.sweep("doors", [*tiny, *where, exact], workers=2, progress=False)


@pytest.mark.slow
def test_a_sweep_ends_with_a_study(study: search.SweepStudy) -> None:
    assert study.name == "doors"
    status = study.status()
    assert (status.trials["complete"], status.trials["waiting"]) == (2, 0)
    assert status.workers == []


@pytest.mark.slow
def test_the_front_is_a_frame(study: search.SweepStudy) -> None:
    front = study.front()
    assert isinstance(front, pd.DataFrame)
    assert front.index.name == "trial"
    assert {"score", "test_score", "flash_bytes", "sram_bytes", "latency_ms", "macs"} <= {*front}
    assert (front["flash_bytes"] <= front["budget_flash_bytes"]).all()
    with pytest.raises(search.StudyError, match="no trial has been measured"):
        study.front("measured")
    with pytest.raises(search.ConfigError, match="source=guessed: write one of estimated"):
        study.front("guessed")


@pytest.mark.slow
@pytest.mark.parametrize("resource", ["flash", "sram", "latency"])
def test_the_figure_is_plotly_s(study: search.SweepStudy, resource: str) -> None:
    figure = study.figure(resource)
    assert isinstance(figure, go.Figure)
    names = {trace.name for trace in figure.data}
    assert "dense network" in names or len(names) > 2
    assert json.loads(figure.to_json())["layout"]["xaxis"]["title"]
    with pytest.raises(search.ConfigError, match="resource=power: write one of flash"):
        study.figure("power")


@pytest.mark.slow
def test_the_command_line_sees_the_same_study(
    study: search.SweepStudy, where: list[str], paring: Paring
) -> None:
    code, out, _ = paring("front", "study=doors", "output=json", *where)
    assert code == 0
    front = study.front()
    assert [entry["trial"] for entry in json.loads(out)["front"]] == list(front.index)
    assert search.load_study("doors", where).front().equals(front)


@pytest.mark.slow
def test_without_overrides_a_study_goes_on(
    study: search.SweepStudy, where: list[str], tiny: list[str]
) -> None:
    assert search.sweep("doors", where, progress=False).front().equals(study.front())
    with pytest.raises(search.StudyError, match="created with other settings: seed"):
        search.sweep("doors", [*tiny, *where, "seed=7"], progress=False)


@pytest.mark.slow
def test_a_model_is_picked_as_the_command_line_picks_it(
    study: search.SweepStudy, where: list[str], paring: Paring, folder: Path, monkeypatch
) -> None:
    monkeypatch.chdir(folder)
    model = study.pick(device="stm32f103", flash="64 KiB")
    code, out, _ = paring(
        "pick", "study=doors", "device=stm32f103", "budget.flash=64KiB", "register=false", *where
    )
    assert code == 0
    assert f"trial {model.number}: " in out
    assert model.cost.flash_bytes < 65536
    assert model.score == study.front().loc[model.number, "score"]
    files = model.export(folder / "firmware", name="kws")
    assert {"kws.c", "model.json", "why.html"} <= {file.name for file in files}
    assert "price of the limit" in model.why()
    assert model.module()(torch.zeros(2, 1, 8, 8)).shape == (2, 4)
    assert int(model.register(files, alias="f103")) == 1


@pytest.mark.slow
def test_limits_that_nothing_is_within_name_the_nearest(study: search.SweepStudy) -> None:
    with pytest.raises(search.NothingFitsError, match="the nearest is trial"):
        study.pick(flash="10 B")
    with pytest.raises(search.ConfigError, match="pick: for what"):
        study.pick()
    with pytest.raises(search.StudyError, match="trial=9: this trial does not exist"):
        study.model(9)


@pytest.mark.slow
def test_a_study_can_be_paused_and_resumed(study: search.SweepStudy) -> None:
    study.pause()
    assert study.status().command == "pause"
    study.resume()
    assert study.status().command == "go"
    assert study.reconcile() is not None


@pytest.mark.slow
def test_a_rerun_finds_the_same_numbers(study: search.SweepStudy) -> None:
    again = study.rerun(0)
    assert again.compared > 10
    assert again.differences == ()


@pytest.mark.slow
def test_a_doctor_looks_at_the_workspace(study: search.SweepStudy, where: list[str]) -> None:
    findings = search.doctor(where)
    assert findings.loc["store", "good"]
    assert search.collect(where).old == []


# --- composed without a command line


def test_a_config_is_that_of_the_command_line(compose_spec: Callable[..., Spec]) -> None:
    words = ["model.filters=4", "device=rp2040", "shares=[0.5]"]
    assert Spec.from_config(composed("sweep", ["study=x", *words])) == compose_spec(*words)


def test_a_folder_of_one_s_own_has_devices(tmp_path: Path) -> None:
    (tmp_path / "device").mkdir()
    named = Path(pruning.__file__).parent / "catalogue" / "device" / "stm32f446.yaml"
    text = named.read_text().replace("name: stm32f446", "name: mine")
    (tmp_path / "device" / "mine.yaml").write_text(text)
    config = composed("sweep", ["study=x", "device=mine"], tmp_path)
    assert (config.device.name, config.device.flash) == ("mine", "512 KiB")
    assert composed("sweep", ["study=x", "device=rp2040"], tmp_path).device.name == "rp2040"


def test_hydra_of_the_caller_s_own_is_left_alone() -> None:
    GlobalHydra.instance().clear()
    composed("front", ["study=x"])
    assert not GlobalHydra.instance().is_initialized()


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["modle=resnet8"], r"'modle'; did you mean model\?"),
        (["model.filter=8"], r"'model.filter'; did you mean model.filters\?"),
        (["device=stm32f445"], "choose stm32f446, "),
        (["+lerning_rate=1"], "there is no setting 'lerning_rate'"),
        (["shares=[0.5"], "every bracket needs its other half"),
        (["trials=0"], "trials=0: write a number of at least 1"),
    ],
)
def test_a_mistake_is_told_in_the_words_of_the_command_line(
    words: list[str], message: str, tmp_path: Path
) -> None:
    with pytest.raises(search.ConfigError, match=message):
        search.sweep("x", [*words, f"storage.folder={tmp_path / '.paring'}"])
    assert list(tmp_path.iterdir()) == []

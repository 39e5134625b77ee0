"""A trial's network as MLflow's users call it: loaded, served and evaluated, with the arithmetic of
the generated C.
"""

import json
import os
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import mlflow
import numpy as np
import pandas as pd
import pytest
import torch
from torch import nn

from pruning.data import Split, assemble, synthetic
from pruning.errors import DataError
from pruning.export.interface import Interface, Meaning, Predictor
from pruning.export.stored_model import integer_network
from pruning.frontend.trace import tensors_of, trace
from pruning.tasks import Task
from pruning.training.checkpoint import StoredNetwork, unpack_network
from search.config.schema import StorageConfig
from search.results.export import finished_trial
from search.results.pyfunc import PyfuncModel
from search.results.report import run_ids, study_record
from search.storage.workspace import open_workspace
from search.study.factory import SweepFactory
from search.study.study import Study, require_study
from tests.pruning.deploy.host import answers, compiled, needs_cc
from tests.search.commands import free_port, overrides_for
from tracking.mlflow.server import serving

Paring = Callable[..., tuple[int, str, str]]
URI = "models:/net@stm32f446"


@pytest.fixture
def served(
    on_postgres: StorageConfig,
    paring: Paring,
    tiny: list[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> Iterator[Study]:
    """A study on PostgreSQL, mirrored to MLflow's server over HTTP, with a model picked as C."""
    monkeypatch.chdir(tmp_path)
    databases = open_workspace(on_postgres).databases  # their schemas are made
    with serving(databases.mlflow, tmp_path / "artifacts", port=free_port()) as (url, _):
        storage = replace(on_postgres, tracking_uri=url)
        where = [*overrides_for(storage), f"storage.tracking_uri={url}"]
        code, _, err = paring("sweep", "study=net", *tiny, "workers=1", *where)
        assert code == 0, err
        wanted = ("study=net", "device=stm32f446", "format=c", "out=picked")
        code, out, err = paring("pick", *wanted, *where)
        assert code == 0, err
        assert "version 1 as @stm32f446" in out, err
        monkeypatch.setenv("MLFLOW_TRACKING_URI", url)
        mlflow.set_tracking_uri(url)
        yield require_study(open_workspace(storage), "net")
    mlflow.set_tracking_uri(None)


def samples_of(study: Study) -> tuple[np.ndarray, np.ndarray]:
    split = SweepFactory(study.spec).data.validation
    return split.inputs.numpy(), split.targets.numpy()


def codes_of(frame: pd.DataFrame, network: Any) -> np.ndarray:
    """The int8 codes of the scores."""
    code = network.codes[network.outputs[0]]
    scores = frame.filter(regex=r"^score\.").to_numpy(dtype=np.float64)
    return np.rint(scores / code.scale).astype(int) + code.zero_point


@contextmanager
def model_server(uri: str) -> Iterator[str]:
    """`mlflow models serve` on loopback; yields its address."""
    port = free_port()
    command = [sys.executable, "-m", "mlflow", "models", "serve", "-m", uri, "-h", "127.0.0.1",
               "-p", str(port), "--env-manager", "local"]  # fmt: skip
    # MLflow starts uvicorn by its name, so it must be on the path, as in an activated environment.
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    with subprocess.Popen(
        command, env={**os.environ, "PATH": path}, start_new_session=True
    ) as process:
        try:
            yield f"http://127.0.0.1:{port}"
        finally:
            os.killpg(process.pid, 15)


def asked(address: str, body: object) -> dict[str, Any]:
    """The answer of a model server, which may still be starting."""
    request = urllib.request.Request(
        f"{address}/invocations", json.dumps(body).encode(), {"Content-Type": "application/json"}
    )
    end = time.monotonic() + 120
    while True:
        try:
            with urllib.request.urlopen(request, timeout=60) as response:
                told: dict[str, Any] = json.loads(response.read())
                return told
        except urllib.error.HTTPError as error:
            pytest.fail(error.read().decode())
        except OSError:
            assert time.monotonic() < end, "no answer"
            time.sleep(0.2)


@needs_cc
@pytest.mark.slow
def test_mlflow_loads_serves_and_evaluates_what_the_generated_c_computes(
    served: Study, tmp_path: Path
) -> None:
    samples, targets = samples_of(served)
    record = study_record(served)
    picked = json.loads((tmp_path / "picked" / "model.json").read_text())["trial"]
    stored = served.workspace.store.read(finished_trial(record, picked).files["model.safetensors"])
    network = integer_network(unpack_network(stored))
    normalised = SweepFactory(served.spec).data.normalise
    inputs = network.quantized(normalised(SweepFactory(served.spec).data.validation.inputs).numpy())
    (codes,) = answers(compiled(tmp_path / "picked"), network, inputs)

    # loaded: raw samples in, scores and classes out
    model = mlflow.pyfunc.load_model(URI)
    frame = model.predict(samples)
    assert (codes_of(frame, network) == codes[:, :, 0, 0]).all()
    assert (frame["class"].to_numpy() == codes[:, :, 0, 0].argmax(1)).all()
    classes = SweepFactory(served.spec).data.classes
    assert list(frame["label"]) == [classes[index] for index in frame["class"]]
    run = f"runs:/{run_ids(served)[picked]}/trial-{picked:03d}"  # the same model, by its run
    assert mlflow.pyfunc.load_model(run).predict(samples[:8]).equals(frame[:8])
    example = model.metadata.load_input_example(mlflow.artifacts.download_artifacts(URI))
    assert (example == samples[:1]).all()

    # served on loopback
    with model_server(URI) as address:
        told = asked(address, {"inputs": samples[:8].tolist()})
        assert (codes_of(pd.DataFrame(told["predictions"]), network) == codes[:8, :, 0, 0]).all()

    # evaluated: the score that the study tells
    flat = [sample.ravel().tolist() for sample in samples]
    result = mlflow.models.evaluate(
        URI,
        pd.DataFrame({"sample": flat, "target": targets}),
        targets="target",
        model_type="classifier",
        model_config={"answers": "class"},
        evaluator_config={"log_model_explainability": False},
    )
    assert result.metrics["accuracy_score"] == pytest.approx(finished_trial(record, picked).score)


# --- what networks of other tasks answer


@pytest.fixture(scope="module")
def network(compose_spec: Callable[..., Any], tiny: list[str]) -> StoredNetwork:
    """An untrained network as it is stored, scored in floating point."""
    factory = SweepFactory(compose_spec(*tiny))
    data = factory.data
    notes = {"classes": list(data.classes), "mean": list(data.mean), "std": list(data.std)}
    return StoredNetwork(factory.start.graph, factory.start.tensors, notes)


@pytest.fixture
def samples() -> np.ndarray:
    return synthetic(train=32).validation.inputs.numpy()


def interface(meaning: Meaning, *names: str) -> Interface:
    return Interface(shape=(1, 8, 8), dtype="float32", meaning=meaning, names=names)


@pytest.mark.slow
def test_classes_are_told_by_position_and_name(network: StoredNetwork, samples: np.ndarray) -> None:
    names = tuple("abcd")
    told = Predictor(network, interface(Meaning.CLASSES, *names)).answers(samples)
    assert list(told) == ["class", "label", *(f"score.{name}" for name in names)]
    scores = np.stack([told[f"score.{name}"] for name in names], 1)
    assert (told["class"] == scores.argmax(1)).all()
    assert list(told["label"]) == [names[index] for index in told["class"]]


def test_numbers_are_told_by_name(network: StoredNetwork, samples: np.ndarray) -> None:
    told = Predictor(network, interface(Meaning.NUMBERS, "x", "y")).answers(samples)
    assert list(told) == ["x", "y"]
    outputs = Predictor(network, interface(Meaning.NUMBERS, "x", "y")).outputs(samples)
    assert (np.stack([told["x"], told["y"]], 1) == outputs[:, :2]).all()


def test_of_an_autoencoder_the_error_is_told(samples: np.ndarray) -> None:
    module = nn.Conv2d(1, 1, 3, padding=1)
    notes = {"classes": ["n"], "mean": [2.0], "std": [3.0]}
    graph = trace(module, torch.zeros(1, 8, 8))
    stored = StoredNetwork(graph, tensors_of(module), notes)
    told = Predictor(stored, interface(Meaning.INPUTS, "n")).answers(samples)
    given = (torch.from_numpy(samples) - 2) / 3
    wanted = (module(given) - given).square().flatten(1).mean(1)
    assert list(told) == ["error"]
    assert told["error"] == pytest.approx(wanted.detach().numpy(), rel=1e-5)


def test_samples_may_be_flat_lists_or_a_frame(network: StoredNetwork, samples: np.ndarray) -> None:
    model = PyfuncModel(Predictor(network, interface(Meaning.CLASSES, *"abcd")))
    expected = model.predict(samples)
    flat = samples.reshape(len(samples), -1)
    for given in (flat, samples.tolist(), pd.DataFrame(flat), pd.DataFrame({"s": list(flat)})):
        pd.testing.assert_frame_equal(model.predict(given), expected)


def test_one_answer_can_be_chosen(network: StoredNetwork, samples: np.ndarray) -> None:
    predictor = Predictor(network, interface(Meaning.CLASSES, *"abcd"))
    whole = PyfuncModel(predictor).predict(samples)
    assert (PyfuncModel(predictor, "class").predict(samples) == whole["class"]).all()
    with pytest.raises(DataError, match=r"answers=clas: choose all, or one of class, label, "):
        PyfuncModel(predictor, "clas").predict(samples)


def test_samples_of_another_shape_are_refused(network: StoredNetwork) -> None:
    predictor = Predictor(network, interface(Meaning.CLASSES, *"abcd"))
    with pytest.raises(DataError, match=r"shaped \(3, 7\): this network reads \(N, 1, 8, 8\)"):
        predictor.answers(np.zeros((3, 7)))


def test_an_interface_tells_what_data_and_task_are() -> None:
    data = synthetic(train=32)
    told = Interface.of(data, Task())
    assert (told.shape, told.dtype, told.meaning) == ((1, 8, 8), "float32", Meaning.CLASSES)
    assert Interface.from_json(told.to_json()) == told
    assert np.array(told.example, dtype=np.float32).tolist() == data.validation.inputs[0].tolist()
    assert Interface.of(data, Task(goal="inputs")).meaning is Meaning.INPUTS
    splits = [
        Split(split.inputs, split.targets.float())
        for split in (data.train, data.validation, data.test)
    ]
    numbers = assemble("angles", *splits, ["angle"])
    assert Interface.of(numbers, Task()).meaning is Meaning.NUMBERS

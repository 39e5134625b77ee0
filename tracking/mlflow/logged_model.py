"""A finished trial as a model in MLflow: its files, and the data sets that its metrics are of.

The model is loaded by a module of the installed package, so no file holds code or a pickle.
"""

import json
import sys
from collections.abc import Container, Mapping
from importlib.metadata import version
from typing import Any, final

from tracking.errors import DamagedError
from tracking.interface import INTERFACE, Interface, interface_from
from tracking.mlflow.client import Client, DatasetVersion, Entries, Point, Run
from tracking.mlflow.desired import DesiredRun
from tracking.mlflow.metrics import model_metrics
from tracking.mlflow.model_client import Model, ModelClient
from tracking.records import State, StudyRecord, TrialRecord

LOADER = "search.results.pyfunc"  # MLflow imports it by this name when the model is loaded
NETWORK = "model.safetensors"  # names among a trial's files
MODEL_FILES = (NETWORK, INTERFACE)  # those that its model holds
DATA = "data"  # the folder that the loader gets
VALIDATION, TEST = "validation", "test"
MODEL_TAG = "paring.model"  # of a run: the id of its model, once all of it is written
_DIGITS = 36  # that MLflow takes of a data set's digest


def has_model(trial: TrialRecord) -> bool:
    """Whether a trial has a network that can be a model."""
    return trial.state is State.COMPLETE and NETWORK in trial.files


@final
class ModelWriter:
    """Writes the models of a study's finished trials into its experiment, each once.

    Args:
        client: of MLflow.
        experiment_id: of the study.
        condition: what all models of the study match, in MLflow's language.
        run_ids: of its trials.
    """

    def __init__(
        self, client: Client, experiment_id: str, condition: str, run_ids: Container[str]
    ) -> None:
        self._client, self._models = client, ModelClient(client)
        self._experiment_id = experiment_id
        # A process that was killed may not have finished one, or not noted it with the run.
        self._begun: dict[str, Model] = {}
        # All pages first: what is deleted meanwhile would shift those that follow.
        for model in list(self._models.all(experiment_id, condition)):
            other = self._begun.get(model.run_id)
            if model.run_id not in run_ids or (other is not None and not model.ready):
                self._models.delete(model)  # of a run that is gone, or a lost answer's second
                continue
            self._begun[model.run_id] = model
            if other is not None and not other.ready:
                self._models.delete(other)

    def write(
        self,
        study: StudyRecord,
        trial: TrialRecord,
        run: Run,
        desired: DesiredRun,
        blobs: Mapping[str, bytes],
    ) -> Entries:
        """Log a finished trial's model and data sets, once; return what its run has to note of
        them.

        Raises:
            ServerError: MLflow refuses.
        """
        model_id = run.tags.get(MODEL_TAG)
        new = model_id is None
        if model_id is None:
            if trial.files[NETWORK] not in blobs:
                return Entries()  # the run's artifacts tell of it
            self._write_datasets(study, trial, run, blobs)
            model_id = self._write_model(study, trial, run, desired, blobs)
        points = [
            self._point(run, desired, key, value, new)._replace(
                model=model_id, dataset=None if split is None else dataset_of(study, split)
            )
            for (key, split), value in model_metrics(trial).items()
            if new or run.metrics.get(key) != value
        ]
        return Entries(points, tags={MODEL_TAG: model_id} if new else {})

    def _point(self, run: Run, desired: DesiredRun, key: str, value: float, new: bool) -> Point:
        """A number of a model as a point of its run: that of the last epoch, or one that comes
        after it, as MLflow shows the latest.
        """
        last = desired.curves[-1] if desired.curves else None
        if last is None or key not in last.values:
            step = 0
        elif new and last.values[key] == value:
            return Point(key, value, last.step, last.at)
        else:
            step = last.step + 1  # at the last step the network scored, or cost, another value
        at = desired.finals_at or 0
        if key in run.metrics:
            latest = self._client.last_time(run, key)
            at = latest if run.metrics[key] == value else max(at, latest + 1)
        return Point(key, value, step, at)

    def _write_model(
        self,
        study: StudyRecord,
        trial: TrialRecord,
        run: Run,
        desired: DesiredRun,
        blobs: Mapping[str, bytes],
    ) -> str:
        model = self._begun.get(run.run_id) or self._models.create(
            self._experiment_id,
            f"trial-{trial.number:03d}",
            run,
            desired.identity,
            desired.params,
        )
        files = model_files(study, trial, run.run_id, model.model_id, blobs)
        self._models.finish(model, run, files)
        return model.model_id

    def _write_datasets(
        self, study: StudyRecord, trial: TrialRecord, run: Run, blobs: Mapping[str, bytes]
    ) -> None:
        splits = [dataset_of(study, split) for split in ("training", VALIDATION, TEST)]
        known = [one for one in splits if one is not None]
        if not known or run.has_datasets:
            return
        interface, schema = _interface(trial, blobs), ""
        if interface is not None:
            features = json.dumps(_signature(interface).inputs.to_dict())
            schema = json.dumps({"mlflow_tensorspec": {"features": features}})
        source = json.dumps({"uri": study.tags["data"]})
        self._models.log_datasets(run, known, source, schema)


def dataset_of(study: StudyRecord, split: str) -> DatasetVersion | None:
    """A split of the study's data; None where an earlier version did not say what they are."""
    if "data" not in study.tags or "data.digest" not in study.tags:
        return None
    name = f"{study.tags['data']} ({split})"
    return DatasetVersion(name, study.tags["data.digest"][:_DIGITS], split)


def model_files(
    study: StudyRecord, trial: TrialRecord, run_id: str, model_id: str, blobs: Mapping[str, bytes]
) -> dict[str, bytes]:
    """The files of a trial's model, by their paths: `MLmodel` and what it names.

    Args:
        study: the trial's study.
        trial: a complete trial, with a network among its files.
        run_id: the trial's run.
        model_id: as MLflow has it.
        blobs: files by digest.

    Raises:
        KeyError: the network is not among the blobs.
    """
    files = {f"{DATA}/{NETWORK}": blobs[trial.files[NETWORK]]}
    if (interface := _interface(trial, blobs)) is not None:
        files[f"{DATA}/{INTERFACE}"] = blobs[trial.files[INTERFACE]]
    if interface is not None and interface.example is not None:
        samples = [interface.example]
        files["input_example.json"] = json.dumps(samples).encode()
        files["serving_input_example.json"] = json.dumps({"inputs": samples}).encode()
    size = sum(map(len, files.values()))
    files |= _environment()
    files["MLmodel"] = _mlmodel(study, trial, run_id, model_id, interface, size).encode()
    return files


def _mlmodel(
    study: StudyRecord,
    trial: TrialRecord,
    run_id: str,
    model_id: str,
    interface: Interface | None,
    size: int,
) -> str:
    # Here and not above: importing MLflow takes seconds.
    from mlflow.models import Model

    model = Model(
        run_id=run_id,
        model_id=model_id,
        model_uuid=model_id,
        utc_time_created=None,
        model_size_bytes=size,
        signature=None if interface is None else _signature(interface),
        metadata={"study": study.name, "trial": trial.number, "precision": str(study.precision)},
    )
    if interface is not None and interface.example is not None:
        model.saved_input_example_info = {
            "artifact_path": "input_example.json",
            "serving_input_path": "serving_input_example.json",
            "type": "ndarray",
            "format": "tf-serving",
        }
    model.add_flavor(
        "python_function",
        loader_module=LOADER,
        data=DATA,
        config={"answers": "all"},  # what `model_config` may choose
        python_version=_python(),
        env={"virtualenv": "python_env.yaml"},
    )
    return str(model.to_yaml())


def _signature(interface: Interface) -> Any:
    import numpy as np
    from mlflow.models import ModelSignature
    from mlflow.types import ColSpec, Schema, TensorSpec

    answers: list[ColSpec | TensorSpec]
    samples = TensorSpec(np.dtype(interface.dtype), (-1, *interface.shape))
    match interface.meaning:
        case "classes":
            answers = [ColSpec("long", "class"), ColSpec("string", "label")]
            answers += [ColSpec("float", f"score.{name}") for name in interface.names]
        case "numbers":
            answers = [ColSpec("float", name) for name in interface.names]
        case _:
            answers = [ColSpec("float", "error")]
    return ModelSignature(inputs=Schema([samples]), outputs=Schema(answers))


def _interface(trial: TrialRecord, blobs: Mapping[str, bytes]) -> Interface | None:
    """What a trial's network reads; None where that is not stored, or, as its run says, damaged."""
    told = blobs.get(trial.files.get(INTERFACE, ""))
    try:
        return None if told is None else interface_from(told)
    except DamagedError:
        return None


def _environment() -> dict[str, bytes]:
    """What the model needs, for those who build it an environment of its own."""
    needed = f"paring=={version('paring')}"
    virtual = (
        f"python: {_python()}\nbuild_dependencies:\n- pip\ndependencies:\n- -r requirements.txt\n"
    )
    return {
        "requirements.txt": f"{needed}\n".encode(),
        "python_env.yaml": virtual.encode(),
    }


def _python() -> str:
    return ".".join(map(str, sys.version_info[:3]))

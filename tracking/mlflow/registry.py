"""Picked models in MLflow's registry: a version per model, an alias per use."""

import re
import time
from collections.abc import Sequence
from hashlib import sha256
from pathlib import Path
from typing import Any

from tracking.errors import RegistryError
from tracking.mlflow.client import Client, Entries, Point, Run, quoted
from tracking.mlflow.desired import trial_identity
from tracking.mlflow.logged_model import MODEL_TAG
from tracking.mlflow.markdown import plain
from tracking.mlflow.model_client import Model, ModelClient
from tracking.records import RESOURCES, StudyRecord, TrialRecord
from tracking.tables import amounts, bounds, score_text

_ALIAS = re.compile(r"[A-Za-z0-9_-]{1,200}")
_VERSION_LIKE = re.compile(r"[vV]\d+")
_RESERVED = ("latest",)
_LINEAGE = ("git.commit", "git.dirty", "data", "data.digest")  # of the study's tags


def register(
    tracking_uri: str,
    study: StudyRecord,
    trial: TrialRecord,
    files: Sequence[Path],
    alias: str,
    name: str,
) -> str:
    """Register a model's files as `name`, point `alias` at them, and return the version.

    A version is the trial's logged model, which `mlflow.pyfunc` loads: the study must have been
    mirrored. The files go beside it under `picked/<digest>`. What is registered already (the same
    files, model cards aside) keeps its version and its files: only the alias moves.

    Raises:
        RegistryError: the registry takes no such name or alias, or the trial has no model in
            MLflow. ServerError: MLflow refuses.
    """
    check_names(alias, name)
    digest = _digest(files)
    client = Client(tracking_uri)
    run = _run_of(client, study, trial)
    with client.answering():
        version = _version_of(client, name, digest)
    if version is None:
        models = ModelClient(client)
        model = models.get(_model_of(run, study, trial))
        picked = {f"picked/{digest[:16]}/{file.name}": file.read_bytes() for file in files}
        client.store(model.artifacts, picked)
        _log_costs(client, run, model, study, trial)
        with client.answering():
            version = _create(client, model, study, trial, name, digest)
        models.note_version(model, name, version)
    with client.answering():
        client.api.set_registered_model_alias(name, alias, version)
    return version


def check_names(alias: str, name: str) -> None:
    """Refuse names that MLflow's registry would refuse.

    Raises:
        RegistryError: it takes no such alias, or no such name of a model.
    """
    if not _ALIAS.fullmatch(alias) or _VERSION_LIKE.fullmatch(alias) or alias in _RESERVED:
        raise RegistryError(
            f"{alias!r} cannot be an alias in MLflow's registry: use 1 to 200 letters, digits, "
            "_ or -, and neither `latest` nor a version such as v1"
        )
    if not name.strip() or set(name) & set("/:"):
        raise RegistryError(
            f"{name!r} cannot name a model in MLflow's registry: give a name without / and :"
        )


def _digest(files: Sequence[Path]) -> str:
    """Return a digest of a model's files without its card, which may hold a date."""
    model_files = sorted(path for path in files if path.suffix.lower() != ".md")
    if not model_files:
        raise RegistryError("no file of a model: pick one first")
    total = sha256()
    for path in model_files:
        total.update(f"{path.name}\0{sha256(path.read_bytes()).hexdigest()}\0".encode())
    return total.hexdigest()[:32]


def _run_of(client: Client, study: StudyRecord, trial: TrialRecord) -> Run:
    condition = " and ".join(
        f"tags.`{key}` = {quoted(value)}" for key, value in trial_identity(study, trial).items()
    )
    for experiment in client.experiments(study.key):
        for run in client.runs(experiment.experiment_id, condition):
            return run
    raise RegistryError(
        f"trial {trial.number} of study {study.name!r} has no run in MLflow: mirror the study first"
    )


def _model_of(run: Run, study: StudyRecord, trial: TrialRecord) -> str:
    if (model_id := run.tags.get(MODEL_TAG)) is None:
        raise RegistryError(
            f"trial {trial.number} of study {study.name!r} has no model in MLflow: its network is "
            "not in the store; see: paring doctor"
        )
    return model_id


def _log_costs(
    client: Client, run: Run, model: Model, study: StudyRecord, trial: TrialRecord
) -> None:
    """Log what the model costs on another device than the sweep's, under that device's name."""
    if study.device is None or trial.costs is None:
        return
    costs = {name: float(getattr(trial.costs, name)) for name in RESOURCES}
    if any(run.metrics.get(name) != value for name, value in costs.items()):
        now = round(1000 * time.time())
        points = [Point(f"{study.device.name}.{name}", value, 0, now, model.model_id)
                  for name, value in costs.items()]  # fmt: skip
        client.log(run, Entries(points))


def _version_of(client: Client, name: str, digest: str) -> str | None:
    """Return the version with these files, if there is one."""
    condition = f"name = {quoted(name)}"
    token: str | None = None
    while True:
        page = client.api.search_model_versions(condition, page_token=token)
        for version in page:
            if version.tags.get("paring.digest") == digest:
                return str(version.version)
        if not (token := page.token):
            return None


def _create(
    client: Client,
    model: Model,
    study: StudyRecord,
    trial: TrialRecord,
    name: str,
    digest: str,
) -> str:
    if not client.api.search_registered_models(f"name = {quoted(name)}"):
        client.api.create_registered_model(
            name, description=f"Networks pruned by study {plain(study.name)}."
        )
    version: Any = client.api.create_model_version(
        name,
        # Not models:/ID, nor without the run: MLflow would look the model up in the tracking
        # server that is set for the process, which may be another.
        source=model.artifacts,
        run_id=model.run_id,
        model_id=model.model_id,
        tags=_tags(study, trial, digest),
        description=_description(study, trial),
    )
    return str(version.version)


def _tags(study: StudyRecord, trial: TrialRecord, digest: str) -> dict[str, str]:
    tags = {"paring.digest": digest, **trial_identity(study, trial)}
    tags |= {key: study.tags[key] for key in _LINEAGE if key in study.tags}
    config = sha256(study.config.encode()).hexdigest()[:32]
    tags |= {"study": study.name, "metric": study.metric, "precision": study.precision}
    if study.device is not None:
        tags["device"] = study.device.name  # that the costs are for
    return tags | {"config.digest": config}


def _description(study: StudyRecord, trial: TrialRecord) -> str:
    where = f" on {plain(study.device.name)}" if study.device else ""
    costs = f" Costs{where}: {amounts(trial.costs)} (estimated)." if trial.costs else ""
    return (
        f"Trial {trial.number} of study {plain(study.name)}, {plain(study.metric)} "
        f"{score_text(trial.score)} ({plain(study.precision)}).{costs} "
        f"The sweep's budget: {bounds(trial.budget)}."
    )

"""Logged models and data sets in MLflow, through its client."""

import json
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, NamedTuple, final

from tracking.mlflow.client import Client, DatasetVersion, Run, shortened

_VERSIONS = "mlflow.modelVersions"  # a tag in which MLflow notes a model's versions


class Model(NamedTuple):
    """A logged model as MLflow holds it. `ready`: all its files are there."""

    model_id: str
    artifacts: str  # where they are
    run_id: str
    ready: bool
    tags: Mapping[str, str]


@final
class ModelClient:
    """The logged models of one MLflow. Every method raises ServerError where MLflow refuses."""

    def __init__(self, client: Client) -> None:
        # Here and not above: importing MLflow takes 2 s.
        from mlflow import entities

        self._client, self._entities = client, entities

    def all(self, experiment_id: str, condition: str) -> Iterator[Model]:
        """Yield all logged models that match a condition in MLflow's language, oldest first."""
        token: str | None = None
        while True:
            with self._client.answering():
                page = self._client.api.search_logged_models(
                    [experiment_id], condition, page_token=token,
                    order_by=[{"field_name": "creation_time", "ascending": True}],
                )  # fmt: skip
            yield from map(_model, page)
            if not (token := page.token):
                return

    def create(
        self,
        experiment_id: str,
        name: str,
        run: Run,
        tags: Mapping[str, str],
        params: Mapping[str, str],
    ) -> Model:
        """Create a model that is not ready."""
        with self._client.answering():
            entity = self._client.api.create_logged_model(
                experiment_id, name, run.run_id, shortened(tags), shortened(params), "pruned"
            )
        return _model(entity)

    def finish(self, model: Model, run: Run, contents: Mapping[str, bytes]) -> None:
        """Store a model's files, by their paths, and tell that it is the run's."""
        self._client.store(model.artifacts, contents)
        output = self._entities.LoggedModelOutput(model.model_id, step=0)
        with self._client.answering():
            self._client.api.finalize_logged_model(model.model_id, "READY")
            if model.model_id not in run.models:  # MLflow would refuse to be told so again
                self._client.api.log_outputs(run.run_id, [output])
        run.models = (*run.models, model.model_id)

    def get(self, model_id: str) -> Model:
        """Return a model by its id."""
        with self._client.answering():
            return _model(self._client.api.get_logged_model(model_id))

    def note_version(self, model: Model, name: str, version: str) -> None:
        """Note with a model that it is a version in the registry, as MLflow does."""
        versions = json.loads(model.tags.get(_VERSIONS, "[]"))
        noted = json.dumps([*versions, {"name": name, "version": version}])
        with self._client.answering():
            self._client.api.set_logged_model_tags(model.model_id, {_VERSIONS: noted})

    def delete(self, model: Model) -> None:
        """Delete a model."""
        with self._client.answering():
            self._client.api.delete_logged_model(model.model_id)

    def log_datasets(
        self, run: Run, datasets: Iterable[DatasetVersion], source: str, schema: str
    ) -> None:
        """Tell of which data a run is. `source` and `schema` are JSON texts."""
        inputs = [
            self._entities.DatasetInput(
                self._entities.Dataset(one.name, one.digest, "code", source, schema),
                [self._entities.InputTag("mlflow.data.context", one.split)],
            )
            for one in datasets
        ]
        with self._client.answering():
            self._client.api.log_inputs(run.run_id, inputs)
        run.has_datasets = True


def _model(entity: Any) -> Model:
    place, ready = str(entity.artifact_location), str(entity.status) == "READY"
    run_id, tags = str(entity.source_run_id), dict(entity.tags)
    return Model(str(entity.model_id), place, run_id, ready, tags)

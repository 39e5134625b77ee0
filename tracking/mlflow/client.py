"""MLflow's client, with its errors turned into ours, within its limits and without its messages."""

import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import zip_longest
from pathlib import Path
from typing import Any, NamedTuple, TypeVar, final

from sqlalchemy.exc import SQLAlchemyError

from tracking.databases.urls import mask
from tracking.errors import GoneError, ServerError
from tracking.mlflow.artifact_store import ArtifactStore
from tracking.mlflow.schema_init import ensure_tables

# Set before MLflow is imported, unless the person chose otherwise. With MLflow's own defaults a
# call blocks for 247 s when the server is down, and every start reports home.
ENVIRONMENT = {
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "3",
    "MLFLOW_HTTP_REQUEST_BACKOFF_FACTOR": "1",
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "30",
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
    "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
    "MLFLOW_LOGGING_LEVEL": "WARNING",
}

_RUNS_A_CALL = 500
_METRICS_A_CALL = 850  # MLflow takes 1,000 entries of all kinds in one call of 1 MB
_PARAMS_A_CALL = 50  # and as many tags
_TEXT_LIMIT = 5000
OVER = frozenset({"FINISHED", "FAILED", "KILLED"})
_GONE = ("RESOURCE_DOES_NOT_EXIST", "'active' state", "'active' lifecycle_stage")

_T = TypeVar("_T")


class DatasetVersion(NamedTuple):
    """A split of a data set as MLflow knows it."""

    name: str
    digest: str
    split: str


class Point(NamedTuple):
    """One value of one metric. `at` is in milliseconds since the epoch; `model` and `dataset` are
    those that a metric is of.
    """

    key: str
    value: float
    step: int
    at: int
    model: str | None = None
    dataset: DatasetVersion | None = None


@dataclass(slots=True)
class Run:
    """What MLflow is known to hold of one run, kept current while we write to it."""

    run_id: str
    artifacts: str  # where they are
    status: str
    ended: int | None
    tags: dict[str, str]
    params: dict[str, str]
    metrics: dict[str, float]
    times: dict[str, int] = field(default_factory=dict)  # of the latest points, by metric
    has_datasets: bool = False
    models: tuple[str, ...] = ()  # ids of those that are its outputs
    curves_checked: bool = False  # whether they were compared with those that it should have


@dataclass(frozen=True, slots=True)
class Entries:
    """What is to be written to a run in one call."""

    points: Sequence[Point] = ()
    params: Mapping[str, str] = field(default_factory=dict)
    tags: Mapping[str, str] = field(default_factory=dict)

    def __or__(self, other: "Entries") -> "Entries":
        """Return both. Of points that MLflow takes for one, the other's stays."""
        points = {(point.key, point.step, point.at, point.value): point
                  for point in (*self.points, *other.points)}  # fmt: skip
        params, tags = {**self.params, **other.params}, {**self.tags, **other.tags}
        return Entries(tuple(points.values()), params, tags)


class Experiment(NamedTuple):
    """An experiment as MLflow holds it."""

    experiment_id: str
    name: str
    active: bool
    tags: Mapping[str, str]


@final
class Client:
    """MLflow at one tracking URI: a database (made if it is empty) or an HTTP server.

    Constructing it raises DatabaseError for a database that cannot be used. Every method raises
    ServerError, or GoneError for a run or an experiment that does not exist.
    `api` is MLflow's own client, for use inside `answering()`. `folder` is where a server may
    keep its artifacts.
    """

    def __init__(self, tracking_uri: str, folder: Path | None = None) -> None:
        for name, value in ENVIRONMENT.items():
            os.environ.setdefault(name, value)
        # Here and not above: importing MLflow takes 2 s, which `paring --help` need not wait
        # for, and it reads its environment while it is imported.
        import mlflow

        self.uri = tracking_uri
        self.created: set[str] = set()  # ids of runs, since this client was made
        self.changed: set[str] = set()
        self.deleted: set[str] = set()
        self._mlflow: Any = mlflow
        self._artifacts = ArtifactStore(tracking_uri, folder)
        with self.answering():
            if not tracking_uri.startswith("http"):
                ensure_tables(tracking_uri)  # MLflow would try an unreachable one for minutes
            self.api: Any = mlflow.MlflowClient(tracking_uri, registry_uri=tracking_uri)

    @contextmanager
    def answering(self) -> Iterator[None]:
        """Turn MLflow's errors inside the block into ours."""
        try:
            yield
        except (self._mlflow.exceptions.MlflowException, SQLAlchemyError) as error:
            raise self._translated(error) from error

    def experiments(self, key: str) -> list[Experiment]:
        """Return the experiments that mirror the study `key`, deleted ones too."""
        with self.answering():
            experiments = self.api.search_experiments(
                view_type=self._mlflow.entities.ViewType.ALL,
                filter_string=f"tags.`paring.key` = {quoted(key)}",
                order_by=["experiment_id ASC"],
            )
        return [_experiment(entity) for entity in experiments]

    def is_taken(self, name: str) -> bool:
        """Tell whether an experiment has this name, deleted ones included."""
        with self.answering():
            return self.api.get_experiment_by_name(name) is not None

    def create_experiment(self, name: str, root: str | None, tags: Mapping[str, str]) -> str:
        """Create an experiment; return its id."""
        with self.answering():
            return str(self.api.create_experiment(name, root, dict(tags)))

    def runs(self, experiment_id: str, condition: str) -> Iterator[Run]:
        """Yield all active runs that match a condition in MLflow's language, oldest first."""
        token: str | None = ""
        while token is not None:
            with self.answering():
                page = self.api.search_runs(
                    [experiment_id], condition, max_results=_RUNS_A_CALL, page_token=token or None,
                    order_by=["attributes.start_time ASC", "attributes.run_id ASC"],
                )  # fmt: skip
            yield from map(_run, page)
            token = page.token or None

    def create_run(
        self, experiment_id: str, name: str, started: int | None, tags: Mapping[str, str]
    ) -> Run:
        """Create a run with its tags in one step, so that it can always be found again."""
        with self.answering():
            run = _run(self.api.create_run(experiment_id, started, shortened(tags), name))
        self.created.add(run.run_id)
        return run

    def log(self, run: Run, entries: Entries) -> None:
        """Write points, params and tags in as few calls as MLflow's limits allow, none for none."""
        kind = self._mlflow.entities
        params, tags = shortened(entries.params), shortened(entries.tags)
        parts = list(zip_longest(
            _chunks([self._metric(run, point) for point in entries.points], _METRICS_A_CALL),
            _chunks([kind.Param(*pair) for pair in params.items()], _PARAMS_A_CALL),
            _chunks([kind.RunTag(*pair) for pair in tags.items()], _PARAMS_A_CALL),
            fillvalue=(),
        ))  # fmt: skip
        with self.answering():
            for metrics, some_params, some_tags in parts:
                self.api.log_batch(run.run_id, metrics, some_params, some_tags)
                run.metrics.update((metric.key, metric.value) for metric in metrics)
                run.times.update((metric.key, metric.timestamp) for metric in metrics)
        run.params.update(params)
        run.tags.update(tags)
        if parts:
            self.changed.add(run.run_id)

    def _metric(self, run: Run, point: Point) -> Any:
        key, value, step, at, model, dataset = point
        name, digest = (dataset.name, dataset.digest) if dataset else (None, None)
        return self._mlflow.entities.Metric(key, value, at, step, model, name, digest, run.run_id)

    def last_time(self, run: Run, key: str) -> int:
        """Return the time of the latest point of a metric that is there."""
        if key not in run.times:
            with self.answering():
                history = self.api.get_metric_history(run.run_id, key)
            run.times[key] = max((point.timestamp for point in history), default=0)
        return run.times[key]

    def set_status(self, run: Run, status: str, ended: int | None) -> None:
        """Set a run's status, and when it ended if the status says that it did."""
        with self.answering():
            if status in OVER:
                self.api.set_terminated(run.run_id, status, ended)
                run.ended = ended or run.ended
            else:
                self.api.update_run(run.run_id, status)
        run.status = status
        self.changed.add(run.run_id)

    def store(self, place: str, contents: Mapping[str, bytes]) -> None:
        """Store files at a place as MLflow names it: contents by their paths there."""
        with self.answering():
            self._artifacts.write(place, contents)

    def delete_run(self, run: Run) -> None:
        """Delete a run, which MLflow can restore."""
        with self.answering():
            self.api.delete_run(run.run_id)
        self.deleted.add(run.run_id)

    def _translated(self, error: Exception) -> ServerError:
        cause = mask(" ".join(str(error).split()))[:600]
        code = str(getattr(error, "error_code", ""))
        where = mask(self.uri)
        if any(sign in code or sign in cause for sign in _GONE):
            return GoneError(
                f"MLflow at {where} no longer has it ({cause}): mirror the study again"
            )
        cure = (
            "start it with `paring serve`, or correct the address"
            if where.startswith("http")
            else "its database must be reachable and writable"
        )
        return ServerError(f"MLflow at {where} refused or did not answer ({cause}): {cure}")


def quoted(value: str) -> str:
    """Return a value as MLflow's filter language writes it."""
    if "'" in value and '"' in value:
        raise ServerError(f"{value} has both kinds of quotes, which MLflow cannot search for")
    return f'"{value}"' if "'" in value else f"'{value}'"


def shortened(texts: Mapping[str, str]) -> dict[str, str]:
    """Return the texts, cut where MLflow would refuse them."""
    return {key: cut(value) for key, value in texts.items()}


def cut(text: str) -> str:
    """Return as much of a text as MLflow takes."""
    return text[:_TEXT_LIMIT]


def _chunks(items: list[_T], size: int) -> Iterator[list[_T]]:
    for start in range(0, len(items), size):
        yield items[start : start + size]


def _experiment(entity: Any) -> Experiment:
    active = entity.lifecycle_stage == "active"
    return Experiment(str(entity.experiment_id), str(entity.name), active, dict(entity.tags))


def _run(entity: Any) -> Run:
    info, data = entity.info, entity.data
    return Run(
        run_id=str(info.run_id),
        artifacts=str(info.artifact_uri),
        status=str(info.status),
        ended=info.end_time,
        tags=dict(data.tags),
        params=dict(data.params),
        metrics=dict(data.metrics),
        has_datasets=bool(entity.inputs and entity.inputs.dataset_inputs),
        models=tuple(one.model_id for one in entity.outputs.model_outputs)
        if entity.outputs
        else (),
    )

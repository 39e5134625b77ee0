"""A home of each kind, tiny studies in it, and the command line in this process."""

import os
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from hydra import compose, initialize_config_module
from hydra.core.global_hydra import GlobalHydra
from sqlalchemy import make_url, text
from sqlalchemy.schema import DropSchema

from search.api.running import spec_of
from search.config.schema import StorageConfig
from search.config.spec import Spec
from search.storage.workspace import Workspace, open_workspace
from search.study.study import Study
from tests.search.s3_server import S3Server, s3_credentials
from tracking import TrackingError, locate
from tracking.databases.database import connected

POSTGRES = "postgresql://127.0.0.1:5432/test"
FEW_DATA = [
    "data._target_=pruning.data.synthetic",
    "~data.validation_share",
    "~data.test_share",
    "+data.train=64",
]
TINY = [
    *FEW_DATA,
    "model.filters=4",
    "task.batch_size=16",
    "shares=[0.5,0.25]",
    "method.phases.dense_epochs=2",
    "method.phases.prune_epochs=1",
    "method.phases.finetune_epochs=1",
]


@pytest.fixture(scope="session")
def postgres_url() -> str:
    """The URL of a PostgreSQL server; a skip where there is none."""
    url = os.environ.get("PARING_TEST_POSTGRES", POSTGRES)
    try:
        with connected(locate(url).optuna):
            return url
    except TrackingError as error:
        pytest.skip(f"PARING_TEST_POSTGRES or {POSTGRES} cannot be reached: {error}")


@pytest.fixture
def on_postgres(postgres_url: str, tmp_path: Path) -> Iterator[StorageConfig]:
    """Storage in schemas of its own, dropped afterwards."""
    schema = f"paring_s{uuid4().hex[:12]}"
    url = make_url(postgres_url).update_query_dict({"application_name": schema})
    text_url = url.render_as_string(hide_password=False)
    yield StorageConfig(folder=str(tmp_path / ".paring"), url=text_url, schema=schema)
    with connected(locate(postgres_url, schema).optuna, autocommit=True) as connection:
        # Pools of this process keep their sessions, of which a server has a hundred.
        ours = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = :s"
        connection.execute(text(ours), {"s": schema})
        connection.execute(text("SET lock_timeout = '10s'"))
        for kind in ("optuna", "mlflow", "users"):
            connection.execute(DropSchema(f"{schema}_{kind}", cascade=True, if_exists=True))


@pytest.fixture(scope="session")
def s3_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[S3Server]:
    """An S3 server in a process of its own."""
    with S3Server(tmp_path_factory.mktemp("s3") / "log") as server:
        yield server


@pytest.fixture
def s3_address(s3_server: S3Server, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """A place in a bucket of its own; this process and its children find the credentials."""
    with s3_credentials(s3_server.url, monkeypatch):
        yield f"s3://{s3_server.new_bucket()}/team/paring"


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=pytest.mark.slow)])
def storage(request: pytest.FixtureRequest, tmp_path: Path) -> StorageConfig:
    """Where studies live: each kind of database in turn."""
    if request.param == "sqlite":
        return StorageConfig(folder=str(tmp_path / ".paring"))
    found: StorageConfig = request.getfixturevalue("on_postgres")
    return found


@pytest.fixture
def workspace(storage: StorageConfig) -> Workspace:
    return open_workspace(replace(storage, heartbeat_s=1, lease_s=600))


@pytest.fixture(scope="session")
def compose_spec() -> Callable[..., Spec]:
    """The spec that `paring sweep` makes of overrides."""

    def composed(*overrides: str) -> Spec:
        GlobalHydra.instance().clear()
        with initialize_config_module(version_base="1.3", config_module="search.conf"):
            return spec_of(compose("sweep", ["study=x", *overrides]), overrides)

    return composed


@pytest.fixture(scope="session")
def tiny() -> list[str]:
    """Overrides for a sweep whose trials take a moment."""
    return list(TINY)


@pytest.fixture(scope="session")
def tiny_spec(compose_spec: Callable[..., Spec]) -> Spec:
    """A spec whose trials take a moment."""
    return compose_spec(*TINY)


@pytest.fixture
def runs_of() -> Callable[[Study], list[Any]]:
    """All of a study's runs, as MLflow itself tells them."""
    from mlflow import MlflowClient

    def runs(study: Study) -> list[Any]:
        client = MlflowClient(study.workspace.tracking_uri)
        experiments = [each.experiment_id for each in client.search_experiments()]
        found = client.search_runs(experiments, max_results=1000)
        return [run for run in found if run.data.tags.get("paring.study") == study.key]

    return runs

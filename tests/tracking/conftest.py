"""Real stores for the tests of tracking, and a study to put in them."""

import json
import os
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from uuid import uuid4

import pytest
from sqlalchemy import text
from sqlalchemy.schema import DropSchema

from tracking import (
    RESOURCES,
    Costs,
    Databases,
    DenseRecord,
    DeviceRecord,
    EpochRow,
    Limits,
    State,
    StudyRecord,
    TrackingError,
    TrialRecord,
    locate,
    prepare,
)
from tracking.databases.database import connected
from tracking.mlflow.client import Client

_POSTGRES = "postgresql+psycopg://127.0.0.1:5432/test"


@dataclass(frozen=True)
class Store:
    """The databases of a test, MLflow's tables made, and a folder for artifacts."""

    databases: Databases
    artifacts: Path

    @property
    def mlflow(self) -> str:
        return self.databases.mlflow


def drop(databases: Databases) -> None:
    with connected(databases.optuna, autocommit=True) as connection:
        connection.execute(text("SET lock_timeout = '10s'"))
        for kind in ("optuna", "mlflow", "users"):
            name = f"{databases.schema}_{kind}"
            connection.execute(DropSchema(name, cascade=True, if_exists=True))


@pytest.fixture(scope="session")
def postgres_location() -> str:
    """Return the URL of a PostgreSQL server; skip where there is none."""
    location = os.environ.get("PARING_TEST_POSTGRES", _POSTGRES)
    try:
        with connected(locate(location).optuna):
            return location
    except TrackingError as error:
        pytest.skip(f"PARING_TEST_POSTGRES or the default server is not reachable: {error}")


@pytest.fixture
def bare_postgres(postgres_location: str) -> Iterator[Databases]:
    """Return databases on PostgreSQL whose schemas do not exist yet."""
    databases = locate(postgres_location, schema=f"paring_t{uuid4().hex[:12]}")
    yield databases
    drop(databases)


@pytest.fixture(params=["sqlite", "postgresql"])
def bare(request: pytest.FixtureRequest, tmp_path: Path) -> Databases:
    """Return databases of each kind of which nothing exists yet."""
    if request.param == "sqlite":
        return locate(tmp_path / "paring")
    databases: Databases = request.getfixturevalue("bare_postgres")
    return databases


@pytest.fixture(scope="session")
def postgres_store(
    postgres_location: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Store]:
    databases = locate(postgres_location, schema=f"paring_t{uuid4().hex[:12]}")
    prepare(databases)
    Client(databases.mlflow).is_taken("nothing")
    yield Store(databases, tmp_path_factory.mktemp("artifacts"))
    drop(databases)


@pytest.fixture(scope="session")
def sqlite_store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    """Return SQLite databases that the tests share, as they share PostgreSQL's."""
    databases = locate(tmp_path_factory.mktemp("paring"))
    prepare(databases)
    Client(databases.mlflow).is_taken("nothing")  # takes seconds: MLflow migrates step by step
    return Store(databases, tmp_path_factory.mktemp("artifacts"))


@pytest.fixture
def own_store(sqlite_store: Store, tmp_path: Path) -> Store:
    """Return a copy of the SQLite databases for one test alone."""
    assert sqlite_store.databases.folder is not None
    folder = shutil.copytree(sqlite_store.databases.folder, tmp_path / "paring")
    return Store(locate(folder), tmp_path / "artifacts")


@pytest.fixture(params=["sqlite", "postgresql"])
def store(request: pytest.FixtureRequest) -> Store:
    """Return each kind of store in turn; tests share it, each with keys of its own."""
    kind = "sqlite_store" if request.param == "sqlite" else "postgres_store"
    found: Store = request.getfixturevalue(kind)
    return found


def _epoch(number: int, costs: Costs) -> EpochRow:
    return EpochRow(
        epoch=number,
        phase="prune" if number < 3 else "finetune",
        loss=1 / number,
        score=0.9 + 0.01 * number,
        costs=costs,
        bottleneck=f"conv{number}",
        seconds=2.0,
    )


def trial_record(number: int, state: State = State.COMPLETE, epochs: int = 3) -> TrialRecord:
    """Return a trial that is as far as its state says."""
    begun = state is not State.WAITING
    costs = Costs(
        flash_bytes=30000 // (number + 1), sram_bytes=9000 // (number + 1),
        latency_ms=12.0 / (number + 1), macs=500_000 // (number + 1),
    )  # fmt: skip
    trial = TrialRecord(
        number=number,
        state=state,
        attempt=1 if begun else 0,
        budget=Limits(flash_bytes=32768 // (number + 1), latency_ms=15.0 / (number + 1)),
        seed=40 + number,
        params={"lr": 0.01, "nesterov": True},
        epochs=tuple(_epoch(i + 1, costs) for i in range(epochs)) if begun else (),
        started=1_700_000_000.0 + 100 * number if begun else None,
    )
    if not state.over:
        return trial
    trial = replace(trial, finished=1_700_000_050.0 + 100 * number, costs=costs)
    if state is not State.COMPLETE:
        return replace(trial, reason=f"{state.value} for a reason")
    return replace(
        trial,
        score=0.98 - 0.02 * number,
        widths={"stem": 8, "stage1.conv": 4},
        planes=("overall", *RESOURCES),
        files={
            "model/model.json": f"digest-{number}",
            "model.safetensors": f"network-{number}",
            "interface.json": "interface",
        },
    )


def _study(*states: State, epochs: int = 3, **changes: object) -> StudyRecord:
    trials = tuple(
        trial_record(number, state, epochs)
        for number, state in enumerate(states or (State.COMPLETE, State.RUNNING, State.WAITING))
    )
    done = sum(trial.state is State.COMPLETE for trial in trials)
    study = StudyRecord(
        name=f"study-{uuid4().hex[:8]}",
        key=uuid4().hex,
        metric="accuracy",
        scores_rise=True,
        precision="int8-simulated",
        config="model: resnet8\n",
        tags={"git.commit": "0123abc", "data": "digits", "data.digest": "feed"},
        trials=trials,
        dense=(
            DenseRecord(
                score=0.985,
                costs=Costs(flash_bytes=98304, sram_bytes=20480, latency_ms=40.0, macs=1_000_000),
                train_seconds=90.0,
            ),
        ),
        device=DeviceRecord(name="stm32f446", limits=Limits(flash_bytes=458752, sram_bytes=12288)),
        hypervolumes=tuple(0.5 + 0.1 * i for i in range(done)),
    )
    return replace(study, **changes)  # type: ignore[arg-type]


@pytest.fixture
def make_study() -> Callable[..., StudyRecord]:
    """Return a maker of studies: a state for each trial, and changed fields."""
    return _study


@pytest.fixture
def blobs() -> dict[str, bytes]:
    """Return the files of finished trials."""
    models = {f"digest-{number}": f"model {number}".encode() for number in range(20)}
    networks = {f"network-{number}": f"network {number}".encode() for number in range(20)}
    interface = {"shape": [1, 2, 2], "dtype": "uint8", "meaning": "classes",
                 "names": ["no", "yes"], "example": [[[0, 1], [2, 3]]]}  # fmt: skip
    return models | networks | {"interface": json.dumps(interface).encode()}

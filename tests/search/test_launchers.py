"""Hydra's launchers start workers that share a study on PostgreSQL."""

from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

from search.config.schema import StorageConfig
from search.config.spec import Spec
from search.storage.workspace import open_workspace
from search.study import create
from search.study.study import Study
from tests.search.commands import PATIENCE_S, Commands, complete

pytestmark = [pytest.mark.slow, pytest.mark.timeout(570)]


RAY = pytest.mark.skipif(
    find_spec("ray") is None,
    reason="Ray is not installed: the extra [ray] needs an environment of its own (docs)",
)


@pytest.mark.parametrize("launcher", ["joblib", "submitit_local", pytest.param("ray", marks=RAY)])
def test_a_launcher_starts_workers(
    launcher: str,
    on_postgres: StorageConfig,
    tmp_path: Path,
    tiny_spec: Spec,
    runs_of: Callable[[Study], list[Any]],
) -> None:
    commands = Commands(on_postgres, tmp_path)
    study = create.prepare(open_workspace(on_postgres), "s", tiny_spec, 4)
    launch = ["-m", f"hydra/launcher={launcher}", "worker.index=range(0,2)", "threads=1"]
    try:
        workers = commands.start("worker", *launch)
        assert workers.wait(2 * PATIENCE_S) == 0, commands.said()
    finally:
        commands.stop()
    assert complete(study) == 4
    runs = runs_of(study)
    assert sorted(run.data.tags.get("paring.slot", "-") for run in runs) == [*"-0123"]
    assert {run.info.status for run in runs} == {"FINISHED"}

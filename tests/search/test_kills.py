"""Whatever is killed, the same command ends the sweep with exactly the asked trials."""

import hashlib
import os
import signal
from collections import deque
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from optuna.trial import FrozenTrial, TrialState

from pruning.export.stored_model import packed
from pruning.training.checkpoint import unpack_network
from pruning.training.state import TrainState
from pruning.training.train import train
from search.config.schema import StorageConfig
from search.results.report import counts
from search.storage.workspace import open_workspace
from search.study.factory import SweepFactory
from search.study.study import Study, find_study
from search.study.trials import trial_budget
from tests.search.commands import (
    PATIENCE_S,
    Commands,
    complete,
    family,
    running,
    until,
    until_gone,
)

pytestmark = [pytest.mark.slow, pytest.mark.timeout(570)]
TOTAL = 8


@pytest.fixture
def commands(storage: StorageConfig, tmp_path: Path) -> Iterator[Commands]:
    made = Commands(storage, tmp_path)
    yield made
    made.stop()


def test_a_sweep_survives_every_kill(
    commands: Commands, tiny: list[str], runs_of: Callable[[Study], list[Any]]
) -> None:
    again = [*tiny, "method.phases.finetune_epochs=12", f"trials={TOTAL}", "workers=2"]
    workspace = open_workspace(commands.storage)

    # one worker is killed: another takes its place
    first = commands.start("sweep", *again)
    study = until("the study", first, lambda: find_study(workspace, "s"))
    until("a complete trial", first, lambda: complete(study) >= 1)
    victim = until("a running trial", first, lambda: running(study))
    os.kill(victim.user_attrs["owner"]["pid"], signal.SIGKILL)
    until("a second attempt", first, lambda: _attempts(study)[victim.number] >= 2)

    # so is the server that forks them: they end, too, and others take their places
    until("two complete trials", first, lambda: complete(study) >= 2 and running(study))
    server = next(one for one in family(first) if "forkserver" in " ".join(one.cmdline()))
    forked = server.children()
    assert len(forked) >= 3
    server.kill()
    until_gone(forked)
    before = {one.pid for one in forked}
    until("a new worker's trial", first, lambda: _owners(study) - before)

    # the parent alone is killed: its workers and the mirror end by themselves
    until("three complete trials", first, lambda: complete(study) >= 3 and running(study))
    children = family(first)
    assert len(children) >= 4
    first.kill()
    first.wait()
    until_gone(children)
    assert not study.over()
    left = complete(study)

    # everything is killed at once
    second = commands.start("sweep", *again)
    until("progress", second, lambda: complete(study) > left and running(study))
    os.killpg(second.pid, signal.SIGKILL)
    second.wait()
    assert not study.over()
    _check_numbers(study)

    # a worker is asked to stop: it hands its trial back and is content
    worker = commands.start("worker", "threads=1")  # as many as the sweep gives each
    mine = until("its trial", worker, lambda: running(study, worker.pid))
    worker.terminate()
    assert worker.wait(PATIENCE_S) == 0, commands.said()
    trial = study.trials()[mine.number]
    assert trial.state in (TrialState.WAITING, TrialState.COMPLETE)
    assert running(study, worker.pid) is None

    # and the same command ends it
    last = commands.start("sweep", *again)
    assert last.wait(PATIENCE_S) == 0, commands.said()
    _check_numbers(study)
    assert counts(study.trials())["complete"] == TOTAL, commands.said()
    _check_results(study)
    runs = runs_of(study)
    assert {run.info.status for run in runs} == {"FINISHED"}
    assert sorted(int(run.data.tags.get("paring.slot", -1)) for run in runs) == [
        -1,
        *range(TOTAL),
    ]


def _owners(study: Study) -> set[int]:
    """The processes that train."""
    trials = (trial for trial in study.trials() if trial.state is TrialState.RUNNING)
    return {trial.user_attrs["owner"]["pid"] for trial in trials}


def _attempts(study: Study) -> list[int]:
    return [trial.user_attrs.get("attempt", 0) for trial in study.trials()]


def _check_numbers(study: Study) -> None:
    """No trial is lost or doubled, and each has the budget it was created with."""
    trials = study.trials()
    assert [trial.number for trial in trials] == list(range(TOTAL))
    budgets = study.facts.budgets
    for trial in trials:
        assert trial.user_attrs["slot"]["number"] == trial.number
        assert trial_budget(trial) == budgets[trial.number % len(budgets)]


def _check_results(study: Study) -> None:
    """Every trial keeps its budget, and an interrupted one equals an uninterrupted run."""
    assert max(_attempts(study)) >= 2
    factory = SweepFactory(study.spec)
    for trial in study.trials():
        result = trial.user_attrs["result"]
        digest = result["files"]["model.safetensors"]
        cost = factory.cost_model(unpack_network(study.workspace.store[digest]).graph).dense
        assert trial_budget(trial).holds(cost)
        assert result["cost"]["flash_bytes"] == cost.flash_bytes
        if trial.user_attrs["attempt"] > 1:
            assert digest == _uninterrupted(study, factory, trial)


def _uninterrupted(study: Study, factory: SweepFactory, trial: FrozenTrial) -> str:
    """The digest of the model that a trial gives when nobody disturbs it."""
    (note,) = study.notes().dense.values()
    dense = unpack_network(study.workspace.store[note.digest])
    seed = trial.user_attrs["slot"]["seed"]
    job = factory.trial_job(trial.params, trial_budget(trial), seed)
    state = TrainState.begin(dense.graph, dense.tensors, job)
    deque(train(state, job), maxlen=0)
    return hashlib.sha256(packed(state, job)).hexdigest()

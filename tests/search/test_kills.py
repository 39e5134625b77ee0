"""Whatever is killed, the same command ends the sweep with exactly the asked slots."""

import hashlib
import os
import signal
from collections import deque
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from optuna.trial import FrozenTrial, TrialState

from pruning.training.checkpoint import unpack_network
from pruning.training.state import TrainState
from pruning.training.train import train
from search.config.schema import StorageConfig
from search.results.report import counts
from search.storage.workspace import open_home
from search.study.factory import Blueprint
from search.study.stored_model import packed
from search.study.study import Study, find_study, slot_budget
from tests.search.commands import (
    PATIENCE_S,
    Commands,
    complete,
    family,
    running,
    until,
    until_gone,
)

pytestmark = [pytest.mark.slow, pytest.mark.timeout(280)]
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
    home = open_home(commands.storage)

    # one worker is killed: another takes its place
    first = commands.start("sweep", *again)
    study = until("the study", first, lambda: find_study(home, "s"))
    until("a complete slot", first, lambda: complete(study) >= 1)
    victim = until("a running slot", first, lambda: running(study))
    os.kill(victim.user_attrs["owner"]["pid"], signal.SIGKILL)
    until("a second attempt", first, lambda: _attempts(study)[victim.number] >= 2)

    # the parent alone is killed: its workers and the mirror end by themselves
    until("three complete slots", first, lambda: complete(study) >= 3 and running(study))
    children = family(first)
    assert len(children) >= 3
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

    # a worker is asked to stop: it hands its slot back and is content
    worker = commands.start("worker", "threads=1")  # as many as the sweep gives each
    mine = until("its slot", worker, lambda: running(study, worker.pid))
    worker.terminate()
    assert worker.wait(PATIENCE_S) == 0, commands.said()
    slot = study.slots()[mine.number]
    assert slot.state in (TrialState.WAITING, TrialState.COMPLETE)
    assert running(study, worker.pid) is None

    # and the same command ends it
    last = commands.start("sweep", *again)
    assert last.wait(PATIENCE_S) == 0, commands.said()
    _check_numbers(study)
    assert counts(study)["complete"] == TOTAL, commands.said()
    _check_results(study)
    runs = runs_of(study)
    assert {run.info.status for run in runs} == {"FINISHED"}
    assert sorted(int(run.data.tags.get("paring.slot", -1)) for run in runs) == [
        -1,
        *range(TOTAL),
    ]


def _attempts(study: Study) -> list[int]:
    return [slot.user_attrs.get("attempt", 0) for slot in study.slots()]


def _check_numbers(study: Study) -> None:
    """No slot is lost or doubled, and each has the budget it was created with."""
    slots = study.slots()
    assert [slot.number for slot in slots] == list(range(TOTAL))
    budgets = study.facts["budgets"]
    for slot in slots:
        assert slot.user_attrs["slot"]["number"] == slot.number
        assert slot.user_attrs["slot"]["budget"] == budgets[slot.number % len(budgets)]


def _check_results(study: Study) -> None:
    """Every slot keeps its budget, and an interrupted one equals an uninterrupted run."""
    assert max(_attempts(study)) >= 2
    blueprint = Blueprint(study.spec)
    for slot in study.slots():
        result = slot.user_attrs["result"]
        digest = result["files"]["model.safetensors"]
        cost = blueprint.cost_model(unpack_network(study.home.store[digest]).graph).dense
        assert slot_budget(slot).holds(cost)
        assert result["cost"]["flash_bytes"] == cost.flash_bytes
        if slot.user_attrs["attempt"] > 1:
            assert digest == _uninterrupted(study, blueprint, slot)


def _uninterrupted(study: Study, blueprint: Blueprint, slot: FrozenTrial) -> str:
    """The digest of the model that a slot gives when nobody disturbs it."""
    dense = unpack_network(study.home.store[study.note("dense")["digest"]])
    seed = slot.user_attrs["slot"]["seed"]
    job = blueprint.slot_job(slot.params, slot_budget(slot), seed)
    state = TrainState.begin(dense.graph, dense.tensors, job)
    deque(train(state, job), maxlen=0)
    return hashlib.sha256(packed(state, job)).hexdigest()

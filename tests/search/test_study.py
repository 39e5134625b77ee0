"""Trials: created once, claimed by one, handed back whole, told by their owner."""

import multiprocessing
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import optuna
import psutil
import pytest
from optuna.trial import TrialState
from sqlalchemy import text

from pruning.budget import Budget, Cost
from search.config.schema import StorageConfig
from search.config.spec import Spec
from search.errors import ConfigError, StudyError
from search.storage.blobs import Store
from search.storage.outcome import Failed, Finished, Infeasible
from search.storage.owner import Owner
from search.storage.workspace import Workspace, open_storage, open_workspace
from search.study import trials as module
from search.study.checks import require_data, require_store
from search.study.collect import orphans
from search.study.study import Study, create_study, find_study, require_study
from search.study.study_record import StudyFacts
from search.study.trials import (
    add_trials,
    claim,
    discard,
    hand_back,
    note_trial,
    reap,
    still_mine,
    tidy,
    trial_budget,
)
from search.worker.run_trial import tell
from search.worker.stop_signals import StopMonitor

FACTS = StudyFacts(
    metric="accuracy",
    rises=True,
    chance=0.25,
    best=1.0,
    dense_cost=Cost(flash_bytes=5000, sram_bytes=700, latency_ms=2.0, macs=50000),
    device_limits=Budget(flash_bytes=1000, sram_bytes=500),
    budgets=(),
    data_digest="d" * 64,
    tags={},
)
OBJECTIVES = {"score": "maximize", "flash_bytes": "minimize", "sram_bytes": "minimize"}


BUDGETS = (Budget(flash_bytes=900), Budget(flash_bytes=600), Budget(flash_bytes=300))
FORK = multiprocessing.get_context("fork")
COST = Cost(flash_bytes=800, sram_bytes=600, latency_ms=1.0, macs=10)


def processes(body: Callable[..., None], count: int, *arguments: Any) -> list[int | None]:
    """Run a function in so many processes at one moment; their exit codes."""
    gate = FORK.Barrier(count)
    crew = [FORK.Process(target=body, args=(gate, *arguments)) for _ in range(count)]
    for one in crew:
        one.start()
    for one in crew:
        one.join(60)
    return [one.exitcode for one in crew]


def reopened(workspace: Workspace, name: str = "s") -> Study:
    """The study as another process sees it: with connections of its own."""
    return require_study(open_workspace(workspace.config), name)


def finished(**changes: Any) -> Finished:
    whole = Finished(score=0.9, cost=COST, widths={"a": 2}, bottleneck="a", files={}, seconds=1.0)
    return replace(whole, **changes)


@pytest.fixture
def study(workspace: Workspace, tiny_spec: Spec) -> Study:
    """A study without trials, and with facts that nobody measured."""
    return create_study(workspace, "s", tiny_spec, OBJECTIVES, FACTS)


# --- studies


def test_a_study_is_found_as_it_was_created(
    study: Study, workspace: Workspace, tiny_spec: Spec
) -> None:
    found = reopened(workspace)
    assert (found.key, found.spec) == (study.key, tiny_spec)
    assert found.facts == replace(FACTS, store=study.facts.store)
    require_store(found)
    assert found.objectives == tuple(OBJECTIVES)
    assert [way.name for way in found.optuna.directions] == ["MAXIMIZE", "MINIMIZE", "MINIMIZE"]


def test_creating_it_again_finds_it(study: Study, workspace: Workspace, tiny_spec: Spec) -> None:
    assert create_study(workspace, "s", tiny_spec, OBJECTIVES, FACTS).key == study.key


def test_there_is_none_of_another_name(study: Study) -> None:
    workspace = study.workspace
    assert find_study(workspace, "other") is None
    with pytest.raises(StudyError, match=r"study=other.*studies: s\b"):
        require_study(workspace, "other")


def test_a_half_made_study_is_none_and_is_made_anew(workspace: Workspace, tiny_spec: Spec) -> None:
    half = optuna.create_study(study_name="s", storage=open_storage(workspace))
    assert find_study(workspace, "s") is None
    half.set_user_attr("key", "k")
    assert find_study(workspace, "s") is None
    assert half.user_attrs == {"key": "k"}  # looking deletes nothing: its creator may live
    create_study(workspace, "s", tiny_spec, OBJECTIVES, FACTS)
    assert reopened(workspace).spec == tiny_spec


def _create_and_die(gate: Any, config: StorageConfig, spec: Spec, before: bool) -> None:
    """Create a study in a process that is killed before or after it stores the mark."""
    original = Store.put

    def put(store: Store, content: bytes) -> str:
        if not before:
            original(store, content)
        os.kill(os.getpid(), signal.SIGKILL)
        raise AssertionError

    Store.put = put  # type: ignore[method-assign]
    gate.wait()
    create_study(open_workspace(config), "s", spec, OBJECTIVES, FACTS)


@pytest.mark.slow
@pytest.mark.parametrize("before", [True, False])
def test_a_creator_that_is_killed_leaves_no_blob_that_nobody_names(
    workspace: Workspace, tiny_spec: Spec, before: bool
) -> None:
    killed = processes(_create_and_die, 1, workspace.config, tiny_spec, before)
    assert killed == [-signal.SIGKILL]
    assert len(list(workspace.store.entries())) == (not before)
    assert find_study(workspace, "s") is None
    require_store(create_study(workspace, "s", tiny_spec, OBJECTIVES, FACTS))
    assert len(list(workspace.store.entries())) == 1
    left = orphans(workspace, 0.0)
    assert not [*left.old, *left.young]


@pytest.mark.parametrize("noted", [{}, {"mine": 1}])
def test_a_foreign_study_is_refused_and_left_alone(
    workspace: Workspace, tiny_spec: Spec, noted: dict[str, int]
) -> None:
    theirs = optuna.create_study(study_name="s", storage=open_storage(workspace))
    theirs.ask()
    for key, value in noted.items():
        theirs.set_user_attr(key, value)
    with pytest.raises(StudyError, match="not made by paring"):
        find_study(workspace, "s")
    with pytest.raises(StudyError, match="not made by paring"):
        create_study(workspace, "s", tiny_spec, OBJECTIVES, FACTS)
    assert len(theirs.trials) == 1


def test_changed_data_are_refused(study: Study) -> None:
    require_data(study, FACTS.data_digest, FACTS.data_digest)
    with pytest.raises(StudyError, match="data have changed"):
        require_data(study, "e" * 64, FACTS.data_digest)


@pytest.mark.parametrize(
    "changes", [{"url": "localhost/db"}, {"heartbeat_s": 0}, {"heartbeat_s": 5, "lease_s": 5}]
)
def test_a_senseless_storage_is_refused(workspace: Workspace, changes: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match=next(iter(changes))):
        open_workspace(replace(workspace.config, **changes))


# --- trials are created once


def test_trials_have_numbers_and_budgets_in_turn(study: Study, workspace: Workspace) -> None:
    add_trials(study, 7, BUDGETS, seed=3)
    trials = reopened(workspace).trials()
    assert [trial.number for trial in trials] == list(range(7))
    assert [trial_budget(trial) for trial in trials] == [BUDGETS[i % 3] for i in range(7)]
    assert {trial.state for trial in trials} == {TrialState.WAITING}
    assert [trial.user_attrs["slot"]["seed"] for trial in trials] == [3, 3, 3, 4, 4, 4, 5]


@pytest.mark.parametrize(("total", "expected"), [(4, 4), (2, 4), (9, 9)])
def test_only_a_larger_total_adds(study: Study, total: int, expected: int) -> None:
    add_trials(study, 4, BUDGETS, 0)
    before = [trial.user_attrs["slot"] for trial in study.trials()]
    add_trials(study, total, BUDGETS, 0)
    trials = study.trials()
    assert [trial.number for trial in trials] == list(range(expected))
    assert [trial.user_attrs["slot"] for trial in trials[:4]] == before
    assert trial_budget(trials[-1]) == BUDGETS[(expected - 1) % 3]


def _add(gate: Any, workspace: Workspace, total: int) -> None:
    found = reopened(workspace)
    gate.wait()
    add_trials(found, total, BUDGETS, 0)


@pytest.mark.slow
def test_two_creators_make_no_doubles(study: Study, workspace: Workspace) -> None:
    assert processes(_add, 2, workspace, 12) == [0, 0]
    trials = study.trials()
    assert [trial.number for trial in trials] == list(range(12))
    assert [trial.user_attrs["slot"]["number"] for trial in trials] == list(range(12))
    assert [trial_budget(trial) for trial in trials] == [BUDGETS[i % 3] for i in range(12)]


# --- a trial is claimed by one


@pytest.mark.slow
def test_the_first_waiting_trial_is_claimed(study: Study) -> None:
    add_trials(study, 2, BUDGETS, 0)
    trial = claim(study)
    assert trial is not None
    assert trial.number == 0
    assert trial.user_attrs["attempt"] == 1
    assert trial.user_attrs["owner"] == Owner.me().note()
    assert [trial.state.name for trial in study.trials()] == ["RUNNING", "WAITING"]
    assert still_mine(study, trial)
    assert not study.over()


def test_nothing_is_claimed_where_nothing_waits(study: Study) -> None:
    assert claim(study) is None
    assert study.over()


def _claim_all(gate: Any, workspace: Workspace, taken: Any) -> None:
    found = reopened(workspace)
    gate.wait()
    while (trial := claim(found)) is not None:
        taken.put((trial.number, os.getpid()))


@pytest.mark.slow
def test_processes_claim_every_trial_once(study: Study, workspace: Workspace) -> None:
    add_trials(study, 16, BUDGETS, 0)
    taken = FORK.SimpleQueue()
    assert processes(_claim_all, 3, workspace, taken) == [0, 0, 0]
    claims = dict(taken.get() for _ in range(16))
    assert taken.empty()
    assert sorted(claims) == list(range(16))
    for trial in study.trials():
        assert trial.user_attrs["owner"]["pid"] == claims[trial.number]
        assert trial.user_attrs["attempt"] == 1


@pytest.mark.slow
def test_threads_claim_every_trial_once(study: Study, workspace: Workspace) -> None:
    add_trials(study, 8, BUDGETS, 0)
    numbers: list[int] = []

    def claim_all() -> None:
        found = reopened(workspace)
        while (trial := claim(found)) is not None:
            numbers.append(trial.number)

    crew = [threading.Thread(target=claim_all) for _ in range(3)]
    for one in crew:
        one.start()
    for one in crew:
        one.join()
    assert sorted(numbers) == list(range(8))


# --- a trial is handed back whole


def test_a_trial_handed_back_keeps_what_it_knows(study: Study, workspace: Workspace) -> None:
    add_trials(study, 2, BUDGETS, 0)
    trial = claim(study)
    assert trial is not None
    lr = trial.suggest_float("task.optimizer.lr", 0.01, 1.0, log=True)
    trial.set_user_attr("checkpoint", "c")
    assert hand_back(study) == [0]
    waiting = study.trials()[0]
    assert waiting.state is TrialState.WAITING
    again = claim(reopened(workspace))
    assert again is not None
    assert (again.number, again.user_attrs["attempt"]) == (0, 2)
    assert again.suggest_float("task.optimizer.lr", 0.01, 1.0, log=True) == lr
    assert again.user_attrs["checkpoint"] == "c"
    assert again.user_attrs["slot"] == waiting.user_attrs["slot"]
    assert len(study.trials()) == 2


def _claim_and_hold(gate: Any, workspace: Workspace) -> None:
    assert claim(reopened(workspace)) is not None
    gate.wait()
    signal.pause()


def killed_owner(workspace: Workspace) -> None:
    """Let a process claim a trial, then kill it."""
    gate = FORK.Barrier(2)
    child = FORK.Process(target=_claim_and_hold, args=(gate, workspace))
    child.start()
    gate.wait(60)
    assert child.pid is not None
    os.kill(child.pid, signal.SIGKILL)
    child.join()


@pytest.mark.slow
def test_the_trial_of_a_killed_process_goes_back_at_once(
    study: Study, workspace: Workspace
) -> None:
    add_trials(study, 3, BUDGETS, 0)
    mine = claim(study)
    assert mine is not None
    killed_owner(workspace)
    assert [trial.state.name for trial in study.trials()] == ["RUNNING", "RUNNING", "WAITING"]
    assert reap(study) == [1]
    assert [trial.state.name for trial in study.trials()] == ["RUNNING", "WAITING", "WAITING"]
    assert reap(study) == []
    assert still_mine(study, mine)
    assert hand_back(study) == [0]  # what others run is not handed back
    killed_owner(workspace)
    assert reap(study) == [0]  # although it was claimed a moment ago, in a second attempt


def _die_before_claiming(gate: Any, workspace: Workspace) -> None:
    found = reopened(workspace)
    found.storage.set_trial_state_values = _die  # type: ignore[method-assign, assignment]
    gate.wait()
    claim(found)


def _die_after_claiming(gate: Any, workspace: Workspace) -> None:
    module.sampler_for = _die  # type: ignore[assignment]
    found = reopened(workspace)
    gate.wait()
    claim(found)


def _die(*_: Any) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


@pytest.mark.parametrize("body", [_die_before_claiming, _die_after_claiming])
def test_a_claimant_may_be_killed_at_any_instruction(
    study: Study, workspace: Workspace, body: Callable[..., None]
) -> None:
    add_trials(study, 1, BUDGETS, 0)
    assert processes(body, 1, workspace) == [-signal.SIGKILL]
    reap(study)
    trial = claim(study)
    assert trial is not None
    assert trial.number == 0
    assert still_mine(study, trial)


def test_a_silent_owner_on_another_host_loses_its_trial(study: Study) -> None:
    add_trials(study, 1, BUDGETS, 0)
    trial = claim(study)
    assert trial is not None
    trial.set_user_attr("owner", replace(Owner.me(), pid=1 << 30, place="elsewhere").note())
    assert reap(study) == []  # its heart beats
    with study.storage._backend.engine.begin() as connection:  # type: ignore[attr-defined]
        connection.execute(text("UPDATE trial_heartbeats SET heartbeat = '2001-01-01 00:00:00'"))
    assert reap(study) == [0]
    assert study.trials()[0].state is TrialState.WAITING


@pytest.mark.slow
def test_the_heart_beats_while_a_trial_is_worked_on(study: Study) -> None:
    add_trials(study, 1, BUDGETS, 0)
    trial = claim(study)
    assert trial is not None
    beaten = threading.Event()
    record = study.storage.record_heartbeat  # type: ignore[attr-defined]

    def beat(number: int) -> None:
        record(number)
        beaten.set()

    study.storage.record_heartbeat = beat  # type: ignore[attr-defined]
    with StopMonitor(study).over(trial):
        assert beaten.wait(30)


def test_a_clock_that_jumps_makes_nobody_gone(monkeypatch: pytest.MonkeyPatch) -> None:
    me, booted, created = Owner.me(), psutil.boot_time(), psutil.Process().create_time()
    if not me.place:
        pytest.skip("this system does not tell its boots apart")
    monkeypatch.setattr(psutil, "boot_time", lambda: booted + 2)
    monkeypatch.setattr(psutil.Process, "create_time", lambda _: created + 2)
    assert me.lives() is True
    assert Owner.me() == me


def test_a_process_with_a_reused_id_is_not_the_owner() -> None:
    me = Owner.me()
    assert me.lives() is True
    assert replace(me, started=me.started - 100).lives() is False
    assert replace(me, pid=1 << 30).lives() is False


@pytest.mark.parametrize("place", ["", "another boot/1/2"])
def test_nobody_is_gone_who_could_not_be_seen(place: str) -> None:
    """On another boot, in another namespace, or noted by a version that did not tell."""
    owner = replace(Owner.me(), pid=1 << 30, place=place)
    assert owner.lives() is None
    earlier = {"host": owner.host, "pid": owner.pid, "started": owner.started, "boot": place}
    assert Owner.noted(earlier).lives() is None
    assert Owner.noted(owner.note()) == owner


def test_a_zombie_does_not_live() -> None:
    child = subprocess.Popen([sys.executable, "-c", "pass"], stdin=subprocess.DEVNULL)
    owner = Owner.of(child.pid)
    os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)  # it is over, and not yet reaped
    assert owner.lives() is False
    child.wait()
    assert owner.lives() is False


# --- a trial is told once, by its owner


@pytest.mark.parametrize(
    ("outcome", "state"),
    [
        (finished(), TrialState.COMPLETE),
        (Infeasible("too tight"), TrialState.PRUNED),
        (Failed("no"), TrialState.FAIL),
    ],
)
def test_an_outcome_is_told(
    study: Study, workspace: Workspace, outcome: Any, state: TrialState
) -> None:
    add_trials(study, 1, BUDGETS, 0)
    trial = claim(study)
    assert trial is not None
    assert study.trials()[0].constraints == {}
    checkpoint = workspace.store.put(b"state")
    trial.set_user_attr("checkpoint", checkpoint)
    assert tell(study, trial, outcome)
    told = reopened(workspace).trials()[0]
    assert told.state is state
    assert checkpoint not in workspace.store
    assert study.over()
    assert claim(study) is None
    assert not tell(study, trial, outcome)
    if state is TrialState.COMPLETE:
        assert told.values == [0.9, 800, 600]
        assert told.constraints == {"device.flash_bytes": -200, "device.sram_bytes": 100}
    else:
        assert told.user_attrs["reason"] == outcome.reason


def test_nobody_tells_for_another(study: Study) -> None:
    add_trials(study, 1, BUDGETS, 0)
    trial = claim(study)
    assert trial is not None
    trial.set_user_attr("owner", {"host": "elsewhere", "pid": 1, "started": 0.0})
    assert not tell(study, trial, finished())
    trial = study.trials()[0]
    assert trial.state is TrialState.RUNNING
    assert "result" not in trial.user_attrs
    assert trial.constraints == {}


def test_who_has_lost_a_trial_changes_nothing_of_it(study: Study, workspace: Workspace) -> None:
    """Even if it was the same process that took it anew."""
    add_trials(study, 1, BUDGETS, 0)
    lost = claim(study)
    assert lost is not None
    assert note_trial(study, lost, checkpoint="first")
    hand_back(study)
    assert not note_trial(study, lost, checkpoint="while it waits")
    trial = claim(study)
    assert trial is not None
    assert not still_mine(study, lost)
    assert not note_trial(study, lost, checkpoint="of the one that lost it")
    assert not tell(study, lost, finished())
    assert study.trials()[0].user_attrs["checkpoint"] == "first"
    assert tell(study, trial, finished())
    assert not note_trial(study, lost, checkpoint="after the end")
    assert study.trials()[0].user_attrs["checkpoint"] == "first"


def test_what_a_kill_leaves_is_removed_when_the_trial_is_over(
    study: Study, workspace: Workspace
) -> None:
    add_trials(study, 3, BUDGETS, 0)
    shared = workspace.store.put(b"the model of a twin")
    twin = claim(study)
    assert twin is not None
    assert tell(study, twin, replace(finished(), files={"model.safetensors": shared}))
    trial = claim(study)
    assert trial is not None
    half = [workspace.store.put(b"epochs of an attempt that was killed"), shared]
    trial.set_user_attr("pending", half)
    discard(study, half)
    assert all(digest in workspace.store for digest in half)  # they are named
    assert tell(study, trial, Failed("no"))
    assert half[0] not in workspace.store
    assert shared in workspace.store
    killed = claim(study)
    assert killed is not None
    killed.set_user_attr("pending", [workspace.store.put(b"before the end")])
    study.optuna.tell(killed, state=TrialState.FAIL)  # and killed before it could clear up
    tidy(study)
    names = {entry.name for entry in workspace.store.entries()}
    assert names == {shared, study.facts.store}


def test_a_trial_handed_back_cannot_be_told(study: Study) -> None:
    add_trials(study, 1, BUDGETS, 0)
    trial = claim(study)
    assert trial is not None
    hand_back(study)
    assert not tell(study, trial, finished())
    assert study.trials()[0].state is TrialState.WAITING


def test_an_interrupt_after_telling_loses_nothing(study: Study) -> None:
    add_trials(study, 1, (Budget(),), 0)
    trial = claim(study)
    assert trial is not None
    assert tell(study, trial, finished())
    assert hand_back(study) == []
    assert study.trials()[0].state is TrialState.COMPLETE

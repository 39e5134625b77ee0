"""Pausing, resuming, cancelling and growing a study, on real workers."""

import json
import multiprocessing
import re
import signal
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import optuna
import pytest
from optuna.trial import TrialState
from sqlalchemy import text

from pruning.budget import Budget
from pruning.errors import BudgetError, DivergedError, PruningError
from search.config.schema import StorageConfig
from search.config.spec import Spec
from search.errors import ConfigError, StoreError, StudyError
from search.results.report import counts, study_record
from search.results.status import study_status
from search.storage.outcome import Failed
from search.storage.owner import Owner
from search.storage.workspace import Workspace, open_workspace
from search.study import create
from search.study.command import Command
from search.study.control import current_command, send
from search.study.sampling import Choices, ChosenSampler, configured
from search.study.study import Study, require_study
from search.study.trials import came_back, cancel_waiting, claim, hand_back, reap, trial_budget
from search.worker.run_trial import tell
from search.worker.stop_signals import Reason, StopMonitor, Stopped
from search.worker.worker import halt_if_all_fail, reap_or_halt, work
from tracking.evaluation_file import EVALUATION
from tracking.records import State

FORK = multiprocessing.get_context("fork")
PATIENCE_S = 60
Composed = Callable[..., Spec]

pytestmark = pytest.mark.usefixtures("quiet_process")


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    return open_workspace(StorageConfig(folder=str(tmp_path / ".paring"), heartbeat_s=1))


@pytest.fixture
def long_spec(compose_spec: Composed, tiny: list[str]) -> Spec:
    """Trials that take a few seconds each."""
    return compose_spec(*tiny, "method.phases.finetune_epochs=60", "trials=2")


def until(condition: Callable[[], Any]) -> Any:
    end = time.monotonic() + PATIENCE_S
    while not (value := condition()):
        assert time.monotonic() < end
        time.sleep(0.02)
    return value


def _work(config: StorageConfig, name: str) -> None:
    work(config, name, threads=1)


@pytest.fixture
def worker(workspace: Workspace) -> Iterator[Callable[[str], Any]]:
    """Start a worker on a study; it is ended with the test."""
    started = []

    def start(name: str) -> Any:
        started.append(FORK.Process(target=_work, args=(workspace.config, name)))
        started[-1].start()
        return started[-1]

    yield start
    for process in started:
        process.kill()
        process.join()


def state(study: Study, number: int = 0) -> TrialState:
    return study.trials()[number].state


def trained(study: Study, number: int = 0) -> bool:
    """Whether a running trial has got through some epochs."""
    trial = study.trials()[number]
    progress = trial.user_attrs.get("progress", {})
    return trial.state is TrialState.RUNNING and progress.get("epoch", 0) >= 1


# --- commands


@pytest.mark.slow
def test_commands_are_kept_with_the_study(workspace: Workspace, tiny_spec: Spec) -> None:
    study = create.prepare(workspace, "a", tiny_spec, None)
    assert current_command(study).command is Command.GO
    send(study, Command.PAUSE, "lunch")
    now = current_command(study)
    assert (now.command, now.why, now.ends) == (
        Command.PAUSE, "lunch", False
    )  # fmt: skip
    send(study, Command.HALT)
    assert current_command(study).ends


@pytest.mark.slow
def test_a_paused_trial_waits_with_its_epoch_and_goes_on_with_it(
    workspace: Workspace, long_spec: Spec, worker: Callable[[str], Any]
) -> None:
    study = create.prepare(workspace, "a", long_spec, 1)
    process = worker("a")
    until(lambda: trained(study))
    send(study, Command.PAUSE)
    until(lambda: state(study) is TrialState.WAITING)
    epochs = len(study_record(study).trials[0].epochs)
    assert epochs >= 1  # of the checkpoint
    assert process.is_alive()
    time.sleep(1.5)
    assert state(study) is TrialState.WAITING
    send(study, Command.GO)
    until(lambda: state(study) is TrialState.COMPLETE)
    process.join(PATIENCE_S)
    assert process.exitcode == 0
    assert study.trials()[0].user_attrs["attempt"] == 2

    alone = create.prepare(workspace, "b", long_spec, 1)
    work(workspace.config, "b", threads=1)
    files = [s.trials()[0].user_attrs["result"]["files"] for s in (study, alone)]
    assert files[0]["model.safetensors"] == files[1]["model.safetensors"]


@pytest.mark.slow
def test_a_cancelled_study_gives_up_what_it_has_not_finished(
    workspace: Workspace, long_spec: Spec, worker: Callable[[str], Any], paring: Any
) -> None:
    study = create.prepare(workspace, "a", long_spec, 3)
    process = worker("a")
    until(lambda: trained(study))
    code, out, _ = paring("cancel", "study=a", f"storage.folder={workspace.config.folder}")
    assert code == 0
    assert "2 waiting trials cancelled" in out
    process.join(PATIENCE_S)
    assert process.exitcode == 0
    assert counts(study.trials())[State.CANCELLED] == 3
    assert study.over()
    assert all(trial.state is State.CANCELLED for trial in study_record(study).trials)
    grown = create.prepare(workspace, "a", None, 4)  # new trials may follow
    assert current_command(grown).command is Command.GO
    assert [state(grown, n) for n in range(4)] == [TrialState.FAIL] * 3 + [TrialState.WAITING]


@pytest.mark.slow
def test_a_cancelled_trial_leaves_no_checkpoint(workspace: Workspace, tiny_spec: Spec) -> None:
    study = create.prepare(workspace, "a", tiny_spec, 1)
    checkpoint = workspace.store.put(b"an epoch")
    trial = claim(study)
    assert trial is not None
    trial.set_user_attr("checkpoint", checkpoint)
    hand_back(study)
    assert cancel_waiting(study) == [0]
    with pytest.raises(StoreError):
        workspace.store.read(checkpoint)


@pytest.mark.slow
def test_the_verbs_say_what_they_did(workspace: Workspace, tiny_spec: Spec, paring: Any) -> None:
    study = create.prepare(workspace, "a", tiny_spec, None)
    where = f"storage.folder={workspace.config.folder}"
    assert "paring resume study=a" in paring("pause", "study=a", where)[1]
    assert current_command(study).command is Command.PAUSE
    code, out, _ = paring("status", "study=a", where)
    assert code == 0
    assert "paring resume study=a" in out
    assert "is resumed" in paring("resume", "study=a", where)[1]
    assert current_command(study).command is Command.GO
    send(study, Command.HALT, "three of a kind")
    assert "three of a kind" in paring("resume", "study=a", where)[1]
    assert "waiting trials cancelled" in paring("cancel", "study=a", where)[1]
    assert "was cancelled" in paring("resume", "study=a", where)[1]
    assert current_command(study).command is Command.CANCEL
    assert "nothing to pause" in paring("pause", "study=a", where)[1]
    send(study, Command.GO)
    assert "nothing to cancel" in paring("cancel", "study=a", where)[1]
    assert current_command(study).command is Command.GO


@pytest.mark.slow
def test_a_dense_training_that_fails_halts_the_study_with_its_cause(
    workspace: Workspace, compose_spec: Composed, tiny: list[str]
) -> None:
    study = create.prepare(workspace, "a", compose_spec(*tiny, "task.optimizer.lr=1.0e+30"), None)
    with pytest.raises(DivergedError):
        work(workspace.config, "a", threads=1)
    assert current_command(study).command is Command.HALT
    assert "the dense training failed: DivergedError" in current_command(study).why


@pytest.mark.slow
def test_a_study_that_halted_at_its_end_is_over_when_it_goes_on(
    workspace: Workspace, compose_spec: Composed, tiny: list[str]
) -> None:
    spec = compose_spec(*tiny, "+space={task.optimizer.lr: [1.0e+30]}", "trials=3")
    study = create.prepare(workspace, "a", spec, None)
    work(workspace.config, "a", threads=1)
    assert study.over()
    assert current_command(study).command is Command.HALT
    create.prepare(workspace, "a", None, None)
    assert current_command(study).command is Command.GO


@pytest.mark.slow
@pytest.mark.parametrize(
    ("path", "choice", "said"),
    [
        ("task.batch_size", "[0]", "batch_size is 0"),
        ("task.batch_size", "{low: 2.0, high: 8.5}", "a whole number"),
        ("task.augment.shift", "{low: 0, high: 2.5}", "augmentation shift is 2.5"),
        ("method.name", "[foo]", "method.name='foo'"),
        ("task.metric._target_", "[pruning.tasks.Accuracy]", "not a setting that trials may"),
        ("task.optimizer.nothing", "[1]", "is not a setting of this study"),
    ],
)
def test_what_no_trial_could_use_is_refused_before_training(
    workspace: Workspace, compose_spec: Composed, tiny: list[str], path: str, choice: str, said: str
) -> None:
    def begin() -> None:
        spec = compose_spec(*tiny, f"+space={{{path}: {choice}}}", "trials=2")
        create.prepare(workspace, "a", spec, None)

    with pytest.raises((ConfigError, PruningError), match=re.escape(said)):
        begin()
    with pytest.raises(StudyError):
        require_study(workspace, "a")


@pytest.mark.slow
def test_another_store_is_refused(
    workspace: Workspace, tiny_spec: Spec, on_postgres: StorageConfig, tmp_path: Path
) -> None:
    create.prepare(open_workspace(on_postgres), "a", tiny_spec, None)
    elsewhere = replace(on_postgres, folder=str(tmp_path / "elsewhere"))
    with pytest.raises(StoreError, match=r"set storage\.folder"):
        work(elsewhere, "a", threads=1)
    with pytest.raises(StoreError, match=r"set storage\.folder"):
        create.prepare(open_workspace(elsewhere), "a", tiny_spec, None)


@pytest.mark.slow
def test_a_store_that_cannot_be_written_makes_no_study(
    workspace: Workspace, tiny_spec: Spec
) -> None:
    (workspace.folder / "store").write_text("a file")
    with pytest.raises(StoreError, match="cannot write"):
        create.prepare(workspace, "a", tiny_spec, None)


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_is_heeded_between_batches(
    workspace: Workspace, tiny_spec: Spec, number: int
) -> None:
    monitor = StopMonitor(create.prepare(workspace, "a", tiny_spec, None))
    before = signal.getsignal(number)
    with monitor.heeding_signals():
        monitor.check()
        signal.raise_signal(number)
        for look in (monitor.check, lambda: monitor.wait(60)):
            with pytest.raises(Stopped) as stopped:
                look()
            assert stopped.value.reason is Reason.ASKED
    assert signal.getsignal(number) is before


@pytest.mark.slow
def test_a_trial_that_another_took_over_is_left(workspace: Workspace, tiny_spec: Spec) -> None:
    study = create.prepare(workspace, "a", tiny_spec, None)
    trial = claim(study)
    assert trial is not None
    monitor = StopMonitor(study)
    with monitor.over(trial):
        monitor.check()
        trial.set_user_attr("owner", {"host": "elsewhere", "pid": 1, "started": 0.0})
        with pytest.raises(Stopped) as stopped:
            monitor.wait(30)
    assert stopped.value.reason is Reason.LOST


@pytest.mark.slow
def test_trials_that_fail_alike_halt_the_study(
    workspace: Workspace, compose_spec: Composed, tiny: list[str]
) -> None:
    diverging = compose_spec(*tiny, "+space={task.optimizer.lr: [1.0e+30]}", "trials=6")
    study = create.prepare(workspace, "a", diverging, None)
    work(workspace.config, "a", threads=1)
    assert counts(study.trials())[State.FAILED] == 3
    assert counts(study.trials())[State.WAITING] == 3
    assert current_command(study).command is Command.HALT
    assert "3 trials in a row failed alike: DivergedError" in current_command(study).why


@pytest.mark.slow
def test_other_failures_do_not(
    workspace: Workspace, compose_spec: Composed, tiny: list[str]
) -> None:
    study = create.prepare(workspace, "a", compose_spec(*tiny, "trials=6"), None)
    for reason in ("loss is nan in epoch 1", "loss is nan in epoch 2", "no such file"):
        trial = claim(study)
        assert trial is not None
        assert tell(study, trial, Failed(reason))
    halt_if_all_fail(study)
    assert current_command(study).command is Command.GO


@pytest.mark.slow
def test_failures_before_the_last_command_do_not_count(
    workspace: Workspace, compose_spec: Composed, tiny: list[str]
) -> None:
    study = create.prepare(workspace, "a", compose_spec(*tiny, "trials=9"), None)

    def fail(times: int) -> Command:
        for _ in range(times):
            trial = claim(study)
            assert trial is not None
            assert tell(study, trial, Failed("no such file"))
        halt_if_all_fail(study)
        return current_command(study).command

    assert fail(3) is Command.HALT
    send(study, Command.GO)  # somebody has mended it, or thinks so
    assert fail(2) is Command.GO
    assert fail(1) is Command.HALT


# --- a worker that dies at one point again and again


@pytest.mark.slow
def test_a_trial_whose_workers_die_at_one_point_has_failed(
    workspace: Workspace, tiny_spec: Spec
) -> None:
    study = create.prepare(workspace, "a", tiny_spec, 1)
    checkpoint = workspace.store.put(b"an epoch")
    for death in range(3):
        assert workspace.store.read(checkpoint) == b"an epoch"
        trial = claim(study)
        assert trial is not None
        if death == 0:
            trial.set_user_attr("checkpoint", checkpoint)
        trial.set_user_attr("owner", nobody().note())
        assert reap(study) == [0]
    trial = study.trials()[0]
    assert trial.state is TrialState.FAIL
    assert "killed 3 times" in trial.user_attrs["reason"]
    with pytest.raises(StoreError):
        workspace.store.read(checkpoint)


@pytest.mark.slow
def test_one_that_gets_on_between_deaths_has_not(workspace: Workspace, tiny_spec: Spec) -> None:
    study = create.prepare(workspace, "a", tiny_spec, 1)
    for death in range(5):
        trial = claim(study)
        assert trial is not None
        trial.set_user_attr("checkpoint", str(death))
        trial.set_user_attr("owner", nobody().note())
        assert reap(study) == [0]
    assert state(study) is TrialState.WAITING


@pytest.mark.slow
@pytest.mark.parametrize("place", ["", "another boot/1/2"])
def test_who_comes_back_has_not_died(workspace: Workspace, tiny_spec: Spec, place: str) -> None:
    """A silent worker that nobody sees is taken for dead until it wakes."""
    study = create.prepare(workspace, "a", tiny_spec, 1)
    for _ in range(4):
        trial = claim(study)
        assert trial is not None
        trial.set_user_attr("owner", replace(nobody(), place=place).note())
        silence(study)
        assert reap(study) == [0]
        came_back(study, trial)
    assert state(study) is TrialState.WAITING


@pytest.mark.slow
def test_who_is_seen_to_live_has_not_died(workspace: Workspace, tiny_spec: Spec) -> None:
    study = create.prepare(workspace, "a", tiny_spec, 1)
    for _ in range(4):
        assert claim(study) is not None
        silence(study)
        assert reap(study) == [0]
    assert state(study) is TrialState.WAITING


@pytest.mark.slow
def test_trials_that_fail_by_deaths_halt_the_sweep(workspace: Workspace, tiny_spec: Spec) -> None:
    study = create.prepare(workspace, "a", tiny_spec, 5)
    for _ in range(9):
        trial = claim(study)
        assert trial is not None
        trial.set_user_attr("owner", nobody().note())
        reap_or_halt(study)
    assert current_command(study).command is Command.HALT
    assert "killed 3 times" in current_command(study).why
    assert [state(study, n) for n in range(5)] == [TrialState.FAIL] * 3 + [TrialState.WAITING] * 2


def nobody() -> Owner:
    """An owner that is certainly gone."""
    return replace(Owner.me(), pid=1 << 30)


def silence(study: Study) -> None:
    """Let all hearts have stopped long ago."""
    with study.storage._backend.engine.begin() as connection:  # type: ignore[attr-defined]
        connection.execute(text("UPDATE trial_heartbeats SET heartbeat = '2001-01-01 00:00:00'"))


# --- growing


@pytest.mark.slow
def test_another_budget_adds_its_trials(
    workspace: Workspace, compose_spec: Composed, tiny: list[str]
) -> None:
    study = create.prepare(workspace, "a", compose_spec(*tiny), None)
    more = compose_spec(*tiny, "shares=[0.5,0.4]")
    grown = create.prepare(workspace, "a", more, None)
    shares = [trial_budget(trial).flash_bytes for trial in grown.trials()]
    dense = study.facts.dense_cost.flash_bytes
    assert shares == [int(dense * share) for share in (0.5, 0.25, 0.4)]
    assert len(create.prepare(workspace, "a", more, None).trials()) == 3  # once
    assert len(create.prepare(workspace, "a", None, 6).trials()) == 6
    counted = [trial_budget(trial).flash_bytes for trial in grown.trials()]
    assert {counted.count(flash) for flash in counted} == {2}


@pytest.mark.slow
def test_budgets_are_added_with_data_that_are_loaded_once(
    workspace: Workspace, compose_spec: Composed, tiny: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = workspace.folder.parent
    (folder / "counted_data.py").write_text(
        "from pathlib import Path\n"
        "from pruning.data import synthetic\n"
        "def data(train):\n"
        "    with Path(__file__).with_name('calls').open('a') as calls:\n"
        "        calls.write('called\\n')\n"
        "    return synthetic(train=train)\n"
    )
    monkeypatch.syspath_prepend(str(folder))
    for loads, scale in enumerate(("0.5", "0.5,0.4", "0.5,0.4,0.3"), 1):
        spec = compose_spec(*tiny, "data._target_=counted_data.data", f"shares=[{scale}]")
        study = create.prepare(workspace, "counted", spec, None)
        assert len(study.trials()) == loads
        assert len((folder / "calls").read_text().splitlines()) == loads


@pytest.mark.slow
def test_another_budget_has_trials_beyond_the_total(
    workspace: Workspace, compose_spec: Composed, tiny: list[str]
) -> None:
    create.prepare(workspace, "a", compose_spec(*tiny, "trials=4"), 4)
    grown = create.prepare(workspace, "a", compose_spec(*tiny, "trials=4", "shares=[0.5,0.4]"), 4)
    shares = [trial_budget(trial).flash_bytes for trial in grown.trials()]
    assert len(shares) == 5
    assert shares[-1] == int(0.4 * grown.facts.dense_cost.flash_bytes)


@pytest.mark.slow
def test_a_space_can_only_become_narrower(
    workspace: Workspace, compose_spec: Composed, tiny: list[str]
) -> None:
    wide = {"task.optimizer.lr": "{low: 0.01, high: 1.0, log: true}",
            "method.phases.lr_factor": "[0.1, 0.2, 0.5]"}  # fmt: skip

    def spec(**changes: str) -> Spec:
        space = {**wide, **{k.replace("__", "."): v for k, v in changes.items()}}
        text = ", ".join(f"{path}: {how}" for path, how in space.items())
        return compose_spec(*tiny, f"+space={{{text}}}", "sampler=random")

    study = create.prepare(workspace, "a", spec(), 2)
    narrow = spec(task__optimizer__lr="{low: 0.1, high: 0.2, log: true}",
                  method__phases__lr_factor="[0.2]")  # fmt: skip
    study = create.prepare(workspace, "a", narrow, 8)
    assert study.space == narrow["space"]
    for wider in (
        spec(method__phases__lr_factor="[0.2, 0.9]"),
        spec(task__optimizer__lr="{low: 0.1, high: 0.3, log: true}"),
        spec(task__optimizer__lr="{low: 0.1, high: 0.2}"),
        compose_spec(*tiny, "+space={method.phases.lr_factor: [0.2]}", "sampler=random"),
    ):
        with pytest.raises(ConfigError, match="space"):
            create.prepare(workspace, "a", wider, None)
    create.prepare(workspace, "a", spec(), None)  # the command that began it changes nothing
    assert study.space == narrow["space"]
    work(workspace.config, "a", threads=1)
    for trial in study.trials():
        assert 0.1 <= trial.params["task.optimizer.lr"] <= 0.2
        assert trial.params["method.phases.lr_factor"] == 0.2


@pytest.mark.slow
def test_lost_choices_are_not_taken_by_any_sampler(compose_spec: Composed, tiny: list[str]) -> None:
    for name in ("tpe", "random", "nsga2"):
        spec = compose_spec(*tiny, "+space={task.optimizer.lr: [1, 2, 3]}", f"sampler={name}")
        study = optuna.create_study(directions=["minimize", "minimize"])
        choices = Choices({"task.optimizer.lr": [2, 3]}, [{}], frozenset(), True)
        for number in range(30):
            study.sampler = ChosenSampler(configured(spec, number), choices)
            trial = study.ask()
            value = trial.suggest_categorical("task.optimizer.lr", [1, 2, 3])
            assert value in (2, 3)
            study.tell(trial, [value, -value])


@pytest.mark.slow
@pytest.mark.parametrize("change", ["model.filters=5", "data.train=65", "seed=1"])
def test_what_cannot_be_compared_is_refused(
    workspace: Workspace, compose_spec: Composed, tiny: list[str], change: str
) -> None:
    create.prepare(workspace, "a", compose_spec(*tiny), None)
    with pytest.raises(StudyError, match="created with other settings"):
        create.prepare(workspace, "a", compose_spec(*tiny, change, "shares=[0.4]"), None)


# --- before the first trial


@pytest.mark.slow
def test_budgets_out_of_reach_are_left_out_and_named(
    workspace: Workspace, compose_spec: Composed, tiny: list[str], caplog: pytest.LogCaptureFixture
) -> None:
    spec = compose_spec(*tiny, "shares=[0.5,0.001]", "budget.exponents={sram: 0, latency: 0}")
    study = create.prepare(workspace, "a", spec, None)
    assert len(study.trials()) == 1
    assert "left out" in caplog.text
    assert "most of it in" in caplog.text
    caplog.clear()
    assert len(create.prepare(workspace, "a", spec, None).trials()) == 1
    with pytest.raises(BudgetError, match="most of it in"):
        create.prepare(workspace, "b", compose_spec(*tiny, "shares=[0.02]"), None)


# --- repeats and copies


@pytest.mark.slow
def test_seeds_repeat_a_draw(workspace: Workspace, compose_spec: Composed, tiny: list[str]) -> None:
    spec = compose_spec(*tiny, "space=rates", "seeds=2", "seed=5")
    study = create.prepare(workspace, "a", spec, 8)
    work(workspace.config, "a", threads=1)
    groups: dict[Any, list[Any]] = {}
    for trial in study_record(study).trials:
        groups.setdefault((trial.budget.flash_bytes, trial.draw), []).append(trial)
    assert len(groups) == 4
    for trials in groups.values():
        assert [trial.seed for trial in trials] == [5, 6]
        assert trials[0].params == trials[1].params
    drawn = {tuple(trials[0].params.items()) for trials in groups.values()}
    assert len(drawn) == 4


def _claim_at(config: StorageConfig, name: str, moment: Any) -> None:
    study = require_study(open_workspace(config), name)
    moment.wait()
    claim(study)


@pytest.mark.slow
def test_trials_of_one_draw_that_are_claimed_at_once_are_alike(
    workspace: Workspace, compose_spec: Composed, tiny: list[str]
) -> None:
    spec = compose_spec(*tiny, "space=rates", "shares=[0.5]", "seeds=4")
    study, moment = create.prepare(workspace, "a", spec, 4), FORK.Barrier(4)
    claims = [
        FORK.Process(target=_claim_at, args=(workspace.config, "a", moment)) for _ in range(4)
    ]
    for process in claims:
        process.start()
    for process in claims:
        process.join(PATIENCE_S)
    trials = study.trials()
    assert all(trial.state is TrialState.RUNNING for trial in trials)
    assert len({tuple(trial.params.items()) for trial in trials}) == 1
    assert trials[0].params


@pytest.mark.slow
def test_a_trial_that_was_run_before_is_not_trained_again(
    workspace: Workspace, compose_spec: Composed, tiny: list[str]
) -> None:
    space = "+space={method.phases.lr_factor: [0.25]}"
    study = create.prepare(workspace, "a", compose_spec(*tiny, space, "seeds=1", "shares=[0.5]"), 2)
    work(workspace.config, "a", threads=1)
    first, second = study_record(study).trials
    assert (first.copy_of, second.copy_of) == (None, 0)
    assert second.score == first.score
    evaluated = {EVALUATION}  # of the one that is on the front
    assert second.files.keys() - evaluated == first.files.keys() - evaluated
    assert all(second.files[name] == first.files[name] for name in second.files.keys() - evaluated)
    assert study.trials()[1].user_attrs["result"]["seconds"] == 0
    assert (second.train_seconds, first.train_seconds > 0) == (0, True)


# --- how it stands


@pytest.mark.slow
def test_the_situation_names_workers_and_states(
    workspace: Workspace, long_spec: Spec, worker: Callable[[str], Any], paring: Any
) -> None:
    study = create.prepare(workspace, "a", long_spec, None)
    process = worker("a")
    until(lambda: trained(study))
    now = study_status(study)
    assert [(w.pid, w.trial, w.attempt) for w in now.workers] == [(process.pid, 0, 1)]
    assert now.workers[0].of == 61
    assert now.workers[0].shares is not None
    assert set(now.workers[0].shares) == {"flash_bytes", "sram_bytes", "latency_ms"}
    where = f"storage.folder={workspace.config.folder}"
    told = json.loads(paring("status", "study=a", "output=json", where)[1])
    assert told["trials"]["running"] == 1
    assert told["workers"][0]["host"] == now.workers[0].host
    text = paring("status", "study=a", where)[1]
    assert f":{process.pid}" in text
    assert "s ago" in text
    assert isinstance(trial_budget(study.trials()[0]), Budget)

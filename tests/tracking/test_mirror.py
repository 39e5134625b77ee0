import json
import math
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.request import url2pathname

import pytest

from tracking import (
    RESOURCES,
    Costs,
    Mirror,
    ServerError,
    State,
    StudyRecord,
    TrialRecord,
    locate,
    prepare,
)
from tracking.mlflow.client import Client, Entries, Point, Run
from tracking.mlflow.desired import trial_identity, trial_run
from tracking.mlflow.mirror import Written
from tracking.records import MeasuredRecord

MakeStudy = Callable[..., StudyRecord]
Blobs = dict[str, bytes]


def mirror(store: Any) -> Mirror:
    """Return a mirror that knows nothing yet, as a new process would have it."""
    return Mirror(store.mlflow, store.artifacts)


def runs(store: Any, study: StudyRecord) -> list[Run]:
    client = Client(store.mlflow)
    found = [one for one in client.experiments(study.key) if one.active]
    assert len(found) == 1
    return list(client.runs(found[0].experiment_id, ""))


def trial_runs(store: Any, study: StudyRecord) -> dict[int, Run]:
    found = [run for run in runs(store, study) if run.tags["paring.kind"] == "slot"]
    assert len({run.tags["paring.slot"] for run in found}) == len(found)
    return {int(run.tags["paring.slot"]): run for run in found}


def study_run(store: Any, study: StudyRecord) -> Run:
    (found,) = [run for run in runs(store, study) if run.tags["paring.kind"] == "study"]
    return found


def history(store: Any, run: Run, key: str) -> list[tuple[int, float]]:
    api = Client(store.mlflow).api
    return [(point.step, point.value) for point in api.get_metric_history(run.run_id, key)]


def artifacts(store: Any, run: Run) -> dict[str, str]:
    uri = run.artifacts
    folder = Path(url2pathname(uri.removeprefix("file://")))
    return {
        path.relative_to(folder).as_posix(): path.read_text()
        for path in folder.rglob("*")
        if path.is_file()
    }


def snapshot(store: Any, study: StudyRecord) -> dict[str, object]:
    """Return all that MLflow holds of a study, without its own ids and times of writing."""
    return {
        run.tags["mlflow.runName"]: (
            run.status, run.ended, run.tags | {"paring.model": ""}, run.params, run.metrics,
            artifacts(store, run),
            {key: history(store, run, key) for key in run.metrics},
        )
        for run in runs(store, study)
    }  # fmt: skip


def test_one_run_a_trial_and_one_for_the_study(
    store: Any, make_study: MakeStudy, blobs: Blobs
) -> None:
    study = make_study(State.COMPLETE, State.RUNNING, State.INFEASIBLE)
    ids = mirror(store).sync(study, blobs)
    found = trial_runs(store, study)
    assert ids == {number: run.run_id for number, run in found.items()}
    assert sorted(ids) == [0, 1, 2]
    assert len(runs(store, study)) == 4


def test_what_a_finished_trials_run_holds(store: Any, make_study: MakeStudy, blobs: Blobs) -> None:
    study = make_study(State.COMPLETE)
    mirror(store).sync(study, blobs)
    run = trial_runs(store, study)[0]
    assert run.tags["mlflow.runName"] == "trial-000: 0.9800, flash 29.3 KiB, SRAM 8.79 KiB"
    assert run.params == {
        "lr": "0.01", "nesterov": "true", "seed": "40",
        "budget.flash_bytes": "32768", "budget.latency_ms": "15.0",
    }  # fmt: skip
    assert history(store, run, "score") == [(1, 0.91), (2, 0.92), (3, 0.93), (4, 0.98)]
    assert history(store, run, "flash_budget_share") == [(s, 30000 / 32768) for s in (1, 2, 3)]
    assert "sram_budget_share" not in run.metrics  # not bounded
    assert run.metrics["final.score"] == 0.98
    assert run.metrics["final.flash_bytes"] == 30000
    expected = {
        "paring.state": "complete", "paring.attempt": "1", "paring.front": "true",
        "paring.planes": "overall flash_bytes sram_bytes latency_ms", "paring.epochs": "3",
        "paring.phase": "finetune", "paring.bottleneck": "conv3", "git.commit": "0123abc",
        "mlflow.source.git.commit": "0123abc", "data.digest": "feed",
    }  # fmt: skip
    assert expected.items() <= run.tags.items()
    files = artifacts(store, run)
    assert json.loads(files.pop("widths.json")) == {"stem": 8, "stage1.conv": 4}
    assert "How it was trained" in files.pop("why.html")
    assert files == {"model/model.json": "model 0"}  # the network is its model's


def test_without_a_repository_no_commit_is_shown(
    sqlite_store: Any, make_study: MakeStudy, blobs: Blobs
) -> None:
    study = make_study(State.COMPLETE, tags={"git.commit": "none", "git.dirty": "false"})
    mirror(sqlite_store).sync(study, blobs)
    tags = trial_runs(sqlite_store, study)[0].tags
    assert tags["git.commit"] == "none"
    assert "mlflow.source.git.commit" not in tags


def explained(study: StudyRecord) -> StudyRecord:
    """Return the study with an explanation among its first trial's files."""
    files = {**study.trials[0].files, "explanation.json": "why"}
    return replace(study, trials=(replace(study.trials[0], files=files), *study.trials[1:]))


def explanation(after: int = 3) -> bytes:
    group = {"name": "stem.conv", "before": 8, "after": after, "reason": "balanced",
             "worth": 0.1, "cost": 0.1}  # fmt: skip
    kernels = {name: ["old", "new"] for name in (*RESOURCES, "macs")}
    return json.dumps(
        {"bottlenecks": kernels, "prices": {"flash_bytes": 1e-4}, "groups": [group]}
    ).encode()


def test_a_finished_trials_run_says_why_its_network_looks_so(
    store: Any, make_study: MakeStudy, blobs: Blobs
) -> None:
    study = explained(make_study(State.COMPLETE, State.COMPLETE))
    blobs |= {"why": explanation()}
    mirror(store).sync(study, blobs)
    found = trial_runs(store, study)
    files = artifacts(store, found[0])
    assert files["explanation.json"] == explanation().decode()
    assert "The limit on flash costs most" in files["why.html"]
    assert "why.html" in found[0].tags["mlflow.note.content"]
    assert "paring.warning" not in found[0].tags
    assert "The limit on" not in artifacts(store, found[1])["why.html"]  # it stored no reasons


def test_the_page_on_a_trial_is_written_once_and_anew_when_it_would_differ(
    sqlite_store: Any, make_study: MakeStudy, blobs: Blobs
) -> None:
    study, pages = explained(make_study(State.COMPLETE)), []
    blobs |= {"why": explanation()}
    (trial,) = study.trials
    for same in (study, with_trials(study, replace(trial, planes=(), test_score=0.5))):
        mirror(sqlite_store).sync(same, blobs)
        run = trial_runs(sqlite_store, study)[0]
        uri = run.artifacts
        file = Path(url2pathname(uri.removeprefix("file://"))) / "why.html"
        pages.append(file.stat().st_mtime_ns)
    assert len(set(pages)) == 1
    mirror(sqlite_store).sync(replace(study, dense=()), blobs)
    assert file.stat().st_mtime_ns != pages[0]


@pytest.mark.slow
@pytest.mark.parametrize("content", [b"", b"{}", explanation(after=99)])
def test_an_explanation_that_cannot_be_read_is_noted_and_stops_nothing(
    sqlite_store: Any, make_study: MakeStudy, blobs: Blobs, content: bytes
) -> None:
    study = explained(make_study(State.COMPLETE, State.COMPLETE))
    blobs |= {"why": content}
    mirror(sqlite_store).sync(study, blobs)
    found = trial_runs(sqlite_store, study)
    assert "no why.html: explanation.json is no" in found[0].tags["paring.warning"]
    assert [run.status for run in found.values()] == ["FINISHED"] * 2
    files = artifacts(sqlite_store, found[0])
    assert files["explanation.json"] == content.decode()  # as it is, for whoever looks into it
    assert "why.html" not in files
    before = snapshot(sqlite_store, study)
    mirror(sqlite_store).sync(study, blobs)
    assert snapshot(sqlite_store, study) == before


def test_a_missing_explanation_is_supplied_later(
    sqlite_store: Any, make_study: MakeStudy, blobs: Blobs
) -> None:
    study = explained(make_study(State.COMPLETE))
    mirror(sqlite_store).sync(study, blobs)
    warning = trial_runs(sqlite_store, study)[0].tags["paring.warning"]
    assert warning == "not in the store: explanation.json (why)"
    mirror(sqlite_store).sync(study, blobs | {"why": explanation()})
    run = trial_runs(sqlite_store, study)[0]
    assert run.tags["paring.warning"] == ""
    assert "why.html" in artifacts(sqlite_store, run)


@pytest.mark.slow
def test_what_the_studys_run_holds(sqlite_store: Any, make_study: MakeStudy, blobs: Blobs) -> None:
    study = make_study(State.COMPLETE, State.COMPLETE, State.WAITING)
    mirror(sqlite_store).sync(study, blobs)
    run = study_run(sqlite_store, study)
    assert run.status == "RUNNING"
    assert history(sqlite_store, run, "hypervolume") == [(1, 0.5), (2, 0.6)]
    assert run.metrics["trials.complete"] == 2
    assert run.metrics["trials.waiting"] == 1
    files = artifacts(sqlite_store, run)
    assert files.keys() == {"config.yaml", "front.html", "front.json", "front.csv"}
    front = json.loads(files["front.json"])["front"]
    runs = trial_runs(sqlite_store, study)
    assert [(entry["trial"], entry["run_id"]) for entry in front] == [
        (1, runs[1].run_id),
        (0, runs[0].run_id),
    ]


@pytest.mark.slow
def test_pages_are_written_now_and_then_and_at_the_end(
    sqlite_store: Any, make_study: MakeStudy, blobs: Blobs
) -> None:
    study = make_study(State.RUNNING, State.WAITING)
    one = mirror(sqlite_store)

    def page() -> list[int]:
        text = artifacts(sqlite_store, study_run(sqlite_store, study))["front.json"]
        return [entry["trial"] for entry in json.loads(text)["front"]]

    one.sync(study, blobs)
    assert page() == []
    half, whole = make_study(State.COMPLETE, State.WAITING), make_study(State.COMPLETE)
    one.sync(replace(half, key=study.key), blobs)
    assert page() == []  # it has just been written
    one.sync(replace(whole, key=study.key), blobs)
    assert page() == [0]  # nothing will change any more


def test_the_experiments_note_leads_to_the_front(
    sqlite_store: Any, make_study: MakeStudy, blobs: Blobs
) -> None:
    study = make_study(State.COMPLETE)
    mirror(sqlite_store).sync(study, blobs)
    (experiment,) = Client(sqlite_store.mlflow).experiments(study.key)
    note = experiment.tags["mlflow.note.content"]
    assert f"runs/{study_run(sqlite_store, study).run_id}/artifacts/front.html" in note
    run = trial_runs(sqlite_store, study)[0]
    path = f"/#/experiments/{experiment.experiment_id}/runs/{run.run_id}/artifacts/why.html?"
    assert f"| [why]({path}" in note
    assert experiment.tags["mlflow.experimentKind"] == "custom_model_development"


@pytest.mark.parametrize(
    ("state", "status"),
    [
        (State.RUNNING, "RUNNING"), (State.COMPLETE, "FINISHED"), (State.STOPPED, "FINISHED"),
        (State.INFEASIBLE, "FINISHED"), (State.FAILED, "FAILED"),
    ],
)  # fmt: skip
def test_states_and_times_are_true(
    sqlite_store: Any, make_study: MakeStudy, blobs: Blobs, state: State, status: str
) -> None:
    study = make_study(state)
    ids = mirror(sqlite_store).sync(study, blobs)
    info = Client(sqlite_store.mlflow).api.get_run(ids[0]).info
    assert info.status == status
    assert info.start_time == 1_700_000_000_000
    assert info.end_time == (1_700_000_050_000 if state.over else None)
    reason = f"{state} for a reason" if state.over and state is not State.COMPLETE else None
    assert trial_runs(sqlite_store, study)[0].tags.get("paring.reason") == reason


def test_a_trial_never_begun_has_no_run(
    sqlite_store: Any, make_study: MakeStudy, blobs: Blobs
) -> None:
    study = make_study(State.WAITING, State.RUNNING)
    assert list(mirror(sqlite_store).sync(study, blobs)) == [1]


def test_a_trial_that_went_back_to_waiting_does_not_stay_running(
    store: Any, make_study: MakeStudy, blobs: Blobs
) -> None:
    study = make_study(State.RUNNING)
    ids = mirror(store).sync(study, blobs)
    waiting = replace(study.trials[0], state=State.WAITING, started=None, epochs=())
    back = replace(study, trials=(waiting,))
    assert mirror(store).sync(back, blobs) == ids
    assert trial_runs(store, study)[0].status == "SCHEDULED"
    again = mirror(store)
    again.sync(study, blobs)
    assert trial_runs(store, study)[0].status == "RUNNING"
    again.sync(with_trials(study, replace(study.trials[0], state=State.FAILED)), blobs)
    assert trial_runs(store, study)[0].status == "FAILED"


def with_trials(study: StudyRecord, *trials: TrialRecord) -> StudyRecord:
    return replace(study, trials=trials)


def test_a_study_that_is_over_is_finished_and_can_go_on(
    sqlite_store: Any, make_study: MakeStudy, blobs: Blobs
) -> None:
    study = make_study(State.COMPLETE, State.FAILED)
    one = mirror(sqlite_store)
    one.sync(study, blobs)
    assert study_run(sqlite_store, study).status == "FINISHED"
    more = replace(study, trials=(*study.trials, make_study(*[State.RUNNING] * 3).trials[2]))
    one.sync(more, blobs)
    assert study_run(sqlite_store, study).status == "RUNNING"
    one.sync(study, blobs)
    assert study_run(sqlite_store, study).status == "FINISHED"


@pytest.mark.slow
@pytest.mark.parametrize("fresh", [False, True], ids=["same process", "new process"])
def test_again_changes_nothing(
    store: Any, make_study: MakeStudy, blobs: Blobs, fresh: bool
) -> None:
    study = make_study(State.COMPLETE, State.RUNNING, State.STOPPED)
    one = mirror(store)
    ids = one.sync(study, blobs)
    before = snapshot(store, study)
    for _ in range(2):
        assert (mirror(store) if fresh else one).sync(study, blobs) == ids
    assert snapshot(store, study) == before


def test_in_step_nothing_is_written(own_store: Any, make_study: MakeStudy, blobs: Blobs) -> None:
    study = make_study(State.COMPLETE, State.RUNNING, State.STOPPED)
    one = mirror(own_store)
    one.sync(study, blobs)
    file = Path(locate(own_store.databases.folder).mlflow.removeprefix("sqlite:///"))
    before = file.read_bytes()
    one.sync(study, blobs)
    mirror(own_store).sync(study, blobs)
    assert file.read_bytes() == before


@pytest.mark.parametrize("fresh", [False, True], ids=["same process", "new process"])
def test_epochs_continue(store: Any, make_study: MakeStudy, blobs: Blobs, fresh: bool) -> None:
    study = make_study(State.RUNNING, epochs=5)
    trial, one = study.trials[0], mirror(store)
    for done in (0, 1, 3, 3, 5):
        one = mirror(store) if fresh else one
        one.sync(with_trials(study, replace(trial, epochs=trial.epochs[:done])), blobs)
    run = trial_runs(store, study)[0]
    assert history(store, run, "loss") == [(step, 1 / step) for step in (1, 2, 3, 4, 5)]
    assert run.tags["paring.epochs"] == "5"
    assert run.tags["paring.bottleneck"] == "conv5"


def test_a_resumed_trial_repeats_no_epoch(
    sqlite_store: Any, make_study: MakeStudy, blobs: Blobs
) -> None:
    study = make_study(State.RUNNING, epochs=5)
    trial = study.trials[0]
    for attempt, begin, done in ((1, 0.0, 4), (2, 500.0, 2), (2, 500.0, 5)):
        now = replace(
            trial,
            attempt=attempt,
            started=(trial.started or 0) + begin,
            epochs=trial.epochs[:done],
        )
        mirror(sqlite_store).sync(with_trials(study, now), blobs)
    run = trial_runs(sqlite_store, study)[0]
    assert [step for step, _ in history(sqlite_store, run, "loss")] == [1, 2, 3, 4, 5]
    assert run.tags["paring.attempt"] == "2"


def test_many_epochs_go_in_several_calls(
    sqlite_store: Any, make_study: MakeStudy, blobs: Blobs
) -> None:
    study = make_study(State.RUNNING, epochs=150)
    mirror(sqlite_store).sync(study, blobs)
    run = trial_runs(sqlite_store, study)[0]
    assert [step for step, _ in history(sqlite_store, run, "macs")] == list(range(1, 151))


@pytest.mark.slow
def test_points_written_but_not_noted_are_not_doubled(
    store: Any, make_study: MakeStudy, blobs: Blobs
) -> None:
    study = make_study(State.COMPLETE)
    ids = mirror(store).sync(study, blobs)
    before = snapshot(store, study)
    api = Client(store.mlflow).api
    for tag in ("paring.epochs", "paring.artifacts", "paring.state"):
        api.delete_tag(ids[0], tag)
    mirror(store).sync(study, blobs)
    assert snapshot(store, study) == before


def test_a_run_created_and_left_is_taken_up(
    store: Any, make_study: MakeStudy, blobs: Blobs
) -> None:
    study = make_study(State.RUNNING, State.RUNNING)
    mirror(store).sync(with_trials(study, study.trials[0]), blobs)
    client = Client(store.mlflow)
    where = client.experiments(study.key)[0].experiment_id
    bare = client.create_run(where, "trial-001", None, trial_identity(study, study.trials[1]))
    assert mirror(store).sync(study, blobs)[1] == bare.run_id
    assert trial_runs(store, study)[1].metrics["score"] == 0.93


def test_of_two_runs_with_one_identity_one_stays(
    store: Any, make_study: MakeStudy, blobs: Blobs
) -> None:
    study = make_study(State.COMPLETE)
    ids = mirror(store).sync(study, blobs)
    client = Client(store.mlflow)
    where = client.experiments(study.key)[0].experiment_id
    client.create_run(where, "trial-000", 1, trial_identity(study, study.trials[0]))
    assert mirror(store).sync(study, blobs) == ids
    assert len(runs(store, study)) == 2


class Breaking(Mapping[str, bytes]):
    """A store that fails on its second read."""

    def __init__(self) -> None:
        self.reads = 0

    def __getitem__(self, digest: str) -> bytes:
        self.reads += 1
        if self.reads == 2:
            raise ConnectionError("the store went away")
        return f"model {digest.rpartition('-')[2]}".encode()

    def __iter__(self) -> Iterator[str]:
        return iter(())

    def __len__(self) -> int:
        return 0


@pytest.mark.slow
def test_a_sync_that_broke_off_is_completed(sqlite_store: Any, make_study: MakeStudy) -> None:
    study, one, broken = make_study(*[State.COMPLETE] * 3), mirror(sqlite_store), Breaking()
    with pytest.raises(ConnectionError):
        one.sync(study, broken)
    assert len(one.sync(study, broken)) == 3
    before = snapshot(sqlite_store, study)
    mirror(sqlite_store).sync(study, broken)
    assert snapshot(sqlite_store, study) == before
    for number, run in trial_runs(sqlite_store, study).items():
        assert run.status == "FINISHED"
        assert artifacts(sqlite_store, run)["model/model.json"] == f"model {number}"
        assert [step for step, _ in history(sqlite_store, run, "loss")] == [1, 2, 3]


def test_a_missing_blob_is_noted_and_supplied_later(
    store: Any, make_study: MakeStudy, blobs: Blobs
) -> None:
    study = make_study(State.COMPLETE)
    one = mirror(store)
    one.sync(study, {})
    run = trial_runs(store, study)[0]
    assert run.tags["paring.warning"] == (
        "not in the store: model/model.json (digest-0), model.safetensors (network-0), "
        "interface.json (interface)"
    )
    assert run.status == "FINISHED"
    one.sync(study, {})
    mirror(store).sync(study, blobs)
    run = trial_runs(store, study)[0]
    assert run.tags["paring.warning"] == ""
    assert artifacts(store, run)["model/model.json"] == "model 0"


@pytest.mark.parametrize("name", ["../escape", "/absolute", "a/../../b", ""])
def test_artifacts_stay_in_their_folder(
    sqlite_store: Any, make_study: MakeStudy, blobs: Blobs, name: str
) -> None:
    study = make_study(State.COMPLETE)
    trial = replace(study.trials[0], files={name: "digest-0"})
    with pytest.raises(ServerError, match="must stay in its folder"):
        mirror(sqlite_store).sync(with_trials(study, trial), blobs)


def test_front_membership_follows_the_front(
    sqlite_store: Any, make_study: MakeStudy, blobs: Blobs
) -> None:
    study = make_study(State.COMPLETE, State.COMPLETE)
    one = mirror(sqlite_store)
    one.sync(study, blobs)
    off = replace(study.trials[0], planes=())
    one.sync(with_trials(study, off, study.trials[1]), blobs)
    tags = trial_runs(sqlite_store, study)[0].tags
    assert (tags["paring.front"], tags["paring.planes"]) == ("false", "")
    text = artifacts(sqlite_store, study_run(sqlite_store, study))["front.json"]
    assert [entry["trial"] for entry in json.loads(text)["front"]] == [1]


def test_counts_may_fall(sqlite_store: Any, make_study: MakeStudy, blobs: Blobs) -> None:
    study = make_study(State.RUNNING, State.RUNNING)
    one = mirror(sqlite_store)
    one.sync(study, blobs)
    one.sync(with_trials(study, study.trials[0]), blobs)
    assert study_run(sqlite_store, study).metrics["trials.running"] == 1


def test_a_deleted_experiment_is_restored(store: Any, make_study: MakeStudy, blobs: Blobs) -> None:
    study = make_study(State.COMPLETE, State.RUNNING)
    one = mirror(store)
    ids = one.sync(study, blobs)
    client = Client(store.mlflow)
    client.api.delete_experiment(client.experiments(study.key)[0].experiment_id)
    assert mirror(store).sync(study, blobs) == ids
    client.api.delete_experiment(client.experiments(study.key)[0].experiment_id)
    grown = with_trials(study, *make_study(State.COMPLETE, State.COMPLETE).trials)
    assert one.sync(grown, blobs) == ids
    assert trial_runs(store, study)[1].status == "FINISHED"


def test_a_deleted_run_is_written_again(
    sqlite_store: Any, make_study: MakeStudy, blobs: Blobs
) -> None:
    study = make_study(State.COMPLETE, State.RUNNING)
    one = mirror(sqlite_store)
    ids = one.sync(study, blobs)
    Client(sqlite_store.mlflow).api.delete_run(ids[1])
    grown = with_trials(study, *make_study(State.COMPLETE, State.COMPLETE).trials)
    after = one.sync(grown, blobs)
    assert after[0] == ids[0]
    assert after[1] != ids[1]
    assert trial_runs(sqlite_store, study)[1].metrics["final.score"] == 0.96


@pytest.mark.slow
@pytest.mark.parametrize("deleted", [False, True])
def test_another_study_of_the_same_name_is_left_alone(
    store: Any, make_study: MakeStudy, blobs: Blobs, deleted: bool
) -> None:
    first = make_study(State.COMPLETE)
    second = make_study(State.COMPLETE, name=first.name)
    third = make_study(State.COMPLETE, name=first.name, key=second.key[:8] + "other")
    mirror(store).sync(first, blobs)
    client = Client(store.mlflow)
    if deleted:
        client.api.delete_experiment(client.experiments(first.key)[0].experiment_id)
    for study in (second, third):
        mirror(store).sync(study, blobs)
        assert len(runs(store, study)) == 2
    names = [client.experiments(study.key)[0].name for study in (first, second, third)]
    short = second.key[:8]
    assert names == [first.name, f"{first.name} ({short})", f"{first.name} ({short}-2)"]


@pytest.mark.slow
def test_a_database_made_anew_gets_the_same(
    postgres_store: Any, sqlite_store: Any, make_study: MakeStudy, blobs: Blobs
) -> None:
    study = make_study(State.COMPLETE, State.RUNNING, State.FAILED)
    one = mirror(postgres_store)
    one.sync(with_trials(study, make_study(State.RUNNING, epochs=1).trials[0]), blobs)
    one.sync(study, blobs)
    mirror(sqlite_store).sync(study, blobs)
    live, rebuilt = snapshot(postgres_store, study), snapshot(sqlite_store, study)
    del live["study"], rebuilt["study"]  # its counts are noted at the time of writing
    assert rebuilt == live


@pytest.mark.slow
def test_a_deleted_file_is_written_anew(
    tmp_path: Path, make_study: MakeStudy, blobs: Blobs
) -> None:
    study = make_study(State.COMPLETE, State.RUNNING)
    found = locate(tmp_path / "paring with a space")
    prepare(found)
    for _ in range(2):
        Mirror(found.mlflow, tmp_path / "a b#c").sync(study, blobs)
        client = Client(found.mlflow)
        (experiment,) = client.experiments(study.key)
        assert len(list(client.runs(experiment.experiment_id, ""))) == 3
        _forget(found.mlflow)
        (tmp_path / "paring with a space" / "mlflow.db").unlink()


def _forget(url: str) -> None:
    """Make MLflow forget its open engine, as the end of the process would."""
    from mlflow.store.tracking.sqlalchemy_store import SqlAlchemyStore
    from mlflow.tracking._tracking_service import utils

    SqlAlchemyStore._engine_map.pop(url).dispose()
    utils._tracking_store_registry._get_store_with_resolved_uri.cache_clear()


@pytest.mark.slow
def test_more_runs_than_a_page(sqlite_store: Any, make_study: MakeStudy) -> None:
    study = make_study(State.RUNNING, epochs=0)
    mirror(sqlite_store).sync(study, {})
    client = Client(sqlite_store.mlflow)
    where = client.experiments(study.key)[0].experiment_id
    for number in range(1, 510):
        trial = replace(study.trials[0], number=number)
        client.create_run(where, f"trial-{number:03d}", number, trial_identity(study, trial))
    more = [
        replace(study.trials[0], number=number, state=State.WAITING, started=None)
        for number in range(1, 510)
    ]
    ids = mirror(sqlite_store).sync(replace(study, trials=(*study.trials, *more)), {})
    assert sorted(ids) == list(range(510))
    assert len(list(client.runs(where, ""))) == 511  # found, none made anew


def test_runs_of_trials_that_the_study_lacks_are_deleted(
    sqlite_store: Any, make_study: MakeStudy
) -> None:
    study = make_study(State.RUNNING, epochs=0)
    mirror(sqlite_store).sync(study, {})
    client = Client(sqlite_store.mlflow)
    where = client.experiments(study.key)[0].experiment_id
    stranger = replace(study.trials[0], number=77)
    client.create_run(where, "trial-077", 1, trial_identity(study, stranger))
    made = mirror(sqlite_store)
    assert sorted(made.sync(study, {})) == [0]
    assert made.written.deleted == 1
    assert len(list(client.runs(where, ""))) == 2


def test_awkward_texts_are_taken(store: Any, make_study: MakeStudy, blobs: Blobs) -> None:
    study = make_study(State.COMPLETE, tags={"odd key!/": "x" * 9000, "": "empty"})
    params = {f"p{i}": i for i in range(230)} | {"long": "ü" * 9000, "was es?": None}
    trial = replace(study.trials[0], params=params, reason="'quoted' \"text\" \N{SNOWMAN}")
    mirror(store).sync(with_trials(study, trial), blobs)
    ids = mirror(store).sync(with_trials(study, trial), blobs)
    run = trial_runs(store, study)[0]
    assert ids == {0: run.run_id}
    assert len(run.params) == 235
    assert run.params["long"] == "ü" * 5000
    assert run.params["was es_"] == "null"
    assert run.tags["paring.reason"] == trial.reason
    assert run.tags["odd key_"] == "x" * 5000


def test_a_loss_that_is_not_a_number_is_shown(
    store: Any, make_study: MakeStudy, blobs: Blobs
) -> None:
    study = make_study(State.FAILED, epochs=2)
    trial = study.trials[0]
    rows = (trial.epochs[0], replace(trial.epochs[1], loss=math.nan, score=math.inf))
    failed = replace(trial, epochs=rows, score=math.nan)
    for _ in range(2):
        mirror(store).sync(with_trials(study, failed), blobs)
    run = trial_runs(store, study)[0]
    assert "final.score" not in run.metrics
    points = history(store, run, "loss")
    assert [step for step, _ in points] == [1, 2]
    assert math.isnan(points[1][1])


def test_a_share_needs_a_budget(make_study: MakeStudy) -> None:
    study = make_study(State.COMPLETE)
    free = replace(study.trials[0].budget, flash_bytes=0)
    costs = Costs(flash_bytes=1, sram_bytes=1, latency_ms=1.0, macs=1)
    wanted = trial_run(study, replace(study.trials[0], budget=free, costs=costs))
    assert [key for key in wanted.finals if "share" in key] == ["final.latency_budget_share"]


def test_points_reach_mlflow_in_calls_it_accepts(sqlite_store: Any, make_study: MakeStudy) -> None:
    study = make_study(State.RUNNING, epochs=0)
    ids = mirror(sqlite_store).sync(study, {})
    client = Client(sqlite_store.mlflow)
    run = trial_runs(sqlite_store, study)[0]
    client.log(run, Entries([Point("many", float(i), i, i) for i in range(1800)]))
    assert len(client.api.get_metric_history(ids[0], "many")) == 1800


def test_a_database_needs_a_folder_for_artifacts() -> None:
    with pytest.raises(ServerError, match="artifact_root"):
        Mirror("sqlite:////tmp/mlflow.db")


def test_a_server_that_is_down_is_reported(
    make_study: MakeStudy, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    with pytest.raises(ServerError, match=r"http://127\.0\.0\.1:1 .*paring serve"):
        Mirror("http://127.0.0.1:1").sync(make_study(), {})


MEASURED = MeasuredRecord(
    core="cortex-m4",
    costs=Costs(flash_bytes=31000, sram_bytes=9000, latency_ms=11.0, macs=1_000_000),
    stack_bytes=400,
    instructions=900_000,
    results=100,
    mismatches=0,
)


def test_what_is_measured_later_reaches_the_front(
    sqlite_store: Any, make_study: MakeStudy, blobs: Blobs
) -> None:
    study = make_study(State.COMPLETE)
    mirror(sqlite_store).sync(study, blobs)
    later = with_trials(study, replace(study.trials[0], measured=MEASURED))
    mirror(sqlite_store).sync(later, blobs)
    text = artifacts(sqlite_store, study_run(sqlite_store, study))["front.json"]
    assert json.loads(text)["front"][0]["costs"]["measured"]["flash_bytes"] == 31000


def test_a_smaller_number_takes_the_place_of_a_larger_one(
    store: Any, make_study: MakeStudy, blobs: Blobs
) -> None:
    study = make_study(State.COMPLETE)
    for flash in (31000, 27000):
        costs = replace(MEASURED.costs, flash_bytes=flash)
        trial = replace(study.trials[0], measured=replace(MEASURED, costs=costs))
        mirror(store).sync(with_trials(study, trial), blobs)
        assert trial_runs(store, study)[0].metrics["measured.flash_bytes"] == flash
    last = mirror(store)
    last.sync(with_trials(study, trial), blobs)
    assert last.written == Written()


def test_a_clock_that_jumps_back_hides_no_count(
    sqlite_store: Any, make_study: MakeStudy, blobs: Blobs, monkeypatch: pytest.MonkeyPatch
) -> None:
    study, done = make_study(State.RUNNING), make_study(State.COMPLETE)
    mirror(sqlite_store).sync(study, blobs)
    now = time.time()
    monkeypatch.setattr("tracking.mlflow.mirror.time.time", lambda: now - 3600)
    mirror(sqlite_store).sync(replace(done, key=study.key), blobs)
    metrics = study_run(sqlite_store, study).metrics
    assert (metrics["trials.running"], metrics["trials.complete"]) == (0, 1)


def test_the_front_names_runs_that_are_there(
    sqlite_store: Any, make_study: MakeStudy, blobs: Blobs
) -> None:
    study = make_study(State.COMPLETE)
    mirror(sqlite_store).sync(study, blobs)
    client = Client(sqlite_store.mlflow)
    client.delete_run(trial_runs(sqlite_store, study)[0])
    ids = mirror(sqlite_store).sync(study, blobs)
    text = artifacts(sqlite_store, study_run(sqlite_store, study))["front.json"]
    assert ids[0] in text


def test_a_trial_that_was_trained_anew_has_no_curves_of_before(
    store: Any, make_study: MakeStudy, blobs: Blobs
) -> None:
    study = make_study(State.COMPLETE)
    mirror(store).sync(study, blobs)
    rows = tuple(replace(row, score=row.score / 2) for row in study.trials[0].epochs)
    anew = with_trials(study, replace(study.trials[0], epochs=rows))
    mirror(store).sync(anew, blobs)
    run = trial_runs(store, study)[0]
    assert history(store, run, "score") == [(1, 0.455), (2, 0.46), (3, 0.465), (4, 0.98)]
    last = mirror(store)
    last.sync(anew, blobs)
    assert last.written == Written()

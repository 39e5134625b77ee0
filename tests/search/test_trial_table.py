"""What two processes see of one study's trials, and how little is read for it."""

from typing import Any

import pytest
from optuna.trial import TrialState

from search.config.spec import Spec
from search.storage.workspace import Workspace
from search.study import create
from search.study.study import Study, require_study
from search.study.trials import add_trials, cancel_waiting, claim, hand_back

pytestmark = pytest.mark.usefixtures("quiet_process")


@pytest.fixture
def both(workspace: Workspace, tiny_spec: Spec) -> tuple[Study, Study]:
    """One study, opened twice."""
    ours = create.prepare(workspace, "a", tiny_spec, 6)
    theirs = require_study(workspace, "a")
    assert [len(study.trials()) for study in (ours, theirs)] == [6, 6]
    return ours, theirs


def states(study: Study) -> list[TrialState]:
    return [trial.state for trial in study.trials()]


WAITING, RUNNING, FAIL = TrialState.WAITING, TrialState.RUNNING, TrialState.FAIL


@pytest.mark.slow
def test_what_another_does_is_seen(both: tuple[Study, Study], tiny_spec: Spec) -> None:
    ours, theirs = both
    trial = claim(theirs)
    assert trial is not None
    assert states(ours) == [RUNNING, *[WAITING] * 5]
    trial.set_user_attr("checkpoint", "digest")
    assert ours.trials()[0].user_attrs["checkpoint"] == "digest"
    assert hand_back(theirs) == [0]
    assert states(ours) == [WAITING] * 6
    assert ours.trials()[0].user_attrs["attempt"] == 1  # waiting, but no longer as it was
    again = claim(ours)
    assert again is not None
    assert theirs.trials()[0].user_attrs["attempt"] == 2
    add_trials(theirs, 8, theirs.budgets, seed=0)
    assert states(ours) == [RUNNING, *[WAITING] * 7]
    assert cancel_waiting(ours) == list(range(1, 8))
    assert states(theirs) == [RUNNING, *[FAIL] * 7]
    assert not theirs.over()
    hand_back(ours)
    assert cancel_waiting(theirs) == [0]
    assert ours.over()


@pytest.mark.slow
def test_trials_that_nobody_has_claimed_are_read_once(
    both: tuple[Study, Study], monkeypatch: pytest.MonkeyPatch
) -> None:
    ours, theirs = both
    backend = ours.optuna._storage._backend  # type: ignore[attr-defined]
    read, reading = [], backend._get_trials

    def counted(*arguments: Any) -> Any:
        found = reading(*arguments)
        read.append([trial.number for trial in found])
        return found

    monkeypatch.setattr(backend, "_get_trials", counted)
    ours.trials()
    trial = claim(theirs)
    ours.trials()
    ours.trials()
    assert trial is not None
    theirs.optuna.tell(trial, state=TrialState.FAIL)
    ours.trials()
    ours.trials()
    assert read == [[], [0], [0], [0], []]


@pytest.mark.slow
def test_a_complete_trial_is_found_by_what_it_ran(both: tuple[Study, Study]) -> None:
    ours, theirs = both
    for run in ("one", "two"):
        trial = claim(theirs)
        assert trial is not None
        trial.set_user_attr("run", run)
        assert ours.table.complete_run(run) is None  # it still runs
        theirs.optuna.tell(trial, [0.5] + [1.0] * (len(theirs.objectives) - 1))
    found = [ours.table.complete_run(run) for run in ("one", "two", "three")]
    assert [trial and trial.number for trial in found] == [0, 1, None]
    assert [trial.number for trial in ours.table.trials(WAITING)] == [2, 3, 4, 5]
    assert not ours.table.any(RUNNING, FAIL)

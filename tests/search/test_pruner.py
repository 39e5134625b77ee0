"""Early stopping with several objectives."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from pruning.budget import Budget
from search.config.schema import StoppingConfig, StorageConfig
from search.config.spec import Spec
from search.errors import ConfigError
from search.results.report import failures, study_record
from search.storage.workspace import open_workspace
from search.study import create
from search.study.pruner import RungPruner, RungReport
from search.worker.worker import work
from tests.benchmarks.curves import RESULTS, with_and_without
from tracking.records import State

TIGHT, LOOSE = Budget(flash_bytes=10, latency_ms=1.0), Budget(flash_bytes=20, latency_ms=1.0)
ASIDE = Budget(flash_bytes=5, latency_ms=9.0)
RUNGS = RungPruner((0.25, 0.5), margin=0.1, min_trials=2)


def test_rungs_are_epochs():
    assert [RUNGS.at(epoch, 16) for epoch in (3, 4, 5, 8, 16)] == [None, 0, None, 1, None]
    assert RUNGS.at(1, 2) == 1  # both rungs end with the first of two epochs
    assert RUNGS.at(1, 1) is None  # it has ended anyhow
    assert RungPruner((), 0.1, 2).at(1, 4) is None


@pytest.mark.parametrize(
    ("own", "other", "stops"),
    [
        ((LOOSE, 0.5), (TIGHT, 0.65), True),
        ((LOOSE, 0.5), (TIGHT, 0.55), False),  # within the margin
        ((LOOSE, 0.5), (LOOSE, 0.65), True),  # an equal budget
        ((TIGHT, 0.5), (LOOSE, 0.9), False),  # a larger one proves nothing
        ((LOOSE, 0.5), (ASIDE, 0.9), False),  # nor one that is larger in something
        ((LOOSE, 0.5), (Budget(), 0.9), False),  # or unlimited
        ((Budget(), 0.5), (LOOSE, 0.9), True),
    ],
)
def test_a_trial_ends_when_another_is_better_with_no_more(own, other, stops):
    mine, theirs = RungReport(0, *own), RungReport(1, *other)
    assert RUNGS.better(mine, [mine, theirs]) == (theirs if stops else None)
    few = RungPruner((0.5,), 0.1, min_trials=3)
    assert few.better(mine, [mine, theirs]) is None


@pytest.mark.parametrize(
    "config",
    [
        StoppingConfig(rungs=[0.0]),
        StoppingConfig(rungs=[1.0]),
        StoppingConfig(rungs=[0.5, 0.2]),
        StoppingConfig(rungs=[0.5, 0.5]),
        StoppingConfig(margin=-0.1),
        StoppingConfig(margin=1.0),
        StoppingConfig(min_trials=1),
    ],
)
def test_rungs_that_make_no_sense(config):
    with pytest.raises(ConfigError, match="stopping"):
        RungPruner.of(config)


def test_on_stored_curves_it_saves_epochs_and_keeps_the_hypervolume():
    """96 trials on the digits, with learning rates from useless to good, replayed."""
    table = json.loads((RESULTS / "curves-digits.json").read_text())
    whole, early = with_and_without(table)
    assert whole.epochs == sum(len(curve["scores"]) for curve in table["curves"])
    assert early.stopped > 0
    assert early.epochs <= 0.6 * whole.epochs
    assert early.hypervolume >= 0.99 * whole.hypervolume


@pytest.mark.slow
@pytest.mark.usefixtures("quiet_process")
def test_a_hopeless_trial_is_not_trained_to_its_end(
    tmp_path: Path, compose_spec: Callable[..., Spec], tiny: list[str]
) -> None:
    workspace = open_workspace(StorageConfig(folder=str(tmp_path / ".paring"), checkpoint_s=0))
    spec = compose_spec(
        *tiny, "shares=[0.7]", "stopping=rungs", "stopping.min_trials=2", "stopping.margin=0.3",
        "trials=8", "sampler=random", "method.phases.finetune_epochs=9",
        "+space={task.optimizer.lr: [1.0e-6, 0.1]}",
    )  # fmt: skip
    study = create.prepare(workspace, "a", spec, None)
    work(workspace.config, "a", threads=1)
    record = study_record(study)
    rates = {trial.number: trial.params["task.optimizer.lr"] for trial in record.trials}
    stopped = [trial for trial in record.trials if trial.state is State.STOPPED]
    assert stopped
    for trial in record.trials:
        assert trial.state in (State.STOPPED, State.COMPLETE)
    for trial in stopped:
        assert rates[trial.number] == 1e-6
        assert "was better by" in trial.reason
        assert trial.score is None
    assert failures(study.trials()) == {}  # it is none

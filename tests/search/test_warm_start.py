"""Which network a trial starts from."""

from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

import pytest

from pruning.budget import Budget
from search.config.schema import StorageConfig
from search.config.spec import Spec
from search.results.report import study_record
from search.storage.workspace import open_workspace
from search.study import create
from search.study.study import require_study
from search.study.trials import claim, hand_back
from search.worker.warm_start import nearest_looser
from search.worker.worker import work

KIB = 1024


def flash(*sizes: float) -> dict[int, Budget]:
    return {number: Budget(flash_bytes=int(size * KIB)) for number, size in enumerate(sizes)}


def test_the_nearest_looser_budget_is_the_least_step_up():
    finished = flash(64, 32, 16, 8)
    assert nearest_looser(Budget(flash_bytes=12 * KIB), finished) == 2
    assert nearest_looser(Budget(flash_bytes=4 * KIB), finished) == 3
    assert nearest_looser(Budget(flash_bytes=64 * KIB), finished) is None
    assert nearest_looser(Budget(flash_bytes=4 * KIB), {}) is None


def test_equal_budgets_are_not_looser_and_the_earliest_of_equals_wins():
    assert nearest_looser(Budget(flash_bytes=8 * KIB), flash(8, 16, 16)) == 1


def test_no_limit_may_be_smaller():
    budget = Budget(flash_bytes=8 * KIB, sram_bytes=8 * KIB)
    finished = {
        0: Budget(flash_bytes=9 * KIB, sram_bytes=7 * KIB),
        1: Budget(flash_bytes=32 * KIB, sram_bytes=8 * KIB),
        2: Budget(flash_bytes=9 * KIB, sram_bytes=16 * KIB),
    }
    assert nearest_looser(budget, finished) == 2


def test_no_limit_at_all_is_the_farthest_of_the_looser_ones():
    budget = Budget(flash_bytes=8 * KIB)
    assert nearest_looser(budget, {0: Budget(), 1: Budget(flash_bytes=999 * KIB)}) == 1
    assert nearest_looser(budget, {0: Budget()}) == 0
    assert nearest_looser(Budget(), {0: Budget(flash_bytes=1)}) is None
    mixed = {0: Budget(sram_bytes=8 * KIB)}  # unlimited flash, but a limit that we have not
    assert nearest_looser(budget, mixed) is None


@pytest.mark.slow
@pytest.mark.usefixtures("quiet_process")
def test_every_trial_starts_from_the_one_before(
    tmp_path: Path, compose_spec: Callable[..., Spec], tiny: list[str]
) -> None:
    """Down a ladder, one worker: widths only fall, and the lineage is on record."""
    workspace = open_workspace(StorageConfig(folder=str(tmp_path / ".paring"), checkpoint_s=0))
    spec = compose_spec(*tiny, "shares=[0.6,0.4,0.3]", "continuation=true")
    create.prepare(workspace, "ladder", spec, None)
    work(workspace.config, "ladder", threads=1)
    trials = study_record(require_study(workspace, "ladder")).trials
    assert [trial.parent for trial in trials] == [None, 0, 1]
    for earlier, later in pairwise(trials):
        assert set(later.widths) <= set(earlier.widths)
        assert all(later.widths[name] <= earlier.widths[name] for name in later.widths)


@pytest.mark.slow
@pytest.mark.usefixtures("quiet_process")
def test_a_trial_keeps_its_parent_for_every_attempt(
    tmp_path: Path, compose_spec: Callable[..., Spec], tiny: list[str]
) -> None:
    """A looser trial that finishes meanwhile does not change where a second attempt starts."""
    workspace = open_workspace(StorageConfig(folder=str(tmp_path / ".paring"), checkpoint_s=0))
    spec = compose_spec(*tiny, "shares=[0.6,0.4]", "continuation=true")
    study = create.prepare(workspace, "ladder", spec, None)
    first, second = claim(study), claim(study)
    assert first is not None
    assert second is not None
    second.set_user_attr("parent", None)  # as its first attempt, beside the first trial, noted
    hand_back(study)
    work(workspace.config, "ladder", threads=1)
    assert [trial.parent for trial in study_record(study).trials] == [None, None]

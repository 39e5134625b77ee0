"""Scores of any metric on one scale, from chance to the best possible."""

from collections.abc import Callable
from pathlib import Path

import pytest

from pruning.budget import RESOURCES
from pruning.errors import PruningError
from search.config.schema import StorageConfig
from search.config.spec import Spec
from search.results.front import hypervolume, points_of
from search.storage.workspace import open_workspace
from search.study import create
from search.study.scale import normalized_score
from search.study.study import require_study
from search.worker.worker import work


@pytest.mark.slow
@pytest.mark.parametrize(("metric", "best"), [("Psnr", 60.0), ("Bounded", 2.0)])
def test_the_hypervolume_of_a_users_metric_is_between_0_and_1(
    metric: str, best: float, compose_spec: Callable[..., Spec], tiny: list[str],
    tmp_path: Path, quiet_process: None,
) -> None:  # fmt: skip
    own = [f"task.metric._target_=tests.search.scores.{metric}", "stopping=rungs", "trials=2"]
    own += ["data.train=512", "method.phases.dense_epochs=6", "method.phases.finetune_epochs=4"]
    workspace = open_workspace(StorageConfig(folder=str(tmp_path)))
    create.prepare(workspace, "own", compose_spec(*tiny, *own), None)
    work(workspace.config, "own", threads=1)
    study = require_study(workspace, "own")
    facts, points = study.facts, points_of(study.trials(), study.facts.device_limits)
    assert len(points) == 2
    assert facts.best == best
    chance, dense = facts.chance, facts.dense_cost
    volume = hypervolume(points, dense, chance, best)
    gains = [normalized_score(point.score, chance, best) for point in points]
    boxes = [
        share * _product(1 - getattr(p.cost, n) / getattr(dense, n) for n in RESOURCES)
        for share, p in zip(gains, points, strict=True)
    ]
    assert all(0 < share <= 1 for share in gains)
    assert max(boxes) - 1e-9 <= volume <= sum(boxes) + 1e-9
    assert 0 < volume < 1
    rungs = [v for trial in study.trials() for k, v in trial.user_attrs.items() if "rung/" in k]
    assert all(share <= 1 for share in rungs)


def _product(numbers) -> float:
    result = 1.0
    for number in numbers:
        result *= number
    return result


@pytest.mark.parametrize("best", ["null", "-60"])
def test_a_metric_that_does_not_say_its_best_score_is_refused(
    best: str, compose_spec: Callable[..., Spec], tiny: list[str], tmp_path: Path
) -> None:
    own = ["task.metric._target_=tests.search.scores.Psnr", f"+task.metric.best={best}"]
    reason = "psnr of 7.* the best possible one is -60" if best == "-60" else "attribute `best`"
    with pytest.raises(Exception, match=reason) as caught:
        create.prepare(
            open_workspace(StorageConfig(folder=str(tmp_path))),
            "own",
            compose_spec(*tiny, *own),
            None,
        )
    assert isinstance(caught.value, PruningError) or best == "-60"

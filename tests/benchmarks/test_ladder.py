"""The table of the ladder benchmark says what the studies hold."""

import json
from pathlib import Path

import pytest

from tests.benchmarks.ladder import SWEEPS, Front, foreseen, relative_cost, table
from tracking.explanation import Explanation
from tracking.records import (
    RESOURCES,
    Costs,
    DenseRecord,
    EpochRow,
    Limits,
    State,
    StudyRecord,
    TrialRecord,
)
from tracking.tables import front_object

COSTS = Costs(flash_bytes=10, sram_bytes=10, latency_ms=1.0, macs=10)


def row(seconds: float) -> EpochRow:
    return EpochRow(
        epoch=1,
        phase="prune",
        loss=1.0,
        score=0.5,
        costs=COSTS,
        bottleneck="x",
        seconds=seconds,
    )


def study(*scores: float) -> StudyRecord:
    trials = tuple(
        TrialRecord(
            number=number, state=State.COMPLETE, attempt=1, seed=0, score=score, test_score=0.5,
            budget=Limits(flash_bytes=2048 >> number, sram_bytes=1024, latency_ms=20.0),
            epochs=(row(10.0), row(5.0)),
        )
        for number, score in enumerate(scores)
    )  # fmt: skip
    return StudyRecord(
        name="x", key="k", metric="accuracy", scores_rise=True, precision="int8", config="",
        tags={}, trials=trials, hypervolumes=(0.1, 0.25),
        dense=(DenseRecord(score=0.8, costs=COSTS, train_seconds=60.0),),
    )  # fmt: skip


def front(*scores: float) -> Front:
    """The stored front of a study, none of whose trials another one beats."""
    whole = study(*scores)
    return json.loads(json.dumps(front_object(whole, {}, whole.trials)))


def test_the_table_has_a_row_for_each_budget():
    lines = table({"cifar10-a": front(0.7, 0.6), "cifar10-b": front(0.75, 0.65)}).splitlines()
    assert lines[0] == "| budget: flash / SRAM / latency | a | b |"
    assert lines[2:4] == [
        "| 2 KiB / 1 KiB / 20 ms | 70.0 (50.0) | 75.0 (50.0) |",
        "| 1 KiB / 1 KiB / 20 ms | 60.0 (50.0) | 65.0 (50.0) |",
    ]
    assert lines[4] == "| hypervolume | 0.2500 | 0.2500 |"
    assert lines[5] == "| training in all, dense = 1 | 1.50 | 1.50 |"  # 60 + 2 x 15 by 60


def test_training_counts_the_dense_network_once():
    assert relative_cost(front(0.7)) == pytest.approx(1.25)


def test_a_trial_that_is_on_no_front_leaves_its_cell_empty():
    beaten = front(0.7, 0.6)
    beaten = {**beaten, "front": beaten["front"][:1]}
    lines = table({"cifar10-a": front(0.7, 0.6), "cifar10-b": beaten}).splitlines()
    assert lines[3] == "| 1 KiB / 1 KiB / 20 ms | 60.0 (50.0) |  |"
    assert lines[5] == "| training in all, dense = 1 | 1.50 |  |"  # its seconds are not known


def test_prices_are_compared_with_what_was_seen():
    trials = study(0.7, 0.6, 0.4).trials  # flash halves from each to the next
    why = [
        Explanation(bottlenecks={}, prices=dict.fromkeys(RESOURCES, 0.0) | {"flash_bytes": p},
                    groups=())
        for p in (1e-4, 2e-4, 8e-4)
    ]  # fmt: skip
    lines = foreseen(trials, why).splitlines()
    # per doubling of flash: 0.2048 on both sides of the first, 0.2048 and 0.4096 of the second
    assert lines[2] == "| 0 | 1 | 0.1420 | 10.00 |"
    assert lines[3] == "| 1 | 2 | 0.2129 | 20.00 |"
    assert lines[-1].endswith("correlation 1.00")


@pytest.mark.slow
@pytest.mark.usefixtures("quiet_process")
def test_the_sweeps_are_accepted(tmp_path: Path, capsys, monkeypatch):
    """As Hydra composes them: a setting that does not exist would be refused."""
    from search.cli.main import main

    monkeypatch.chdir(tmp_path)
    for name, overrides in SWEEPS.items():
        words = ["paring", "sweep", f"study={name}", "experiment=cifar10", *overrides]
        monkeypatch.setattr("sys.argv", [*words, "data.folder=nowhere"])
        with pytest.raises(SystemExit) as end:
            main()
        assert end.value.code == 2
        assert "nowhere" in capsys.readouterr().err

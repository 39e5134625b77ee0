import csv
import io
import json
from collections.abc import Callable
from dataclasses import replace

import pytest

from tracking import Limits, State, StudyRecord, front_csv, front_object, front_rows
from tracking.tables import bounds, duration, size, work

MakeStudy = Callable[..., StudyRecord]


def test_the_three_tables_agree(make_study: MakeStudy) -> None:
    study = make_study(State.COMPLETE, State.COMPLETE, State.STOPPED)
    rows = front_rows(study)
    assert [row["trial"] for row in rows] == [1, 0]  # the smallest flash first
    assert rows[1]["flash_bytes"] == 30000
    assert rows[1]["budget_flash_bytes"] == 32768
    assert rows[1]["budget_sram_bytes"] is None
    whole = json.loads(json.dumps(front_object(study, {0: "r0"})))
    assert whole["schema"] == "paring.front/1"
    assert [(entry["trial"], entry["run_id"]) for entry in whole["front"]] == [
        (1, None),
        (0, "r0"),
    ]
    assert whole["front"][1]["costs"]["estimated"]["flash_bytes"] == 30000
    assert whole["front"][1]["costs"]["measured"] is None
    assert [entry["train_seconds"] for entry in whole["front"]] == [6.0, 6.0]  # 3 epochs of 2 s
    assert whole["dense"]["train_seconds"] == 90.0
    assert whole["trials"]["complete"] == 2
    assert whole["trials"]["stopped"] == 1
    table = list(csv.DictReader(io.StringIO(front_csv(study))))
    assert [int(row["trial"]) for row in table] == [1, 0]
    assert json.loads(table[1]["widths"]) == {"stem": 8, "stage1.conv": 4}


def test_an_empty_front_is_an_empty_table(make_study: MakeStudy) -> None:
    study = make_study(State.RUNNING)
    assert (front_rows(study), front_csv(study)) == ([], "trial\n")
    assert front_object(study, {})["front"] == []


def test_trials_without_a_finite_score_are_on_no_front(make_study: MakeStudy) -> None:
    study = make_study(State.COMPLETE)
    for score in (None, float("nan")):
        trial = replace(study.trials[0], score=score)
        assert front_rows(replace(study, trials=(trial,))) == []


@pytest.mark.parametrize(
    ("shown", "expected"),
    [
        (size(None), "\u2013"), (size(12), "12 B"), (size(1024), "1 KiB"),
        (size(100_000), "97.7 KiB"), (size(1023 * 1024), "1023 KiB"),
        (size(3 << 20), "3 MiB"), (duration(0.01234), "0.0123 ms"),
        (duration(12345), "12345 ms"),
        (work(999), "999"), (work(12_300_000), "12.3 M"), (work(2_000_000_000), "2 G"),
        (bounds(Limits()), "none"), (bounds(Limits(sram_bytes=2048)), "2 KiB SRAM"),
    ],
)  # fmt: skip
def test_numbers_as_people_read_them(shown: str, expected: str) -> None:
    assert shown == expected

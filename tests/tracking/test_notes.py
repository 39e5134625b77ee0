"""What MLflow's pages say of a study in words."""

from collections.abc import Callable
from dataclasses import replace

from tracking import DeviceRecord, Limits, State, StudyRecord
from tracking.notes import experiment_note

MakeStudy = Callable[..., StudyRecord]

DEVICES = (
    DeviceRecord(
        name="large", limits=Limits(flash_bytes=1 << 20, sram_bytes=1 << 18, latency_ms=1)
    ),
    DeviceRecord(name="small", limits=Limits(flash_bytes=16_000, sram_bytes=5_000)),
    DeviceRecord(name="tiny", limits=Limits(flash_bytes=100, sram_bytes=5_000)),
)


def test_the_note_names_the_best_model_for_every_device(make_study: MakeStudy) -> None:
    study = make_study(*[State.COMPLETE] * 3, State.FAILED, known_devices=DEVICES)
    lines = experiment_note(study, paths={0: "/zero", 1: "/one"}).splitlines()
    found = [line for line in lines if line.startswith("- ")]
    assert found == [
        "- **tiny** (100 B flash, 4.88 KiB SRAM): no model fits",
        "- **small** (15.6 KiB flash, 4.88 KiB SRAM): accuracy 0.9600, [slot 1](/one)",
        "- **large** (1 MiB flash, 256 KiB SRAM): accuracy 0.9800, [slot 0](/zero)",
    ]


def test_of_scores_that_fall_the_least_is_best(make_study: MakeStudy) -> None:
    study = make_study(*[State.COMPLETE] * 3, known_devices=DEVICES[:1], scores_rise=False)
    assert "accuracy 0.9400, slot 2" in experiment_note(study)


def test_the_front_is_a_table_of_links_that_stays_short(make_study: MakeStudy) -> None:
    study = make_study(*[State.COMPLETE] * 20)
    note = experiment_note(study, paths=dict.fromkeys(range(20), "/run"))
    rows = [line for line in note.splitlines() if line.startswith("| [slot")]
    assert len(rows) == 12
    assert rows[0] == "| [slot 19](/run) | 0.6000 | 1.46 KiB | 450 B | 0.6 ms |"
    assert "and 8 mores" not in note
    assert "and 8 more" in note


def test_nothing_finished_has_no_table(make_study: MakeStudy) -> None:
    note = experiment_note(make_study(State.RUNNING, known_devices=DEVICES))
    assert "|" not in note
    assert "- **" not in note


def test_a_dominated_slot_may_still_be_the_best_that_fits(make_study: MakeStudy) -> None:
    study = make_study(State.COMPLETE, State.COMPLETE, known_devices=DEVICES[1:2])
    hidden = replace(study, slots=(study.slots[0], replace(study.slots[1], planes=())))
    assert "slot 1" in experiment_note(hidden)

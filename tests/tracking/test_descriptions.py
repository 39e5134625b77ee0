"""What MLflow's pages say of a study in words."""

from collections.abc import Callable
from dataclasses import replace

from markdown_it import MarkdownIt

from tests.tracking.outline import EVIL
from tracking import DeviceRecord, Limits, PickRecord, State, StudyRecord, TrialRecord
from tracking.mlflow.descriptions import experiment_note, trial_note

MakeStudy = Callable[..., StudyRecord]


def pick(name: str, flash: int, trial: int | None) -> PickRecord:
    limits = Limits(flash_bytes=flash, sram_bytes=5_000, latency_ms=1)
    device = DeviceRecord(name=name, limits=limits)
    return PickRecord(device=device, trial=trial, words=f"device={name}")


PICKS = (pick("tiny", 100, None), pick("small", 16_000, 1), pick("large", 1 << 20, 0))


def rendered(text: str) -> tuple[set[str], str]:
    """What Markdown makes of a text: its kinds of elements, and the words in them."""
    markdown = MarkdownIt("commonmark", {"html": True}).enable("table")
    markdown.validateLink = bool  # type: ignore[method-assign]
    tokens = [t for block in markdown.parse(text) for t in (block, *(block.children or []))]
    return {t.type for t in tokens}, "".join(t.content for t in tokens if t.type == "text")


def test_the_note_names_the_best_model_for_every_device(make_study: MakeStudy) -> None:
    study = make_study(*[State.COMPLETE] * 3, State.FAILED, picks=PICKS)
    lines = experiment_note(study, "7", {0: "zero", 1: "one"}).splitlines()
    end = "?workflowType=machine_learning)"
    assert [line for line in lines if line.startswith("- ")] == [
        "- **tiny** (100 B flash, 4.88 KiB SRAM): no model fits",
        "- **small** (15.6 KiB flash, 4.88 KiB SRAM): accuracy 0.9600, "
        f"[trial 1](/#/experiments/7/runs/one{end}",
        "- **large** (1 MiB flash, 4.88 KiB SRAM): accuracy 0.9800, "
        f"[trial 0](/#/experiments/7/runs/zero{end}",
    ]


def test_devices_with_one_best_model_share_a_line(make_study: MakeStudy) -> None:
    picks = (*PICKS, pick("larger", 1 << 21, 0))
    note = experiment_note(make_study(*[State.COMPLETE] * 3, picks=picks))
    assert "**large** (1 MiB flash, 4.88 KiB SRAM), **larger** (2 MiB" in note
    assert note.count("\n- ") == 3


def test_the_front_is_a_table_of_links_that_stays_short(make_study: MakeStudy) -> None:
    study = make_study(*[State.COMPLETE] * 20)
    note = experiment_note(study, "7", dict.fromkeys(range(20), "run"))
    rows = [line for line in note.splitlines() if "[why](" in line]
    assert len(rows) == 8
    assert rows[0].startswith("| 19 | 0.6000 | 1.46 KiB | 450 B | 0.6 ms | [why](/#/")
    assert "/runs/run/artifacts/why.html?" in rows[0]
    assert "and 12 more\n" in note


def test_the_longest_note_is_one_that_mlflow_takes(make_study: MakeStudy) -> None:
    picks = tuple(pick(f"stm32f{400 + n}", 1000 << n, n) for n in range(16))
    study = make_study(*[State.COMPLETE] * 20, picks=picks)
    ids = {number: f"{number:032}" for number in range(20)}
    assert len(experiment_note(study, "123456789", ids, "0" * 32)) < 5000


def test_nothing_finished_has_no_table(make_study: MakeStudy) -> None:
    note = experiment_note(make_study(State.RUNNING, picks=PICKS))
    assert "|" not in note
    assert "- **" not in note


def test_a_note_begins_with_a_sentence_without_marks(make_study: MakeStudy) -> None:
    """MLflow's list of experiments shows the source of a note, but only its beginning."""
    study = make_study(*[State.COMPLETE] * 3, picks=PICKS, name="har_2-a.b")
    first = experiment_note(study, "7", {0: "zero"}, "study").split("\n\n")[0]
    assert first == (
        "Sweep har_2-a.b: one network pruned under 3 budgets, in 3 runs, for stm32f446."
    )


def test_hostile_names_stay_words(make_study: MakeStudy) -> None:
    evil = f"{EVIL}\n# a\n[x](javascript:alert(1))|"
    seen = " ".join(evil.split())
    device = DeviceRecord(name=evil, limits=Limits(flash_bytes=1, sram_bytes=1))
    study = make_study(State.COMPLETE, State.FAILED, metric=evil, precision=evil, device=device,
                       picks=(replace(PICKS[1], device=device, trial=0),))  # fmt: skip
    kinds, words = rendered(experiment_note(study))
    assert not {"html_inline", "html_block", "link_open", "image", "heading_open"} & kinds
    assert words.count(seen) == 6  # three times the metric, twice the device, the precision


def test_the_reason_of_a_failure_stays_words(make_study: MakeStudy) -> None:
    study = make_study(State.FAILED)
    trial: TrialRecord = replace(study.trials[0], reason=f"# oops\n{EVIL} *b* [x](y)")
    kinds, words = rendered(trial_note(study, trial))
    assert kinds <= {"paragraph_open", "paragraph_close", "inline", "text"}
    assert words.endswith(f"# oops {EVIL} *b* [x](y)")

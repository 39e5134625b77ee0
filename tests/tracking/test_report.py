"""The report for a colleague: what it says, and that it prints."""

import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from playwright.sync_api import Page

from tests.tracking.evaluations import classification, detection, pair, regression
from tests.tracking.outline import Outline
from tracking import Costs, Limits, State, StudyRecord, TrialRecord
from tracking.errors import PrintingError
from tracking.pages import printing
from tracking.pages.front_picture import BOTTOM, HEIGHT, LEFT, RIGHT, TOP, WIDTH, front_pictures
from tracking.pages.printing import browser as browser_program
from tracking.pages.printing import printed
from tracking.pages.report import DataRecord, ReportRecord, report_page
from tracking.records import MeasuredRecord

MakeStudy = Callable[..., StudyRecord]
ASKED = Limits(flash_bytes=20_480, sram_bytes=12_288, latency_ms=20.0)
REPORT = ReportRecord(
    data=DataRecord(
        name="digits", digest="feed" * 16, splits={"train": 1079, "validation": 359, "test": 359},
        shape=(1, 8, 8), dtype="uint8", classes=tuple("0123456789"),
    ),
    asked=ASKED,
    held=ASKED,
    command="paring pick study=har device=stm32f446 budget.flash=20KiB",
    version="0.1.0",
)  # fmt: skip


@pytest.fixture
def study(make_study: MakeStudy) -> StudyRecord:
    return replace(
        make_study(*[State.COMPLETE] * 4, State.FAILED), name="har", best=1.0, chance=0.2
    )


def texts(page: str) -> str:
    """The words of a page, without its elements."""
    return " ".join(re.sub(r"<[^>]+>", " ", page.partition("</style>")[2]).split())


def test_it_says_what_was_asked_what_was_chosen_and_how_to_have_it(study: StudyRecord) -> None:
    trial = replace(study.trials[1], test_score=0.95, params={"rate": 0.1})
    said = texts(report_page(study, trial, REPORT))
    for words in (
        "har: a model for stm32f446",
        "Trial 1 has the best accuracy within the limits: 0.9600 on validation and 0.9500 on test",
        "14.6 KiB of flash, 4.39 KiB of SRAM and 6 ms on stm32f446",
        "limits 20 KiB flash, 12 KiB SRAM, 20 ms latency",
        "5 trials: 4 complete, 1 failed",
        "samples 1,079 train, 359 validation, 359 test",
        "1 x 8 x 8, uint8",
        "feed" * 16,
        "paring pick study=har device=stm32f446 budget.flash=20KiB",
        "paring rerun study=har trial=1",
        "seed 41", "rate=0.1", "0123abc",
        "unpruned network, on validation 0.9850",
        "a constant answer, on validation 0.2000",
        "It was trained with one seed",
        "1 trial failed or was cancelled",
        "model: resnet8",
    ):  # fmt: skip
        assert words in said


def test_each_cost_stands_by_its_source(study: StudyRecord) -> None:
    costs = Costs(flash_bytes=15_100, sram_bytes=4_600, latency_ms=6.25, macs=250_000)
    measured = MeasuredRecord(
        core="cortex-m4", costs=costs, stack_bytes=300, instructions=10**6, results=8, mismatches=0
    )
    trial = replace(study.trials[1], planned_sram_bytes=4_504, measured=measured)
    page = report_page(study, trial, REPORT)
    rows = re.findall(r"<th scope='row' class='text'>(\w+)</th>(.*?)</tr>", page, re.DOTALL)
    cells = {name: re.findall(r"<td>([^<]*)</td>", row) for name, row in rows}
    assert cells["Flash"] == ["20 KiB", "14.6 KiB", "\u2013", "14.7 KiB", "96 KiB"]
    assert cells["SRAM"] == ["12 KiB", "4.39 KiB", "4.4 KiB", "4.49 KiB", "20 KiB"]
    assert cells["Latency"] == ["20 ms", "6 ms", "\u2013", "6.25 ms", "40 ms"]
    said = texts(page)
    assert "0 of 8 results differ from those it was scored with" in said
    assert "Instructions were counted on an emulated core, not on a board." in said


@pytest.mark.parametrize(
    ("evaluations", "words"),
    [
        (pair(classification), "Class by class, on test (30 samples)"),
        (pair(regression), "angle 0.5 0.45 0.3 0.4"),
        (pair(detection), "anomalies detected 0.8000 false alarms 0.2000"),
        ({}, "Which classes it confuses was not shown"),
    ],
)
def test_the_evidence_is_that_of_its_task(
    study: StudyRecord, evaluations: dict[str, object], words: str
) -> None:
    trial: TrialRecord = replace(study.trials[0], evaluations=evaluations)  # type: ignore[arg-type]
    assert words in texts(report_page(study, trial, REPORT))


def test_a_share_of_samples_has_its_interval(study: StudyRecord) -> None:
    """Wilson's interval, by its definition: the shares that lie 1.96 deviations away."""
    trial = replace(study.trials[0], score=0.7, evaluations=pair(classification))
    said = texts(report_page(study, trial, REPORT))
    match = re.search(r"0\.7000 \((0\.\d+) to (0\.\d+), 95 %, by 30 samples alone\)", said)
    assert match is not None
    for end in map(float, match.groups()):
        assert abs(0.7 - end) == pytest.approx(1.96 * (end * (1 - end) / 30) ** 0.5, abs=1e-4)
    regressed = replace(trial, evaluations=pair(regression))
    assert "samples alone" not in texts(report_page(study, regressed, REPORT))


@pytest.mark.parametrize("crowded", [True, False])
def test_the_pictures_lie_within_their_frames(study: StudyRecord, crowded: bool) -> None:
    scores = (1.0, 0.999, 0.99, 0.3) if crowded else (0.9, 0.7, 0.5, 0.3)
    trials = [replace(t, score=s) for t, s in zip(study.trials, scores, strict=False)]
    changed = replace(study, trials=tuple(trials))
    for picture in front_pictures(changed, trials[1], ASKED):
        points = [*picture.front, *picture.dominated, picture.chosen, *picture.dense]
        for point in points:
            assert point is not None
            assert LEFT <= point[0] <= WIDTH - RIGHT
            assert TOP <= point[1] <= HEIGHT - BOTTOM
        assert picture.chosen in picture.front
        by_cost = [y for _, y in sorted(picture.front)]
        assert by_cost == sorted(by_cost, reverse=True)  # a larger network is better: higher up
        ticks = [tick.at for tick in picture.y_ticks]
        assert len(ticks) >= 3
        assert len({tick.text for tick in picture.y_ticks}) == len(ticks)
        shown = {float(tick.text) for tick in picture.y_ticks}
        assert max(shown) <= 1


def test_the_page_needs_nothing_and_runs_nothing(study: StudyRecord) -> None:
    page = report_page(study, study.trials[0], REPORT)
    elements = Outline(page).elements
    assert not [tag for tag, attrs in elements if tag == "script" or attrs.get("src")]
    assert not [attrs for _, attrs in elements if attrs.get("href")]
    assert len(page) < 60_000


@pytest.mark.slow
@pytest.mark.browser
@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [400, 1280])
def test_it_is_readable(
    study: StudyRecord, browser: Page, tmp_path: Path, scheme: str, width: int
) -> None:
    trial = replace(study.trials[0], evaluations=pair(classification))
    (tmp_path / "report.html").write_text(report_page(study, trial, REPORT))
    browser.emulate_media(color_scheme=scheme)  # type: ignore[arg-type]
    browser.set_viewport_size({"width": width, "height": 800})
    browser.goto((tmp_path / "report.html").as_uri())
    assert browser.evaluate("document.documentElement.scrollWidth - innerWidth") <= 0
    ground = browser.evaluate("getComputedStyle(document.querySelector('.card')).backgroundColor")
    assert ground == ("rgb(255, 255, 255)" if scheme == "light" else "rgb(28, 35, 43)")


@pytest.mark.slow
@pytest.mark.browser
def test_it_is_printed_on_a4(study: StudyRecord) -> None:
    try:
        program = browser_program()
    except PrintingError as error:
        pytest.skip(str(error))
    trial = replace(study.trials[0], evaluations=pair(classification))
    pdf = printed(report_page(study, trial, REPORT), program)
    assert pdf.startswith(b"%PDF-")
    boxes = re.findall(rb"/MediaBox \[0 0 ([\d.]+) ([\d.]+)\]", pdf)
    assert 1 <= len(boxes) <= 4
    for wide, high in boxes:
        assert (float(wide), float(high)) == pytest.approx((595, 842), abs=1.5)


def test_without_a_browser_the_cure_is_said(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(PrintingError, match=r"none of chromium, .* is installed.*format=html"):
        browser_program()


def test_a_browser_that_does_not_print_is_an_error(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    broken = tmp_path / "chromium"
    broken.write_text("#!/bin/sh\necho no display >&2\nexit 3\n")
    broken.chmod(0o755)
    with pytest.raises(PrintingError, match="did not print the page: no display; write"):
        printed("<p>", str(broken))
    monkeypatch.setattr(printing, "_TIMEOUT_S", 0.2)
    broken.write_text("#!/bin/sh\nexec sleep 5\n")
    with pytest.raises(PrintingError, match="timed out"):
        printed("<p>", str(broken))

"""What the pages tell of kernels and epochs: read, drawn, and refused where damaged."""

import json
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Page

from tests.tracking.outline import EVIL, Outline
from tracking import DamagedError, Limits, State, StudyRecord, TrialRecord, why_page
from tracking.pages.curves import curves_card
from tracking.pages.kernel_table import usage_card
from tracking.profile import PROFILE, read_profile

MakeStudy = Callable[..., StudyRecord]
Entry = dict[str, Any]


def kernel(name: str, channels: int, flash: int, ms: float, **live: int) -> Entry:
    return {
        "name": name, "kind": "conv", "fused": ["batch_norm"], "shape": [channels, 8, 8],
        "flash_bytes": flash, "macs": 10 * flash, "latency_ms": ms, "live_bytes": 0,
        "live": live, "reads": ["a"], "writes": "b",
    }  # fmt: skip


def stored() -> Entry:
    """A network of three kernels, of which two are left."""
    return {
        "before": [
            kernel("stem", 16, 400, 2.0, a=64, b=1024),
            kernel("branch", 16, 900, 4.0, a=1024, b=1024),
            kernel("head", 10, 100, 1.0, a=1024, b=10),
        ],
        "after": [
            kernel("stem", 4, 100, 0.5, a=64, b=256, held=80),
            kernel("head", 10, 40, 0.25, a=256, b=10),
        ],
    }


def card(entry: Entry, sram: int | None = 500) -> str:
    return usage_card(read_profile(json.dumps(entry).encode()), Limits(sram_bytes=sram))


def rows(text: str) -> list[str]:
    return re.findall("<tr.*?</tr>", text.partition("<tbody>")[2], re.DOTALL)


def test_what_is_stored_is_read() -> None:
    profile = read_profile(json.dumps(stored() | {"more": 1}).encode())
    assert [line.name for line in profile.before] == ["stem", "branch", "head"]
    assert profile.after[0].live == {"a": 64, "b": 256, "held": 80}
    assert profile.after[0].live_bytes == 400


BAD_COUNTS = (None, -1, 1.5, True, "9", [9], 1 << 60)
BAD = [
    *(("name", value) for value in (None, 3, ["a"])),
    *(("shape", value) for value in (None, 3, "3", {"a": 1}, [], [None], [-1])),
    *(("flash_bytes", value) for value in BAD_COUNTS),
    *(("latency_ms", value) for value in (None, "1", True, 1e400)),
    *(("live", value) for value in (None, 3, ["a"], *({"a": bad} for bad in BAD_COUNTS))),
    *(("reads", value) for value in (None, "a", {"a": 1}, [3])),
]


@pytest.mark.parametrize(("place", "value"), BAD, ids=map(repr, BAD))
def test_what_is_damaged_is_refused(place: str, value: object) -> None:
    entry = stored()
    entry["after"][1][place] = value
    with pytest.raises(DamagedError, match=r"profile\.json does not tell what a network takes"):
        read_profile(json.dumps(entry).encode())


@pytest.mark.parametrize("content", [b"", b"[]", b"{}", b'{"before": []}', b"\xff"])
def test_what_is_no_profile_is_refused(content: bytes) -> None:
    with pytest.raises(DamagedError, match=re.escape(PROFILE)):
        read_profile(content)


def test_each_kernel_shows_its_memory_against_the_limit() -> None:
    stem, head, gone = rows(card(stored()))
    widths = re.findall(r"class='(\w+)' style='(?:width|left):([\d.]+)%", stem)
    shares = {"writes": "51.2", "reads": "12.8", "waits": "16", "limit": "100"}
    assert {part: share for part, share in widths if part in shares} == shares
    assert "class='peak'" in stem  # the bottleneck
    assert "class='peak'" not in head
    assert "<span class='dim'>16 →</span> 4\u00d78\u00d78" in stem
    assert "10\u00d78\u00d78" in head
    assert "16\u00d78\u00d78 → gone" in gone
    assert "before pruning: memory 1.06 KiB, flash 400 B, 2 ms" in stem


def test_a_limit_far_away_is_only_mentioned() -> None:
    text = card(stored(), sram=100_000)
    assert "class='limit'" not in text
    assert "limit on SRAM: 97.7 KiB" in text
    assert "limit on SRAM" not in card(stored(), sram=None)


def test_a_kernel_without_flash_or_time_has_no_bar() -> None:
    entry = stored()
    entry["after"][1] |= {"flash_bytes": 0, "latency_ms": 0.0}
    assert rows(card(entry))[1].count("taken") == 0


def trial(make_study: MakeStudy, epochs: int = 3) -> TrialRecord:
    return make_study(State.COMPLETE, epochs=epochs).trials[0]


def test_curves_shade_the_phases_and_draw_costs_against_their_limits(
    make_study: MakeStudy,
) -> None:
    text = curves_card(trial(make_study, 6), "accuracy")
    assert text.count("<svg") == 3
    assert text.count("<title>prune</title>") == text.count("<title>fine-tune</title>") == 3
    lines = re.findall(r"<polyline points='(.*?)'.*?<title>(.*?)</title>", text)
    assert [name for _, name in lines] == [
        "accuracy on validation", "training loss", "flash", "latency"
    ]  # fmt: skip
    assert all(len(points.split()) == 6 for points, _ in lines)
    score = [float(point.partition(",")[2]) for point in lines[0][0].split()]
    assert score == sorted(score, reverse=True)  # it rises: y counts from above


@pytest.mark.parametrize("low", [1e-9, 0.0, -1e6, 1e6])
@pytest.mark.parametrize("span", [0.0, 1e-6, 1.0, 1e9])
def test_curves_of_any_reach_stay_on_the_chart(
    make_study: MakeStudy, low: float, span: float
) -> None:
    made = trial(make_study, 5)
    changed = [replace(row, loss=low + span * i / 4) for i, row in enumerate(made.epochs)]
    text = curves_card(replace(made, epochs=tuple(changed)), "accuracy")
    points = re.findall(r"points='(.*?)'", text)[1].split()
    assert all(20 <= float(point.partition(",")[2]) <= 190 for point in points)
    labels = re.findall(r"text-anchor='end'>(.*?)</text>", text)
    assert 2 <= len(labels) <= 27


def test_a_loss_that_is_no_number_leaves_a_gap(make_study: MakeStudy) -> None:
    made = trial(make_study, 4)
    broken = replace(made.epochs[2], loss=float("nan"))
    text = curves_card(replace(made, epochs=(*made.epochs[:2], broken, made.epochs[3])), "accuracy")
    assert "nan" not in text
    assert curves_card(replace(made, epochs=made.epochs[:1]), "accuracy") == ""


def test_nothing_from_outside_becomes_an_element(make_study: MakeStudy) -> None:
    def elements(text: str) -> list[tuple[str, list[str]]]:
        study, entry = make_study(State.COMPLETE), stored()
        entry["after"][0] |= {"name": text, "kind": text, "live": {text: 9}, "fused": [text]}
        rows = tuple(replace(row, phase=text) for row in study.trials[0].epochs)
        page = why_page(
            replace(study, metric=text),
            replace(study.trials[0], epochs=rows),
            {PROFILE: json.dumps(entry).encode()},
        )
        return [(tag, list(attrs)) for tag, attrs in Outline(page).elements]

    assert elements(EVIL) == elements("x" * len(EVIL))


@pytest.mark.slow
@pytest.mark.browser
def test_a_browser_draws_the_bars_in_proportion(
    make_study: MakeStudy, tmp_path: Path, browser: Page
) -> None:
    study = make_study(State.COMPLETE)
    contents = {PROFILE: json.dumps(stored()).encode()}
    limited = replace(study.trials[0], budget=Limits(sram_bytes=500))
    (tmp_path / "why.html").write_text(why_page(study, limited, contents))
    browser.goto((tmp_path / "why.html").as_uri())
    widths = browser.evaluate(
        """() => [...document.querySelectorAll(".usage tr.peak .track")].map(track =>
        [track, ...track.querySelectorAll("i:not(.limit)")].map(
            one => one.getBoundingClientRect().width))"""
    )
    memory, flash, latency = widths
    assert memory[1:] == pytest.approx([memory[0] * part for part in (0.512, 0.128, 0.16)], abs=1)
    assert flash[0] == pytest.approx(flash[1], abs=1)
    assert latency[0] == pytest.approx(latency[1], abs=1)
    assert browser.locator("polyline").count() == 3
    edge = "document.documentElement.scrollWidth - innerWidth"
    assert browser.evaluate(edge) <= 0

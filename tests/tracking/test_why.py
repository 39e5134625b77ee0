import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import plotly.graph_objects
import pytest

from tests.tracking.outline import EVIL, Outline
from tracking import (
    DamagedError,
    Explanation,
    Limits,
    State,
    StudyRecord,
    read_explanation,
    why_page,
)
from tracking.bars import groups_figure, shortened
from tracking.explanation import PRICED, Reason

MakeStudy = Callable[..., StudyRecord]
Entry = dict[str, Any]


def group(name: str, before: int, after: int, reason: str, worth: float | None = None) -> Entry:
    cost = None if worth is None else 0.04
    return {"name": name, "before": before, "after": after, "reason": reason,
            "worth": worth, "cost": cost}  # fmt: skip


def stored() -> Entry:
    """What the engine wrote: SRAM binds, flash does not, nothing else is limited."""
    return {
        "bottlenecks": {name: [f"{name}.old", f"{name}.new"] for name in PRICED},
        "prices": {"flash_bytes": 6.7e-11, "sram_bytes": 0.0005},
        "groups": [
            group("input", 1, 1, "fixed"),
            group("stem.conv", 16, 9, "balanced", 0.04),
            group("one.conv", 32, 32, "whole", 0.07),
            group("two.conv", 64, 0, "vanished"),
            group("three.conv", 64, 1, "least", 0.01),
        ],
    }


def read(entry: Any) -> Explanation:
    return read_explanation(json.dumps(entry).encode())


def page(study: StudyRecord, entry: Entry, budget: Limits | None = None) -> str:
    limits = budget or Limits(flash_bytes=40960, sram_bytes=2048)
    return why_page(study, replace(study.slots[0], budget=limits), read(entry))


def test_what_is_stored_is_read() -> None:
    found = read(stored())
    assert found.bottlenecks["macs"] == ("macs.old", "macs.new")
    assert found.prices == stored()["prices"]
    assert [one.reason for one in found.groups] == [
        Reason.FIXED, Reason.BALANCED, Reason.WHOLE, Reason.VANISHED, Reason.LEAST
    ]  # fmt: skip
    assert (found.groups[1].before, found.groups[1].after) == (16, 9)
    assert (found.groups[1].worth, found.groups[0].worth) == (0.04, None)


def test_what_a_later_version_adds_is_passed_over() -> None:
    entry = stored() | {"more": 1}
    entry["groups"] = [one | {"more": 1} for one in entry["groups"]]
    entry["prices"] = entry["prices"] | {"energy_mj": 1.0}
    assert read(entry) == read(stored())


def broken(*path: str | int, value: Any) -> Entry:
    whole = here = stored()
    for key in path[:-1]:
        here = here[key]  # type: ignore[index]
    here[path[-1]] = value  # type: ignore[index]
    return whole


@pytest.mark.parametrize(
    "entry",
    [
        None, [], "text", 1, {}, {"groups": []},
        broken("bottlenecks", value=[]),
        broken("bottlenecks", value={}),
        broken("bottlenecks", "macs", value=["one"]),
        broken("bottlenecks", "macs", value=[1, 2]),
        broken("prices", value="flash_bytes"),
        broken("prices", "sram_bytes", value="dear"),
        broken("prices", "sram_bytes", value=float("nan")),
        broken("prices", "sram_bytes", value=10**400),
        broken("groups", value=3),
        broken("groups", 0, value="input"),
        broken("groups", 0, value={}),
        broken("groups", 1, "name", value=None),
        broken("groups", 1, "before", value=8),  # fewer than after
        broken("groups", 1, "after", value=-1),
        broken("groups", 1, "after", value=9.5),
        broken("groups", 1, "reason", value="whim"),
        broken("groups", 1, "worth", value=float("inf")),
        broken("groups", 1, "worth", value=True),
    ],
)  # fmt: skip
def test_what_is_no_explanation_is_refused(entry: Any) -> None:
    with pytest.raises(DamagedError, match=r"explanation\.json is no explanation"):
        read(entry)


@pytest.mark.parametrize("content", [b"", b"{", b"\xff\xfe", b"[" * 200_000])
def test_what_is_no_json_is_refused(content: bytes) -> None:
    with pytest.raises(DamagedError):
        read_explanation(content)


def test_limits_are_compared_by_what_the_same_share_of_each_saves() -> None:
    entry = stored()
    entry["prices"] = {"flash_bytes": 1e-5, "latency_ms": 0.3}  # 0.4 and 0.3
    pressures = read(entry).pressures({"flash_bytes": 40_000, "latency_ms": 1.0})
    assert pressures == {"flash_bytes": pytest.approx(0.4), "latency_ms": pytest.approx(0.3)}


def test_what_a_solver_leaves_where_nothing_binds_is_nothing() -> None:
    pressures = read(stored()).pressures({"flash_bytes": 40960, "sram_bytes": 2048})
    assert pressures == {"flash_bytes": 0.0, "sram_bytes": pytest.approx(1.024)}


def test_the_page_says_what_each_limit_costs(make_study: MakeStudy) -> None:
    text = page(make_study(State.COMPLETE), stored())
    for words in (
        "slot 0: why this network looks as it does",
        "accuracy 0.9800 (int8-simulated, validation)",
        "<tr><td class='text'>flash</td><td>96 KiB</td><td>29.3 KiB</td><td>40 KiB</td>"
        "<td class='dim'>0, does not bind</td>",
        "<tr class=most><td class='text'>SRAM<span class='badge'>costs most</span></td>"
        "<td>20 KiB</td><td>8.79 KiB</td><td>2 KiB</td><td>0.512 per KiB</td><td>0.0102</td>",
        "<td class='text' title='sram_bytes.old'>sram_bytes.old</td>",
        "<td class='text' title='sram_bytes.new'>sram_bytes.new</td>",
        "The limit on SRAM costs most:</b> at the margin, 0.512 of modelled training loss",
        "not a measured accuracy",
        "<b>estimated</b>",
        "<b>modelled</b>",
    ):
        assert words in text
    assert text.count("costs most</span>") == 1
    assert text.count("no limit") == 2


@pytest.mark.parametrize(
    ("name", "price", "words"),
    [
        ("flash_bytes", 0.001, "1.02 per KiB"),
        ("latency_ms", 0.25, "0.25 per ms"),
        ("macs", 7.65e-6, "7.65 per million MACs"),
    ],
)
def test_prices_are_in_units_of_people(
    make_study: MakeStudy, name: str, price: float, words: str
) -> None:
    text = page(make_study(State.COMPLETE), stored() | {"prices": {name: price}})
    assert f"<td>{words}</td>" in text


@pytest.mark.parametrize("prices", [{"flash_bytes": 0.0}, {"flash_bytes": 1e-11}, {}])
def test_the_page_says_when_nothing_binds(make_study: MakeStudy, prices: Entry) -> None:
    text = page(make_study(State.COMPLETE), stored() | {"prices": prices})
    assert "Nothing binds:" in text
    assert "costs most" not in text


def test_each_group_is_an_outline_filled_in_the_colour_of_its_reason() -> None:
    figure = groups_figure(read(stored()))
    before, after = figure["data"]
    assert (before["x"], after["x"]) == ([1, 16, 32, 64, 64], [1, 9, 32, 0, 1])
    assert before["y"] == after["y"] == figure["layout"]["yaxis"]["tickvals"]
    assert len(set(after["marker"]["color"])) == 5
    assert before["marker"]["line"]["color"] == after["marker"]["color"]
    assert before["text"] == ["1", "9 of 16", "32", "0 of 64", "1 of 64"]
    low, high = figure["layout"]["yaxis"]["range"]
    assert low > high  # the first group is at the top


def test_the_hover_says_why_in_words() -> None:
    texts = groups_figure(read(stored()))["data"][0]["hovertext"]
    for words in ("<b>stem.conv</b>", "16 channels before, 9 after (56%)",
                  "balanced: its next channel is worth what it costs",
                  "worth 0.04 and costs 0.04", "modelled training loss"):  # fmt: skip
        assert words in texts[1]
    assert "worth" not in texts[0]
    assert "vanished: " in texts[3]


def many(count: int) -> Entry:
    names = [f"backbone.features.stage{i}.inverted_residual.expand.conv" for i in range(count)]
    return stored() | {"groups": [group(name, 320, 7, "balanced", 0.1) for name in names]}


def test_the_page_grows_with_the_groups() -> None:
    heights = [groups_figure(read(many(count)))["layout"]["height"] for count in (8, 60)]
    assert (heights[1] - heights[0]) % 52 == 0
    assert heights[1] > 60 * 20


def test_long_names_are_cut_but_stay_apart_and_whole_in_the_hover() -> None:
    entry = many(60)
    figure = groups_figure(read(entry))
    labels = figure["layout"]["yaxis"]["ticktext"]
    assert len(set(labels)) == 60
    assert max(map(len, labels)) <= 36
    for text, one in zip(figure["data"][0]["hovertext"], entry["groups"], strict=True):
        assert one["name"] in text


def test_a_long_name_keeps_both_ends() -> None:
    long = "first" + 60 * "x" + "last"
    label = shortened([long, "short"])
    assert label["short"] == "short"
    assert label[long].startswith("firstx")
    assert label[long].endswith("xlast")
    assert len(label[long]) == 36


@pytest.mark.parametrize("count", [0, 1, 60])
def test_plotly_accepts_the_figure(make_study: MakeStudy, count: int) -> None:
    plotly.graph_objects.Figure(groups_figure(read(many(count))))
    found = Outline(page(make_study(State.COMPLETE), many(count)))
    assert set(json.loads(found.figures)) == {"groups"}


def test_the_page_needs_nothing_from_elsewhere(make_study: MakeStudy) -> None:
    elements = Outline(page(make_study(State.COMPLETE), stored())).elements
    assert not [attrs for _, attrs in elements if attrs.get("src") or attrs.get("href")]


def test_nothing_from_outside_becomes_an_element(make_study: MakeStudy) -> None:
    study = make_study(State.COMPLETE)
    entry = stored()
    entry["groups"][1]["name"] = EVIL
    entry["bottlenecks"]["macs"] = [EVIL, EVIL]
    evil = replace(study, name=EVIL, metric=EVIL, precision=EVIL)
    clean, dirty = Outline(page(study, stored())), Outline(page(evil, entry))
    assert [tag for tag, _ in dirty.elements] == [tag for tag, _ in clean.elements]
    assert "<script" not in dirty.figures
    assert "<img" not in json.dumps(json.loads(dirty.figures))


def test_a_slot_without_a_dense_network_or_device(make_study: MakeStudy) -> None:
    study = make_study(State.COMPLETE, dense=None, device=None)
    assert "<td class='text'>flash</td><td>\u2013</td><td>29.3 KiB</td>" in page(
        study, stored()
    )


@pytest.mark.slow
@pytest.mark.browser
def test_a_browser_draws_a_bar_for_each_group(
    make_study: MakeStudy, tmp_path: Path, chromium: Any
) -> None:
    (tmp_path / "why.html").write_text(page(make_study(State.COMPLETE), stored()))
    drawn = chromium.page((tmp_path / "why.html").as_uri())
    assert drawn.count('class="point"') == 2 * 5
    assert "9 of 16" in drawn

import json
import re
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from playwright.sync_api import Page

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
from tracking.explanation import EXPLANATION, PRICED, Reason
from tracking.pages.labels import shortened

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
    contents = {EXPLANATION: json.dumps(entry).encode()}
    return why_page(study, replace(study.trials[0], budget=limits), contents)


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
        "trial 0: why this network looks as it does",
        "accuracy 0.9800 (int8-simulated, validation)",
        "<tr><td class='text'>flash</td><td>96 KiB</td><td>29.3 KiB</td><td>40 KiB</td>"
        "<td class='dim'>0, does not bind</td>",
        "<tr class='most'><td class='text'>SRAM<span class='badge'>costs most</span></td>"
        "<td>20 KiB</td><td>8.79 KiB</td><td>2 KiB</td><td>0.512 per KiB</td><td>0.0102</td>",
        "title='before: sram_bytes.old\nafter: sram_bytes.new'><div>sram_bytes.old</div>"
        "<div>→ sram_bytes.new</div></td>",
        "The limit on SRAM costs most:</b> at the margin, 0.512 of modelled training loss",
        "not a measured accuracy",
        "<b>estimated</b>",
        "<b>modelled</b>",
    ):
        assert words in text
    assert text.count("costs most</span>") == 1
    assert text.count("no limit") == 2


@pytest.mark.parametrize(
    ("flash_bytes", "words"),
    [(40960, "0, does not bind"), (30020, "0, filled by rounding")],  # 30,000 are taken
)
def test_a_limit_without_a_price_is_slack_or_was_filled(
    make_study: MakeStudy, flash_bytes: int, words: str
) -> None:
    limits = Limits(flash_bytes=flash_bytes, sram_bytes=2048)
    text = page(make_study(State.COMPLETE), stored(), limits)
    assert [line for line in ("0, does not bind", "0, filled by rounding") if line in text] == [
        words
    ]


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


@dataclass
class Row:
    """A channel group as the page shows it; bars in shares of their column, 0 to 1."""

    reason: str
    title: str
    cells: list[str] = field(default_factory=list)
    before: float = 0.0
    after: float = 0.0


class Rows(HTMLParser):
    """The rows of channel groups: those of the other table have no title."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.rows: list[Row] = []
        self.inside = False
        self.feed(page)
        for row in self.rows:  # space around a text is not shown
            row.cells[:] = [cell.strip() for cell in row.cells]

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        has = {name: value or "" for name, value in attrs}
        if tag == "tr" and "title" in has:
            self.rows.append(Row(has["class"], has["title"]))
            self.inside = True
        elif self.inside and tag == "td":
            self.rows[-1].cells.append("")
        elif self.inside and tag == "div":
            share = float(has["style"].removeprefix("width:").removesuffix("%")) / 100
            whole = 1.0 if has["class"] == "before" else self.rows[-1].before
            setattr(self.rows[-1], has["class"], share * whole)

    def handle_endtag(self, tag: str) -> None:
        self.inside = self.inside and tag != "tr"

    def handle_data(self, data: str) -> None:
        if self.inside and self.rows[-1].cells:
            self.rows[-1].cells[-1] += data


@pytest.fixture
def rows(make_study: MakeStudy) -> Callable[[Entry], list[Row]]:
    return lambda entry: Rows(page(make_study(State.COMPLETE), entry)).rows


MakeRows = Callable[[Entry], list[Row]]


def test_each_group_is_an_outline_filled_in_network_order(rows: MakeRows) -> None:
    shown = rows(stored())
    assert [row.before for row in shown] == [
        pytest.approx(count / 64, rel=1e-3) for count in (1, 16, 32, 64, 64)
    ]
    assert [row.after for row in shown] == [
        pytest.approx(count / 64, rel=1e-3) for count in (1, 9, 32, 0, 1)
    ]
    assert [row.cells for row in shown] == [
        ["input", "", "1", "100%", "fixed", "\u2013", "\u2013"],
        ["stem.conv", "", "9 of 16", "56%", "balanced", "0.04000", "0.04000"],
        ["one.conv", "", "32", "100%", "whole", "0.07000", "0.04000"],
        ["two.conv", "", "0 of 64", "0%", "vanished", "\u2013", "\u2013"],
        ["three.conv", "", "1 of 64", "2%", "least", "0.01000", "0.04000"],
    ]


def test_each_reason_has_a_colour_and_a_legend(make_study: MakeStudy) -> None:
    text = page(make_study(State.COMPLETE), stored())
    colors = dict(re.findall(r"^\.(\w+) { --reason: (#\w{6}); }$", text, re.MULTILINE))
    assert set(colors) == set(Reason)
    assert len(set(colors.values())) == 5
    for reason in Reason:
        assert f"<b>1 {reason}</b>" in text
    assert "<b>3 balanced</b>" in page(make_study(State.COMPLETE), many(3))


def test_a_row_says_why_in_words(rows: MakeRows) -> None:
    titles = [row.title for row in rows(stored())]
    assert titles[1].split("\n") == [
        "stem.conv",
        "16 channels before, 9 after (56%)",
        "balanced: its next channel is worth what it costs",
        "one channel more is worth 0.04 and costs 0.04",
        "(modelled training loss)",
    ]
    assert "worth" not in titles[0]
    assert "vanished: " in titles[3]


@pytest.mark.parametrize(
    ("after", "share"),
    [(0, "0%"), (1, "<1%"), (10, "1%"), (990, "99%"), (999, ">99%"), (1000, "100%")],
)
def test_a_little_is_not_shown_as_none_nor_most_as_all(
    rows: MakeRows, after: int, share: str
) -> None:
    (row,) = rows(stored() | {"groups": [group("a", 1000, after, "balanced")]})
    assert row.cells[3] == share


@pytest.mark.parametrize(
    ("worths", "shown"),
    [
        ((0.01066, 0.00034, 4e-5, 1e-9), ("0.01066", "0.00034", "0.00004", "0")),
        ((12.0, 0.5, 0.0, -1.0), ("12.00", "0.50", "0", "0")),
        ((0.0,), ("0",)),
        ((123456.0,), ("123456",)),
    ],
)
def test_amounts_have_as_many_decimals_in_every_row(
    rows: MakeRows, worths: tuple[float, ...], shown: tuple[str, ...]
) -> None:
    groups = [group(str(worth), 8, 4, "least", worth) | {"cost": 0.0} for worth in worths]
    assert tuple(row.cells[5] for row in rows(stored() | {"groups": groups})) == shown


def many(count: int) -> Entry:
    names = [f"backbone.features.stage{i}.inverted_residual.expand.conv" for i in range(count)]
    return stored() | {"groups": [group(name, 320, 7, "balanced", 0.1) for name in names]}


@pytest.mark.parametrize("count", [0, 1, 60])
def test_there_is_a_row_for_each_group(rows: MakeRows, count: int) -> None:
    assert len(rows(many(count))) == count


def test_a_group_without_channels_has_no_bar(rows: MakeRows) -> None:
    (row,) = rows(stored() | {"groups": [group("a", 0, 0, "vanished")]})
    assert (row.before, row.after, row.cells[2:4]) == (0, 0, ["0", "\u2013"])


@pytest.mark.parametrize(("count", "limit"), [(10, 20_000), (60, 60_000), (100, 100_000)])
def test_the_page_is_small(make_study: MakeStudy, count: int, limit: int) -> None:
    assert len(page(make_study(State.COMPLETE), many(count)).encode()) < limit


def test_long_names_are_cut_but_stay_apart_and_can_be_read_whole(
    make_study: MakeStudy, rows: MakeRows
) -> None:
    entry = many(60)
    text = page(make_study(State.COMPLETE), entry)
    labels = re.findall("<summary>(.*?)</summary>", text)
    assert len(set(labels)) == 60
    assert max(map(len, labels)) <= 28
    for row, one in zip(rows(entry), entry["groups"], strict=True):
        assert one["name"] in row.title
        assert one["name"] in row.cells[0]  # where there is no mouse


def test_a_long_name_keeps_both_ends() -> None:
    long = "first" + 60 * "x" + "last"
    label = shortened([long, "short"], 36)
    assert label["short"] == "short"
    assert label[long].startswith("firstx")
    assert label[long].endswith("xlast")
    assert len(label[long]) == 36


@pytest.mark.parametrize(
    ("names", "labels"),
    [
        (["stage.body.one.conv", "stage.body.two.conv"], ["…one.conv", "…two.conv"]),
        (["stage.body.one.conv"], ["stage…conv"]),  # alone it has nothing in common
        (["stage.body.conv", "stage.body.conv.1"], ["…conv", "…conv.1"]),
        (["stage.a.one.two.conv", "stage.b.one.two.conv"], ["…a.one…conv", "…b.one…conv"]),
        (["a.zzzzzzz1zzzz.conv", "a.zzzzzzz2zzzz.conv"], ["…zzzzzzz1zz…", "…zzzzzzz2zz…"]),
        (["short", "short"], ["short", "short"]),
    ],
)
def test_what_long_names_begin_with_in_common_goes_first(
    names: list[str], labels: list[str]
) -> None:
    found = shortened(names, 12)
    assert [found[name] for name in names] == labels


def test_the_page_needs_nothing_from_elsewhere_and_no_script(make_study: MakeStudy) -> None:
    text = page(make_study(State.COMPLETE), many(60))
    elements = Outline(text).elements
    assert not [attrs for _, attrs in elements if attrs.get("src") or attrs.get("href")]
    assert not [name for _, attrs in elements for name in attrs if name.startswith("on")]
    assert not {tag for tag, _ in elements} & {"script", "link", "iframe", "object", "embed"}
    assert not re.search(r"@import|url\(|https?:", text)


def test_nothing_from_outside_becomes_an_element(make_study: MakeStudy) -> None:
    def elements(text: str) -> list[tuple[str, list[str]]]:
        study = replace(make_study(State.COMPLETE), name=text, metric=text, precision=text)
        entry = stored()
        entry["groups"][1]["name"] = text
        entry["bottlenecks"]["macs"] = [text, f"{text}2"]
        found = page(study, entry)
        assert Rows(found).rows[1].title.startswith(f"{text}\n")
        assert text in Rows(found).rows[1].cells[0]
        return [(tag, list(attrs)) for tag, attrs in Outline(found).elements]

    assert elements(EVIL) == elements("x" * len(EVIL))


def test_a_trial_without_a_dense_network_or_device(make_study: MakeStudy) -> None:
    study = make_study(State.COMPLETE, dense=(), device=None)
    assert "<td class='text'>flash</td><td>\u2013</td><td>29.3 KiB</td>" in page(study, stored())


def test_a_limit_is_full_where_its_margin_begins(make_study: MakeStudy) -> None:
    study = make_study(State.COMPLETE)  # takes 30,000 bytes of flash
    trial = replace(
        study.trials[0],
        budget=Limits(flash_bytes=33_000, sram_bytes=20_000),
        held=Limits(flash_bytes=30_100, sram_bytes=20_000),
    )
    shown = why_page(study, trial, {EXPLANATION: json.dumps(stored()).encode()})
    assert "0, filled by rounding" in shown
    assert "<td>32.2 KiB</td>" in shown  # the limit is still the one that was asked for
    assert (
        "Estimates are held to less than the limits (flash to 29.4 KiB), so that what is "
        "measured stays within them."
    ) in shown
    plainly = why_page(
        study, replace(trial, held=None), {EXPLANATION: json.dumps(stored()).encode()}
    )
    assert "0, does not bind" in plainly
    assert "Estimates are held" not in plainly


MEASURE = """() => {
const look = element => element && {
  width: element.getBoundingClientRect().width, inner: element.clientWidth,
  color: getComputedStyle(element).backgroundColor, edge: getComputedStyle(element).borderColor,
  image: getComputedStyle(element).backgroundImage};
const rows = [...document.querySelectorAll("tr[title]")].map(row => ({
  column: row.querySelector(".bars").clientWidth - 16,  // within its padding
  before: look(row.querySelector(".before")), after: look(row.querySelector(".after"))}));
return {rows, over: document.documentElement.scrollWidth - innerWidth};
}"""


@pytest.mark.slow
@pytest.mark.browser
def test_a_browser_draws_a_bar_for_each_group(
    make_study: MakeStudy, tmp_path: Path, browser: Page
) -> None:
    (tmp_path / "why.html").write_text(page(make_study(State.COMPLETE), stored()))
    browser.goto((tmp_path / "why.html").as_uri())
    drawn = browser.evaluate(MEASURE)
    assert drawn["over"] <= 0  # nothing is beyond the right edge
    for row, one in zip(drawn["rows"], stored()["groups"], strict=True):
        before, after = row["before"], row["after"]
        assert row["column"] > 500
        assert before["width"] == pytest.approx(row["column"] * one["before"] / 64, abs=1.5)
        assert ("gradient" in before["image"]) == (one["reason"] == "vanished")
        if not one["after"]:
            assert after is None
            continue
        inside = before["inner"] * one["after"] / one["before"]
        assert after["width"] == pytest.approx(inside, abs=1.5)
        assert after["color"] == before["edge"]
    edges = {row["before"]["edge"] for row in drawn["rows"]}
    assert len(edges) == 5


@pytest.mark.slow
@pytest.mark.browser
def test_a_table_that_is_too_wide_has_a_shadow_where_it_goes_on(
    make_study: MakeStudy, tmp_path: Path, browser: Page
) -> None:
    """At an edge beyond which there is more, and only there."""
    (tmp_path / "why.html").write_text(page(make_study(State.COMPLETE), stored()))
    browser.goto((tmp_path / "why.html").as_uri())
    assert shadows(browser, tmp_path) == (False, False)
    browser.set_viewport_size({"width": 400, "height": 800})
    assert shadows(browser, tmp_path) == (False, True)
    browser.locator(".limits").evaluate("element => { element.scrollLeft = 60 }")
    assert shadows(browser, tmp_path) == (True, True)
    browser.locator(".limits").evaluate("element => { element.scrollLeft = 9999 }")
    assert shadows(browser, tmp_path) == (True, False)


def shadows(browser: Page, folder: Path) -> tuple[bool, bool]:
    """Whether the first table is shaded at its left and right edge, in the last row."""
    browser.locator(".limits").screenshot(path=folder / "limits.png")
    with Image.open(folder / "limits.png") as image:
        pixels = image.convert("L")
        y = pixels.height - 8
        edges = [[pixels.getpixel((x, y)) for x in reach] for reach in
                 (range(1, 4), range(pixels.width - 4, pixels.width - 1))]  # fmt: skip
    return tuple(max(edge) < 235 for edge in edges)  # type: ignore[return-value]

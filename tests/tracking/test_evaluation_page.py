"""The page on what a network answers: its numbers, its pictures, and how it looks in a browser."""

import base64
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from playwright.sync_api import Page

from tests.tracking.evaluations import (
    classification,
    detection,
    many_classes,
    pair,
    picture,
    regression,
)
from tests.tracking.outline import Outline
from tracking import Evaluation, State, StudyRecord
from tracking.evaluation import Classification
from tracking.pages.evaluation import evaluation_page
from tracking.tables import DASH

MakeStudy = Callable[..., StudyRecord]
Make = Callable[[str], Evaluation]
MAKERS = (classification, many_classes, regression, detection)


def page_of(make_study: MakeStudy, make: Make, why: str | None = None) -> str:
    study = make_study(State.COMPLETE)
    trial = replace(study.trials[0], evaluations=pair(make), test_score=0.75)
    return evaluation_page(study, trial, why)


def texts(page: str) -> str:
    """What a page says, without its markup."""
    body = page.split("</head>")[1]
    return re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", body))


def test_the_matrix_has_counts_and_shares_of_both_splits(make_study: MakeStudy) -> None:
    page = page_of(make_study, classification)
    said = texts(page)
    assert said.count("cat 7 70 % 2 20 % 1 10 %") == 2
    assert said.count("owl 2 20 % 8 80 %") == 2
    assert "accuracy samples whose answer is right 73.3 % 73.3 %" in said
    assert "accuracy 0.9800 on validation, 0.7500 on test" in said
    assert "2 of 10 samples of cat are taken for dog" in page


def test_the_table_has_every_class(make_study: MakeStudy) -> None:
    said = texts(page_of(make_study, classification))
    assert "cat 10 77.8 % 70.0 % dog (2) 10 77.8 % 70.0 % dog (2)" in said
    assert "owl 10 66.7 % 80.0 % cat (2)" in said


def test_of_many_classes_the_most_confused_come_first(make_study: MakeStudy) -> None:
    page = page_of(make_study, many_classes)
    said = texts(page)
    first = "often taken for samples of the class class 98 class 99 3 30.0 %"
    assert said.index(first) < said.index("All 100 classes")
    squares = [path for path in re.findall(r" d='([^']+)'", page) if "h1v1h-1z" in path]
    drawn = {tuple(map(int, one)) for path in squares for one in re.findall(r"M(\d+) (\d+)h", path)}
    assert drawn == {(answer, target) for target, answer, _ in many_classes().cells}
    assert "class 57 10 77.8 % 70.0 %" in said


@pytest.mark.parametrize("classes", [2, 20, 21, 100])
def test_a_page_stays_small(make_study: MakeStudy, classes: int) -> None:
    def make(split: str) -> Classification:
        return classification(split, tuple(map(str, range(classes))), mistakes=20)

    assert len(page_of(make_study, make)) < 160_000


def test_mistakes_have_the_pictures_that_are_stored(make_study: MakeStudy) -> None:
    outline = Outline(page_of(make_study, classification))
    pictures = [attributes["src"] or "" for tag, attributes in outline.elements if tag == "img"]
    prefix = "data:image/png;base64,"
    assert [base64.b64decode(one.removeprefix(prefix)) for one in pictures] == [picture().png] * 2
    lines = [attributes["points"] for tag, attributes in outline.elements if tag == "polyline"]
    assert len(lines) == 2 * 2  # two channels of one signal, on each split
    assert lines[0] == "0.0,45.0 40.0,73.7 80.0,4.0 120.0,53.2"


def test_numbers_and_anomalies(make_study: MakeStudy) -> None:
    said = texts(page_of(make_study, regression))
    assert "bias mean of answer less target 0.3 0.3" in said
    assert "root mean square of answer less target 0.5 0.5" in said
    assert "-1 0.5 off by 1.5" in said
    said = texts(page_of(make_study, detection))
    assert "0.3 chosen 20.0 % 80.0 % 80.0 % 20.0 % 80.0 % 80.0 %" in said
    assert f"0.9 0.0 % 0.0 % {DASH} 0.0 % 0.0 % {DASH}" in said
    assert "4 mistakes of 20 samples" in said


def test_one_split_alone_has_a_page(make_study: MakeStudy) -> None:
    study = make_study(State.COMPLETE)
    for make in MAKERS:
        trial = replace(study.trials[0], evaluations={"validation": make("validation")})
        page = evaluation_page(study, trial)
        assert "Validation" in page
        assert ">Test" not in page


@pytest.mark.parametrize("make", MAKERS)
def test_nothing_is_fetched_and_nothing_runs(make_study: MakeStudy, make: Make) -> None:
    page = page_of(make_study, make, "why.html")
    outline = Outline(page)
    assert not {"script", "link", "iframe"} & {tag for tag, _ in outline.elements}
    places = [
        attributes[name] or ""
        for _, attributes in outline.elements
        for name in ("src", "href")
        if name in attributes
    ]
    assert {place for place in places if not place.startswith("data:image/png")} == {"why.html"}
    assert "http" not in page.replace("http-equiv", "")


FAULTS = """() => {
  const seen = element => element.checkVisibility();
  const ink = text => text.match(/[\\d.]+/g).map(Number);
  const wide = [...document.querySelectorAll(".wide")].filter(
    one => one.scrollWidth > one.clientWidth + 1);
  return {
    over: document.documentElement.scrollWidth - innerWidth,
    unreachable: wide.filter(one => one.tabIndex !== 0 || !one.getAttribute("aria-label")).length,
    unnamed: [...document.querySelectorAll("img, svg[role=img]")].filter(
      one => !(one.alt || one.getAttribute("aria-label"))).length,
    broken: [...document.images].filter(one => !one.complete || one.naturalWidth === 0).length,
    small: [...document.querySelectorAll("td, th, p, figcaption, small")].filter(
      one => seen(one) && parseFloat(getComputedStyle(one).fontSize) < 10).length,
    page: ink(getComputedStyle(document.body).backgroundColor),
    text: ink(getComputedStyle(document.body).color),
    pixels: [...document.images].map(one => getComputedStyle(one).imageRendering),
    columns: [...document.querySelectorAll(".splits")].map(
      one => getComputedStyle(one).gridTemplateColumns.split(" ").length),
  };
}"""


@pytest.mark.slow
@pytest.mark.browser
@pytest.mark.parametrize("make", MAKERS)
def test_in_a_browser_it_fits_any_width_and_both_schemes(
    make_study: MakeStudy, make: Make, tmp_path: Path, browser: Page
) -> None:
    requests: list[str] = []
    browser.on("request", lambda request: requests.append(request.url))
    errors: list[str] = []
    browser.on("pageerror", lambda error: errors.append(str(error)))
    (tmp_path / "evaluation.html").write_text(page_of(make_study, make, "why.html"))
    address = (tmp_path / "evaluation.html").as_uri()
    for scheme in ("light", "dark"):
        browser.emulate_media(color_scheme=scheme)  # type: ignore[arg-type]
        for width in (1280, 400):
            browser.set_viewport_size({"width": width, "height": 900})
            browser.goto(address)
            seen = browser.evaluate(FAULTS)
            assert seen["over"] <= 0
            faults = [seen[name] for name in ("unreachable", "unnamed", "broken", "small")]
            assert faults == [0, 0, 0, 0]
            assert (sum(seen["page"][:3]) < sum(seen["text"][:3])) == (scheme == "dark")
            assert set(seen["pixels"]) <= {"pixelated"}
            assert set(seen["columns"]) == {2 if width == 1280 else 1}
    assert {url for url in requests if not url.startswith("data:")} == {address}
    assert errors == []


@pytest.mark.slow
@pytest.mark.browser
def test_the_keyboard_reaches_what_scrolls_and_every_mistake(
    make_study: MakeStudy, tmp_path: Path, browser: Page
) -> None:
    (tmp_path / "evaluation.html").write_text(page_of(make_study, classification, "why.html"))
    browser.set_viewport_size({"width": 400, "height": 800})
    browser.goto((tmp_path / "evaluation.html").as_uri())
    reached = []
    for _ in range(12):
        browser.keyboard.press("Tab")
        reached.append(
            browser.evaluate(
                "document.activeElement.getAttribute('aria-label') || document.activeElement.href"
            )
        )
    assert reached[0].endswith("/why.html")
    assert reached[1:5] == [
        "In short", "Confusion matrix, validation", "Confusion matrix, test", "Every class"
    ]  # fmt: skip
    assert reached[5].startswith("sample 0 of validation: cat, answered dog")

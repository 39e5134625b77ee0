"""The study's page chooses: as `paring pick` does, in a browser, by keyboard and by address."""

import json
from dataclasses import replace
from pathlib import Path
from random import Random

import pytest
from playwright.sync_api import Page

from tests.tracking.chooser_page import (
    choice_within,
    drawn,
    opened,
    picked_by_script,
    study_of,
    through_json,
)
from tests.tracking.outline import EVIL
from tracking import Limits, StudyRecord, front_page
from tracking.pages.chooser import chooser_data, first_key, is_crowded
from tracking.pages.pairs import pairs_figure

pytestmark = [pytest.mark.slow, pytest.mark.browser]
KEYS = ("any", "small", "mid", "large")


@pytest.fixture(scope="module")
def study() -> StudyRecord:
    return study_of(60)


def random_limits(random: Random, study: StudyRecord) -> Limits:
    """Limits that are off, loose, tight, or just what a trial needs."""
    needed = random.choice(random.choice(study.choices).options).needed
    factors = [random.choice((None, 1.0, 1.0, random.uniform(0.5, 2.0))) for _ in range(3)]
    flash, sram, latency = factors
    return Limits(
        flash_bytes=None if flash is None else int((needed.flash_bytes or 0) * flash),
        sram_bytes=None if sram is None else int((needed.sram_bytes or 0) * sram),
        latency_ms=None if latency is None else (needed.latency_ms or 0.0) * latency,
    )


def row(limits: Limits) -> list[float | None]:
    return [limits.flash_bytes, limits.sram_bytes, limits.latency_ms]


def both(one: Limits, two: Limits) -> Limits:
    values = [[v for v in pair if v is not None] for pair in zip(row(one), row(two), strict=True)]
    least = [min(pair, default=None) for pair in values]
    return Limits(flash_bytes=least[0], sram_bytes=least[1], latency_ms=least[2])  # type: ignore[arg-type]


@pytest.mark.parametrize("rises", [True, False])
def test_the_script_and_the_record_choose_the_same(browser: Page, rises: bool) -> None:
    many, random = study_of(400, seed=3, rises=rises), Random(1)
    data = through_json(chooser_data(many, {}))
    browser.goto("about:blank")
    for choices in many.choices:
        asked = [random_limits(random, many) for _ in range(500)]
        expected = [choice_within(choices, both(one, choices.device.limits)) for one in asked]
        found = picked_by_script(browser, data, choices.key, [row(one) for one in asked])
        assert found == expected
        assert len(set(expected)) > 3


def numbers_at(browser: Page) -> tuple[str, str]:
    verdict = browser.locator("#verdict").inner_text()
    return verdict, browser.locator("#command").inner_text()


@pytest.mark.parametrize("key", KEYS)
def test_the_address_says_what_is_chosen(
    browser: Page, study: StudyRecord, tmp_path: Path, key: str
) -> None:
    errors = opened(browser, study, tmp_path)
    (choices,) = [one for one in study.choices if one.key == key]
    random = Random(len(key))
    for _ in range(8):
        asked = random_limits(random, study)
        parts = {"flash": asked.flash_bytes, "sram": asked.sram_bytes, "latency": asked.latency_ms}
        words = "".join(f"&{name}={value}" for name, value in parts.items() if value is not None)
        browser.evaluate("hash => { location.hash = hash; }", f"#device={key}{words}")
        browser.wait_for_function("hash => location.hash === hash", arg=f"#device={key}{words}")
        drawn(browser)
        number = choice_within(choices, both(asked, choices.device.limits))
        verdict, command = numbers_at(browser)
        if key == "any" and not words:
            assert verdict == "Choose a chip, or write a limit."
        elif number is None:
            assert verdict.startswith("Nothing fits. Nearest: ")
        else:
            assert verdict.startswith(f"Trial {number}: accuracy ")
            assert command.startswith("paring pick study=many ")
    assert errors == []


def test_a_limit_is_typed_and_the_back_button_takes_it_back(
    browser: Page, study: StudyRecord, tmp_path: Path
) -> None:
    errors = opened(browser, study, tmp_path, "#device=large")
    before = numbers_at(browser)[0]
    field = browser.get_by_label("flash, at most", exact=True)
    field.fill("48k")
    field.press("Enter")
    assert "flash=48k" in browser.evaluate("location.hash")
    after, command = numbers_at(browser)
    assert after != before
    assert "budget.flash=48KiB" in command
    assert "budget.sram" not in command  # the chip's own
    browser.go_back()
    browser.wait_for_function("text => document.querySelector('#verdict').textContent === text",
                              arg=before)  # fmt: skip
    assert field.input_value() == ""
    assert errors == []


def test_what_cannot_be_read_is_said_beside_the_field(
    browser: Page, study: StudyRecord, tmp_path: Path
) -> None:
    opened(browser, study, tmp_path)
    field = browser.get_by_label("latency, at most", exact=True)
    field.fill("20 parsecs")
    assert browser.locator("#error-latency").inner_text().startswith('Cannot read "20 parsecs"')
    assert field.get_attribute("aria-invalid") == "true"
    assert numbers_at(browser) == ("A limit cannot be read.", "")


def test_one_step_more_buys_what_it_says(browser: Page, study: StudyRecord, tmp_path: Path) -> None:
    opened(browser, study, tmp_path, "#device=large&flash=40KiB")
    row_of = browser.locator("#steps tr", has_text="flash")
    button = row_of.get_by_role("button").last
    said = button.inner_text()
    score = said.rpartition(": ")[2].partition(" ")[0]
    button.click()
    assert f"accuracy {score}" in numbers_at(browser)[0]
    back = browser.locator("#steps tr", has_text="flash").get_by_role("button").first
    assert back.inner_text().startswith("below ")


def test_the_nearest_is_what_must_be_given_for_anything_to_fit(
    browser: Page, study: StudyRecord, tmp_path: Path
) -> None:
    opened(browser, study, tmp_path, "#device=small&flash=2KiB")
    verdict, command = numbers_at(browser)
    least = min(o.needed.flash_bytes or 0 for o in study.choices[1].options
                if (o.needed.sram_bytes or 0) <= 8_000)  # fmt: skip
    assert verdict.startswith(
        f"Nothing fits. Nearest: flash {least / 1024:.3g} KiB instead of 2 KiB"
    )
    assert command == ""
    assert not browser.locator("#get").is_visible()
    browser.locator("#steps tr", has_text="flash").get_by_role("button").click()
    assert numbers_at(browser)[0].startswith("Trial ")


def test_everything_is_reached_by_the_keyboard(
    browser: Page, study: StudyRecord, tmp_path: Path
) -> None:
    opened(browser, study, tmp_path, "#device=mid")
    reached = []
    for _ in range(14):
        browser.keyboard.press("Tab")
        reached.append(
            browser.evaluate("document.activeElement.id || document.activeElement.textContent")
        )
    order = ["device", "limit-flash", "slider-flash", "limit-sram", "slider-sram",
             "limit-latency", "slider-latency", "clear", "link", "Copy"]  # fmt: skip
    assert [name for name in reached if name in order] == order
    browser.locator("#slider-flash").focus()
    before = numbers_at(browser)[0]
    for _ in range(40):
        browser.keyboard.press("ArrowLeft")
    assert numbers_at(browser)[0] != before
    outline = browser.evaluate("getComputedStyle(document.activeElement).outlineStyle")
    assert outline == "solid"
    assert "no limit" not in (
        browser.locator("#slider-flash").get_attribute("aria-valuetext") or ""
    )
    unnamed = browser.evaluate("""() => [...document.querySelectorAll("input, select, button")]
      .filter(one => !(one.labels?.length || one.ariaLabel || one.textContent.trim()))
      .map(one => one.outerHTML)""")
    assert unnamed == []
    assert browser.locator("#verdict").get_attribute("aria-live") == "polite"


def marks(browser: Page, figure: str, name: str) -> list[float]:
    found: list[float] = browser.evaluate(
        "([id, name]) => document.getElementById(id).data.filter(t => t.name === name)"
        ".flatMap(t => [t.x[0], t.y[0]])", [figure, name],
    )  # fmt: skip
    return found


def test_the_figures_mark_the_chosen_trial_on_the_chosen_device(
    browser: Page, study: StudyRecord, tmp_path: Path
) -> None:
    opened(browser, study, tmp_path, "#device=large&flash=60KiB&axis=score&other=9@mid")
    number = int(numbers_at(browser)[0].split()[1].rstrip(":"))
    (option,) = [one for one in study.choices[3].options if one.trial == number]
    trial = study.trials[number]
    assert marks(browser, "latency_ms", "chosen") == [option.costs.latency_ms, trial.score]
    assert marks(browser, "flash_bytes", "chosen")[0] == option.costs.flash_bytes / 1024
    assert len(marks(browser, "pairs", "chosen")) == 2 * 6
    assert marks(browser, "sram_bytes", "compared")[1] == study.trials[9].score
    title = browser.evaluate("document.getElementById('latency_ms').layout.xaxis.title.text")
    assert title == "Latency on large (ms)"
    lines = "document.getElementById('flash_bytes').layout.shapes.map(shape => shape.x0)"
    assert 60 in browser.evaluate(lines)


def test_scores_near_the_best_are_spread_and_labelled_as_scores(
    browser: Page, study: StudyRecord, tmp_path: Path
) -> None:
    opened(browser, study, tmp_path, "#device=mid&axis=error")
    axis = browser.evaluate(
        "(({type, tickvals, ticktext, title}) => ({type, tickvals, ticktext, title: title.text}))"
        "(document.getElementById('flash_bytes').layout.yaxis)"
    )
    assert axis["type"] == "log"
    assert axis["title"].endswith("by log error")
    pairs = list(zip(axis["tickvals"], axis["ticktext"], strict=True))
    assert len(pairs) > 3
    for error, text in pairs[1:]:
        assert float(text) == pytest.approx(1 - error)
    if any(trial.score == 1.0 for trial in study.trials):
        assert pairs[0][1] == "1"
    browser.get_by_role("checkbox").uncheck()
    drawn(browser)
    kind = browser.evaluate("document.getElementById('flash_bytes').layout.yaxis.type ?? 'linear'")
    assert kind == "linear"


def test_points_that_lie_on_each_other_are_reached_by_clicking_again(
    browser: Page, study: StudyRecord, tmp_path: Path
) -> None:
    """Trials 0 and 60 are one point."""
    opened(browser, study, tmp_path, "#device=any&flash=1MiB&axis=score")
    browser.locator("#flash_bytes").scroll_into_view_if_needed()
    at = browser.evaluate("""() => {
      const figure = document.getElementById("flash_bytes");
      const trace = figure.data.find(t => t.name === "front" && t.customdata.includes(0));
      const place = trace.customdata.indexOf(0), box = figure.getBoundingClientRect();
      const {xaxis, yaxis} = figure._fullLayout;
      return [box.x + xaxis._offset + xaxis.d2p(trace.x[place]),
              box.y + yaxis._offset + yaxis.d2p(trace.y[place])];
    }""")
    seen = set()
    for _ in range(6):
        browser.mouse.move(at[0] + 30, at[1] + 30)
        browser.mouse.move(*at)
        browser.wait_for_timeout(100)
        browser.mouse.click(*at)
        browser.wait_for_timeout(400)  # two clicks at once would zoom out
        seen.add(browser.evaluate("new URLSearchParams(location.hash.slice(1)).get('other')"))
    assert {"0@any", "60@any"} <= seen
    assert "lie here" in browser.locator("#here").inner_text()


def test_rows_select_points_and_points_select_rows(
    browser: Page, study: StudyRecord, tmp_path: Path
) -> None:
    opened(browser, study, tmp_path, "#device=mid")
    button = browser.get_by_role("button", name="compare with trial 18", exact=True)
    button.press("Enter")
    assert button.get_attribute("aria-pressed") == "true"
    headings = browser.locator("#comparison thead th").all_inner_texts()
    assert headings[2] == "compared: trial 18 on mid"
    drawn(browser)
    assert marks(browser, "sram_bytes", "compared")[1] == study.trials[18].score
    browser.evaluate("location.hash = '#device=mid&other=27@mid'")
    browser.wait_for_function("document.querySelector('tr.compared')?.dataset.trial === '27'")


def test_two_trials_side_by_side(browser: Page, study: StudyRecord, tmp_path: Path) -> None:
    opened(browser, study, tmp_path, "#device=large&flash=60KiB&other=9@small")
    number = int(numbers_at(browser)[0].split()[1].rstrip(":"))
    cells = {
        texts[0]: texts[1:]
        for row in browser.locator("#comparison tbody tr").all()
        if len(texts := row.locator("th, td").all_inner_texts()) == 4
    }
    one, two = study.trials[number], study.trials[9]
    assert cells["score"][:2] == [f"{one.score:.4f}", f"{two.score:.4f}"]
    assert cells["MACs"][0] == f"{one.known_costs.macs:,}"
    for name, width in one.widths.items():
        assert cells[name][:2] == [str(width), str(two.widths[name])]
    browser.get_by_role("button", name="Keep the chosen one").click()
    browser.locator("#device").select_option("small")
    assert f"other={number}%40large" in browser.evaluate("location.hash")


def test_what_the_chosen_one_answers(browser: Page, study: StudyRecord, tmp_path: Path) -> None:
    number = 9
    evaluated = study.trials[number]
    choices = [
        replace(
            one,
            options=tuple(option for option in one.options if option.trial == number),
            fronts=dict.fromkeys(one.fronts, (number,)),
        )
        for one in study.choices
    ]
    alone = replace(study, trials=(evaluated,), choices=tuple(choices))
    opened(browser, alone, tmp_path, "#device=large")
    matrix = browser.locator(".matrix tbody tr")
    assert matrix.count() == 30
    evaluation = evaluated.evaluations["validation"]
    shown = [text or "0" for text in matrix.nth(3).locator("td").all_inner_texts()]
    assert [int(text) for text in shown] == list(evaluation.confusion[3])  # type: ignore[union-attr]
    texts = browser.locator("#answers table").nth(1).locator("tbody tr").nth(3)
    assert texts.locator("td").all_inner_texts() == ["70.0 %", "77.8 %", "10"]
    browser.locator("#split").select_option("test")
    assert browser.locator("#samples").inner_text() == "300 samples"


def test_it_chooses_in_a_frame_without_an_address_of_its_own(
    browser: Page, study: StudyRecord
) -> None:
    """As MLflow shows artifacts."""
    errors: list[str] = []
    browser.on("pageerror", lambda error: errors.append(str(error)))
    browser.set_content("<iframe sandbox='allow-scripts' width=1200 height=900></iframe>")
    browser.locator("iframe").evaluate(
        "(frame, page) => { frame.srcdoc = page; }", front_page(study)
    )
    frame = browser.frame_locator("iframe")
    frame.locator("body[data-drawing=false]").wait_for()
    before = frame.locator("#verdict").inner_text()
    frame.get_by_label("flash, at most", exact=True).fill("48k")
    frame.get_by_label("flash, at most", exact=True).press("Enter")
    assert frame.locator("#verdict").inner_text() != before
    assert not frame.locator("#link").is_visible()
    frame.get_by_role("button", name="Copy", exact=True).click()
    frame.get_by_role("button", name="Copied").wait_for()
    assert errors == []


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [400, 1280])
def test_it_is_readable(
    browser: Page, study: StudyRecord, tmp_path: Path, scheme: str, width: int
) -> None:
    browser.emulate_media(color_scheme=scheme)  # type: ignore[arg-type]
    browser.set_viewport_size({"width": width, "height": 800})
    errors = opened(browser, study, tmp_path, "#device=large&flash=60KiB&other=9@small")
    assert browser.evaluate("document.documentElement.scrollWidth - innerWidth") <= 0
    poor = browser.evaluate(CONTRAST)
    assert poor == []
    paper = browser.evaluate("document.getElementById('flash_bytes').layout.paper_bgcolor")
    assert paper == ("white" if scheme == "light" else "#1c232b")
    browser.emulate_media(color_scheme="light" if scheme == "dark" else "dark")
    browser.wait_for_function(
        "was => document.getElementById('flash_bytes').layout.paper_bgcolor !== was", arg=paper
    )
    assert errors == []


CONTRAST = """() => {
  const canvas = document.createElement("canvas").getContext("2d", {willReadFrequently: true});
  const rgb = color => {
    canvas.clearRect(0, 0, 1, 1); canvas.fillStyle = color; canvas.fillRect(0, 0, 1, 1);
    return [...canvas.getImageData(0, 0, 1, 1).data];
  };
  const luminance = ([r, g, b]) => [r, g, b].map(v => v / 255)
    .map(v => v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4)
    .reduce((sum, v, at) => sum + v * [0.2126, 0.7152, 0.0722][at], 0);
  const behind = one => {
    for (; one; one = one.parentElement) {
      const color = rgb(getComputedStyle(one).backgroundColor);
      if (color[3] > 250) return color;
    }
    return [255, 255, 255];
  };
  const poor = [];
  const texts = "h1, h2, h3, p, td, th, label, legend, button, a, code, option, select, " +
    "input[type=text], .note, .plot text";
  for (const one of document.querySelectorAll(texts)) {
    const text = one.tagName === "INPUT" ? one.value : one.textContent;
    if (!text.trim() || !one.getClientRects().length || one.disabled) continue;
    const style = getComputedStyle(one);
    const color = rgb(one.closest("svg") ? style.fill : style.color);
    if (one.closest("svg") && (Number(style.fillOpacity) < 1 || color[3] < 250)) continue;
    const [a, b] = [luminance(color), luminance(behind(one))].sort((x, y) => y - x);
    const contrast = (a + 0.05) / (b + 0.05);
    if (contrast < 4.5) poor.push(`${one.tagName} ${text.slice(0, 40)} ${contrast}`);
  }
  return [...new Set(poor)];
}"""


def test_texts_of_users_stay_texts(browser: Page, study: StudyRecord, tmp_path: Path) -> None:
    evil = replace(
        study, name=EVIL, metric=EVIL,
        trials=tuple(replace(t, widths={EVIL: 3}, planes=(*t.planes, EVIL)) for t in study.trials),
        choices=tuple(
            replace(c, words=EVIL, device=replace(c.device, name=EVIL, core=EVIL))
            for c in study.choices
        ),
    )  # fmt: skip
    alerts: list[str] = []
    browser.on("dialog", lambda dialog: (alerts.append(dialog.message), dialog.dismiss()))
    errors = opened(browser, evil, tmp_path, "#device=large&other=9@small&flash=<img src=x>")
    assert (alerts, errors) == ([], [])
    assert browser.locator("img").count() == 0
    opened(browser, evil, tmp_path, "#device=large&other=9@small")
    assert browser.locator("#command").inner_text().startswith(f"paring pick study={EVIL}")
    assert (alerts, browser.locator("img").count()) == ([], 0)


def test_a_thousand_trials_stay_small(browser: Page, tmp_path: Path) -> None:
    many = study_of(1000, groups=40)
    page = front_page(many)
    assert len(page) - page_size_alone() < 3_500_000
    errors = opened(browser, many, tmp_path, "#device=mid")
    assert errors == []
    assert numbers_at(browser)[0].startswith("Trial ")


def page_size_alone() -> int:
    """The size of the page of one trial: Plotly, scripts and styles."""
    return len(front_page(study_of(1)))


def test_a_page_on_measurements_chooses_by_estimates(
    browser: Page, study: StudyRecord, tmp_path: Path
) -> None:
    """Among all trials, of which only some were measured."""
    measured = [
        t if t.number % 2 == 0 and t.costs is None else replace(
            t, costs=replace(t.known_costs, latency_ms=99.0) if t.number % 2 else None
        )
        for t in study.trials
    ]  # fmt: skip
    page = replace(study, trials=tuple(measured), source="measured")
    (choices,) = [one for one in study.choices if one.key == "large"]
    for flash in (30_000, 45_000, 90_000):
        errors = opened(browser, page, tmp_path, f"#device=large&flash={flash}&other=9@mid")
        limits = both(Limits(flash_bytes=flash), choices.device.limits)
        number = choice_within(choices, limits)
        assert numbers_at(browser)[0].startswith(f"Trial {number}: ")
        assert marks(browser, "latency_ms", "compared")[0] == 99.0
        assert errors == []
    assert "By estimates" in browser.locator(".choose").inner_text()


def test_which_choices_come_first(study: StudyRecord) -> None:
    assert first_key(study) == "mid"
    assert first_key(replace(study, device=None)) == "any"


def test_scores_crowd_where_half_of_the_front_is_near_the_best(study: StudyRecord) -> None:
    def scored(*scores: float) -> StudyRecord:
        trials = [replace(t, score=s, planes=("overall",)) for t, s in
                  zip(study.trials, scores, strict=False)]  # fmt: skip
        return replace(study, trials=tuple(trials))

    assert is_crowded(scored(0.2, 0.97, 0.98, 0.99))
    assert not is_crowded(scored(0.2, 0.5, 0.7, 0.99))
    assert not is_crowded(replace(scored(0.2, 0.97, 0.98, 0.99), best=None))


def test_the_pairs_plot_has_every_pair_once(study: StudyRecord) -> None:
    figure = pairs_figure(study)
    pairs = {(t["meta"]["x"], t["meta"]["y"]) for t in figure["data"]}
    names = ("flash_bytes", "sram_bytes", "latency_ms", "score")
    assert {frozenset(pair) for pair in pairs} == {
        frozenset((a, b)) for a in names for b in names if a != b
    }
    assert len(pairs) == 6
    assert sum(len(t["x"]) for t in figure["data"]) == 6 * len(study.trials)
    json.dumps(figure, allow_nan=False)

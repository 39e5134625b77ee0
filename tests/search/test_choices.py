"""The study's page and `paring pick` choose the same trial: for every device, within any limits."""

import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from random import Random
from typing import Any

import pytest
from playwright.sync_api import Page

from pruning.budget import UNITS, Budget, parse_limit
from pruning.catalogue.devices import devices
from pruning.errors import BudgetError
from search.config.schema import StorageConfig
from search.config.spec import Spec
from search.errors import NothingFitsError
from search.results import retarget
from search.results.best import best_trial
from search.results.choices import Choices, with_choices
from search.results.front import best_within
from search.results.report import points_in, study_record
from search.results.retarget import record_for
from search.storage.workspace import open_workspace
from search.study import create
from search.study.factory import SweepFactory
from search.study.study import Study
from search.worker.worker import work
from tests.tracking.chooser_page import (
    choice_within,
    drawn,
    opened,
    picked_by_script,
    selection,
    through_json,
)
from tracking.pages import chooser
from tracking.pages.chooser import chooser_data
from tracking.records import RESOURCES, StudyRecord

Paring = Callable[..., tuple[int, str, str]]
Limits = tuple[float | None, float | None, float | None]
OWN = ("++device.flash_margin=10%", "++device.latency_margin=25%", "device.name=board")
NAMES = [device.name for device in devices()]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("choices")


@pytest.fixture(scope="module")
def study(folder: Path, compose_spec: Callable[..., Spec], tiny: list[str]) -> Study:
    """A finished study of six trials for a device that the catalogue does not have."""
    workspace = open_workspace(StorageConfig(folder=str(folder / ".paring"), checkpoint_s=0))
    spec = compose_spec(*tiny, *OWN, "shares=[0.8,0.6,0.45,0.3,0.2,0.12]")
    study = create.prepare(workspace, "board", spec, None)
    work(workspace.config, "board", threads=1)
    return study


@pytest.fixture(scope="module")
def record(study: Study) -> StudyRecord:
    return with_choices(study, study_record(study))


def random_limits(random: Random, record: StudyRecord) -> Limits:
    """Limits that are off, loose, tight, just what a trial needs, or a hair less."""
    needed = random.choice(random.choice(record.choices).options).needed
    limits: list[float | None] = []
    for name in RESOURCES:
        need = getattr(needed, name)
        hair = 1 if name != "latency_ms" else need * 2**-50
        limits.append(random.choice((None, need, need - hair, need * random.uniform(0.4, 2.0))))
    flash, sram = (None if limit is None else int(limit) for limit in limits[:2])
    return flash, sram, limits[2]


def budget_of(limits: Limits) -> Budget:
    names = ("flash_bytes", "sram_bytes", "latency_ms")
    given = {n: v for n, v in zip(names, limits, strict=True) if v is not None}
    return Budget.from_limits(given)


@pytest.mark.slow
@pytest.mark.browser
@pytest.mark.parametrize("name", [*NAMES, "any", "own"])
def test_the_page_chooses_what_pick_gives(
    study: Study, record: StudyRecord, browser: Page, name: str
) -> None:
    device = next((one for one in devices() if one.name == name), None)
    own, random = SweepFactory(study.spec).device, Random(name)
    told = study_record(study) if device is None else record_for(study, device)
    points = points_in(told.trials, study.facts.device_limits)
    asked = [random_limits(random, record) for _ in range(300)]
    expected: list[int | None] = []
    for limits in asked:
        budget = budget_of(limits)
        if name != "any":
            budget = budget.intersect((device or own).budget)
        guarded = study.facts.precision.encoding.guarded(budget, device or own)
        try:
            expected.append(best_within(points, guarded, study.facts.rises).number)
        except NothingFitsError:
            expected.append(None)
    browser.goto("about:blank")
    data = through_json(chooser_data(record, {}))
    assert picked_by_script(browser, data, name, asked) == expected
    assert len(set(expected)) > 3
    for limits, number in list(zip(asked, expected, strict=True))[:3]:
        budget = budget_of(limits).intersect(device.budget if device else Budget())
        if number is not None and device is not None:
            assert best_trial(study, budget, device)[1].number == number


@pytest.mark.slow
@pytest.mark.browser
def test_the_line_to_copy_gives_what_the_page_says(
    study: Study, record: StudyRecord, browser: Page, tmp_path: Path, folder: Path,
    paring: Paring, monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.chdir(folder)
    opened(browser, record, tmp_path)
    random, told = Random(5), 0
    for key in ("any", "own", "stm32f103", "rp2040", "stm32h743"):
        for _ in range(3):
            flash, sram, latency = random_limits(random, record)
            words = f"#device={key}" + "".join(
                f"&{name}={value}"
                for name, value in (("flash", flash), ("sram", sram), ("latency", latency))
                if value is not None
            )
            browser.evaluate("hash => { location.hash = hash; }", words)
            browser.wait_for_function("hash => location.hash === hash", arg=words)
            drawn(browser)
            verdict = browser.locator("#verdict").inner_text()
            command = browser.locator("#command").inner_text()
            if not verdict.startswith("Trial "):
                assert command == ""
                continue
            verb, *arguments = command.removeprefix("paring ").split()
            arguments.remove("format=c")  # the same choice, and no code to make
            code, out, err = paring(verb, *arguments, "register=false", "out=picked")
            assert code == 0, err
            assert out.startswith(f"trial {verdict.split()[1].rstrip(':')}: ")
            told += 1
    assert told > 5


TEXTS = (
    *("32KiB", "16k", "16 K", "1.5 MiB", "2m", "2 mb", "3kb", "4096", "4096.9", ".5k", "5."),
    *("1e3", "1e3k", "1E4", "20ms", "0.5 s", "250us", "12.7", " 8 kib ", "abc", "-3", "0", "0.4"),
    *("1e999", "5%", "1.2.3", "12 parsecs", "k", "e3", "1_000", "\uff11\uff12"),
)


@pytest.mark.slow
@pytest.mark.browser
def test_limits_are_read_as_pick_reads_them(record: StudyRecord, browser: Page) -> None:
    browser.goto("about:blank")
    resources = through_json(chooser_data(record, {}))["resources"]
    for name, resource in zip(RESOURCES, resources, strict=True):
        read = browser.evaluate(
            "([source, texts, resource]) => new Function('texts', 'resource', source + `"
            "return texts.map(text => { const read = parseLimit(text, resource);"
            " return read.error ? null : [read.value,"
            " parseLimit(writeLimit(read.value, resource), resource).value]; })`)(texts, resource)",
            [selection(), list(TEXTS), resource],
        )
        for text, found in zip(TEXTS, read, strict=True):
            try:
                expected = parse_limit(name, text)
            except BudgetError:
                assert found is None, text
            else:
                assert found == [expected, expected], text  # and what it writes is read alike


def test_units_are_those_of_pick() -> None:
    assert chooser.UNITS == UNITS


@pytest.mark.slow
@pytest.mark.browser
def test_what_is_written_to_the_page_is_read_by_pick(record: StudyRecord, browser: Page) -> None:
    resources = through_json(chooser_data(record, {}))["resources"]
    needed = [option.needed for choices in record.choices for option in choices.options]
    for name, resource in zip(RESOURCES, resources, strict=True):
        values = [getattr(one, name) for one in needed]
        texts = browser.evaluate(
            "([source, values, resource]) => new Function('values', 'resource', source +"
            " 'return values.map(value => writeLimit(value, resource))')(values, resource)",
            [selection(), values, resource],
        )
        assert [parse_limit(name, text) for text in texts] == values


@pytest.mark.slow
def test_every_network_is_read_once(
    study: Study, record: StudyRecord, monkeypatch: pytest.MonkeyPatch
) -> None:
    choices, calls = Choices(study), []
    unpack = "search.results.retarget.unpack_network"
    real = retarget.unpack_network

    def counted(content: bytes) -> Any:
        calls.append(len(content))
        return real(content)

    monkeypatch.setattr(unpack, counted)
    assert choices.of(study_record(study)) == record.choices
    first = len(calls)
    assert first == len(record.trials) + 1  # and the dense one
    assert choices.of(study_record(study)) == record.choices
    assert len(calls) == first


@pytest.mark.slow
def test_a_network_that_is_lost_is_chosen_for_no_other_device(
    study: Study, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    before = study_record(study)
    trial = before.trials[0]
    files = {**trial.files, "model.safetensors": "0" * 64}
    changed = replace(before, trials=(replace(trial, files=files), *before.trials[1:]))
    choices = Choices(study)
    for _ in range(2):
        found = {one.key: {o.trial for o in one.options} for one in choices.of(changed)}
        assert 0 not in found["rp2040"]
        assert {0, 1} <= found["any"]
    assert len(re.findall("trial 0 cannot be chosen for another device", caplog.text)) == 1


@pytest.mark.slow
def test_the_choices_agree_with_the_best_for_each_device(record: StudyRecord) -> None:
    choices = {one.device.name: one for one in record.choices if one.key != "any"}
    for pick in record.picks:
        one = choices[pick.device.name]
        assert choice_within(one, one.device.limits) == pick.trial

"""Studies of many trials with choices, and their page in a browser."""

import json
from collections.abc import Sequence
from dataclasses import replace
from functools import cache
from importlib.resources import files
from pathlib import Path
from random import Random
from typing import Any

from playwright.sync_api import Page

from tests.tracking.evaluations import classification
from tracking import (
    ChoicesRecord,
    Costs,
    DeviceRecord,
    Limits,
    OptionRecord,
    State,
    StudyRecord,
    TrialRecord,
    front_page,
)
from tracking.records import RESOURCES

CLASSES = tuple(f"class {number}" for number in range(30))


def study_of(count: int, seed: int = 0, groups: int = 12, rises: bool = True) -> StudyRecord:
    """A study of many finished trials, some of equal score, cost or both."""
    random = Random(seed)
    trials = tuple(_trial(number, random, groups) for number in range(count))
    trials = (*trials, replace(trials[0], number=count))  # the same point again
    devices = [("any", Limits()), ("small", Limits(flash_bytes=60_000, sram_bytes=8_000)),
               ("mid", Limits(flash_bytes=120_000, sram_bytes=30_000)),
               ("large", Limits(flash_bytes=400_000, sram_bytes=60_000))]  # fmt: skip
    return StudyRecord(
        name="many", key="key", metric="accuracy", scores_rise=rises, precision="int8-exact",
        config="seed: 0\n", tags={}, trials=trials, best=1.0 if rises else 0.0, chance=0.1,
        device=DeviceRecord(name="mid", limits=devices[2][1], core="cortex-m4"),
        choices=tuple(
            _choices(key, limits, trials, rises, 1 + place / 3)
            for place, (key, limits) in enumerate(devices)
        ),
    )  # fmt: skip


def _trial(number: int, random: Random, groups: int) -> TrialRecord:
    share = random.random()
    score = round(1 - 0.5 * (1 - share) ** 2 - 0.2 * random.random() * share, 2)
    costs = Costs(
        flash_bytes=int(4_000 + 200_000 * share * (0.7 + 0.6 * random.random())),
        sram_bytes=4 * random.randrange(200, 10_000), latency_ms=0.5 + 40 * random.random(),
        macs=random.randrange(1000, 10**6),
    )  # fmt: skip
    on_front = number % 9 == 0
    return TrialRecord(
        number=number, state=State.COMPLETE, attempt=1, seed=number, budget=Limits(),
        score=min(score, 1.0), test_score=min(score, 1.0) - 0.01 if on_front else None,
        costs=costs, widths={f"stage{g}.conv": random.randrange(1, 64) for g in range(groups)},
        planes=("overall", *RESOURCES) if on_front else (), finished=float(number),
        evaluations={split: classification(split, CLASSES, 0) for split in ("validation", "test")}
        if on_front else {},
    )  # fmt: skip


def _choices(
    key: str, limits: Limits, trials: Sequence[TrialRecord], rises: bool, slower: float
) -> ChoicesRecord:
    def loss(trial: TrialRecord) -> tuple[float, ...]:
        score = trial.score or 0.0
        costs = trial.known_costs
        return (-score if rises else score, costs.flash_bytes, costs.sram_bytes, costs.latency_ms)

    ranked = sorted(trials, key=loss)
    return ChoicesRecord(
        key=key,
        device=DeviceRecord(name=key if key != "any" else "mid", limits=limits, core="cortex-m4"),
        words=f"device={key} format=c" if key != "any" else "format=c",
        is_named=key != "any",
        options=tuple(
            _option(trial, slower) for trial in ranked if trial.number % 13 or key == "any"
        ),
        fronts={
            name: tuple(t.number for t in sorted(trials, key=lambda t: getattr(t.costs, name))
                        if name in t.planes)
            for name in RESOURCES
        },
    )  # fmt: skip


def _option(trial: TrialRecord, slower: float) -> OptionRecord:
    costs = replace(trial.known_costs, latency_ms=trial.known_costs.latency_ms * slower)
    return OptionRecord(
        trial=trial.number,
        costs=costs,
        needed=Limits(
            flash_bytes=costs.flash_bytes + 64, sram_bytes=costs.sram_bytes,
            latency_ms=costs.latency_ms * 1.04,
        ),
    )  # fmt: skip


@cache
def selection() -> str:
    """The script by which the page chooses."""
    return (files("tracking.pages") / "templates" / "selection.js").read_text("utf-8")


def opened(browser: Page, study: StudyRecord, folder: Path, fragment: str = "") -> list[str]:
    """Open a study's page, and wait until it is drawn; returns a list in which errors are put."""
    errors: list[str] = []
    browser.on("pageerror", lambda error: errors.append(str(error)))
    (folder / "front.html").write_text(front_page(study))
    browser.goto((folder / "front.html").as_uri() + fragment)
    drawn(browser)
    return errors


def drawn(browser: Page) -> None:
    """Wait until the figures show what the address, or else the fields, say."""
    browser.wait_for_function("document.body.dataset.drawing === 'false'")


def picked_by_script(
    browser: Page, data: Any, key: str, limits: Sequence[Sequence[float | None]]
) -> list[int | None]:
    """The trials that the script chooses for a device, within each of the limits."""
    found: list[int | None] = browser.evaluate(
        """([source, data, key, limits]) => {
          const run = new Function("data", "key", "limits", source + `
            const device = data.choices.find(choices => choices.key === key);
            return limits.map(each => {
              const trial = choose(data, device, tightest(each, device));
              return trial === undefined ? null : data.trials[trial].number;
            });`);
          return run(data, key, limits);
        }""",
        [selection(), data, key, [[*each] for each in limits]],
    )
    return found


def through_json(data: Any) -> Any:
    """Values as a page has them."""
    return json.loads(json.dumps(data, allow_nan=False))


def choice_within(choices: ChoicesRecord, limits: Limits) -> int | None:
    """The first of the options whose needs are within the limits; None where none fits."""
    for option in choices.options:
        needs = ((getattr(option.needed, name), getattr(limits, name)) for name in RESOURCES)
        if all(limit is None or needed <= limit for needed, limit in needs):
            return option.trial
    return None

"""Every page shows what users wrote as text, whatever it is."""

import ast
import json
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import fields, is_dataclass, replace
from html.parser import HTMLParser
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from jinja2 import UndefinedError

from tests.tracking.evaluations import classification, detection, many_classes, pair, regression
from tests.tracking.outline import EVIL, Outline
from tracking import (
    RESOURCES,
    ChoicesRecord,
    DeviceRecord,
    Limits,
    OptionRecord,
    PickRecord,
    State,
    StudyRecord,
    TrialRecord,
    front_page,
    why_page,
)
from tracking.explanation import EXPLANATION, PRICED
from tracking.pages import page as page_module
from tracking.pages.comparison import comparison_page
from tracking.pages.evaluation import evaluation_page
from tracking.pages.page import BEGINNING, render
from tracking.pages.report import DataRecord, ReportRecord, report_page
from tracking.profile import PROFILE

MakeStudy = Callable[..., StudyRecord]
Pages = Mapping[str, str]
OURS = {"source", "planes", "key", "config", "tags", "files", "bottleneck", "reason", "split"}
TEMPLATES = Path(page_module.__file__).parent / "templates"


def explanation(name: str) -> bytes:
    groups = [
        {"name": f"{name}{reason}", "before": 8, "after": 4, "reason": reason,
         "worth": 0.1, "cost": 0.1}
        for reason in ("fixed", "whole", "balanced", "least", "vanished")
    ]  # fmt: skip
    kernels = {resource: [f"{name}{resource}", f"{name}0"] for resource in PRICED}
    prices = {"flash_bytes": 1e-4, "latency_ms": 1e-12}
    return json.dumps({"bottlenecks": kernels, "prices": prices, "groups": groups}).encode()


def profile(name: str) -> bytes:
    kernels = [
        {"name": f"{name}{number}", "kind": name, "fused": [name], "shape": [4, 8, 8],
         "flash_bytes": 100, "macs": 1000, "latency_ms": 1.0, "live": {f"{name}a": 64},
         "reads": [f"{name}a"], "writes": f"{name}b"}
        for number in range(3)
    ]  # fmt: skip
    return json.dumps({"before": kernels, "after": kernels[:2]}).encode()


def named(value: Any, text: str) -> Any:
    """A record with every text of a user's replaced, by one that begins with `text`."""
    if type(value) is str:
        return f"{text}{value}"
    if is_dataclass(value) and not isinstance(value, type):
        changes = {f.name: named(getattr(value, f.name), text) for f in fields(value)
                   if f.name not in OURS}  # fmt: skip
        return replace(value, **changes)
    if isinstance(value, Mapping):
        ours = {"validation", "test"}
        return {key if key in ours else named(key, text): named(one, text)
                for key, one in value.items()}  # fmt: skip
    return tuple(named(one, text) for one in value) if isinstance(value, tuple) else value


def pages_of(study: StudyRecord, text: str) -> Pages:
    """Every page there is, on a study whose names all begin with a text."""
    study = named(study, text)
    repeated = [replace(trial, draw=1, budget=Limits()) for trial in study.trials[:2]]
    repeats = replace(study, trials=(*repeated, *study.trials[2:]))
    unfinished = replace(study, trials=study.trials[-1:])
    trial = study.trials[0]
    contents = {EXPLANATION: explanation(text), PROFILE: profile(text)}
    report = named(report_record(), text)
    return {
        "report": report_page(study, evaluated(trial, text), report),
        "front that chooses": front_page(with_choices(study)),
        "front": front_page(study, {0: f"{text}/why.html"}),
        "front with repeats": front_page(repeats),
        "measured front": front_page(replace(study, source="measured")),
        "nothing finished": front_page(unfinished),
        "comparison": comparison_page([study, study]),
        "why": why_page(study, trial, contents),
        "why without files": why_page(study, trial, {}, f"{text}/evaluation.html"),
        **{
            f"answers: {make.__name__}": evaluation_page(
                study, replace(trial, evaluations=named(pair(make), text)), f"{text}/why.html"
            )
            for make in (classification, many_classes, regression, detection)
        },
    }


def report_record() -> ReportRecord:
    data = DataRecord(
        name="data", digest="feed", splits={"train": 9}, shape=(1, 8, 8), dtype="uint8",
        classes=("cat", "dog"),
    )  # fmt: skip
    limits = Limits(flash_bytes=50_000)
    return ReportRecord(data=data, asked=limits, held=limits, command="paring pick", version="1")


def evaluated(trial: TrialRecord, text: str) -> TrialRecord:
    return replace(trial, evaluations={"test": classification("test", (f"{text}a", f"{text}b"))})


def with_choices(study: StudyRecord) -> StudyRecord:
    assert study.device is not None
    options = tuple(
        OptionRecord(trial=trial.number, costs=trial.costs, needed=Limits())
        for trial in study.trials
        if trial.costs is not None
    )
    one = ChoicesRecord(
        key="chip", device=study.device, words="device=chip", is_named=True, options=options,
        fronts=dict.fromkeys(RESOURCES, (2, 1, 0)),
    )  # fmt: skip
    return replace(study, choices=(replace(one, key="any", is_named=False), one))


@pytest.fixture
def study(make_study: MakeStudy) -> StudyRecord:
    made = make_study(State.COMPLETE, State.COMPLETE, State.COMPLETE, State.RUNNING, epochs=6)
    device = DeviceRecord(name="chip", limits=Limits(flash_bytes=50_000))
    picks = (PickRecord(device=device, trial=0, words="device=chip"),
             PickRecord(device=device, trial=None, words="device=chip"))  # fmt: skip
    params = {"optimizer": "sgd", "rate": 0.1}
    trials = [replace(trial, params=params) for trial in made.trials]
    shares = {"score": {"optimizer": 0.9}, "other": {"optimizer": 0.1}}
    return replace(made, picks=picks, importances=shares, trials=tuple(trials))


class Shown(HTMLParser):
    """The texts of a page, and the values of its attributes, as a browser reads them."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.texts: list[str] = []
        self.inside = ""
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.inside = tag
        self.texts += [value or "" for _, value in attrs]

    def handle_data(self, data: str) -> None:
        if self.inside not in {"script", "style"}:
            self.texts.append(data)


PAGES = (
    "front", "front with repeats", "measured front", "nothing finished", "comparison", "why",
    "why without files", "answers: classification", "answers: many_classes", "answers: regression",
    "answers: detection",
    "report", "front that chooses",
)  # fmt: skip


@pytest.mark.parametrize("name", PAGES)
def test_names_of_users_are_text_on_every_page(study: StudyRecord, name: str) -> None:
    odd, plain = pages_of(study, EVIL)[name], pages_of(study, "x" * len(EVIL))[name]
    elements, expected = (
        [(tag, list(attrs)) for tag, attrs in Outline(page).elements] for page in (odd, plain)
    )
    assert elements == expected
    texts, expected_texts = Shown(odd).texts, Shown(plain).texts
    assert [len(text) for text in texts] == [len(text) for text in expected_texts]
    whole = sum(EVIL in text for text in texts)
    assert whole == sum("x" * len(EVIL) in text for text in expected_texts) > 0


@pytest.mark.parametrize("name", PAGES)
def test_nothing_of_a_user_is_a_tag_of_a_figure(study: StudyRecord, name: str) -> None:
    for text in strings(json.loads(Outline(pages_of(study, EVIL)[name]).figures)):
        assert not re.search(r"<(?!/?(b|br|extra)>)", text)


def strings(value: Any) -> Iterator[str]:
    """The texts in which Plotly reads tags: not those of axes of parallel coordinates."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for key, one in value.items():
            if key != "dimensions":
                yield from strings(one)
    elif isinstance(value, list):
        for one in value:
            yield from strings(one)


@pytest.mark.parametrize("name", PAGES)
def test_every_page_begins_as_pages_of_ours_do(study: StudyRecord, name: str) -> None:
    """That is how a file is known that may be written over, those of earlier versions too."""
    assert BEGINNING == (
        '<!DOCTYPE html>\n<html lang="en"><head><meta name="generator" content="paring">'
    )
    page = pages_of(study, "")[name]
    assert page.startswith(BEGINNING)
    assert page.endswith("</html>\n")


def test_a_value_that_is_missing_is_an_error() -> None:
    with pytest.raises(UndefinedError, match="'facts' is undefined"):
        render("no_front.html.j2", study=SimpleNamespace(name="s"))
    with pytest.raises(UndefinedError, match="has no attribute 'name'"):
        render("no_front.html.j2", study=object(), facts=[])


def test_markup_is_in_templates_alone() -> None:
    """But for the tags that Plotly reads in its texts."""
    for source in TEMPLATES.parent.glob("*.py"):
        for node in ast.walk(ast.parse(source.read_text("utf-8"))):
            if isinstance(node, ast.Constant) and isinstance(node.value, str):
                tags = set(re.findall(r"</?([a-z]+)", node.value))
                assert tags <= {"b", "br", "extra"}, f"{source.name}, line {node.lineno}"


def test_every_template_is_a_part_of_some_page(study: StudyRecord) -> None:
    sources = {path.name: path.read_text("utf-8") for path in TEMPLATES.iterdir()}
    code = "".join(path.read_text("utf-8") for path in TEMPLATES.parent.glob("*.py"))
    text = code + "".join(sources.values())
    named_in_parts = {f"{part}.css.j2" for part in re.findall(r'"(\w+)"', sources["why.html.j2"])}
    assert [name for name in sources if name not in text and name not in named_in_parts] == []

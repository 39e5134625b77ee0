"""A report on a study and the model chosen from it: a page for a colleague, which prints."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from math import sqrt
from typing import Any, NamedTuple

from tracking.evaluation import TEST, VALIDATION, Classification
from tracking.pages.answers import answers_of
from tracking.pages.front_picture import HEIGHT, WIDTH, front_pictures, score_label
from tracking.pages.page import percentage, render
from tracking.pages.plot_layout import PANELS
from tracking.records import Limits, State, StudyRecord, TrialRecord
from tracking.seeds import repeats_of
from tracking.tables import (
    DASH,
    bounds,
    cost_of,
    count,
    dense_of,
    duration,
    finished_trials,
    limit_of,
    repeats_text,
    score_text,
    size,
    work,
)

_NORMAL = 1.96  # deviations to each side that hold 95 % of a normal distribution
_UNKNOWN = "none"  # a git commit


@dataclass(frozen=True, slots=True, kw_only=True)
class DataRecord:
    """The data of a study: the samples of each split, as far as these are known, and the shape
    (channels, *spatial) and type of one.
    """

    name: str
    digest: str
    splits: Mapping[str, int]
    shape: tuple[int, ...]
    dtype: str
    classes: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class ReportRecord:
    """What was asked for, and how it is had again.

    `asked` are the limits as a person gave them, of the device or more; `held` what estimates must
    stay within for it, which is less where the device has margins. `command` is the line that
    writes the model, `versions` are of what made the report.
    """

    data: DataRecord
    asked: Limits
    held: Limits
    command: str
    version: str


class _CostRow(NamedTuple):
    """A resource of the chosen model, by every source that there is."""

    name: str
    limit: str
    estimated: str
    planned: str
    measured: str
    unpruned: str
    share: str | None


class _ClassRow(NamedTuple):
    name: str
    recall: str
    precision: str
    support: int


def report_page(study: StudyRecord, trial: TrialRecord, report: ReportRecord) -> str:
    """Return the report as a whole HTML page, without scripts.

    `study` has costs for the device that the model was chosen for, and `trial` is the chosen one.
    """
    evaluation = trial.evaluations.get(TEST) or trial.evaluations.get(VALIDATION)
    page = render(
        "report.html.j2",
        study=study,
        trial=trial,
        report=report,
        facts=_facts(study, report),
        answer=_answer(study, trial),
        questions=_questions(study, trial, report),
        data=_data(report.data),
        pictures=front_pictures(study, trial, report.asked),
        frame={"width": WIDTH, "height": HEIGHT},
        score_label=score_label(study),
        costs=_cost_rows(study, trial, report),
        has_margin=report.held != report.asked,
        evidence=_evidence(study, trial),
        evaluation=evaluation,
        answers=evaluation and answers_of(trial)[evaluation.split],
        classes=_class_rows(evaluation),
        matrix=_matrix(evaluation),
        bounds_of_proof=_bounds_of_proof(study, trial),
        widths=[(name, width) for name, width in trial.widths.items()],
        origins=_origins(study, trial, report),
    )
    return str(page)


def _facts(study: StudyRecord, report: ReportRecord) -> list[str]:
    ends = [trial.finished for trial in study.trials if trial.finished is not None]
    facts = [f"study {study.name}", study.key[:12], f"paring {report.version}"]
    if ends:
        last = datetime.fromtimestamp(max(ends), UTC)
        facts.insert(1, f"last trial over on {last:%-d %B %Y}")
    return facts


def _answer(study: StudyRecord, trial: TrialRecord) -> str:
    costs = trial.known_costs
    test = "" if trial.test_score is None else f" on validation and {trial.test_score:.4f} on test"
    device = "" if study.device is None else f" on {study.device.name}"
    return (
        f"Trial {trial.number} has the best {study.metric} within the limits: "
        f"{score_text(trial.score)}{test or ' on validation'}, with {size(costs.flash_bytes)} of "
        f"flash, {size(costs.sram_bytes)} of SRAM and {duration(costs.latency_ms)}{device}."
    )


def _variant(trial: TrialRecord) -> str:
    return f", chosen with {trial.variant}" if trial.variant else ""


def _questions(
    study: StudyRecord, trial: TrialRecord, report: ReportRecord
) -> list[tuple[str, str]]:
    device = study.device
    counts = [(state, sum(t.state is state for t in study.trials)) for state in State]
    chip = "none"
    if device is not None:
        clock = "" if device.clock_hz is None else f" at {device.clock_hz / 1e6:g} MHz"
        memory = "" if device.memory == Limits() else f", {bounds(device.memory)}"
        chip = f"{device.name} ({device.core}{clock}{memory})"
    way = "higher is better" if study.scores_rise else "lower is better"
    return [
        ("network", f"{study.tags.get('network', 'unknown')}{_variant(trial)}"),
        ("task", f"{study.metric}, {way}, of the network in precision {study.precision}"),
        ("device", chip),
        ("limits", bounds(report.asked)),
        (
            "search",
            f"{count(len(study.trials), 'trial')}: "
            + ", ".join(f"{n} {state.value}" for state, n in counts if n),
        ),
    ]


def _data(data: DataRecord) -> list[tuple[str, str]]:
    sizes = ", ".join(f"{number:,} {split}" for split, number in data.splits.items())
    shape = " x ".join(map(str, data.shape))
    names = ", ".join(data.classes[:40])
    more = f" and {len(data.classes) - 40} more" if len(data.classes) > 40 else ""
    return [
        ("name", data.name),
        ("samples", sizes or "unknown: the data could not be loaded"),
        ("one sample", f"{shape}, {data.dtype}"),
        ("targets", f"{len(data.classes)}: {names}{more}"),
        ("SHA-256", data.digest),
    ]


def _cost_rows(study: StudyRecord, trial: TrialRecord, report: ReportRecord) -> list[_CostRow]:
    rows, dense = [], dense_of(study, trial)
    for panel in PANELS:
        name = panel.resource
        shown = duration if panel.unit == "ms" else size
        estimate = cost_of(trial.known_costs, name)
        limit, held = limit_of(report.asked, name), limit_of(report.held, name)
        measured = None if trial.measured is None else cost_of(trial.measured.costs, name)
        planned = trial.planned_sram_bytes if name == "sram_bytes" else None
        rows.append(
            _CostRow(
                name=panel.title,
                limit="none" if limit is None else shown(limit),
                estimated=shown(estimate),
                planned=DASH if planned is None else shown(planned),
                measured=DASH if measured is None else shown(measured),
                unpruned=DASH if dense is None else shown(cost_of(dense.costs, name)),
                share=None if not held else percentage(min(estimate, held), held),
            )
        )
    before = DASH if dense is None else work(dense.costs.macs)
    macs = work(trial.known_costs.macs)
    return [*rows, _CostRow("MACs", "none", macs, DASH, DASH, before, None)]


def _evidence(study: StudyRecord, trial: TrialRecord) -> list[tuple[str, str]]:
    rows = [(f"{study.metric} on validation", _with_interval(study, trial, VALIDATION))]
    rows.append((f"{study.metric} on test", _with_interval(study, trial, TEST)))
    repeated = repeats_of(study).get(trial.number)
    if repeated is not None:
        rows.append(("over seeds, on validation", repeats_text(repeated)))
    if (dense := dense_of(study, trial)) is not None:
        rows.append(("unpruned network, on validation", score_text(dense.score)))
    if study.chance is not None:
        rows.append(("a constant answer, on validation", score_text(study.chance)))
    if trial.measured is not None:
        wrong, results = trial.measured.mismatches, trial.measured.results
        rows.append(
            (
                f"generated C on an emulated {trial.measured.core}",
                f"{wrong} of {results} results differ from those it was scored with",
            )
        )
    return rows


def _with_interval(study: StudyRecord, trial: TrialRecord, split: str) -> str:
    """Return a score, with Wilson's interval of 95 % where it is a share of samples."""
    score = trial.score if split == VALIDATION else trial.test_score
    if score is None:
        return "not measured"
    evaluation = trial.evaluations.get(split)
    if not isinstance(evaluation, Classification) or study.metric != "accuracy":
        return score_text(score)
    n, z = evaluation.samples, _NORMAL
    middle = (score + z * z / (2 * n)) / (1 + z * z / n)
    reach = z / (1 + z * z / n) * sqrt(score * (1 - score) / n + z * z / (4 * n * n))
    low, high = middle - reach, middle + reach
    return f"{score:.4f} ({low:.4f} to {high:.4f}, 95 %, by {n:,} samples alone)"


def _class_rows(evaluation: Any) -> list[_ClassRow]:
    if not isinstance(evaluation, Classification):
        return []
    shares = zip(
        evaluation.classes, evaluation.recall, evaluation.precision, evaluation.support,
        strict=True,
    )  # fmt: skip
    return [_ClassRow(name, _share(r), _share(p), support) for name, r, p, support in shares]


def _share(value: float | None) -> str:
    return DASH if value is None else f"{100 * value:.1f} %"


class _MatrixCell(NamedTuple):
    samples: int
    kind: str
    strength: str


def _matrix(evaluation: Any) -> list[tuple[str, list[_MatrixCell]]]:
    """Return the confusion matrix row by row; `strength` grows with the share of the class."""
    if not isinstance(evaluation, Classification):
        return []
    rows = zip(evaluation.classes, evaluation.confusion, evaluation.support, strict=True)
    return [
        (
            name,
            [
                _MatrixCell(
                    number,
                    ("right" if target == answer else "wrong") if number else "",
                    percentage(sqrt(number / support), 1) if support else "0%",
                )
                for answer, number in enumerate(row)
            ],
        )
        for target, (name, row, support) in enumerate(rows)
    ]


def _bounds_of_proof(study: StudyRecord, trial: TrialRecord) -> list[str]:
    """Return what the numbers do not show, in sentences."""
    finished = count(len(finished_trials(study)), "finished trial")
    lines = [
        f"The model is the best of {finished} by its score on the validation split, which is "
        "therefore somewhat too good."
    ]
    lines.append(
        "It has no score on the test split: that is read for trials on the front of a study that "
        "is over."
        if trial.test_score is None
        else "The test split was read once, for trials of the front; no choice was made by it."
    )
    if repeats_of(study).get(trial.number) is None:
        lines.append("It was trained with one seed: how much seeds matter was not shown.")
    lines.append(
        "Costs are estimates of the cost model. Flash leaves out the kernels, which all networks "
        "share, and SRAM the stack."
        if trial.measured is None
        else "Flash and SRAM were measured as linked, without the kernels that all networks share "
        "and without the stack. Instructions were counted on an emulated core, not on a board."
    )
    lines.append(
        "Latency is instructions at the cycles per instruction that the device's file assumes; a "
        "board with other wait states, caches or clocks takes another time."
    )
    lost = [trial for trial in study.trials if trial.state in (State.FAILED, State.CANCELLED)]
    if lost:
        lines.append(f"{count(len(lost), 'trial')} failed or was cancelled, and cannot be chosen.")
    if not trial.evaluations:
        lines.append("Which classes it confuses was not shown: it has no evaluation.")
    return lines


def _origins(study: StudyRecord, trial: TrialRecord, report: ReportRecord) -> list[tuple[str, str]]:
    tags = study.tags
    versions = {
        name.removeprefix("version."): value
        for name, value in tags.items()
        if name.startswith("version.")
    }
    dirty = " with changes on top" if tags.get("git.dirty") == "true" else ""
    commit = tags.get("git.commit", _UNKNOWN)
    return [
        ("seed", str(trial.seed)),
        ("hyperparameters", ", ".join(f"{k}={v}" for k, v in trial.params.items()) or "none"),
        ("budget of the trial", bounds(trial.budget)),
        ("git commit", "not in a repository" if commit == _UNKNOWN else f"{commit}{dirty}"),
        ("trained with", ", ".join(f"{name} {value}" for name, value in versions.items())),
        ("data, SHA-256", report.data.digest),
        *((f"{name}, SHA-256", digest) for name, digest in sorted(trial.files.items())),
    ]

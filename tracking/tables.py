"""The front as rows for CSV, JSON and HTML, and numbers as text for people."""

import csv
import io
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from math import isfinite
from typing import Any

from tracking.records import (
    RESOURCES,
    Costs,
    DenseRecord,
    Limits,
    MeasuredRecord,
    Scalar,
    State,
    StudyRecord,
    TrialRecord,
)
from tracking.seeds import Repeats, repeats_of

Row = dict[str, Scalar]

REFERENCE = {
    "score": "chance (0) to the best possible (1)",
    "flash_bytes": "share of dense",
    "sram_bytes": "share of dense",
    "latency_ms": "share of dense",
    "point": [0.0, 1.0, 1.0, 1.0],
}

NAMES = {
    "score": "score",
    "flash_bytes": "flash",
    "sram_bytes": "SRAM",
    "latency_ms": "latency",
    "macs": "MACs",
}  # in text for people
DASH = "\u2013"  # shown where there is no value


def front_trials(study: StudyRecord) -> list[TrialRecord]:
    """Return the trials that are on any front, the smallest flash first."""
    on_front = [trial for trial in finished_trials(study) if trial.planes]
    return sorted(on_front, key=lambda trial: (_flash(trial), trial.number))


def finished_trials(study: StudyRecord) -> list[TrialRecord]:
    """Return the trials that ended with a network: those that have a score and costs."""
    return [
        trial
        for trial in study.trials
        if trial.state is State.COMPLETE
        and trial.score is not None
        and isfinite(trial.score)
        and trial.costs is not None
    ]


def dense_of(study: StudyRecord, trial: TrialRecord) -> DenseRecord | None:
    """Return the unpruned network that a trial started from; None if it is not trained yet."""
    return next((dense for dense in study.dense if dense.name == trial.variant), None)


def front_rows(study: StudyRecord) -> list[Row]:
    """Return one flat row per trial of the front."""
    repeats = repeats_of(study)
    return [_row(trial, repeats.get(trial.number)) for trial in front_trials(study)]


def front_object(
    study: StudyRecord, runs: Mapping[int, str], trials: Sequence[TrialRecord] | None = None
) -> dict[str, Any]:
    """Return the front as JSON values (schema paring.front/1).

    `runs` maps trial numbers to run ids; `trials` are shown instead of those on the front.
    """
    shown = front_trials(study) if trials is None else trials
    states, repeats = [trial.state for trial in study.trials], repeats_of(study)
    return {
        "schema": "paring.front/1",
        "study": study.name,
        "metric": study.metric,
        "precision": study.precision,
        **_dense_object(study),
        "trials": {state.value: states.count(state) for state in State},
        "hypervolume": {
            "value": study.hypervolumes[-1] if study.hypervolumes else 0.0,
            "reference": REFERENCE,
        },
        "front": [_entry(trial, runs, repeats.get(trial.number)) for trial in shown],
    }


def _dense_object(study: StudyRecord) -> dict[str, Any]:
    """Return the unpruned network; of a study that chooses among several, the list of them."""
    entries = [asdict(dense) for dense in study.dense]
    if any(dense.name for dense in study.dense):
        return {"dense": None, "variants": entries}
    return {"dense": {k: v for k, v in entries[0].items() if k != "name"} if entries else None}


def _entry(trial: TrialRecord, runs: Mapping[int, str], repeated: Repeats | None) -> dict[str, Any]:
    return {
        "trial": trial.number,
        "run_id": runs.get(trial.number),
        "score": trial.score,
        "test_score": trial.test_score,
        "seeds": None if repeated is None else _over_seeds(repeated),
        "costs": {
            "estimated": asdict(trial.costs) if trial.costs else None,
            "planned": None
            if trial.planned_sram_bytes is None
            else {"sram_bytes": trial.planned_sram_bytes},
            "measured": None if trial.measured is None else _measured(trial, trial.measured),
        },
        "budget": asdict(trial.budget),
        "planes": list(trial.planes),
        "params": dict(trial.params),
        **({"variant": trial.variant} if trial.variant else {}),
        "widths": dict(trial.widths),
        "parent": trial.parent,
        "train_seconds": trial.train_seconds,
    }


def _measured(trial: TrialRecord, measured: MeasuredRecord) -> dict[str, Any]:
    """Return what was measured, and by how much the estimates are off."""
    return {
        **asdict(measured.costs),
        "core": measured.core,
        "stack_bytes": measured.stack_bytes,
        "instructions": measured.instructions,
        "mismatches": measured.mismatches,
        "errors": errors_of(trial),
    }


def errors_of(trial: TrialRecord) -> dict[str, float]:
    """Return estimate / measurement - 1 for each of the RESOURCES; nothing if not measured."""
    if trial.measured is None or trial.costs is None:
        return {}
    return {
        name: cost_of(trial.costs, name) / cost_of(trial.measured.costs, name) - 1
        for name in RESOURCES
    }


def measured_text(trial: TrialRecord) -> str:
    """Return the measured flash, SRAM and latency of a trial's firmware."""
    if trial.measured is None:
        return DASH
    costs = trial.measured.costs
    sizes = (size(costs.flash_bytes), size(costs.sram_bytes), duration(costs.latency_ms))
    return " · ".join(sizes)


def _over_seeds(repeated: Repeats) -> dict[str, Any]:
    numbers = [trial.number for trial in repeated.trials]
    return {"trials": numbers, "mean": repeated.mean, "spread": repeated.spread}


def front_csv(study: StudyRecord) -> str:
    """Return the front as CSV with a header, even when it is empty."""
    rows = front_rows(study)
    text = io.StringIO()
    writer = csv.DictWriter(text, list(rows[0]) if rows else ["trial"], lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()


def size(value: float | None) -> str:
    """Return bytes as people read them."""
    if value is None:
        return DASH
    for unit, scale in (("MiB", 1 << 20), ("KiB", 1 << 10)):
        if value >= scale:
            return f"{short(value / scale)} {unit}"
    return f"{value:.0f} B"


def duration(value: float | None) -> str:
    """Return milliseconds as people read them."""
    return DASH if value is None else f"{short(value)} ms"


def short(value: float) -> str:
    """Return a number with three digits, and never with an exponent once it is large."""
    return f"{value:.3g}" if abs(value) < 100 else f"{value:.0f}"


def work(macs: int) -> str:
    """Return multiply-accumulates as people read them."""
    for unit, scale in (("G", 10**9), ("M", 10**6), ("k", 10**3)):
        if macs >= scale:
            return f"{short(macs / scale)} {unit}"
    return str(macs)


def score_text(value: float | None) -> str:
    """Return a score with the digits that a validation set can carry."""
    return DASH if value is None else f"{value:.4f}"


def repeats_text(repeated: Repeats | None) -> str:
    """Return the mean score over seeds with its spread."""
    if repeated is None:
        return DASH
    seeds = count(len(repeated.trials), "seed")
    return f"{repeated.mean:.4f} \u00b1 {repeated.spread:.4f} ({seeds})"


def count(number: int, noun: str) -> str:
    """Return a number and its noun, in the plural where due."""
    return f"{number} {noun}" + ("" if number == 1 else "s")


def bounds(limits: Limits) -> str:
    """Return limits in words."""
    parts = (
        (size(limits.flash_bytes), "flash", limits.flash_bytes),
        (size(limits.sram_bytes), "SRAM", limits.sram_bytes),
        (duration(limits.latency_ms), "latency", limits.latency_ms),
    )
    texts = [f"{text} {name}" for text, name, value in parts if value is not None]
    return ", ".join(texts) or "none"


def amounts(costs: Costs) -> str:
    """Return costs in words."""
    resources = Limits(
        flash_bytes=costs.flash_bytes, sram_bytes=costs.sram_bytes, latency_ms=costs.latency_ms
    )
    return f"{bounds(resources)}, {work(costs.macs)} MACs"


def cost_of(costs: Costs, resource: str) -> float:
    """Return one of the RESOURCES of a network."""
    return float(getattr(costs, resource))


def limit_of(limits: Limits, resource: str) -> float | None:
    """Return the bound of one of the RESOURCES."""
    value = getattr(limits, resource)
    return None if value is None else float(value)


def shares_of(costs: Costs, limits: Limits) -> dict[str, float]:
    """Return each cost that has a limit as a share of it, by resource: at most 1 if it holds.

    Limits are those of the trial's budget, without a device's margins: with margins estimates
    stay below 1, so that what is measured is at most 1.
    """
    bounds = {name: limit_of(limits, name) for name in RESOURCES}
    return {name: cost_of(costs, name) / limit for name, limit in bounds.items() if limit}


def _flash(trial: TrialRecord) -> int:
    return 0 if trial.costs is None else trial.costs.flash_bytes


def _row(trial: TrialRecord, repeated: Repeats | None) -> Row:
    costs = trial.costs
    row: Row = {"trial": trial.number, "score": trial.score, "test_score": trial.test_score}
    if costs is not None:
        row |= {name: getattr(costs, name) for name in (*RESOURCES, "macs")}
    measured = trial.measured and trial.measured.costs
    row |= {f"measured_{name}": getattr(measured, name, None) for name in RESOURCES}
    row |= {f"budget_{name}": getattr(trial.budget, name) for name in RESOURCES}
    row["planes"] = " ".join(trial.planes)
    row["widths"] = json.dumps(dict(trial.widths))
    row["parent"] = trial.parent
    row["seeds"] = 1 if repeated is None else len(repeated.trials)
    row["seeds_mean"] = None if repeated is None else repeated.mean
    row["seeds_spread"] = None if repeated is None else repeated.spread
    return row

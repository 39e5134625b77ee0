"""The numbers of MLflow's runs: finals, written once, and curves, a point for each step."""

from collections import Counter
from collections.abc import Mapping
from math import isfinite
from typing import NamedTuple

from tracking.records import (
    RESOURCES,
    Costs,
    DenseRecord,
    EpochRow,
    Limits,
    State,
    StudyRecord,
    TrialRecord,
)
from tracking.tables import cost_of, errors_of, finished_trials, shares_of


class Step(NamedTuple):
    """The values of one step of a run's curves. `at` is in milliseconds since the epoch."""

    step: int
    at: int
    values: Mapping[str, float]


def trial_finals(trial: TrialRecord) -> dict[str, float]:
    """Return the numbers of a trial that is over; an unfinished one has none yet."""
    if not trial.state.over:
        return {}
    values: dict[str, float | None] = {"score": trial.score, "test_score": trial.test_score}
    if trial.costs is not None:
        values |= _costs(trial.costs) | _shares(trial.costs, trial.budget)
    finals = {f"final.{name}": float(value) for name, value in values.items() if value is not None}
    return finals | _measured(trial)


def _measured(trial: TrialRecord) -> dict[str, float]:
    """Return what was measured, and by how much the estimates were off."""
    if trial.measured is None:
        return {}
    measured = trial.measured
    values = _costs(measured.costs) | {
        "stack_bytes": float(measured.stack_bytes),
        "instructions": float(measured.instructions),
        "mismatches": float(measured.mismatches),
    }
    errors = {f"error.{name}": error for name, error in errors_of(trial).items()}
    return {f"measured.{name}": value for name, value in (values | errors).items()}


def model_metrics(trial: TrialRecord) -> dict[tuple[str, str | None], float]:
    """Return the numbers of a finished trial's model, by name and by the split of the data that
    they are of.
    """
    values: dict[tuple[str, str | None], float | None] = {
        ("score", "validation"): trial.score,
        ("test_score", "test"): trial.test_score,
        **{(name, None): value for name, value in _costs(trial.known_costs).items()},
        **{(name, None): value for name, value in _measured(trial).items()},
    }
    return {name: float(value) for name, value in values.items()
            if value is not None and isfinite(value)}  # fmt: skip


def trial_curves(trial: TrialRecord) -> tuple[Step, ...]:
    """Return a step per epoch, at times that are the same whenever they are computed.

    MLflow drops a point that it already has, if its time is the same: after a crash between
    writing points and noting so in a tag, they can be written again.
    """
    steps, now = [], trial.started or 0.0
    for row in trial.epochs:
        now += row.seconds
        steps.append(Step(row.epoch, round(1000 * now), _epoch_values(row, trial.budget)))
    return tuple(steps)


def _epoch_values(row: EpochRow, budget: Limits) -> dict[str, float]:
    values = {"loss": row.loss, "score": row.score, "seconds": row.seconds}
    return values | _costs(row.costs) | _shares(row.costs, budget)


def _costs(costs: Costs) -> dict[str, float]:
    return {name: cost_of(costs, name) for name in (*RESOURCES, "macs")}


def _shares(costs: Costs, budget: Limits) -> dict[str, float]:
    """Return the metrics `flash_budget_share` and so on."""
    return {
        f"{name.partition('_')[0]}_budget_share": share
        for name, share in shares_of(costs, budget).items()
    }


def study_finals(study: StudyRecord) -> dict[str, float]:
    """Return how many trials are in each state, and the numbers of the dense networks."""
    counts = Counter(trial.state for trial in study.trials)
    values = {f"trials.{state.value}": float(counts[state]) for state in State}
    values["trials.total"] = float(len(study.trials))
    values["trials.front"] = float(sum(bool(trial.planes) for trial in finished_trials(study)))
    for dense in study.dense:
        numbers = {"score": dense.score, **_costs(dense.costs)}
        values |= {f"dense.{_named(dense)}{name}": value for name, value in numbers.items()}
    return values


def _named(dense: DenseRecord) -> str:
    """Return the part of a metric's name that tells dense networks apart; MLflow takes no = and
    no commas in it.
    """
    return f"{dense.name.replace('=', ' ').replace(',', '')}." if dense.name else ""


def study_curves(study: StudyRecord, started: int) -> tuple[Step, ...]:
    """Return the hypervolume after each finished trial; the study started at `started`, in
    milliseconds since the epoch.
    """
    return tuple(
        Step(index, started + index, {"hypervolume": value})
        for index, value in enumerate(study.hypervolumes, start=1)
    )

"""A study as plain records: what Optuna and the store know, put together for people."""

from collections.abc import Mapping
from dataclasses import asdict, replace
from typing import Any

from optuna.trial import FrozenTrial, TrialState

from pruning.budget import Budget, Cost, Device
from pruning.cost.model import Encoding
from pruning.training.job import Precision
from search.errors import StudyError
from search.results.front import Point, hypervolumes, planes, points_of
from search.results.histories import Histories
from search.results.importance import importances
from search.results.picks import picks
from search.study.factory import SweepFactory
from search.study.limits import limits_of
from search.study.study import Study
from search.study.trials import CANCELLED, trial_budget
from tracking.records import (
    Costs,
    DenseRecord,
    DeviceRecord,
    Limits,
    MeasuredRecord,
    State,
    StudyRecord,
    TrialRecord,
)

MEASURED = "measured"  # a source of costs; notes of it are by number


def measured_note(number: int) -> str:
    """The name of the note with what a trial takes on an emulated core."""
    return f"{MEASURED}/{number}"


def state_of(trial: FrozenTrial) -> State:
    """Where a trial is in its life."""
    match trial.state:
        case TrialState.WAITING:
            return State.WAITING
        case TrialState.RUNNING:
            return State.RUNNING
        case TrialState.COMPLETE:
            return State.COMPLETE
        case TrialState.PRUNED:
            return State.INFEASIBLE if trial.user_attrs.get("infeasible") else State.STOPPED
        case TrialState.FAIL:
            return State.CANCELLED if trial.user_attrs.get(CANCELLED) else State.FAILED


def counts(study: Study) -> dict[str, int]:
    """How many trials are in each state."""
    states = [state_of(trial) for trial in study.trials()]
    return {state.value: states.count(state) for state in State}


def study_record(study: Study, histories: Histories | None = None) -> StudyRecord:
    """Everything there is to tell of a study; `histories` remembers what it has read."""
    histories = histories or Histories(study.workspace.store)
    facts, trials, device = study.facts, study.trials(), SweepFactory(study.spec).device
    finished, notes, epochs = points_of(study), study.notes(), histories.of(trials)
    on = planes(finished, facts["rises"])
    precision = Precision(facts.get("precision", Precision.SIMULATED))  # else older
    guard = device if precision.encoding is Encoding.C else None
    return StudyRecord(
        name=study.name,
        key=study.key,
        metric=facts["metric"],
        scores_rise=facts["rises"],
        precision=precision,
        config=study.spec.yaml(),
        tags=facts["tags"],
        trials=tuple(
            replace(
                _trial(trial, on.get(trial.number, ()), notes, device),
                epochs=epochs.get(trial.number, ()),
                held=_held(trial_budget(trial), guard),
            )
            for trial in trials
        ),
        dense=_dense(study),
        device=DeviceRecord(
            name=study.spec["device"]["name"], limits=Limits(**facts["device_limits"])
        ),
        importances=importances(trials, study.objectives, facts["rises"]),
        picks=picks(finished, device, precision.encoding, facts["rises"]),
        hypervolumes=tuple(
            hypervolumes(finished, Cost(**facts["dense_cost"]), facts["chance"], facts["best"])
        ),
    )


def measured_record(study: Study) -> StudyRecord:
    """The same with only the trials that were measured, in measured numbers.

    Raises:
        StudyError: none was.
    """
    record, limits = study_record(study), Budget(**study.facts["device_limits"])
    costs = {trial.number: trial.measured.costs for trial in record.trials if trial.measured}
    if not costs:
        raise StudyError(
            f"study={record.name}: no trial has been measured; run: paring verify "
            f"study={record.name}"
        )
    points = []
    for trial in record.trials:
        if trial.number in costs and trial.score is not None:
            cost = Cost(**asdict(costs[trial.number]))
            points.append(Point(trial.number, trial.score, cost, limits.holds(cost)))
    on = planes(points, record.scores_rise)
    trials = (
        replace(trial, costs=costs.get(trial.number), planes=on.get(trial.number, ()))
        for trial in record.trials
    )
    return replace(
        record, trials=tuple(trials), dense=None, hypervolumes=(), importances={}, source=MEASURED
    )


def _dense(study: Study) -> DenseRecord | None:
    note = study.note("dense")
    if note is None:
        return None
    return DenseRecord(
        score=note["score"],
        # Not the note's: the network may be from a study that counts in another way.
        costs=Costs(**study.facts["dense_cost"]),
        train_seconds=note.get("seconds"),
    )


def _trial(
    trial: FrozenTrial,
    on: tuple[str, ...],
    notes: Mapping[str, Any],
    device: Device,
) -> TrialRecord:
    known = trial.user_attrs
    # Not of a trial that was given up between what it found and the end of it.
    over = trial.state is TrialState.COMPLETE
    result: Mapping[str, Any] = known.get("result", {}) if over else {}
    costs = Costs(**result["cost"]) if result else None
    return TrialRecord(
        number=trial.number,
        state=state_of(trial),
        attempt=known.get("attempt", 0),
        budget=Limits(**limits_of(trial_budget(trial))),
        seed=known["slot"]["seed"],
        params=trial.params,
        score=result.get("score"),
        test_score=notes.get(f"test/{trial.number}"),
        costs=costs,
        planned_sram_bytes=result.get("planned_sram_bytes"),
        measured=_measured(device, costs, notes.get(measured_note(trial.number))),
        widths=result.get("widths", {}),
        planes=on,
        parent=known.get("parent"),
        copy_of=result.get("copy_of"),
        draw=known["slot"].get("draw"),
        reason=known.get("reason", ""),
        files=result.get("files", {}),
        started=trial.datetime_start.timestamp() if trial.datetime_start else None,
        finished=trial.datetime_complete.timestamp() if trial.datetime_complete else None,
    )


def _held(budget: Budget, guard: Device | None) -> Limits | None:
    """What estimates must stay within, where margins make that less than a budget."""
    held = budget if guard is None else guard.guarded(budget)
    return None if held == budget else Limits(**limits_of(held))


def _measured(
    device: Device, estimated: Costs | None, note: Mapping[str, Any] | None
) -> MeasuredRecord | None:
    """What a trial took on an emulated core of the study's device."""
    if estimated is None or note is None:
        return None
    costs = replace(
        estimated,
        flash_bytes=note["flash_bytes"],
        sram_bytes=note["sram_bytes"],
        latency_ms=device.milliseconds(note["instructions"]),
    )
    names = ("core", "stack_bytes", "instructions", "results", "mismatches")
    return MeasuredRecord(costs=costs, **{name: note[name] for name in names})


def run_ids(study: Study) -> dict[int, str]:
    """The MLflow run of every trial that has one, by number."""
    return {int(number): run for number, run in (study.note("runs") or {}).items()}


def failures(study: Study) -> dict[int, str]:
    """Why trials failed or could not be met, by number."""
    bad = (State.FAILED, State.INFEASIBLE)
    trials = (trial for trial in study.trials() if "reason" in trial.user_attrs)
    return {trial.number: trial.user_attrs["reason"] for trial in trials if state_of(trial) in bad}

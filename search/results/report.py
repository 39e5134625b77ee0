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
from search.study.factory import Blueprint
from search.study.limits import limits_of
from search.study.study import CANCELLED, Study, slot_budget
from tracking.records import (
    Costs,
    DenseRecord,
    DeviceRecord,
    Limits,
    MeasuredRecord,
    SlotRecord,
    State,
    StudyRecord,
)

MEASURED = "measured"  # a source of costs; notes of it are by number


def measured_note(number: int) -> str:
    """The name of the note with what a slot takes on an emulated core."""
    return f"{MEASURED}/{number}"


def state_of(trial: FrozenTrial) -> State:
    """Where a slot is in its life."""
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
    """How many slots are in each state."""
    states = [state_of(trial) for trial in study.slots()]
    return {state.value: states.count(state) for state in State}


def study_record(study: Study, histories: Histories | None = None) -> StudyRecord:
    """Everything there is to tell of a study; `histories` remembers what it has read."""
    histories = histories or Histories(study.home.store)
    facts, trials, device = study.facts, study.slots(), Blueprint(study.spec).device
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
        slots=tuple(
            replace(
                _slot(trial, on.get(trial.number, ()), notes, device),
                epochs=epochs.get(trial.number, ()),
                held=_held(slot_budget(trial), guard),
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
    """The same with only the slots that were measured, in measured numbers.

    Raises:
        StudyError: none was.
    """
    record, limits = study_record(study), Budget(**study.facts["device_limits"])
    costs = {slot.number: slot.measured.costs for slot in record.slots if slot.measured}
    if not costs:
        raise StudyError(
            f"study={record.name}: no slot has been measured; run: paring verify "
            f"study={record.name}"
        )
    points = []
    for slot in record.slots:
        if slot.number in costs and slot.score is not None:
            cost = Cost(**asdict(costs[slot.number]))
            points.append(Point(slot.number, slot.score, cost, limits.holds(cost)))
    on = planes(points, record.scores_rise)
    slots = (
        replace(slot, costs=costs.get(slot.number), planes=on.get(slot.number, ()))
        for slot in record.slots
    )
    return replace(
        record, slots=tuple(slots), dense=None, hypervolumes=(), importances={}, source=MEASURED
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


def _slot(
    trial: FrozenTrial,
    on: tuple[str, ...],
    notes: Mapping[str, Any],
    device: Device,
) -> SlotRecord:
    known = trial.user_attrs
    # Not of a slot that was given up between what it found and the end of it.
    over = trial.state is TrialState.COMPLETE
    result: Mapping[str, Any] = known.get("result", {}) if over else {}
    costs = Costs(**result["cost"]) if result else None
    return SlotRecord(
        number=trial.number,
        state=state_of(trial),
        attempt=known.get("attempt", 0),
        budget=Limits(**limits_of(slot_budget(trial))),
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
    """What a slot took on an emulated core of the study's device."""
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
    """The MLflow run of every slot that has one, by number."""
    return {int(number): run for number, run in (study.note("runs") or {}).items()}


def failures(study: Study) -> dict[int, str]:
    """Why slots failed or could not be met, by number."""
    bad = (State.FAILED, State.INFEASIBLE)
    slots = (slot for slot in study.slots() if "reason" in slot.user_attrs)
    return {slot.number: slot.user_attrs["reason"] for slot in slots if state_of(slot) in bad}

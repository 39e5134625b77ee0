"""A study as plain records: what Optuna and the store know, put together for people."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from math import isfinite

from optuna.trial import FrozenTrial, TrialState

from pruning.budget import Budget, Cost, Device
from pruning.cost.model import Encoding
from search.errors import StudyError
from search.results.front import Point, hypervolumes, planes, points_of
from search.results.histories import Histories
from search.results.importance import importances
from search.results.picks import picks
from search.storage.outcome import Cancelled, Dominated, Failed, Finished, Infeasible
from search.storage.trial_record import TrialNotes, outcome_of, result_of
from search.study.factory import SweepFactory
from search.study.limits import device_record, limits_of
from search.study.study import Study
from search.study.study_record import DenseNote, Measurement, StudyNotes, VariantFacts, dense_of
from search.study.variants import facts_of
from tracking.evaluation import Evaluation
from tracking.evaluation_file import EVALUATION
from tracking.records import (
    Costs,
    DenseRecord,
    Limits,
    MeasuredRecord,
    State,
    StudyRecord,
    TrialRecord,
)

MEASURED = "measured"  # a source of costs


def state_of(trial: FrozenTrial) -> State:
    """Where a trial is in its life."""
    if trial.state is TrialState.WAITING:
        return State.WAITING
    if trial.state is TrialState.RUNNING:
        return State.RUNNING
    match outcome_of(trial):
        case Finished() | None:
            return State.COMPLETE
        case Infeasible():
            return State.INFEASIBLE
        case Dominated():
            return State.STOPPED
        case Failed():
            return State.FAILED
        case Cancelled():
            return State.CANCELLED


def counts(trials: Sequence[FrozenTrial]) -> dict[str, int]:
    """How many trials are in each state."""
    states = [state_of(trial) for trial in trials]
    return {state.value: states.count(state) for state in State}


def study_record(study: Study, histories: Histories | None = None) -> StudyRecord:
    """A study as tracking is told of it; `histories` remembers the epochs that it has read."""
    histories = histories or Histories(study.workspace.store)
    facts, trials, device = study.facts, study.trials(), SweepFactory(study.spec).device
    finished, notes = points_of(trials, facts.device_limits), study.notes()
    epochs, on = histories.of(trials), planes(finished, facts.rises)
    evaluations = histories.evaluations(notes.evaluations)
    encoding = facts.precision.encoding
    return StudyRecord(
        name=study.name,
        key=study.key,
        metric=facts.metric,
        scores_rise=facts.rises,
        precision=facts.precision,
        config=study.spec.yaml(),
        tags=facts.tags,
        trials=tuple(
            replace(
                _evaluated(
                    _trial(trial, on.get(trial.number, ()), notes, device),
                    notes.evaluations.get(trial.number),
                    evaluations.get(trial.number, {}),
                ),
                variant=facts_of(study, trial.params).name if trial.params else "",
                epochs=epochs.get(trial.number, ()),
                held=_held(TrialNotes.of(trial).budget, encoding, device),
            )
            for trial in trials
        ),
        dense=_dense(notes.dense, facts.all_variants),
        device=device_record(device, facts.device_limits),
        importances=importances(trials, study.objectives, facts.rises),
        picks=picks(finished, device, encoding, facts.rises),
        hypervolumes=tuple(hypervolumes(finished, facts.dense_cost, facts.chance, facts.best)),
        best=facts.best if isfinite(facts.best) else None,
        chance=facts.chance if isfinite(facts.chance) else None,
    )


def measured_record(study: Study) -> StudyRecord:
    """The same in measured numbers, on whose fronts are only the trials that were measured.

    Raises:
        StudyError: none was.
    """
    record = study_record(study)
    measured = [
        replace(trial, costs=trial.measured.costs if trial.measured else None)
        for trial in record.trials
    ]
    points = points_in(measured, study.facts.device_limits)
    if not points:
        raise StudyError(
            f"study={record.name}: no trial has been measured; run: paring verify "
            f"study={record.name}"
        )
    on = planes(points, record.scores_rise)
    trials = (replace(trial, planes=on.get(trial.number, ())) for trial in measured)
    return replace(
        record, trials=tuple(trials), dense=(), hypervolumes=(), importances={}, source=MEASURED
    )


def points_in(trials: Sequence[TrialRecord], device_limits: Budget) -> list[Point]:
    """The trials of a record that have costs in objective space, in the order in which they
    finished.
    """
    points = []
    for trial in sorted(trials, key=lambda trial: (trial.finished is None, trial.finished or 0.0)):
        if trial.costs is not None and trial.score is not None:
            cost = Cost(**asdict(trial.costs))
            points.append(Point(trial.number, trial.score, cost, device_limits.holds(cost)))
    return points


def _dense(
    notes: Mapping[str, DenseNote], variants: Sequence[VariantFacts]
) -> tuple[DenseRecord, ...]:
    """The dense networks that are trained, at the costs that this study counts: a network may be
    from a study that counts in another way.
    """
    return tuple(
        DenseRecord(
            name=facts.name,
            score=note.score,
            costs=Costs(**asdict(facts.dense_cost)),
            train_seconds=note.seconds,
        )
        for facts in variants
        if (note := dense_of(notes, facts)) is not None
    )


def _trial(
    trial: FrozenTrial,
    on: tuple[str, ...],
    study_notes: StudyNotes,
    device: Device,
) -> TrialRecord:
    notes, result = TrialNotes.of(trial), result_of(trial)
    costs = Costs(**asdict(result.cost)) if result else None
    return TrialRecord(
        number=trial.number,
        state=state_of(trial),
        attempt=notes.attempt,
        budget=Limits(**limits_of(notes.budget)),
        seed=notes.seed,
        params=trial.params,
        score=result.score if result else None,
        test_score=study_notes.test_scores.get(trial.number),
        costs=costs,
        planned_sram_bytes=result.planned_sram_bytes if result else None,
        measured=_measured(device, costs, study_notes.measured.get(trial.number)),
        widths=result.widths if result else {},
        planes=on,
        parent=notes.warm_start.parent if notes.warm_start else None,
        copy_of=result.copy_of if result else None,
        draw=notes.draw,
        reason=notes.reason,
        files=result.files if result else {},
        started=trial.datetime_start.timestamp() if trial.datetime_start else None,
        finished=trial.datetime_complete.timestamp() if trial.datetime_complete else None,
    )


def _evaluated(
    trial: TrialRecord, digest: str | None, evaluations: Mapping[str, Evaluation]
) -> TrialRecord:
    """A trial with its evaluations, and the file that holds them among its files."""
    if digest is None or not evaluations:
        return trial
    return replace(trial, evaluations=evaluations, files={**trial.files, EVALUATION: digest})


def _held(budget: Budget, encoding: Encoding, device: Device) -> Limits | None:
    """What estimates must stay within, where margins make that less than a budget."""
    held = encoding.guarded(budget, device)
    return None if held == budget else Limits(**limits_of(held))


def _measured(
    device: Device, estimated: Costs | None, measurement: Measurement | None
) -> MeasuredRecord | None:
    """What a trial took on an emulated core of the study's device."""
    if estimated is None or measurement is None:
        return None
    costs = replace(
        estimated,
        flash_bytes=measurement.flash_bytes,
        sram_bytes=measurement.sram_bytes,
        latency_ms=device.milliseconds(measurement.instructions),
    )
    return MeasuredRecord(
        core=measurement.core,
        costs=costs,
        stack_bytes=measurement.stack_bytes,
        instructions=measurement.instructions,
        results=measurement.results,
        mismatches=measurement.mismatches,
    )


def run_ids(study: Study) -> dict[int, str]:
    """The MLflow run of every trial that has one, by number."""
    return dict(study.notes().runs)


def failures(trials: Sequence[FrozenTrial]) -> dict[int, str]:
    """Why trials failed, or why their budgets cannot be met, by number."""
    outcomes = {trial.number: outcome_of(trial) for trial in trials}
    return {
        number: outcome.reason
        for number, outcome in outcomes.items()
        if isinstance(outcome, Failed | Infeasible) and outcome.reason
    }

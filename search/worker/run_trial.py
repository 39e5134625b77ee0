"""What a worker does with one trial: train it from its start, store it, tell its outcome."""

import json
import logging
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from math import isfinite
from typing import Any, Unpack, final

import optuna
import torch
from optuna.trial import FrozenTrial, TrialState

from pruning.cost.model import CostModel, bottlenecks
from pruning.errors import BudgetError
from pruning.export.files import digest_of
from pruning.export.interface import INTERFACE, Interface
from pruning.export.stored_model import MODEL, packed, stored_cost
from pruning.training.checkpoint import (
    StoredNetwork,
    unpack_network,
)
from pruning.training.job import Job
from pruning.training.state import Epoch, Pruned, TrainState, widths_of
from search.results.histories import EPOCHS
from search.storage.blobs import Store
from search.storage.outage import tolerated
from search.storage.outcome import Cancelled, Dominated, Failed, Finished, Infeasible, Outcome
from search.storage.trial_record import Progress, TrialChanges, TrialNotes, result_of
from search.study.pruner import RungReport
from search.study.scale import normalized_score
from search.study.study import Study
from search.study.trials import (
    BLOBS,
    discard,
    note_trial,
    sampled_params,
    still_mine,
    trial_budget,
    turn,
)
from search.study.variants import Variant
from search.worker.stop_signals import Reason, StopMonitor, Stopped
from search.worker.training_loop import resumed, train_on
from search.worker.warm_start import Start, start_of
from tracking.explanation import EXPLANATION
from tracking.profile import PROFILE

log = logging.getLogger("paring.trial")


@final
class _TrialLog:
    """The notes of a training run, stored with its trial."""

    def __init__(self, study: Study, trial: optuna.Trial) -> None:
        self._study, self._trial = study, trial
        self._rungs = study.rungs
        self._removed: set[str] = set()

    def checkpoint(self) -> str | None:
        return TrialNotes.of(self._trial).checkpoint

    def announce(self, digests: Sequence[str]) -> None:
        notes = TrialNotes.of(self._trial)
        stored = notes.resume_blobs - self._removed  # some by attempts that were killed
        with self._study.workspace.lock(BLOBS):
            self._note(pending=sorted(stored.union(digests)))

    def forget(self, digest: str) -> None:
        self._removed.add(digest)

    def note_checkpoint(self, digest: str) -> None:
        with turn(self._study):
            self._note(checkpoint=digest)

    def note_progress(self, progress: Progress) -> None:
        self._note(progress=progress)

    def _note(self, **changes: Unpack[TrialChanges]) -> None:
        if not note_trial(self._study, self._trial, **changes):
            raise Stopped(Reason.LOST)

    def verdict(self, epoch: Epoch, of: int, /) -> str | None:
        rung = self._rungs.at(epoch.epoch, of)
        if rung is None:
            return None
        facts = self._study.facts
        gain = normalized_score(epoch.score, facts.chance, facts.best)
        self._note(rungs={rung: gain})
        reports = [
            RungReport(trial.number, notes.budget, notes.rungs[rung])
            for trial in self._study.trials()
            if rung in (notes := TrialNotes.of(trial)).rungs
        ]
        mine = RungReport(self._trial.number, trial_budget(self._trial), gain)
        if (other := self._rungs.better(mine, reports)) is None:
            return None
        return (
            f"stopped at epoch {epoch.epoch} of {of}: trial {other.number}, whose budget is no "
            f"larger, was better by {other.gain - gain:.3f} of the scale"
        )


def run_trial(
    study: Study,
    trial: optuna.Trial,
    variant: Variant,
    dense: StoredNetwork,
    monitor: StopMonitor,
) -> Outcome:
    """Train a claimed trial: from its checkpoint, its parent or the dense network.

    Raises:
        Stopped: there was a reason to leave it; its last epoch is stored if the trial is still
            this process's.
    """
    params = sampled_params(study, trial)
    start = monitor.outlast(lambda: start_of(study, trial, variant.key, dense))
    twin = _twin(study, trial, start, params)
    if twin is not None and (copy := _copied(twin)) is not None:
        return copy
    job = variant.factory.trial_job(params, trial_budget(trial), TrialNotes.of(trial).seed)
    book = _TrialLog(study, trial)
    try:
        name, store = f"trial {trial.number}", study.workspace.store
        state = monitor.outlast(lambda: resumed(book, job, store, name))
        if state is None:
            state = TrainState.begin(start.network.graph, start.network.tensors, job)
        verdict = train_on(state, job, study.workspace, book, monitor)
    except BudgetError as error:
        return Infeasible(str(error))
    if verdict is not None:
        return Dominated(verdict)
    if not isfinite(score := state.history[-1].score):
        return Failed(f"{job.task.metric.name} is {score}; correct the metric")
    return monitor.outlast(lambda: _finished(book, store, state, job, dense))


def _twin(
    study: Study, trial: optuna.Trial, start: Start, params: Mapping[str, Any]
) -> FrozenTrial | None:
    """A complete trial that was the same run, if there is one.

    The digest of the run is stored with the trial, so that later ones find it.
    """
    notes = TrialNotes.of(trial)
    inputs = [start.digest, params, asdict(notes.budget), notes.seed]
    run = digest_of(json.dumps(inputs, sort_keys=True).encode())
    if notes.run != run:
        study.table.note(trial, run=run)
    return study.table.complete_run(run)


def _copied(twin: FrozenTrial) -> Finished | None:
    result = result_of(twin)
    if result is None:
        return None
    first = twin.number if result.copy_of is None else result.copy_of
    return replace(result, seconds=0.0, copy_of=first)


def _finished(
    book: _TrialLog, store: Store, state: TrainState, job: Job, dense: StoredNetwork
) -> Finished | Failed:
    """Store the network, and take its cost from what is stored."""
    last, model = state.history[-1], packed(state, job)
    stored = unpack_network(model)
    costs = job.cost_model(stored.graph)
    cost, arena = stored_cost(stored, costs)
    if not (limits := job.limits(costs)).holds(cost):
        return Failed(f"the stored network costs {cost}, over its {limits}")
    notes: dict[str, Any] = {
        EPOCHS: [asdict(epoch) for epoch in state.history],
        PROFILE: {
            name: _profile(job.cost_model(graph))
            for name, graph in (("before", dense.graph), ("after", stored.graph))
        },
    }
    if isinstance(state.stage, Pruned) and state.stage.explanation is not None:
        notes[EXPLANATION] = asdict(state.stage.explanation)
    contents = {name: json.dumps(note).encode() for name, note in notes.items()}
    contents[MODEL] = model
    contents[INTERFACE] = Interface.of(job.data, job.task).to_json()
    files = {name: digest_of(content) for name, content in contents.items()}
    book.announce(list(files.values()))
    for content in contents.values():
        store.put(content)
    return Finished(
        score=last.score,
        cost=cost,
        widths=widths_of(stored.graph),
        bottleneck=bottlenecks(costs, stored.graph.channels.widths)["sram_bytes"],
        files=files,
        seconds=sum(epoch.seconds for epoch in state.history),
        threads=torch.get_num_threads(),
        planned_sram_bytes=arena,
    )


def _profile(model: CostModel) -> list[dict[str, Any]]:
    """What every kernel of a network takes, in execution order."""
    return [asdict(line) for line in model.explain(model.graph.channels.widths)]


def tell(study: Study, trial: optuna.Trial, outcome: Outcome) -> bool:
    """Write a trial's outcome into Optuna, once; False if it is no longer this process's."""
    with turn(study):
        if not still_mine(study, trial):
            return False
        _write(study, trial, outcome)
    with tolerated(f"the checkpoints of trial {trial.number} are not removed yet"):
        discard(study, TrialNotes.of(trial).resume_blobs)  # else `tidy` does, later
    return True


def _write(study: Study, trial: optuna.Trial, outcome: Outcome) -> None:
    match outcome:
        case Finished():
            study.table.note(trial, result=outcome)
            _tell_values(study, trial, outcome)
        case Infeasible(reason):
            study.table.note(trial, reason=reason, infeasible=True)
            study.optuna.tell(trial, state=TrialState.PRUNED)
        case Failed(reason):
            study.table.note(trial, reason=reason)
            study.optuna.tell(trial, state=TrialState.FAIL)
        case Dominated(reason):
            study.table.note(trial, reason=reason)
            study.optuna.tell(trial, state=TrialState.PRUNED)
        case Cancelled():
            study.table.note(trial, cancelled=True)
            study.optuna.tell(trial, state=TrialState.FAIL)


def _tell_values(study: Study, trial: optuna.Trial, result: Finished) -> None:
    """Tell Optuna a trial's objectives, and by how much it exceeds each limit of the device."""
    values = {"score": result.score, **asdict(result.cost)}
    for name, limit in study.facts.device_limits.limits.items():
        # Set only now: a value set before a kill would survive and shadow this one.
        trial.set_constraint(f"device.{name}", values[name] - limit)
    study.optuna.tell(trial, [values[name] for name in study.objectives])

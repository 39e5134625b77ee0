"""What a worker does with one trial: train it from its start, store it, judge it."""

import hashlib
import json
import logging
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from math import isfinite
from typing import Any, final

import optuna
import torch
from optuna.trial import FrozenTrial, TrialState

from pruning.budget import Cost
from pruning.cost.model import CostModel, bottlenecks
from pruning.errors import BudgetError, CheckpointError
from pruning.export.files import digest_of
from pruning.export.stored_model import packed, stored_cost
from pruning.training.checkpoint import (
    StoredNetwork,
    unpack_network,
    unpack_state,
)
from pruning.training.job import Job
from pruning.training.state import Epoch, TrainState, widths_of
from search.errors import StoreError
from search.storage.blobs import Store
from search.storage.optuna_adapter import CHECKPOINT, PENDING
from search.storage.outage import tolerated
from search.study.factory import SweepFactory
from search.study.pruner import RungReport
from search.study.scale import normalized_score
from search.study.study import Study
from search.study.trials import (
    BLOBS,
    CANCELLED,
    discard,
    note_trial,
    sampled_params,
    still_mine,
    trial_budget,
    turn,
    unfinished_blobs,
)
from search.worker.stop_signals import Reason, StopMonitor, Stopped
from search.worker.training_loop import train_on
from search.worker.warm_start import Start, start_of

log = logging.getLogger("paring.trial")


@dataclass(frozen=True, slots=True)
class Finished:
    """The trial trained to the end within its budget, or its twin did."""

    score: float
    cost: Cost
    widths: Mapping[str, int]
    bottleneck: str
    files: Mapping[str, str]
    seconds: float
    threads: int = 0  # of torch; 0 where an earlier version trained it
    planned_sram_bytes: int | None = None  # the arena of its C, if it has one
    copy_of: int | None = None


@dataclass(frozen=True, slots=True)
class Infeasible:
    """No width meets the trial's budget."""

    reason: str


@dataclass(frozen=True, slots=True)
class Failed:
    """The trial cannot be trained."""

    reason: str


@dataclass(frozen=True, slots=True)
class Dominated:
    """The trial was not worth training on."""

    reason: str


@dataclass(frozen=True, slots=True)
class Cancelled:
    """The trial was given up while it trained."""


Outcome = Finished | Infeasible | Failed | Dominated | Cancelled


@final
class _TrialLog:
    """A training run's notes in its trial's trial."""

    def __init__(self, study: Study, trial: optuna.Trial) -> None:
        self._study, self._trial = study, trial
        self._rungs = study.rungs

    def checkpoint(self) -> str | None:
        found: str | None = self._trial.user_attrs.get(CHECKPOINT)
        return found

    def announce(self, digests: Sequence[str]) -> None:
        killed = unfinished_blobs(self._trial) - {self.checkpoint()}  # an attempt in between
        with self._study.workspace.lock(BLOBS):
            self._note(PENDING, sorted(killed.union(digests)))

    def note_checkpoint(self, digest: str) -> None:
        with turn(self._study):
            self._note(CHECKPOINT, digest)

    def note_progress(self, progress: dict[str, Any]) -> None:
        self._note("progress", progress)

    def _note(self, key: str, value: Any) -> None:
        if not note_trial(self._study, self._trial, key, value):
            raise Stopped(Reason.LOST)

    def verdict(self, epoch: Epoch, of: int, /) -> str | None:
        rung = self._rungs.at(epoch.epoch, of)
        if rung is None:
            return None
        facts, key = self._study.facts, f"rung/{rung}"
        own = normalized_score(epoch.score, facts["chance"], facts["best"])
        self._note(key, own)
        arrived = [
            RungReport(trial.number, trial_budget(trial), trial.user_attrs[key])
            for trial in self._study.trials()
            if key in trial.user_attrs
        ]
        mine = RungReport(self._trial.number, trial_budget(self._trial), own)
        if (other := self._rungs.better(mine, arrived)) is None:
            return None
        return (
            f"stopped at epoch {epoch.epoch} of {of}: trial {other.number}, whose budget is no "
            f"larger, was better by {other.gain - own:.3f} of the scale"
        )


def run_trial(
    study: Study,
    trial: optuna.Trial,
    factory: SweepFactory,
    dense: StoredNetwork,
    monitor: StopMonitor,
) -> Outcome:
    """Train a claimed trial: from its checkpoint, its parent or the dense network.

    Raises:
        Stopped: there was a reason to leave it; its last epoch is stored if it is still ours.
    """
    params = sampled_params(study, trial)
    start = start_of(study, trial, dense)
    if (twin := _twin(study, trial, start, params)) is not None:
        return _copied(twin)
    job = factory.trial_job(params, trial_budget(trial), trial.user_attrs["slot"]["seed"])
    book = _TrialLog(study, trial)
    try:
        state = _resumed(study, trial, job)
        if state is None:
            state = TrainState.begin(start.network.graph, start.network.tensors, job)
        verdict = train_on(state, job, study.workspace, book, monitor)
    except BudgetError as error:
        return Infeasible(str(error))
    if verdict is not None:
        return Dominated(verdict)
    if not isfinite(score := state.history[-1].score):
        return Failed(f"{job.task.metric.name} is {score}; correct the metric")
    return monitor.outlast(lambda: _finished(book, study.workspace.store, state, job, dense))


def _twin(
    study: Study, trial: optuna.Trial, start: Start, params: Mapping[str, Any]
) -> FrozenTrial | None:
    """A finished trial that was the same run, if there is one; noted so that others can tell."""
    entry = trial.user_attrs["slot"]
    what = [start.digest, params, entry["budget"], entry["seed"]]
    run = hashlib.sha256(json.dumps(what, sort_keys=True).encode()).hexdigest()
    if trial.user_attrs.get("run") != run:
        trial.set_user_attr("run", run)
    return study.table.complete_with("run", run)


def _copied(twin: FrozenTrial) -> Finished:
    known = twin.user_attrs["result"]
    first = twin.number if known.get("copy_of") is None else known["copy_of"]
    return Finished(**{**known, "cost": Cost(**known["cost"]), "seconds": 0, "copy_of": first})


def _resumed(study: Study, trial: optuna.Trial, job: Job) -> TrainState | None:
    noted = trial.user_attrs.get(CHECKPOINT)
    if noted is None:
        return None
    try:
        return unpack_state(study.workspace.store[noted], job)
    except (KeyError, StoreError, CheckpointError) as error:
        # The trial starts again, which gives the same result.
        log.warning("trial %d: its checkpoint is lost: %s", trial.number, error)
        return None


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
        "epochs.json": [asdict(epoch) for epoch in state.history],
        "profile.json": {
            name: _profile(job.cost_model(graph))
            for name, graph in (("before", dense.graph), ("after", stored.graph))
        },
    }
    if state.explanation is not None:
        notes["explanation.json"] = asdict(state.explanation)
    contents = {name: json.dumps(note).encode() for name, note in notes.items()}
    contents["model.safetensors"] = model
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
    """Write a trial's outcome into Optuna, once; False when the trial is no longer ours."""
    with turn(study):
        if not still_mine(study, trial):
            return False
        _write(study, trial, outcome)
    with tolerated(f"what trial {trial.number} kept for going on is not removed yet"):
        discard(study, unfinished_blobs(trial))  # else by whoever tidies the study up
    return True


def _write(study: Study, trial: optuna.Trial, outcome: Outcome) -> None:
    match outcome:
        case Finished():
            trial.set_user_attr("result", json.loads(json.dumps(asdict(outcome))))
            costs = {"score": outcome.score, **asdict(outcome.cost)}
            for name, limit in study.facts["device_limits"].items():
                # Set only now: a value set before a kill would survive and shadow this one.
                trial.set_constraint(f"device.{name}", costs[name] - limit)
            study.optuna.tell(trial, [costs[name] for name in study.objectives])
        case Infeasible(reason):
            trial.set_user_attr("reason", reason)
            trial.set_user_attr("infeasible", True)
            study.optuna.tell(trial, state=TrialState.PRUNED)
        case Failed(reason):
            trial.set_user_attr("reason", reason)
            study.optuna.tell(trial, state=TrialState.FAIL)
        case Dominated(reason):
            trial.set_user_attr("reason", reason)
            study.optuna.tell(trial, state=TrialState.PRUNED)
        case Cancelled():
            trial.set_user_attr(CANCELLED, True)
            study.optuna.tell(trial, state=TrialState.FAIL)

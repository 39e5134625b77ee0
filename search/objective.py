"""What a worker does with one slot: train it from the dense network, store it, judge it."""

import json
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from math import isfinite
from typing import Any

import optuna
from optuna.trial import TrialState

from pruning.budget import Cost
from pruning.checkpoint import (
    StoredNetwork,
    pack_network,
    pack_state,
    unpack_network,
    unpack_state,
)
from pruning.errors import BudgetError, CheckpointError
from pruning.job import Job
from pruning.state import Epoch, TrainState, widths_of
from pruning.train import train
from search.build import Blueprint
from search.errors import StoreError
from search.lineage import start_of
from search.space import suggest
from search.study import Study, slot_budget

PRECISION = "int8-simulated"
PROGRESS_EVERY_S = 1.0


@dataclass(frozen=True, slots=True)
class Finished:
    """The slot trained to the end within its budget."""

    score: float
    cost: Cost
    widths: Mapping[str, int]
    bottleneck: str
    files: Mapping[str, str]
    seconds: float


@dataclass(frozen=True, slots=True)
class Infeasible:
    """No width meets the slot's budget."""

    reason: str


@dataclass(frozen=True, slots=True)
class Failed:
    """The slot cannot be trained."""

    reason: str


Outcome = Finished | Infeasible | Failed


def run_slot(
    study: Study, trial: optuna.Trial, blueprint: Blueprint, dense: StoredNetwork
) -> Outcome:
    """Train a claimed slot: from its checkpoint, its parent or the dense network."""
    params = suggest(trial, study.spec["space"])
    job = blueprint.slot_job(params, slot_budget(trial), trial.user_attrs["slot"]["seed"])
    try:
        state = _resumed(study, trial, job)
        if state is None:
            start = start_of(study, trial, dense)
            state = TrainState.begin(start.graph, start.tensors, job)
        _train_with_checkpoints(study, trial, job, state)
    except BudgetError as error:
        return Infeasible(str(error))
    if not isfinite(score := state.history[-1].score):
        return Failed(f"{job.task.metric.name} is {score}; correct the metric")
    return _finished(study, state, job)


def _resumed(study: Study, trial: optuna.Trial, job: Job) -> TrainState | None:
    noted = trial.user_attrs.get("checkpoint")
    if noted is None:
        return None
    try:
        return unpack_state(study.home.store[noted], job)
    except (KeyError, StoreError, CheckpointError):
        return None  # lost or damaged: the slot starts again, which gives the same result


def _train_with_checkpoints(
    study: Study, trial: optuna.Trial, job: Job, state: TrainState
) -> None:
    stored = shown = time.monotonic()
    for epoch in train(state, job):
        now = time.monotonic()
        if now - shown >= PROGRESS_EVERY_S or epoch.epoch in (1, job.epochs):
            trial.set_user_attr("progress", progress(epoch, job.epochs))
            shown = now
        if now - stored >= study.home.config.checkpoint_s and epoch.epoch < job.epochs:
            _store_checkpoint(study, trial, state)
            stored = now


def progress(epoch: Epoch, total: int) -> dict[str, Any]:
    """Where a training run is, for whoever watches."""
    return {"epoch": epoch.epoch, "of": total, "phase": epoch.phase, "score": epoch.score}


def _store_checkpoint(study: Study, trial: optuna.Trial, state: TrainState) -> None:
    before = trial.user_attrs.get("checkpoint")
    digest = study.home.store.put(pack_state(state))
    trial.set_user_attr("checkpoint", digest)
    if before is not None and before != digest:
        study.home.store.remove(before)


def _finished(study: Study, state: TrainState, job: Job) -> Finished | Failed:
    """Store the network, and take its cost from what was stored."""
    store = study.home.store
    graph, tensors = state.result()
    last = state.history[-1]
    model = store.put(pack_network(graph, tensors, network_notes(job, last.score)))
    stored = unpack_network(store[model])
    costs = job.cost_model(stored.graph)
    if not job.budget.holds(costs.dense):
        return Failed(f"the stored network costs {costs.dense}, over its {job.budget}")
    files = {"model.safetensors": model}
    notes: dict[str, Any] = {"epochs.json": [asdict(epoch) for epoch in state.history]}
    if state.explanation is not None:
        notes["explanation.json"] = asdict(state.explanation)
    files |= {name: store.put(json.dumps(note).encode()) for name, note in notes.items()}
    return Finished(
        score=last.score,
        cost=costs.dense,
        widths=widths_of(stored.graph),
        bottleneck=costs.bottlenecks(stored.graph.channels.widths)["sram_bytes"],
        files=files,
        seconds=sum(epoch.seconds for epoch in state.history),
    )


def network_notes(job: Job, score: float) -> dict[str, Any]:
    """What a stored network says of itself: how to feed it and what it scored."""
    return {
        "classes": list(job.data.classes),
        "mean": list(job.data.mean),
        "std": list(job.data.std),
        "data": {"name": job.data.name, "digest": job.data.digest},
        "metric": job.task.metric.name,
        "score": score,
        "precision": PRECISION,
        "device": job.device.name,
    }


def tell(study: Study, trial: optuna.Trial, outcome: Outcome) -> bool:
    """Write a slot's outcome into Optuna, once; False when the slot is no longer ours."""
    if not study.still_mine(trial):
        return False
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
    if (checkpoint := trial.user_attrs.get("checkpoint")) is not None:
        study.home.store.remove(checkpoint)
    return True

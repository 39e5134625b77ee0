"""The dense network that every slot of a study starts from: trained once, shared by digest."""

import time
from dataclasses import asdict

import optuna

from pruning.checkpoint import (
    StoredNetwork,
    pack_network,
    pack_state,
    unpack_network,
    unpack_state,
)
from pruning.errors import CheckpointError
from pruning.job import Job
from pruning.state import TrainState
from pruning.train import train
from search.build import Blueprint
from search.errors import StoreError
from search.home import open_storage
from search.objective import network_notes, progress
from search.study import Study


def ensure_dense(study: Study, blueprint: Blueprint) -> StoredNetwork:
    """The study's dense network: stored, found in another study of the same key, or trained.

    One worker trains while the others wait; if it dies, the next goes on from its checkpoint.

    Raises:
        StudyError: what it starts from has changed since the study was created.
    """
    key = blueprint.dense_key()
    study.require_start(key)
    if (found := _stored(study, key)) is not None:
        return found
    with study.home.lock(f"dense-{key}", timeout=None):
        if (found := _stored(study, key)) is None:
            found = _trained(study, blueprint, key)
    return found


def _stored(study: Study, key: str) -> StoredNetwork | None:
    note = study.note("dense")
    if note is None or note["key"] != key:
        note = _from_another_study(study, key)
    if note is None:
        return None
    try:
        network = unpack_network(study.home.store[note["digest"]])
    except (KeyError, StoreError, CheckpointError):
        return None
    if study.note("dense") != note:
        study.set_note("dense", note)
    return network


def _from_another_study(study: Study, key: str) -> dict[str, object] | None:
    for summary in optuna.get_all_study_summaries(open_storage(study.home)):
        note = summary.user_attrs.get("dense")
        if isinstance(note, dict) and note.get("key") == key:
            return note
    return None


def _trained(study: Study, blueprint: Blueprint, key: str) -> StoredNetwork:
    job = blueprint.dense_job()
    state = _begun(study, blueprint, job, key)
    stored = time.monotonic()
    for epoch in train(state, job):
        study.set_note("dense_progress", progress(epoch, job.epochs))
        waited = time.monotonic() - stored
        if waited >= study.home.config.checkpoint_s and epoch.epoch < job.epochs:
            _store_checkpoint(study, state, key)
            stored = time.monotonic()
    graph, tensors = state.result()
    score = state.history[-1].score
    content = pack_network(graph, tensors, network_notes(job, score))
    note = {
        "key": key,
        "digest": study.home.store.put(content),
        "score": score,
        "cost": asdict(job.cost_model(graph).dense),
        "seconds": sum(epoch.seconds for epoch in state.history),
    }
    study.set_note("dense", note)
    if (last := study.note("dense_checkpoint")) is not None:
        study.home.store.remove(last["digest"])
    return unpack_network(content)


def _store_checkpoint(study: Study, state: TrainState, key: str) -> None:
    before = study.note("dense_checkpoint")
    digest = study.home.store.put(pack_state(state))
    study.set_note("dense_checkpoint", {"key": key, "digest": digest})
    if before is not None and before["digest"] != digest:
        study.home.store.remove(before["digest"])


def _begun(study: Study, blueprint: Blueprint, job: Job, key: str) -> TrainState:
    note = study.note("dense_checkpoint")
    if note is not None and note["key"] == key:
        try:
            return unpack_state(study.home.store[note["digest"]], job)
        except (KeyError, StoreError, CheckpointError):
            pass  # lost or damaged: from the beginning
    return TrainState.begin(blueprint.start.graph, blueprint.start.tensors, job)

"""Training a finished trial again, and comparing every number with what was stored."""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from optuna.trial import FrozenTrial

from pruning.export.files import digest_of
from pruning.export.stored_model import MODEL, packed, stored_cost
from pruning.training.checkpoint import unpack_network
from pruning.training.job import Job
from pruning.training.state import Epoch, TrainState, widths_of
from pruning.training.train import train
from search.config.spec import flattened
from search.errors import StudyError
from search.results.histories import EPOCHS
from search.results.report import state_of
from search.storage.outcome import Finished
from search.storage.trial_record import TrialNotes, result_of, to_json
from search.study.start import start_digest
from search.study.study import Study
from search.study.variants import Variants

_TIMES = frozenset({"seconds"})  # no two runs take equally long


@dataclass(frozen=True, slots=True)
class Difference:
    """A number that came out otherwise: where, what was stored, and what it is now."""

    where: str
    stored: Any
    now: Any


@dataclass(frozen=True, slots=True)
class Again:
    """The second run of a trial: how many numbers were compared, and which differ.

    With as many torch threads as the first run nothing should, on a CPU and with one thread.
    """

    trial: int
    compared: int
    threads_then: int
    threads_now: int
    differences: tuple[Difference, ...]


def rerun(study: Study, number: int) -> Iterator[Epoch | Again]:
    """Train a trial again from its stored config, seed and start; an Again comes last.

    Raises:
        StudyError: the trial has not finished, or its data have changed. StoreError: what it
            started from is no longer in the store.
    """
    trial, result = _finished(study, number)
    notes, variant = TrialNotes.of(trial), Variants(study).of(trial.params)
    parent = notes.warm_start.parent if notes.warm_start else None
    digest = start_digest(study, variant.key, parent)
    start = unpack_network(study.workspace.store.read(digest))
    job = variant.factory.trial_job(trial.params, notes.budget, notes.seed)
    state = TrainState.begin(start.graph, start.tensors, job)
    yield from train(state, job)
    stored = _stored_numbers(study, result)
    yield _compared(number, result.threads, stored, _numbers_of(state, job))


def threads_of(study: Study, number: int) -> int:
    """How many torch threads a finished trial was trained with.

    Raises:
        StudyError: the trial has not finished.
    """
    _, result = _finished(study, number)
    return max(1, result.threads)


def _finished(study: Study, number: int) -> tuple[FrozenTrial, Finished]:
    trials = study.trials()
    finished = {
        trial.number: (trial, result)
        for trial in trials
        if (result := result_of(trial)) is not None
    }
    if number in finished:
        return finished[number]
    states = {trial.number: state_of(trial).value for trial in trials}
    state = f"is {states[number]}" if number in states else "does not exist"
    raise StudyError(
        f"trial={number}: this trial {state}; with a result: "
        f"{', '.join(map(str, finished)) or 'none yet'}"
    )


def _stored_numbers(study: Study, result: Finished) -> dict[str, Any]:
    """Every number that is stored of a trial, by its path."""
    epochs = json.loads(study.workspace.store.read(result.files[EPOCHS]))
    return _numbers(
        {
            "score": result.score,
            "cost": to_json(result.cost),
            "widths": result.widths,
            "model": result.files[MODEL],
            "epochs": dict(enumerate(epochs, 1)),
        }
    )


def _numbers_of(state: TrainState, job: Job) -> dict[str, Any]:
    """The same numbers of a network that has just been trained."""
    graph, _ = state.result()
    model = packed(state, job)
    return _numbers(
        {
            "score": state.history[-1].score,
            "cost": to_json(stored_cost(unpack_network(model), job.cost_model(graph))[0]),
            "widths": widths_of(graph),
            "model": digest_of(model),
            "epochs": {epoch.epoch: to_json(epoch) for epoch in state.history},
        }
    )


def _compared(
    number: int, threads: int, stored: Mapping[str, Any], now: Mapping[str, Any]
) -> Again:
    names = sorted({*stored, *now})
    differences = tuple(
        Difference(name, stored.get(name), now.get(name))
        for name in names
        if stored.get(name) != now.get(name)
    )
    return Again(number, len(names), threads, torch.get_num_threads(), differences)


def _numbers(record: Mapping[str, Any]) -> dict[str, Any]:
    """Every number of a record, by its path; times are left out."""
    return {path: value for path, value in flattened(record) if _TIMES.isdisjoint(path.split("."))}

"""Training a finished trial again, and comparing every number with what was stored."""

import hashlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from typing import Any

import torch
from optuna.trial import FrozenTrial

from pruning.export.stored_model import MODEL, packed, stored_cost
from pruning.training.checkpoint import unpack_network
from pruning.training.job import Job
from pruning.training.state import Epoch, TrainState, widths_of
from pruning.training.train import train
from search.config.spec import flattened
from search.errors import StudyError
from search.study.checks import require_data
from search.study.factory import SweepFactory
from search.study.study import Study
from search.study.trials import trial_budget

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
    trial = _finished(study, number)
    factory = SweepFactory(study.spec)
    require_data(study, factory.data.digest)
    start = unpack_network(study.workspace.store.read(_start_digest(study, trial)))
    job = factory.trial_job(trial.params, trial_budget(trial), trial.user_attrs["slot"]["seed"])
    state = TrainState.begin(start.graph, start.tensors, job)
    yield from train(state, job)
    yield _compared(study, trial, state, job)


def threads_of(study: Study, number: int) -> int:
    """How many torch threads a finished trial was trained with.

    Raises:
        StudyError: the trial has not finished.
    """
    threads: int = _finished(study, number).user_attrs["result"].get("threads", 0)
    return max(1, threads)


def _finished(study: Study, number: int) -> FrozenTrial:
    known = {trial.number: trial for trial in study.trials() if "result" in trial.user_attrs}
    if number in known:
        return known[number]
    raise StudyError(
        f"trial={number}: this trial has no result; those that have: "
        f"{', '.join(map(str, known)) or 'none yet'}"
    )


def _start_digest(study: Study, trial: FrozenTrial) -> str:
    parent = trial.user_attrs.get("parent")
    if parent is None:
        digest: str = study.note("dense")["digest"]
        return digest
    files = study.trials()[parent].user_attrs["result"]["files"]
    return str(files[MODEL])


def _compared(study: Study, trial: FrozenTrial, state: TrainState, job: Job) -> Again:
    result = trial.user_attrs["result"]
    graph, _ = state.result()
    model = packed(state, job)
    epochs = json.loads(study.workspace.store.read(result["files"]["epochs.json"]))
    stored = {
        "score": result["score"],
        "cost": result["cost"],
        "widths": result["widths"],
        "model": result["files"][MODEL],
        "epochs": dict(enumerate(epochs, 1)),
    }
    now = {
        "score": state.history[-1].score,
        "cost": _plain(stored_cost(unpack_network(model), job.cost_model(graph))[0]),
        "widths": widths_of(graph),
        "model": hashlib.sha256(model).hexdigest(),
        "epochs": {epoch.epoch: _plain(epoch) for epoch in state.history},
    }
    before, after = _numbers(stored), _numbers(now)
    names = sorted({*before, *after})
    differences = tuple(
        Difference(name, before.get(name), after.get(name))
        for name in names
        if before.get(name) != after.get(name)
    )
    then, threads = result.get("threads", 0), torch.get_num_threads()
    return Again(trial.number, len(names), then, threads, differences)


def _plain(record: Any) -> Any:
    """A record as JSON would give it back."""
    return json.loads(json.dumps(asdict(record)))


def _numbers(record: Mapping[str, Any]) -> dict[str, Any]:
    """Every number of a record, by its path; times are left out."""
    return {path: value for path, value in flattened(record) if _TIMES.isdisjoint(path.split("."))}

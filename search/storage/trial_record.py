"""The attributes of a trial in Optuna's database as typed records: the only place that reads
and encodes them.

The keys in the database never change, since studies of every earlier version must open. What
an earlier version did not store has a default.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, is_dataclass
from typing import Any, TypedDict, Unpack

import optuna
from optuna.trial import FrozenTrial, TrialState

from pruning.budget import Budget, Cost
from search.errors import StudyError
from search.storage.outcome import (
    Cancelled,
    Dominated,
    Failed,
    Finished,
    Infeasible,
    Outcome,
)
from search.storage.owner import Owner

AnyTrial = FrozenTrial | optuna.Trial

ATTEMPT = "attempt"  # a waiting trial without it has never been claimed
RUN = "run"
RESUME_KEYS = ("checkpoint", "pending")  # the blobs under these are of no use after the trial
_CREATION = "slot"
_RUNG = "rung/"
# Where the database has another word than the record.
_KEYS = {"last_seen": "seen", "budget": "placed"}


@dataclass(frozen=True, slots=True)
class Progress:
    """The last epoch of a training run; it has `of` epochs. Earlier versions stored no cost."""

    epoch: int
    of: int
    phase: str
    score: float
    cost: Cost | None


@dataclass(frozen=True, slots=True)
class Deaths:
    """The attempts whose workers died one after another at one point of the training.

    at: the first digits of the checkpoint's digest; empty before the first checkpoint.
    """

    at: str
    attempts: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class WarmStart:
    """The trial from whose network a trial starts; None: from the dense network."""

    parent: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class TrialNotes:
    """Everything that is stored with a trial.

    budget: as it was created with, or as it was placed when it was claimed.
    seed, draw: as it was created; the trials of one draw share their hyperparameters.
    attempt: how often it was claimed. owner: the process that claimed it last.
    last_seen: when that process was last seen to work on it, in seconds since the epoch.
    checkpoint: the digest of the last stored training state.
    pending: digests that are named before they are stored, so that a kill leaves no unnamed blob.
    warm_start: None until it is chosen. run: the digest of everything that decides the result.
    rungs: the normalized score at each rung that the trial has reached.
    """

    budget: Budget
    seed: int
    draw: int | None
    attempt: int
    owner: Owner | None
    last_seen: float | None
    progress: Progress | None
    checkpoint: str | None
    pending: tuple[str, ...]
    deaths: Deaths | None
    warm_start: WarmStart | None
    run: str | None
    rungs: Mapping[int, float]
    reason: str
    infeasible: bool
    cancelled: bool

    @staticmethod
    def of(trial: AnyTrial) -> "TrialNotes":
        """What is stored with a trial, as far as this process has read it.

        Raises:
            StudyError: the trial was added by another program.
        """
        stored: Mapping[str, Any] = trial.user_attrs
        creation = stored.get(_CREATION)
        if creation is None:
            raise StudyError(
                f"trial={trial.number}: it has no budget, so it was not added by paring; add "
                "trials with: paring sweep study=NAME trials=..."
            )
        owner = stored.get("owner")
        return TrialNotes(
            budget=Budget(**stored.get("placed", creation["budget"])),
            seed=creation["seed"],
            draw=creation.get("draw"),
            attempt=stored.get(ATTEMPT, 0),
            owner=None if owner is None else Owner.noted(owner),
            last_seen=stored.get("seen"),
            progress=progress_from(stored.get("progress")),
            checkpoint=stored.get("checkpoint"),
            pending=tuple(stored.get("pending", ())),
            deaths=_deaths(stored.get("deaths")),
            warm_start=WarmStart(stored["parent"]) if "parent" in stored else None,
            run=stored.get(RUN),
            rungs=_rungs(stored),
            reason=stored.get("reason", ""),
            infeasible=stored.get("infeasible", False),
            cancelled=stored.get("cancelled", False),
        )

    @property
    def resume_blobs(self) -> set[str]:
        """The digests that the trial needs in the store until it is over."""
        return {*self.pending, *filter(None, [self.checkpoint])}


def outcome_of(trial: FrozenTrial) -> Outcome | None:
    """What came of a trial; None while it is not over.

    Its state decides, not what is noted: a worker that was killed between its last note and the
    change of state has left a result or a reason that does not count.
    """
    match trial.state:
        case TrialState.COMPLETE:
            return result_of(trial)
        case TrialState.PRUNED:
            notes = TrialNotes.of(trial)
            return Infeasible(notes.reason) if notes.infeasible else Dominated(notes.reason)
        case TrialState.FAIL:
            notes = TrialNotes.of(trial)
            return Cancelled() if notes.cancelled else Failed(notes.reason)
        case TrialState.WAITING | TrialState.RUNNING:
            return None


def result_of(trial: FrozenTrial) -> Finished | None:
    """The result of a complete trial; None of any other."""
    return _result(trial.user_attrs.get("result")) if trial.state is TrialState.COMPLETE else None


class TrialChanges(TypedDict, total=False):
    """What may be stored with a trial after its creation: fields of `TrialNotes`."""

    budget: Budget
    attempt: int
    owner: Owner
    last_seen: float
    progress: Progress
    checkpoint: str
    pending: Sequence[str]
    deaths: Deaths
    warm_start: WarmStart
    run: str
    rungs: Mapping[int, float]
    result: Finished
    reason: str
    infeasible: bool
    cancelled: bool


def trial_attributes(**changes: Unpack[TrialChanges]) -> dict[str, Any]:
    """The attributes under which changes are stored, as JSON values by key."""
    attributes: dict[str, Any] = {}
    for name, value in changes.items():
        if isinstance(value, WarmStart):
            attributes["parent"] = value.parent
        elif name == "rungs" and isinstance(value, Mapping):
            attributes |= {f"{_RUNG}{rung}": score for rung, score in value.items()}
        else:
            attributes[_KEYS.get(name, name)] = to_json(value)
    return attributes


def creation_attributes(
    number: int, budget: Budget, seed: int, draw: int | None = None
) -> dict[str, Any]:
    """The attributes that a trial is created with, as JSON values by key."""
    creation = {"number": number, "budget": asdict(budget), "seed": seed}
    return {_CREATION: creation if draw is None else {**creation, "draw": draw}}


def to_json(value: object) -> Any:
    """A record, or a plain value, as JSON gives it back."""
    plain = asdict(value) if is_dataclass(value) and not isinstance(value, type) else value
    return json.loads(json.dumps(plain))


def progress_from(stored: Mapping[str, Any] | None) -> Progress | None:
    """The progress that `to_json` encoded; None if none was stored."""
    if stored is None:
        return None
    cost = Cost(**stored["cost"]) if "cost" in stored else None
    return Progress(stored["epoch"], stored["of"], stored["phase"], stored["score"], cost)


def _deaths(stored: Mapping[str, Any] | None) -> Deaths | None:
    """Earlier versions stored a count in place of the attempts; it is not used."""
    if stored is None:
        return None
    return Deaths(stored["at"] or "", tuple(stored.get("attempts", ())))


def _rungs(stored: Mapping[str, Any]) -> dict[int, float]:
    return {
        int(key.removeprefix(_RUNG)): score
        for key, score in stored.items()
        if key.startswith(_RUNG)
    }


def _result(stored: Mapping[str, Any] | None) -> Finished | None:
    return None if stored is None else Finished(**{**stored, "cost": Cost(**stored["cost"])})

"""Trials of a study as work: added, claimed, handed back, given up, and told once.

A trial keeps its number for ever: it is created WAITING with its budget,
claimed by a compare-and-set to RUNNING, handed back to WAITING when its worker is gone, and
told once. Claims and returns take turns under a lock, and a claimant signs before it claims, so
that a running trial always names who runs it.
"""

import time
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import asdict
from functools import partial
from typing import Any

import optuna
from optuna.trial import FrozenTrial, TrialState

from pruning.budget import Budget
from search.storage.optuna_adapter import ATTEMPT, CHECKPOINT, PENDING
from search.study.owner import Owner
from search.study.sampling import sampler_for
from search.study.space import suggest
from search.study.study import Study

CANCELLED = "cancelled"  # an attribute of trials that were given up
BLOBS = "blobs"  # the lock under which blobs are named, and removed when nobody names them
DEATHS = 3  # of workers, one after another and without progress, before a trial has failed


def add_trials(
    study: Study, total: int, budgets: Sequence[Budget], seed: int, seeds: int | None = None
) -> None:
    """Create trials until there are `total`, always for the budget with the fewest trials so
    far; among equals for the one that comes first.

    The trials of a budget have seeds one after another. With a number of `seeds`, so many
    of them repeat one draw of the hyperparameters with that many seeds, then the next.
    """
    with study.workspace.lock(f"trials-{study.key}"):
        trials = study.trials()
        had = Counter(trial_budget(trial) for trial in trials)
        for number in range(len(trials), total):
            budget = min(budgets, key=had.__getitem__)
            draw, repeat = divmod(had[budget], seeds) if seeds else (None, had[budget])
            had[budget] += 1
            entry = {"number": number, "budget": asdict(budget), "seed": seed + repeat}
            if draw is not None:
                entry["draw"] = draw
            study.optuna.enqueue_trial({}, user_attrs={"slot": entry})


def cancel_waiting(study: Study) -> list[int]:
    """Give up the trials that nobody works on; returns their numbers."""
    numbers = []
    with turn(study):
        for trial in study.table.trials(TrialState.WAITING):
            study.table.note(trial, CANCELLED, True)
            study.table.set_state(trial, TrialState.FAIL)
            numbers.append(trial.number)
    tidy(study)
    return numbers


def claim(study: Study) -> optuna.Trial | None:
    """Take the first waiting trial, or None when no trial waits."""
    if not study.table.any(TrialState.WAITING):
        return None
    with turn(study):
        trials = study.table.trials(TrialState.WAITING)
        waiting = next((trial for trial in trials if _took(study, trial)), None)
    if waiting is None:
        return None
    # Read once: Optuna's cache must have seen the trial, and the sampler wants the others.
    study.table.show(study.trials())
    study.optuna.sampler = sampler_for(study.spec, waiting.number, study.space)
    if "draw" not in waiting.user_attrs["slot"]:
        return study.table.open(waiting)
    with study.workspace.lock(f"draw-{study.key}"):  # its like may be claimed at this moment
        _repeat_draw(study, waiting)
        trial = study.table.open(waiting)
        sampled_params(study, trial)
    return trial


def sampled_params(study: Study, trial: optuna.Trial) -> dict[str, Any]:
    """A trial's hyperparameters; it keeps those that it has."""
    return dict(suggest(trial, study.space, study.spec["space"]))


def _repeat_draw(study: Study, trial: FrozenTrial) -> None:
    """Fix the hyperparameters to those that a trial of the same draw has."""
    entry, same = trial.user_attrs["slot"], ("budget", "draw")
    for other in study.trials():
        theirs = other.user_attrs["slot"]
        if other.params and all(theirs.get(key) == entry[key] for key in same):
            study.table.fix_params(trial, other.params)
            return


def _took(study: Study, waiting: FrozenTrial) -> bool:
    """Sign a waiting trial and set it running."""
    attempt = waiting.user_attrs.get(ATTEMPT, 0) + 1
    study.table.note(waiting, "owner", Owner.me().note())
    study.table.note(waiting, ATTEMPT, attempt)
    study.table.note(waiting, "seen", time.time())
    study.table.heartbeat(waiting)
    return study.table.set_state(waiting, TrialState.RUNNING)


def beat(study: Study, trial: optuna.Trial) -> None:
    """Say that a trial is worked on: to Optuna, and to whoever asks how the sweep stands."""
    study.table.heartbeat(trial)
    study.table.note(trial, "seen", time.time())


def turn(study: Study) -> Any:
    """The lock under which trials change hands, and are told."""
    return study.workspace.lock(f"claim-{study.key}")


def hand_back(study: Study, owner: Owner | None = None) -> list[int]:
    """Make the trials of a process, by default this one, wait again; returns which."""
    note = (owner or Owner.me()).note()
    return _handed_back(study, lambda trial: trial.user_attrs.get("owner") == note)


def reap(study: Study) -> list[int]:
    """Hand back the trials of workers that are gone, or let them fail; returns which."""
    if not any(_abandoned(study, trial) for trial in study.table.trials(TrialState.RUNNING)):
        return []
    numbers = _handed_back(study, partial(_abandoned, study), partial(_after_death, study))
    tidy(study)
    return numbers


def _handed_back(
    study: Study,
    due: Callable[[FrozenTrial], bool],
    state: Callable[[FrozenTrial], TrialState] = lambda _: TrialState.WAITING,
) -> list[int]:
    """Make running trials wait again, under their numbers and with all they know."""
    numbers = []
    with turn(study):
        for trial in filter(due, study.table.trials(TrialState.RUNNING)):
            with suppress(optuna.exceptions.UpdateFinishedTrialError):  # told just now
                study.table.set_state(trial, state(trial))
                numbers.append(trial.number)
    return numbers


def _after_death(study: Study, trial: FrozenTrial) -> TrialState:
    """A trial whose worker dies at one point again and again has failed.

    A worker that is seen to live has not died, however long it was silent; one that nobody
    sees is taken for dead, until it comes back.
    """
    known = trial.user_attrs
    if _owner_lives(trial):
        return TrialState.WAITING
    point = (known.get(CHECKPOINT) or "")[:16]  # a whole digest would name the blob
    before = known.get("deaths", {})
    same = "at" in before and before["at"] == point
    attempts = [*(before.get("attempts", []) if same else []), known.get(ATTEMPT)]
    study.table.note(trial, "deaths", {"at": point, "attempts": attempts})
    if len(attempts) < DEATHS:
        return TrialState.WAITING
    reason = (
        f"its worker was killed {len(attempts)} times at the same point, perhaps for want of memory"
    )
    study.table.note(trial, "reason", reason)
    return TrialState.FAIL


def came_back(study: Study, trial: optuna.Trial) -> None:
    """Take back the death of this process, which was silent and has lost its trial."""
    with turn(study), suppress(optuna.exceptions.UpdateFinishedTrialError):
        own = trial.user_attrs[ATTEMPT]
        deaths = study.table.current(trial).user_attrs.get("deaths", {})
        attempts = deaths.get("attempts", ())  # earlier versions noted a number
        if own in attempts:
            note = {**deaths, "attempts": [each for each in attempts if each != own]}
            study.table.note(trial, "deaths", note)


def _abandoned(study: Study, trial: FrozenTrial) -> bool:
    """Whether the owner is certainly gone, or has been silent for too long."""
    if _owner_lives(trial) is False:
        return True
    return study.table.is_stale(trial)


def still_mine(study: Study, trial: optuna.Trial) -> bool:
    """Whether this process still owns the trial, by the attempt that it began."""
    current = study.table.current(trial)
    signed = (current.user_attrs.get("owner"), current.user_attrs.get(ATTEMPT))
    mine = signed == (Owner.me().note(), trial.user_attrs[ATTEMPT])
    return mine and current.state is TrialState.RUNNING


def note_trial(study: Study, trial: optuna.Trial, key: str, value: Any) -> bool:
    """Keep a value with a trial if it is still this process's; returns whether it is.

    Only within `turn` nobody takes the trial between the question and the note.
    """
    with suppress(optuna.exceptions.UpdateFinishedTrialError):  # by another, just now
        if still_mine(study, trial):
            trial.set_user_attr(key, value)
            return True
    return False


def discard(study: Study, digests: Iterable[str]) -> None:
    """Remove those of some blobs that no study names (any more)."""
    if not (unnamed := set(digests)):
        return
    with study.workspace.lock(BLOBS):
        for digest in unnamed - study.table.named():
            study.workspace.store.remove(digest)


def tidy(study: Study) -> None:
    """Remove what trials that are over have left in the store, by a kill at their end."""
    over = (trial for trial in study.trials() if trial.state.is_finished())
    discard(study, (digest for trial in over for digest in unfinished_blobs(trial)))


def _owner_lives(trial: FrozenTrial) -> bool | None:
    owner = trial.user_attrs.get("owner")
    return None if owner is None else Owner.noted(owner).lives()


def unfinished_blobs(trial: FrozenTrial | optuna.Trial) -> set[str]:
    """What a trial keeps, or is about to keep, in the store until it is over."""
    known = trial.user_attrs
    return {*known.get(PENDING, ()), *filter(None, [known.get(CHECKPOINT)])}


def trial_budget(trial: FrozenTrial | optuna.Trial) -> Budget:
    """The budget of a trial."""
    return Budget(**trial.user_attrs["slot"]["budget"])

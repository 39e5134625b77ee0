"""The trials of a study as work: added, claimed, handed back, given up.

A trial keeps its number for ever: it is created WAITING with its budget, claimed by a
compare-and-set to RUNNING, handed back to WAITING when its worker is gone, and told once.
Claims and returns take turns under a lock, and a worker signs a trial before it claims it, so
that a running trial always names the process that runs it.
"""

from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import replace
from functools import partial
from typing import Any, Unpack

import optuna
from optuna.trial import FrozenTrial, TrialState

from pruning.budget import Budget
from search.storage.optuna_adapter import named_digests
from search.storage.owner import Owner
from search.storage.trial_record import AnyTrial, Deaths, TrialChanges, TrialNotes
from search.study.placement import line_of, next_budget
from search.study.prior import prior_trials
from search.study.sampling import sampler_for
from search.study.space import suggest
from search.study.study import Study

BLOBS = "blobs"  # the lock under which blobs are named, and removed when nobody names them
UNPLACED = Budget()  # of a trial that gets its budget when it is claimed
DEATHS = 3  # of workers, one after another and without progress, after which a trial fails


def add_trials(
    study: Study, total: int, budgets: Sequence[Budget], seed: int, seeds: int | None = None
) -> None:
    """Create trials until there are `total`, always for the budget with the fewest trials so
    far; of several such budgets, for the first. Where budgets are placed by results, only the
    first trials have one.

    Args:
        study: to which they are added.
        total: trials of the study afterwards; where it has more, nothing happens.
        budgets: those of the study.
        seed: of the first trial of each budget; the seeds of the next ones count up from it.
        seeds: so many trials of a budget share one draw of the hyperparameters, and differ in
            their seeds, which begin again at `seed` for the next draw. None: each trial draws.
    """
    with study.workspace.lock(f"trials-{study.key}"):
        trials = study.trials()
        counts = Counter(trial_budget(trial) for trial in trials)
        for number in range(len(trials), total):
            if study.places_budgets and number >= len(budgets):
                study.table.add(number, UNPLACED, seed + number, None)
                continue
            budget = min(budgets, key=counts.__getitem__)
            draw, repeat = divmod(counts[budget], seeds) if seeds else (None, counts[budget])
            counts[budget] += 1
            study.table.add(number, budget, seed + repeat, draw)


def cancel_waiting(study: Study) -> list[int]:
    """Cancel the trials that wait for a worker; returns their numbers."""
    numbers = []
    with turn(study):
        for trial in waiting(study):
            study.table.note(trial, cancelled=True)
            study.table.set_state(trial, TrialState.FAIL)
            numbers.append(trial.number)
    tidy(study)
    return numbers


def waiting(study: Study) -> Iterator[FrozenTrial]:
    """The trials that wait for a worker, by number; each is read when the iterator reaches it."""
    return study.table.trials(TrialState.WAITING)


def claim(study: Study, blocked: Collection[int] = ()) -> optuna.Trial | None:
    """Take the first waiting trial that is not blocked, or None when there is none."""
    if not study.table.any(TrialState.WAITING):
        return None
    with turn(study):
        trials = (trial for trial in waiting(study) if trial.number not in blocked)
        claimed = next((trial for trial in trials if _take(study, trial)), None)
    if claimed is None:
        return None
    # Read once: Optuna's cache must have seen the trial, and the sampler needs the others.
    if study.places_budgets and trial_budget(claimed) == UNPLACED:
        claimed = _placed(study, claimed)
    study.table.show([*prior_trials(study), *study.trials()])
    study.optuna.sampler = sampler_for(study, claimed)
    if TrialNotes.of(claimed).draw is None:
        return study.table.open(claimed)
    with study.workspace.lock(f"draw-{study.key}"):  # others of this draw may be claimed now
        _repeat_draw(study, claimed)
        trial = study.table.open(claimed)
        sampled_params(study, trial)
    return trial


def _placed(study: Study, trial: FrozenTrial) -> FrozenTrial:
    """A trial with the budget that results so far suggest."""
    with study.workspace.lock(f"place-{study.key}"):  # others are placed beside it, not at it
        study.table.note(trial, budget=next_budget(line_of(study), study.facts.dense_cost))
    return study.table.current(trial)


def sampled_params(study: Study, trial: optuna.Trial) -> dict[str, Any]:
    """A trial's hyperparameters; those that an earlier attempt has drawn stay."""
    return dict(suggest(trial, study.space, study.spec["space"]))


def _repeat_draw(study: Study, trial: FrozenTrial) -> None:
    """Fix the hyperparameters to those that a trial of the same draw has."""
    notes = TrialNotes.of(trial)
    for other in study.trials():
        others = TrialNotes.of(other)
        if other.params and (others.budget, others.draw) == (notes.budget, notes.draw):
            study.table.fix_params(trial, other.params)
            return


def _take(study: Study, waiting: FrozenTrial) -> bool:
    """Sign a waiting trial and set it running; False where another process was quicker."""
    attempt = TrialNotes.of(waiting).attempt + 1
    study.table.note(waiting, owner=Owner.me(), attempt=attempt)
    study.table.heartbeat(waiting)
    return study.table.set_state(waiting, TrialState.RUNNING)


def turn(study: Study) -> Any:
    """The lock under which trials change hands, and are told."""
    return study.workspace.lock(f"claim-{study.key}")


def hand_back(study: Study, owner: Owner | None = None) -> list[int]:
    """Make the trials of a process, by default this one, wait again; returns their numbers."""
    process = owner or Owner.me()
    return _handed_back(study, lambda trial: TrialNotes.of(trial).owner == process)


def reap(study: Study) -> list[int]:
    """Hand back the trials of workers that are gone, or let them fail; returns their numbers."""
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
    """Set those running trials that are due to another state; returns their numbers.

    They keep their numbers and notes.
    """
    numbers = []
    with turn(study):
        for trial in filter(due, study.table.trials(TrialState.RUNNING)):
            with suppress(optuna.exceptions.UpdateFinishedTrialError):  # told just now
                study.table.set_state(trial, state(trial))
                numbers.append(trial.number)
    return numbers


def _after_death(study: Study, trial: FrozenTrial) -> TrialState:
    """FAIL for a trial whose workers died DEATHS times at one point, else WAITING.

    A worker that is seen to live has not died, however long it was silent; one that cannot be
    seen counts as dead until it comes back.
    """
    if _owner_lives(trial):
        return TrialState.WAITING
    notes = TrialNotes.of(trial)
    point = (notes.checkpoint or "")[:16]  # a whole digest would name the blob
    same = notes.deaths is not None and notes.deaths.at == point
    earlier = notes.deaths.attempts if notes.deaths is not None and same else ()
    deaths = Deaths(point, (*earlier, notes.attempt))
    study.table.note(trial, deaths=deaths)
    count = len(deaths.attempts)
    if count < DEATHS:
        return TrialState.WAITING
    reason = f"its worker was killed {count} times at the same point, perhaps for want of memory"
    study.table.note(trial, reason=reason)
    return TrialState.FAIL


def came_back(study: Study, trial: optuna.Trial) -> None:
    """Take back the death of this process, which was silent and has lost its trial."""
    with turn(study), suppress(optuna.exceptions.UpdateFinishedTrialError):
        mine = TrialNotes.of(trial).attempt
        deaths = TrialNotes.of(study.table.current(trial)).deaths
        if deaths is not None and mine in deaths.attempts:
            others = tuple(attempt for attempt in deaths.attempts if attempt != mine)
            study.table.note(trial, deaths=replace(deaths, attempts=others))


def _abandoned(study: Study, trial: FrozenTrial) -> bool:
    """Whether the owner is certainly gone, or has been silent for too long."""
    if _owner_lives(trial) is False:
        return True
    return study.table.is_stale(trial)


def still_mine(study: Study, trial: optuna.Trial) -> bool:
    """Whether this process still owns the trial, by the attempt that it began."""
    return holds_attempt(study, trial, TrialNotes.of(trial).attempt)


def holds_attempt(study: Study, trial: AnyTrial, attempt: int) -> bool:
    """Whether a trial runs in this process, in an attempt of this number."""
    current = study.table.current(trial)
    notes = TrialNotes.of(current)
    mine = (notes.owner, notes.attempt) == (Owner.me(), attempt)
    return mine and current.state is TrialState.RUNNING


def note_trial(study: Study, trial: optuna.Trial, **changes: Unpack[TrialChanges]) -> bool:
    """Store fields of `TrialNotes` with a trial if it is still this process's; returns whether
    it is.

    Only within `turn` is it certain that nobody takes the trial in between.
    """
    with suppress(optuna.exceptions.UpdateFinishedTrialError):  # another process was quicker
        if still_mine(study, trial):
            study.table.note(trial, **changes)
            return True
    return False


def discard(study: Study, digests: Iterable[str]) -> None:
    """Remove those of some blobs that no study names, or none any longer."""
    if not (candidates := set(digests)):
        return
    with study.workspace.lock(BLOBS):
        for digest in candidates - named_digests(study.storage.engine):
            study.workspace.store.remove(digest)


def tidy(study: Study) -> None:
    """Remove the blobs that finished trials needed to resume: a worker that was killed at the
    end of a trial has left them.
    """
    finished = (trial for trial in study.trials() if trial.state.is_finished())
    discard(study, (digest for trial in finished for digest in TrialNotes.of(trial).resume_blobs))


def _owner_lives(trial: FrozenTrial) -> bool | None:
    owner = TrialNotes.of(trial).owner
    return None if owner is None else owner.lives()


def trial_budget(trial: AnyTrial) -> Budget:
    """The budget of a trial."""
    return TrialNotes.of(trial).budget

"""A study in Optuna: how it is created, and how trials are claimed, handed back and counted.

Optuna's database is the truth. A trial is one trial under one number for ever: created WAITING
with its budget, claimed by a compare-and-set to RUNNING, handed back to WAITING when its
worker is gone, and told once. Claims and returns take turns under a lock, and a claimant signs
before it claims, so that a running trial always names who runs it.
"""

import json
import time
import uuid
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict
from typing import Any, final

import optuna
from optuna.storages import BaseStorage
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial, TrialState

from pruning.budget import Budget
from search.config.migration import space_in_format_1, spec_of_format_1
from search.config.schema import StoppingConfig
from search.config.spec import Spec
from search.errors import StoreError, StudyError
from search.storage.optuna_adapter import ATTEMPT, CHECKPOINT, PENDING, TrialQueries, TrialStorage
from search.storage.workspace import Workspace, open_storage
from search.study.owner import Owner
from search.study.pruner import RungPruner
from search.study.sampling import sampler_for
from search.study.space import suggest

FORMAT = "paring.study/2"
FORMAT_1 = "paring.study/1"  # of paring 0.1.0: read in today's words
OPEN = (TrialState.WAITING, TrialState.RUNNING)
CANCELLED = "cancelled"  # an attribute of trials that were given up
BLOBS = "blobs"  # the lock under which blobs are named, and removed when nobody names them
DEATHS = 3  # of workers, one after another and without progress, before a trial has failed


@final
class Study:
    """One sweep: its spec, its trials and what is known of them."""

    def __init__(self, workspace: Workspace, study: optuna.Study) -> None:
        self.workspace = workspace
        self.optuna = study
        self._storage = study._storage
        self.queries = TrialQueries(study)
        attributes = study.user_attrs
        if attributes.get("format") not in (FORMAT, FORMAT_1):
            raise StudyError(
                f"study={study.study_name}: it was not made by paring {FORMAT} "
                f"(found {attributes.get('format')!r}); choose another name"
            )
        self._is_format_1 = attributes["format"] == FORMAT_1
        values = attributes["spec"]
        self.spec = Spec(spec_of_format_1(values) if self._is_format_1 else values)
        self.key: str = attributes["key"]
        self.facts: Mapping[str, Any] = attributes["facts"]
        self.objectives: tuple[str, ...] = tuple(attributes["objectives"])

    @property
    def name(self) -> str:
        """The name given by the user."""
        return self.optuna.study_name

    @property
    def storage(self) -> BaseStorage:
        """Optuna's storage, which holds the connections of this process."""
        return self._storage

    # --- what is known

    def trials(self) -> list[FrozenTrial]:
        """Every trial, by number."""
        return self.optuna.get_trials(deepcopy=False)

    def notes(self) -> Mapping[str, Any]:
        """All values kept with the study, asked for once."""
        return self.optuna.user_attrs

    def note(self, key: str) -> Any:
        """A value kept with the study, or None."""
        return self.notes().get(key)

    @property
    def space(self) -> Mapping[str, Any]:
        """The hyperparameters that trials may still draw: the spec's space, or a part of it."""
        found: Mapping[str, Any] = self.note("space") or self.spec["space"]
        return found

    def in_own_words(self, space: Mapping[str, Any]) -> Mapping[str, Any]:
        """A space by the names that the study's trials bear."""
        return space_in_format_1(space) if self._is_format_1 else space

    @property
    def budgets(self) -> tuple[Budget, ...]:
        """The budgets of the trials, those added later at the end."""
        return tuple(Budget(**limits) for limits in self.note("budgets") or self.facts["budgets"])

    @property
    def rungs(self) -> RungPruner:
        """When trials are judged, and how strictly."""
        return RungPruner.of(StoppingConfig(**self.spec.values.get("stopping", {})))

    def set_note(self, key: str, value: Any) -> None:
        """Keep a value with the study."""
        self.optuna.set_user_attr(key, value)

    def over(self) -> bool:
        """Whether every trial is over."""
        return not self.queries.any(*OPEN)

    def require_data(self, digest: str) -> None:
        """Refuse data other than those the study was created with.

        Raises:
            StudyError: the digests differ.
        """
        if digest != self.facts["data_digest"]:
            raise StudyError(
                f"study={self.name}: the data have changed (digest {digest[:12]}, when it was "
                f"created {self.facts['data_digest'][:12]}); bring the old data back, or "
                "choose another name"
            )

    def require_store(self) -> None:
        """Refuse a store that is not the one in which the study began.

        Raises:
            StoreError: it is another.
        """
        mark = self.facts.get("store")  # older studies have none
        if mark is not None and mark not in self.workspace.store:
            raise StoreError(
                f"study={self.name}: its store is not in {self.workspace.folder}; set "
                "storage.folder to the folder that all workers of the study share"
            )

    def require_start(self, key: str) -> None:
        """Refuse another starting point than the one the study was created with.

        Raises:
            StudyError: the keys differ.
        """
        if key != self.facts.get("dense_key", key):  # older studies have none
            raise StudyError(
                f"study={self.name}: the model's code or its weights file has changed since it "
                "was created; bring the old one back, or choose another name"
            )

    # --- trials

    def add_trials(
        self, total: int, budgets: Sequence[Budget], seed: int, seeds: int | None = None
    ) -> None:
        """Create trials up to a total, each for the budget that has the fewest, the first first.

        The trials of a budget have seeds one after another. With a number of `seeds`, so many
        of them repeat one draw of the hyperparameters with that many seeds, then the next.
        """
        with self.workspace.lock(f"trials-{self.key}"):
            trials = self.trials()
            had = Counter(trial_budget(trial) for trial in trials)
            for number in range(len(trials), total):
                budget = min(budgets, key=had.__getitem__)
                draw, repeat = divmod(had[budget], seeds) if seeds else (None, had[budget])
                had[budget] += 1
                entry = {"number": number, "budget": asdict(budget), "seed": seed + repeat}
                if draw is not None:
                    entry["draw"] = draw
                self.optuna.enqueue_trial({}, user_attrs={"slot": entry})

    def cancel_waiting(self) -> list[int]:
        """Give up the trials that nobody works on; returns their numbers."""
        numbers = []
        with self.turn():
            for trial in self.queries.trials(TrialState.WAITING):
                self._storage.set_trial_user_attr(trial._trial_id, CANCELLED, True)
                self._storage.set_trial_state_values(trial._trial_id, TrialState.FAIL)
                numbers.append(trial.number)
        self.tidy()
        return numbers

    def claim(self) -> optuna.Trial | None:
        """Take the first waiting trial, or None when no trial waits."""
        if not self.queries.any(TrialState.WAITING):
            return None
        with self.turn():
            trials = map(self._storage.get_trial, self.queries.ids(TrialState.WAITING))
            waiting = next((trial for trial in trials if self._took(trial)), None)
        if waiting is None:
            return None
        # Read once: Optuna's cache must have seen the trial, and the sampler wants the others.
        self.optuna._thread_local.cached_all_trials = self.trials()
        self.optuna.sampler = sampler_for(self.spec, waiting.number, self.space)
        if "draw" not in waiting.user_attrs["slot"]:
            return optuna.Trial(self.optuna, waiting._trial_id)
        with self.workspace.lock(f"draw-{self.key}"):  # its like may be claimed at this moment
            self._repeat_draw(waiting)
            trial = optuna.Trial(self.optuna, waiting._trial_id)
            self.drawn(trial)
        return trial

    def drawn(self, trial: optuna.Trial) -> dict[str, Any]:
        """A trial's hyperparameters; it keeps those that it has."""
        return dict(suggest(trial, self.space, self.spec["space"]))

    def _repeat_draw(self, trial: FrozenTrial) -> None:
        """Fix the hyperparameters to those that a trial of the same draw has."""
        entry, same = trial.user_attrs["slot"], ("budget", "draw")
        for other in self.trials():
            theirs = other.user_attrs["slot"]
            if other.params and all(theirs.get(key) == entry[key] for key in same):
                number, params = trial._trial_id, other.params
                self._storage.set_trial_system_attr(number, "fixed_params", params)
                return

    def _took(self, waiting: FrozenTrial) -> bool:
        """Sign a waiting trial and set it running."""
        number, attempt = waiting._trial_id, waiting.user_attrs.get(ATTEMPT, 0) + 1
        self._storage.set_trial_user_attr(number, "owner", Owner.me().note())
        self._storage.set_trial_user_attr(number, ATTEMPT, attempt)
        self._storage.set_trial_user_attr(number, "seen", time.time())
        self._storage.record_heartbeat(number)  # type: ignore[attr-defined]
        return self._storage.set_trial_state_values(number, TrialState.RUNNING)

    def beat(self, trial: optuna.Trial) -> None:
        """Say that a trial is worked on: to Optuna, and to whoever asks how the sweep stands."""
        self._storage.record_heartbeat(trial._trial_id)  # type: ignore[attr-defined]
        self._storage.set_trial_user_attr(trial._trial_id, "seen", time.time())

    def turn(self) -> Any:
        """The lock under which trials change hands, and are told."""
        return self.workspace.lock(f"claim-{self.key}")

    def hand_back(self, owner: Owner | None = None) -> list[int]:
        """Make the trials of a process, by default this one, wait again; returns which."""
        note = (owner or Owner.me()).note()
        return self._handed_back(lambda trial: trial.user_attrs.get("owner") == note)

    def reap(self) -> list[int]:
        """Hand back the trials of workers that are gone, or let them fail; returns which."""
        if not any(map(self._abandoned, self.queries.trials(TrialState.RUNNING))):
            return []
        numbers = self._handed_back(self._abandoned, self._after_death)
        self.tidy()
        return numbers

    def _handed_back(
        self,
        due: Callable[[FrozenTrial], bool],
        state: Callable[[FrozenTrial], TrialState] = lambda _: TrialState.WAITING,
    ) -> list[int]:
        """Make running trials wait again, under their numbers and with all they know."""
        numbers = []
        with self.turn():
            for trial in filter(due, self.queries.trials(TrialState.RUNNING)):
                with suppress(optuna.exceptions.UpdateFinishedTrialError):  # told just now
                    self._storage.set_trial_state_values(trial._trial_id, state(trial))
                    numbers.append(trial.number)
        return numbers

    def _after_death(self, trial: FrozenTrial) -> TrialState:
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
        number = trial._trial_id
        self._storage.set_trial_user_attr(number, "deaths", {"at": point, "attempts": attempts})
        if len(attempts) < DEATHS:
            return TrialState.WAITING
        reason = (
            f"its worker was killed {len(attempts)} times at the same point, perhaps for want "
            "of memory"
        )
        self._storage.set_trial_user_attr(number, "reason", reason)
        return TrialState.FAIL

    def came_back(self, trial: optuna.Trial) -> None:
        """Take back the death of this process, which was silent and has lost its trial."""
        with self.turn(), suppress(optuna.exceptions.UpdateFinishedTrialError):
            number, own = trial._trial_id, trial.user_attrs[ATTEMPT]
            deaths = self._storage.get_trial(number).user_attrs.get("deaths", {})
            attempts = deaths.get("attempts", ())  # earlier versions noted a number
            if own in attempts:
                note = {**deaths, "attempts": [each for each in attempts if each != own]}
                self._storage.set_trial_user_attr(number, "deaths", note)

    def _abandoned(self, trial: FrozenTrial) -> bool:
        """Whether the owner is certainly gone, or has been silent for too long."""
        if _owner_lives(trial) is False:
            return True
        return trial._trial_id in self._storage._get_stale_trial_ids(self.optuna._study_id)  # type: ignore[attr-defined]

    def still_mine(self, trial: optuna.Trial) -> bool:
        """Whether this process still owns the trial, by the attempt that it began."""
        current = self._storage.get_trial(trial._trial_id)
        signed = (current.user_attrs.get("owner"), current.user_attrs.get(ATTEMPT))
        mine = signed == (Owner.me().note(), trial.user_attrs[ATTEMPT])
        return mine and current.state is TrialState.RUNNING

    def note_trial(self, trial: optuna.Trial, key: str, value: Any) -> bool:
        """Keep a value with a trial if it is still this process's; returns whether it is.

        Only within `turn` nobody takes the trial between the question and the note.
        """
        with suppress(optuna.exceptions.UpdateFinishedTrialError):  # by another, just now
            if self.still_mine(trial):
                trial.set_user_attr(key, value)
                return True
        return False

    # --- blobs

    def discard(self, digests: Iterable[str]) -> None:
        """Remove those of some blobs that no study names (any more)."""
        if not (unnamed := set(digests)):
            return
        with self.workspace.lock(BLOBS):
            for digest in unnamed - self.queries.named():
                self.workspace.store.remove(digest)

    def tidy(self) -> None:
        """Remove what trials that are over have left in the store, by a kill at their end."""
        over = (trial for trial in self.trials() if trial.state.is_finished())
        self.discard(digest for trial in over for digest in unfinished_blobs(trial))


def create_study(
    workspace: Workspace,
    name: str,
    spec: Spec,
    objectives: Mapping[str, str],
    facts: Mapping[str, Any],
) -> Study:
    """A new study without trials. `objectives` maps names to "maximize" or "minimize".

    `facts` are what was measured before the first trial: dense cost, chance score, digests.
    """
    storage = open_storage(workspace)
    with workspace.lock(f"create-{name}"):
        if (existing := find_study(workspace, name, storage)) is not None:
            return existing
        with suppress(KeyError):  # half-made: its creator was killed
            optuna.delete_study(study_name=name, storage=storage)
        study = optuna.create_study(
            study_name=name,
            storage=storage,
            directions=[StudyDirection[way.upper()] for way in objectives.values()],
        )
        study.set_user_attr("key", uuid.uuid4().hex)
        study.set_user_attr("created", time.time())
        study.set_user_attr("objectives", list(objectives))
        study.set_user_attr("facts", json.loads(json.dumps(facts)))
        study.set_user_attr("spec", dict(spec.values))
        study.set_user_attr("format", FORMAT)  # last: a study without it is half-made
        return Study(workspace, study)


def find_study(
    workspace: Workspace, name: str, storage: TrialStorage | None = None
) -> Study | None:
    """The study of a name, or None; one that is half-made is none."""
    storage = storage or open_storage(workspace)
    try:
        study = optuna.load_study(study_name=name, storage=storage)
    except KeyError:
        return None
    return None if _half_made(study) else Study(workspace, study)


def _half_made(study: optuna.Study) -> bool:
    """Whether a study's creator is still at it, or was killed meanwhile.

    Somebody else's study without attributes is told by its trials: it must not be touched.
    """
    known = study.user_attrs
    ours = not known or "key" in known
    return ours and "format" not in known and not study.get_trials(deepcopy=False)


def require_study(workspace: Workspace, name: str) -> Study:
    """The study of a name.

    Raises:
        StudyError: there is none; the message lists those that exist.
    """
    storage = open_storage(workspace)
    if (study := find_study(workspace, name, storage)) is not None:
        return study
    names = sorted(optuna.get_all_study_names(storage))
    known = ", ".join(names[:20]) or "none yet"
    raise StudyError(
        f"study={name}: there is none of this name in {workspace.databases.place}; "
        f"studies: {known}. Create it with: paring sweep study={name} ..."
    )


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

"""A study in Optuna: how it is created, and how slots are claimed, handed back and counted.

Optuna's database is the truth. A slot is one trial under one number for ever: created WAITING
with its budget, claimed by a compare-and-set to RUNNING, handed back to WAITING when its
worker is gone, and told once. Claims and returns take turns under a lock, and a claimant signs
before it claims, so that a running slot always names who runs it.
"""

import hashlib
import json
import os
import socket
import threading
import time
import uuid
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from typing import Any, final

import optuna
import psutil
from optuna.storages import RDBStorage
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial, TrialState

from pruning.budget import RESOURCES, Budget
from search.config import Spec
from search.errors import StudyError
from search.home import Home, open_storage
from search.made import made

FORMAT = "paring.study/1"
OPEN = (TrialState.WAITING, TrialState.RUNNING)


@dataclass(frozen=True, slots=True)
class Owner:
    """Who works on a slot, precisely enough to see on the same host whether it still lives."""

    host: str
    pid: int
    started: float

    @staticmethod
    def me() -> "Owner":
        """This process."""
        return Owner(socket.gethostname(), os.getpid(), psutil.Process().create_time())

    def gone(self) -> bool:
        """Whether the process is certainly over (never certain on another host)."""
        if self.host != socket.gethostname():
            return False
        try:
            return bool(abs(psutil.Process(self.pid).create_time() - self.started) > 1.0)
        except psutil.NoSuchProcess:
            return True


@final
class Study:
    """One sweep: its spec, its slots and what is known of them."""

    def __init__(self, home: Home, study: optuna.Study) -> None:
        self.home = home
        self.optuna = study
        self._storage = study._storage
        attributes = study.user_attrs
        if attributes.get("format") != FORMAT:
            raise StudyError(
                f"study={study.study_name}: it was not made by paring {FORMAT} "
                f"(found {attributes.get('format')!r}); choose another name"
            )
        self.spec = Spec(attributes["spec"])
        self.key: str = attributes["key"]
        self.facts: Mapping[str, Any] = attributes["facts"]
        self.objectives: tuple[str, ...] = tuple(attributes["objectives"])

    @property
    def name(self) -> str:
        """The name given by the user."""
        return self.optuna.study_name

    # --- what is known

    def slots(self) -> list[FrozenTrial]:
        """Every slot, by number."""
        return self.optuna.get_trials(deepcopy=False)

    def note(self, key: str) -> Any:
        """A value kept with the study, or None."""
        return self.optuna.user_attrs.get(key)

    def set_note(self, key: str, value: Any) -> None:
        """Keep a value with the study."""
        self.optuna.set_user_attr(key, value)

    def over(self) -> bool:
        """Whether every slot is over."""
        return len(self.optuna.get_trials(deepcopy=False, states=OPEN)) == 0

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

    def require_start(self, key: str) -> None:
        """Refuse another starting point than the one the study was created with.

        Raises:
            StudyError: the keys differ.
        """
        if key != self.facts.get("dense_key", key):  # older studies have none
            raise StudyError(
                f"study={self.name}: the weights file has changed since it was created; bring "
                "the old one back, or choose another name"
            )

    # --- slots

    def add_slots(self, total: int, budgets: Sequence[Budget], seed: int) -> None:
        """Create slots up to a total; slot i has budget i mod len(budgets).

        Every time round the budgets has another seed, so that no two slots are the same.
        """
        with self.home.lock(f"slots-{self.key}"):
            for number in range(len(self.slots()), total):
                repeat, index = divmod(number, len(budgets))
                budget = asdict(budgets[index])
                entry = {"number": number, "budget": budget, "seed": seed + repeat}
                self.optuna.enqueue_trial({}, user_attrs={"slot": entry})

    def claim(self) -> optuna.Trial | None:
        """Take the first waiting slot, or None when no slot waits."""
        if not self._in_state(TrialState.WAITING):
            return None
        with self._turn():
            waiting = next(
                (t for t in self._in_state(TrialState.WAITING) if self._took(t)), None
            )
        if waiting is None:
            return None
        self.optuna.sampler = sampler_for(self.spec, waiting.number)
        return optuna.Trial(self.optuna, waiting._trial_id)

    def _took(self, waiting: FrozenTrial) -> bool:
        """Sign a waiting slot and set it running."""
        number, attempt = waiting._trial_id, waiting.user_attrs.get("attempt", 0) + 1
        self._storage.set_trial_user_attr(number, "owner", asdict(Owner.me()))
        self._storage.set_trial_user_attr(number, "attempt", attempt)
        self._storage.record_heartbeat(number)  # type: ignore[attr-defined]
        return self._storage.set_trial_state_values(number, TrialState.RUNNING)

    def _in_state(self, state: TrialState) -> list[FrozenTrial]:
        return self.optuna.get_trials(deepcopy=False, states=(state,))

    def _turn(self) -> Any:
        """The lock under which slots are claimed and handed back."""
        return self.home.lock(f"claim-{self.key}")

    def hand_back(self) -> list[int]:
        """Make the slots of this process wait again; returns their numbers."""
        return self._handed_back(
            lambda trial: trial.user_attrs.get("owner") == asdict(Owner.me())
        )

    def reap(self) -> list[int]:
        """Hand back the slots of workers that are gone; returns their numbers."""
        if not any(map(self._abandoned, self._in_state(TrialState.RUNNING))):
            return []
        return self._handed_back(self._abandoned)

    def _handed_back(self, due: Callable[[FrozenTrial], bool]) -> list[int]:
        """Make running slots wait again, under their numbers and with all they know."""
        numbers = []
        with self._turn():
            for trial in filter(due, self._in_state(TrialState.RUNNING)):
                with suppress(optuna.exceptions.UpdateFinishedTrialError):  # told just now
                    self._storage.set_trial_state_values(trial._trial_id, TrialState.WAITING)
                    numbers.append(trial.number)
        return numbers

    def _abandoned(self, trial: FrozenTrial) -> bool:
        """Whether the owner is certainly gone, or has been silent for too long."""
        owner = trial.user_attrs.get("owner")
        if owner is not None and Owner(**owner).gone():
            return True
        return trial._trial_id in self._storage._get_stale_trial_ids(self.optuna._study_id)  # type: ignore[attr-defined]

    def still_mine(self, trial: optuna.Trial) -> bool:
        """Whether this process still owns the slot."""
        current = self._storage.get_trial(trial._trial_id)
        mine = asdict(Owner.me()) == current.user_attrs.get("owner")
        return mine and current.state is TrialState.RUNNING

    @contextmanager
    def heartbeat(self, trial: optuna.Trial) -> Iterator[None]:
        """Say from a thread that the slot is worked on, until the block ends."""
        stop = threading.Event()

        def beat() -> None:
            while not stop.wait(self.home.config.heartbeat_s):
                try:
                    self._storage.record_heartbeat(trial._trial_id)  # type: ignore[attr-defined]
                except Exception:  # an outage: the next beat may get through
                    continue

        thread = threading.Thread(target=beat, daemon=True)
        thread.start()
        try:
            yield
        finally:
            stop.set()
            thread.join()


def sampler_for(spec: Spec, number: int) -> optuna.samplers.BaseSampler:
    """The configured sampler for one slot, seeded by the study's seed and the slot.

    Raises:
        ConfigError: the sampler group makes no sampler.
    """
    digest = hashlib.sha256(f"{spec['seed']}/{number}".encode()).digest()
    config = {**spec["sampler"], "seed": int.from_bytes(digest[:4], "big")}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        return made(config, optuna.samplers.BaseSampler, "sampler")  # type: ignore[type-abstract]


def create_study(
    home: Home, name: str, spec: Spec, objectives: Mapping[str, str], facts: Mapping[str, Any]
) -> Study:
    """A new study without slots. `objectives` maps names to "maximize" or "minimize".

    `facts` are what was measured before the first slot: dense cost, chance score, digests.
    """
    storage = open_storage(home)
    with home.lock(f"create-{name}"):
        if (existing := find_study(home, name, storage)) is not None:
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
        return Study(home, study)


def find_study(home: Home, name: str, storage: RDBStorage | None = None) -> Study | None:
    """The study of a name, or None; one that is half-made is none."""
    storage = storage or open_storage(home)
    try:
        study = optuna.load_study(study_name=name, storage=storage)
    except KeyError:
        return None
    return None if _half_made(study) else Study(home, study)


def _half_made(study: optuna.Study) -> bool:
    """Whether a study's creator is still at it, or was killed meanwhile.

    Somebody else's study without attributes is told by its trials: it must not be touched.
    """
    known = study.user_attrs
    ours = not known or "key" in known
    return ours and "format" not in known and not study.get_trials(deepcopy=False)


def require_study(home: Home, name: str) -> Study:
    """The study of a name.

    Raises:
        StudyError: there is none; the message lists those that exist.
    """
    storage = open_storage(home)
    if (study := find_study(home, name, storage)) is not None:
        return study
    names = sorted(optuna.get_all_study_names(storage))
    known = ", ".join(names[:20]) or "none yet"
    raise StudyError(
        f"study={name}: there is none of this name in {home.databases.optuna}; "
        f"studies: {known}. Create it with: paring sweep study={name} ..."
    )


def slot_budget(trial: FrozenTrial | optuna.Trial) -> Budget:
    """The budget of a slot."""
    return Budget(**trial.user_attrs["slot"]["budget"])


def limits_of(budget: Budget) -> dict[str, Any]:
    """All three limits by name, None where unlimited."""
    return {name: getattr(budget, name) for name in RESOURCES}

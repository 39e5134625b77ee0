"""All use of Optuna's private parts: its tables, its cache, the ids of its trials.

Optuna reads all unfinished trials whenever any trial is asked for: with a thousand waiting trials
that takes half a second, and samplers, mirrors and workers do it often. Everything here relies on
the one release of Optuna that paring admits; `test_optuna_adapter.py` checks that.
"""

import json
import re
import time
from collections.abc import Iterator, Mapping
from typing import Any, Unpack, cast, final

import optuna
from optuna.storages import RDBStorage
from optuna.storages._cached_storage import _CachedStorage, _StudyInfo
from optuna.storages._rdb.models import (
    StudyUserAttributeModel,
    TrialModel,
    TrialUserAttributeModel,
)
from optuna.trial import FrozenTrial, TrialState
from sqlalchemy import Engine, Select, exists, func, select

from pruning.budget import Budget
from search.storage.trial_record import (
    ATTEMPT,
    RESUME_KEYS,
    RUN,
    AnyTrial,
    TrialChanges,
    creation_attributes,
    trial_attributes,
)

_DIGEST = re.compile(r"[0-9a-f]{64}")
_OVER = tuple(state for state in TrialState if state.is_finished())
_LONG = 64  # characters of a value that may hold a digest


@final
class TrialStorage(_CachedStorage):
    """Optuna's cached storage, but trials that no worker has claimed yet are read only once."""

    def __init__(self, backend: RDBStorage) -> None:
        super().__init__(backend)
        self._read_up_to: dict[int, int] = {}  # the highest trial id, by study

    @property
    def engine(self) -> Engine:
        """SQLAlchemy's engine of the database."""
        return self._backend.engine

    def _read_trials_from_remote_storage(self, study_id: int) -> None:
        with self._lock:
            study = self._studies.setdefault(study_id, _StudyInfo())
            up_to = self._read_up_to.get(study_id, -1)
            unfinished = {
                trial._trial_id
                for trial in study.trials.values()
                if not trial.state.is_finished() and trial._trial_id <= up_to
            }
            due = unfinished - self._untouched(study_id) if unfinished else set()
            trials = self._backend._get_trials(study_id, None, due, up_to)
            self._add_trials_to_cache(study_id, trials)
            self._read_up_to[study_id] = max([up_to, *(trial._trial_id for trial in trials)])

    def _untouched(self, study_id: int) -> set[int]:
        """The ids of the trials that no worker has claimed yet."""
        attribute = TrialUserAttributeModel
        claimed = (attribute.trial_id == TrialModel.trial_id, attribute.key == ATTEMPT)
        query = select(TrialModel.trial_id).where(
            TrialModel.study_id == study_id,
            TrialModel.state == TrialState.WAITING,
            ~exists().where(*claimed),
        )
        with self._backend.engine.connect() as connection:
            return set(connection.execute(query).scalars())


def named_digests(engine: Engine) -> set[str]:
    """All digests in the attributes of a database's studies and trials, but for those that a
    finished trial needed only to resume.
    """
    study, trial = StudyUserAttributeModel, TrialUserAttributeModel
    of_no_use = trial.key.in_(RESUME_KEYS) & TrialModel.state.in_(_OVER)
    queries = (
        select(study.value_json).where(func.length(study.value_json) >= _LONG),
        select(trial.value_json)
        .join(TrialModel, TrialModel.trial_id == trial.trial_id)
        .where(func.length(trial.value_json) >= _LONG, ~of_no_use),
    )
    with engine.connect() as connection:
        texts = [text for query in queries for text in connection.execute(query).scalars()]
    return {digest for text in texts for digest in _DIGEST.findall(text)}


def storage_of(study: optuna.Study) -> TrialStorage:
    """The storage of a study that was opened with `open_storage`."""
    return cast(TrialStorage, study._storage)


@final
class TrialTable:
    """The trials of one study, as Optuna's database holds them."""

    def __init__(self, study: optuna.Study) -> None:
        self._study = study
        self._storage = storage_of(study)
        self._engine = self._storage.engine

    def any(self, *states: TrialState) -> bool:
        """Whether a trial is in one of some states."""
        return bool(self._rows(self._query(*states).limit(1)))

    def trials(self, *states: TrialState) -> Iterator[FrozenTrial]:
        """The trials in some states, by number; each is read when the iterator reaches it."""
        ids = self._rows(self._query(*states).order_by(TrialModel.number))
        return map(self._storage.get_trial, ids)

    def complete_run(self, run: str) -> FrozenTrial | None:
        """The first complete trial with this digest of its run, if there is one."""
        attribute = TrialUserAttributeModel
        query = (
            self._query(TrialState.COMPLETE)
            .join(attribute, attribute.trial_id == TrialModel.trial_id)
            .where(attribute.key == RUN, attribute.value_json == json.dumps(run))
            .order_by(TrialModel.number)
            .limit(1)
        )
        ids = self._rows(query)
        return self._storage.get_trial(ids[0]) if ids else None

    def current(self, trial: AnyTrial) -> FrozenTrial:
        """A trial as it is by now."""
        return self._storage.get_trial(trial._trial_id)

    def add(self, number: int, budget: Budget, seed: int, draw: int | None) -> None:
        """Add a waiting trial; see `TrialNotes` for what it is created with."""
        attributes = creation_attributes(number, budget, seed, draw)
        self._study.enqueue_trial({}, user_attrs=attributes)

    def note(self, trial: AnyTrial, **changes: Unpack[TrialChanges]) -> None:
        """Store fields of `TrialNotes` with a trial; a trial that is worked on shows them, too.

        Raises:
            UpdateFinishedTrialError: it is over.
        """
        for key, value in trial_attributes(**changes).items():
            if isinstance(trial, optuna.Trial):
                trial.set_user_attr(key, value)
            else:
                self._storage.set_trial_user_attr(trial._trial_id, key, value)

    def set_state(self, trial: AnyTrial, state: TrialState) -> bool:
        """Move a trial to another state; False where another process was quicker.

        Raises:
            UpdateFinishedTrialError: it is over.
        """
        return self._storage.set_trial_state_values(trial._trial_id, state)

    def heartbeat(self, trial: AnyTrial) -> None:
        """Say that a trial is worked on: to Optuna, and to whoever asks how the sweep stands.

        Called from a thread beside the training, so the trial's own copy stays as it is.
        """
        self._storage.record_heartbeat(trial._trial_id)
        for key, value in trial_attributes(last_seen=time.time()).items():
            self._storage.set_trial_user_attr(trial._trial_id, key, value)

    def is_stale(self, trial: AnyTrial) -> bool:
        """Whether a running trial has had no heartbeat for longer than a lease."""
        return trial._trial_id in self._storage._get_stale_trial_ids(self._study._study_id)

    def fix_params(self, trial: AnyTrial, params: Mapping[str, Any]) -> None:
        """Let a trial draw these values of its hyperparameters and no others."""
        self._storage.set_trial_system_attr(trial._trial_id, "fixed_params", dict(params))

    def open(self, trial: FrozenTrial) -> optuna.Trial:
        """A trial to work on."""
        return optuna.Trial(self._study, trial._trial_id)

    def show(self, trials: list[FrozenTrial]) -> None:
        """Let samplers use these trials instead of reading all of them again."""
        self._study._thread_local.cached_all_trials = trials

    def _query(self, *states: TrialState) -> Select[Any]:
        of_study = TrialModel.study_id == self._study._study_id
        return select(TrialModel.trial_id).where(of_study, TrialModel.state.in_(states))

    def _rows(self, query: Select[Any]) -> list[int]:
        with self._engine.connect() as connection:
            return list(connection.execute(query).scalars())

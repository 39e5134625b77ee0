"""What workers ask of a study all the time, answered by its database in a row or two.

Optuna's `get_trials` reads all that is not finished, every time: with a thousand waiting slots
that took half a second, six times a slot.
"""

import json
from typing import Any, final

import optuna
from optuna.storages._rdb.models import TrialModel, TrialUserAttributeModel
from optuna.trial import FrozenTrial, TrialState
from sqlalchemy import Engine, Select, select


@final
class Lookup:
    """Trials of one study by their state or an attribute."""

    def __init__(self, study: optuna.Study) -> None:
        self._study = study
        self._engine: Engine = study._storage._backend.engine  # type: ignore[attr-defined]

    def ids(self, *states: TrialState) -> list[int]:
        """The ids of the trials in some states, by number."""
        return self._rows(self._query(*states).order_by(TrialModel.number))

    def any(self, *states: TrialState) -> bool:
        """Whether a trial is in one of some states."""
        return bool(self._rows(self._query(*states).limit(1)))

    def trials(self, *states: TrialState) -> list[FrozenTrial]:
        """The trials in some states, by number: for states that few are in."""
        return [self._study._storage.get_trial(number) for number in self.ids(*states)]

    def complete_with(self, key: str, value: Any) -> FrozenTrial | None:
        """The first complete trial whose user attribute has a value, if there is one."""
        attribute = TrialUserAttributeModel
        query = (
            self._query(TrialState.COMPLETE)
            .join(attribute, attribute.trial_id == TrialModel.trial_id)
            .where(attribute.key == key, attribute.value_json == json.dumps(value))
            .order_by(TrialModel.number)
            .limit(1)
        )
        found = self._rows(query)
        return self._study._storage.get_trial(found[0]) if found else None

    def _query(self, *states: TrialState) -> Select[Any]:
        ours = TrialModel.study_id == self._study._study_id
        return select(TrialModel.trial_id).where(ours, TrialModel.state.in_(states))

    def _rows(self, query: Select[Any]) -> list[int]:
        with self._engine.connect() as connection:
            return list(connection.execute(query).scalars())

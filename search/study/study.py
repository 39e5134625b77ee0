"""A study in Optuna, whose database is the truth: created, found, read and written."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Unpack, final

import optuna
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial, TrialState

from pruning.budget import Budget
from pruning.export.files import digest_of
from search.config.schema import StoppingConfig
from search.config.spec import Spec
from search.errors import StudyError, UnwritableError
from search.storage.blobs import mark_of
from search.storage.optuna_adapter import TrialStorage, TrialTable, storage_of
from search.storage.workspace import Workspace, open_storage
from search.study.pruner import RungPruner
from search.study.study_record import (
    StudyChanges,
    StudyDefinition,
    StudyFacts,
    StudyNotes,
    complete,
    is_half_made,
    store_mark_of,
    write_notes,
)

OPEN = (TrialState.WAITING, TrialState.RUNNING)


@final
class Study:
    """One sweep: its spec, its trials, and what is stored with it.

    Raises:
        StudyError: it was not created by paring.
    """

    def __init__(self, workspace: Workspace, study: optuna.Study) -> None:
        self.workspace = workspace
        self.optuna = study
        self.table = TrialTable(study)
        definition = StudyDefinition.of(study)
        self.spec, self.key = definition.spec, definition.key
        self.facts: StudyFacts = definition.facts
        self.objectives = definition.objectives

    @property
    def name(self) -> str:
        """The name given by the user."""
        return self.optuna.study_name

    @property
    def storage(self) -> TrialStorage:
        """Optuna's storage, which holds the connections of this process."""
        return storage_of(self.optuna)

    def trials(self) -> list[FrozenTrial]:
        """Every trial, by number."""
        return self.optuna.get_trials(deepcopy=False)

    def notes(self) -> StudyNotes:
        """What is stored with the study now, read at once."""
        return StudyNotes.of(self.optuna)

    def note(self, **changes: Unpack[StudyChanges]) -> None:
        """Store fields of `StudyNotes` with the study."""
        write_notes(self.optuna, **changes)

    @property
    def space(self) -> Mapping[str, Any]:
        """The hyperparameters that trials may still draw: the spec's space, or a part of it."""
        space: Mapping[str, Any] = self.notes().space or self.spec["space"]
        return space

    @property
    def budgets(self) -> tuple[Budget, ...]:
        """The budgets of the trials, those added later at the end."""
        return self.notes().budgets or self.facts.budgets

    @property
    def places_budgets(self) -> bool:
        """Whether trials get their budgets when they are claimed (`budget=auto`)."""
        return bool(self.spec["budget"].get("kind") == "auto")

    @property
    def rungs(self) -> RungPruner:
        """When trials are judged, and how strictly."""
        return RungPruner.of(StoppingConfig(**self.spec.values.get("stopping", {})))

    def over(self) -> bool:
        """Whether every trial is over."""
        return not self.table.any(*OPEN)


def create_study(
    workspace: Workspace,
    name: str,
    spec: Spec,
    objectives: Mapping[str, str],
    facts: StudyFacts,
) -> Study:
    """A new study without trials; one of this name that is there already is returned as it is.

    Args:
        workspace: where the study is to live.
        name: the study's name.
        spec: all settings of the sweep.
        objectives: "maximize" or "minimize" for each objective, by name.
        facts: what was measured before the first trial.

    Raises:
        UnwritableError: the store cannot be written to. No study is left then.
    """
    storage = open_storage(workspace)
    with workspace.lock(f"create-{name}"):
        if (existing := find_study(workspace, name, storage)) is not None:
            return existing
        _delete_half_made(workspace, name, storage)
        study = optuna.create_study(
            study_name=name,
            storage=storage,
            directions=[StudyDirection[way.upper()] for way in objectives.values()],
        )
        mark = mark_of(name, workspace.place)
        marked = replace(facts, store=digest_of(mark))
        # Named before it is stored: so a kill leaves no blob that nobody names.
        StudyDefinition(spec=spec, objectives=tuple(objectives), facts=marked).write(study)
        try:
            workspace.store.put(mark)
        except UnwritableError:
            optuna.delete_study(study_name=name, storage=storage)
            raise
        complete(study)
        return Study(workspace, study)


def _delete_half_made(workspace: Workspace, name: str, storage: TrialStorage) -> None:
    """Delete what a creator that was killed has left: its study, and the mark of its store."""
    try:
        study = optuna.load_study(study_name=name, storage=storage)
    except KeyError:
        return
    if (mark := store_mark_of(study)) is not None:
        workspace.store.remove(mark)
    optuna.delete_study(study_name=name, storage=storage)


def find_study(
    workspace: Workspace, name: str, storage: TrialStorage | None = None
) -> Study | None:
    """The study of a name, or None; one that is half-made is none."""
    storage = storage or open_storage(workspace)
    try:
        study = optuna.load_study(study_name=name, storage=storage)
    except KeyError:
        return None
    return None if is_half_made(study) else Study(workspace, study)


def require_study(workspace: Workspace, name: str) -> Study:
    """The study of a name.

    Raises:
        StudyError: there is none; the message lists those that exist.
    """
    storage = open_storage(workspace)
    if (study := find_study(workspace, name, storage)) is not None:
        return study
    names = ", ".join(sorted(optuna.get_all_study_names(storage))[:20]) or "none yet"
    raise StudyError(
        f"study={name}: no study of this name in {workspace.databases.place}; "
        f"studies: {names}. Create it with: paring sweep study={name} ..."
    )

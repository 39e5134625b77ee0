"""A study in Optuna, whose database is the truth: what is known of it, and how it is created."""

import json
import time
import uuid
from collections.abc import Mapping
from contextlib import suppress
from typing import Any, final

import optuna
from optuna.storages import BaseStorage
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial, TrialState

from pruning.budget import Budget
from search.config.migration import SETTINGS, spec_of_format_1
from search.config.schema import StoppingConfig
from search.config.spec import Spec
from search.errors import StudyError
from search.storage.optuna_adapter import TrialStorage, TrialTable, storage_of
from search.storage.workspace import Workspace, open_storage
from search.study.pruner import RungPruner

FORMAT = "paring.study/2"
FORMAT_1 = "paring.study/1"  # of paring 0.1.0: read in today's words
OPEN = (TrialState.WAITING, TrialState.RUNNING)


@final
class Study:
    """One sweep: its spec, its trials and what is known of them."""

    def __init__(self, workspace: Workspace, study: optuna.Study) -> None:
        self.workspace = workspace
        self.optuna = study
        self.table = TrialTable(study)
        attributes = study.user_attrs
        if attributes.get("format") not in (FORMAT, FORMAT_1):
            raise StudyError(
                f"study={study.study_name}: it was not made by paring {FORMAT} "
                f"(found {attributes.get('format')!r}); choose another name"
            )
        self.spec = Spec(attributes["spec"])
        if attributes["format"] == FORMAT_1:
            self.spec = Spec(spec_of_format_1(self.spec.values), SETTINGS)
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
        return storage_of(self.optuna)

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
        return not self.table.any(*OPEN)


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
        f"study={name}: no study of this name in {workspace.databases.place}; "
        f"studies: {known}. Create it with: paring sweep study={name} ..."
    )

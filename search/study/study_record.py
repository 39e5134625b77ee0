"""The attributes of a study in Optuna's database as typed records: the only place that reads
and writes them.

The keys in the database never change, since studies of every earlier version must open. What
an earlier version did not store has a default.
"""

import time
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, TypedDict, Unpack

import optuna

from pruning.budget import Budget, Cost
from pruning.training.job import Precision
from search.config.migration import SETTINGS, spec_of_format_1
from search.config.spec import Spec
from search.errors import StudyError
from search.storage.trial_record import Progress, progress_from, to_json
from search.study.command import Command, CurrentCommand
from search.study.space import name_of

FORMAT = "paring.study/2"
FORMAT_1 = "paring.study/1"  # of paring 0.1.0: read in today's words
_DENSE = "dense"
_COMMAND = "order"
_TEST = "test/"
_UNREACHABLE = "unreachable/"
_MEASURED = "measured/"
_EVALUATED = "evaluated/"


@dataclass(frozen=True, slots=True, kw_only=True)
class VariantFacts:
    """What is found out of one combination of the choices that decide the dense network.

    params: these choices, by the names of the hyperparameters; empty where there are none.
    dense_key: the digest of everything that the dense network depends on.
    out_of_reach: those of the study's first budgets that no widths of it meet.

    Earlier versions did not always store dense_key.
    """

    params: Mapping[str, Any]
    dense_key: str | None
    dense_cost: Cost
    data_digest: str
    out_of_reach: tuple[Budget, ...] = ()

    @property
    def name(self) -> str:
        """The choices in words: "model=resnet8, data.image_size=24"."""
        return name_of(self.params)


@dataclass(frozen=True, slots=True, kw_only=True)
class StudyFacts:
    """What is found out before the first trial, and never changes.

    rises: whether a larger score is better.
    chance, best: the score of a constant answer, and the best possible score.
    dense_cost: of the unpruned network; where there are several variants, the largest of each.
    device_limits: the memory that the device leaves for a network.
    budgets: those that the study began with. out_of_reach: those that no widths meet.
    data_digest: of all samples. tags: versions and commits, for people.
    dense_key: the digest of everything that the dense network depends on; with its graph, if
    start_has_network. variants: empty where the space names none.
    store: the digest of the blob that marks the study's store.

    Earlier versions stored neither dense_key nor store, and scored in simulation only.
    """

    metric: str
    rises: bool
    chance: float
    best: float
    dense_cost: Cost
    device_limits: Budget
    budgets: tuple[Budget, ...]
    data_digest: str
    tags: Mapping[str, str]
    out_of_reach: tuple[Budget, ...] = ()
    dense_key: str | None = None
    start_has_network: bool = False
    precision: Precision = Precision.SIMULATED
    store: str | None = None
    variants: tuple[VariantFacts, ...] = ()

    @property
    def all_variants(self) -> tuple[VariantFacts, ...]:
        """The variants; of a study without choices among networks, the one that it has."""
        if self.variants:
            return self.variants
        return (
            VariantFacts(
                params={},
                dense_key=self.dense_key,
                dense_cost=self.dense_cost,
                data_digest=self.data_digest,
                out_of_reach=self.out_of_reach,
            ),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class StudyDefinition:
    """What a study is created with. `key` distinguishes it from other studies of its name."""

    spec: Spec
    objectives: tuple[str, ...]
    facts: StudyFacts
    key: str = field(default_factory=lambda: uuid.uuid4().hex)

    @staticmethod
    def of(study: optuna.Study) -> "StudyDefinition":
        """The definition of a stored study.

        Raises:
            StudyError: the study was not created by paring, or by a later version of it.
        """
        stored = study.user_attrs
        if stored.get("format") not in (FORMAT, FORMAT_1):
            raise StudyError(
                f"study={study.study_name}: it was not made by paring {FORMAT} "
                f"(found {stored.get('format')!r}); choose another name"
            )
        spec = Spec(stored["spec"])
        if stored["format"] == FORMAT_1:
            spec = Spec(spec_of_format_1(spec.values), SETTINGS)
        return StudyDefinition(
            spec=spec,
            objectives=tuple(stored["objectives"]),
            facts=_facts(stored["facts"]),
            key=stored["key"],
        )

    def write(self, study: optuna.Study) -> None:
        """Store the definition with a new study, which stays half-made until `complete`."""
        study.set_user_attr("key", self.key)
        study.set_user_attr("created", time.time())
        study.set_user_attr("objectives", list(self.objectives))
        study.set_user_attr("facts", _facts_to_json(self.facts))
        study.set_user_attr("spec", dict(self.spec.values))


def complete(study: optuna.Study) -> None:
    """Mark a study as created: all that belongs to it is stored."""
    study.set_user_attr("format", FORMAT)


def store_mark_of(study: optuna.Study) -> str | None:
    """The digest of the blob that marks the store of a study, which may be half-made."""
    facts = study.user_attrs.get("facts") or {}
    mark: str | None = facts.get("store")
    return mark


def is_half_made(study: optuna.Study) -> bool:
    """Whether the process that creates a study has not finished, or was killed.

    The study of another program may have no attributes, too. It must not be deleted, and is
    recognized by its trials.
    """
    stored = study.user_attrs
    ours = not stored or "key" in stored
    return ours and "format" not in stored and not study.get_trials(deepcopy=False)


@dataclass(frozen=True, slots=True)
class DenseNote:
    """The trained dense network: the key of what it depends on, and the digest of its blob.

    seconds: of its training; earlier versions did not store them.
    """

    key: str
    digest: str
    score: float
    seconds: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Measurement:
    """What a trial's network takes as linked for a core, and run on an emulated one: see
    `pruning.deploy.toolchain.measure.Measured`.
    """

    core: str
    flash_bytes: int
    sram_bytes: int
    stack_bytes: int
    instructions: int
    results: int
    mismatches: int
    samples: int = 0
    by_kernel: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class StudyNotes:
    """Everything that is stored with a study and changes.

    space, budgets: None while they are those of the beginning. dense, dense_checkpoint,
    dense_pending, dense_progress: of the dense networks, by key; pending are digests that the
    training names before it stores them. unreachable: those of the budgets that were added which
    no widths of a variant meet, by its place. test_scores, measured: by trial number, as are
    evaluations, the digests of files of `tracking.evaluation_file`.
    mirror: the MLflow that the study was last mirrored to. runs: its run ids, by trial number.
    """

    command: CurrentCommand
    space: Mapping[str, Any] | None
    budgets: tuple[Budget, ...] | None
    dense: Mapping[str, DenseNote]
    dense_checkpoint: Mapping[str, str]
    dense_pending: Mapping[str, tuple[str, ...]]
    dense_progress: Mapping[str, Progress]
    unreachable: Mapping[int, tuple[Budget, ...]]
    test_scores: Mapping[int, float]
    measured: Mapping[int, Measurement]
    evaluations: Mapping[int, str]
    mirror: str | None
    runs: Mapping[int, str]

    @staticmethod
    def of(study: optuna.Study) -> "StudyNotes":
        """What is stored with a study of ours now."""
        stored = study.user_attrs
        budgets, measured = stored.get("budgets"), _numbered(stored, _MEASURED)
        progress = {
            key: progress_from(entry) for key, entry in _of_dense(stored, "progress").items()
        }
        return StudyNotes(
            command=_command(stored.get(_COMMAND)),
            space=stored.get("space"),
            budgets=None if budgets is None else _budgets(budgets),
            dense={note.key: note for note in dense_notes_in(stored)},
            dense_checkpoint=_of_dense(stored, "checkpoint"),
            dense_pending={
                key: tuple(names) for key, names in _of_dense(stored, "pending").items()
            },
            dense_progress={key: entry for key, entry in progress.items() if entry is not None},
            unreachable={
                place: _budgets(entry) for place, entry in _numbered(stored, _UNREACHABLE).items()
            },
            test_scores=_numbered(stored, _TEST),
            measured={number: Measurement(**entry) for number, entry in measured.items()},
            evaluations=_numbered(stored, _EVALUATED),
            mirror=stored.get("mirror"),
            runs={int(number): run for number, run in (stored.get("runs") or {}).items()},
        )


class StudyChanges(TypedDict, total=False):
    """What may be stored with a study after its creation: fields of `StudyNotes`.

    Of mappings only the entries that are given change; a checkpoint of None is none.
    """

    command: CurrentCommand
    space: Mapping[str, Any]
    budgets: Sequence[Budget]
    dense: Mapping[str, DenseNote]
    dense_checkpoint: Mapping[str, str | None]
    dense_pending: Mapping[str, Sequence[str]]
    dense_progress: Mapping[str, Progress]
    unreachable: Mapping[int, Sequence[Budget]]
    test_scores: Mapping[int, float]
    measured: Mapping[int, Measurement]
    evaluations: Mapping[int, str]
    mirror: str
    runs: Mapping[int, str]


def write_notes(study: optuna.Study, **changes: Unpack[StudyChanges]) -> None:
    """Store fields of `StudyNotes` with a study."""
    for name, value in changes.items():
        for key, entry in _attributes(name, value).items():
            study.set_user_attr(key, entry)


def _attributes(name: str, value: Any) -> dict[str, Any]:
    """The attributes under which a change is stored, as JSON values by key."""
    match name:
        case "command":
            return {_COMMAND: {"order": value.command, "why": value.why, "at": value.at}}
        case "budgets":
            return {name: [asdict(budget) for budget in value]}
        case "dense" | "dense_checkpoint" | "dense_pending" | "dense_progress":
            return {f"{name}/{key}": to_json(entry) for key, entry in value.items()}
        case "unreachable":
            return {f"{_UNREACHABLE}{at}": [asdict(b) for b in some] for at, some in value.items()}
        case "test_scores":
            return {f"{_TEST}{number}": score for number, score in value.items()}
        case "measured":
            return {f"{_MEASURED}{number}": to_json(entry) for number, entry in value.items()}
        case "evaluations":
            return {f"{_EVALUATED}{number}": digest for number, digest in value.items()}
        case _:
            return {name: to_json(value)}


def dense_notes_in(stored: Mapping[str, Any]) -> list[DenseNote]:
    """The dense networks among the attributes of any study, perhaps another program's."""
    entries = [value for key, value in stored.items() if key.partition("/")[0] == _DENSE]
    return [
        DenseNote(entry["key"], entry["digest"], entry["score"], entry.get("seconds"))
        for entry in entries
        if isinstance(entry, dict) and {"key", "digest", "score"} <= entry.keys()
    ]


def dense_of(notes: Mapping[str, DenseNote], facts: VariantFacts) -> DenseNote | None:
    """The dense network of a variant, if it is trained. A study of an earlier version does not
    name the key of the one that it has.
    """
    if facts.dense_key is None:
        return next(iter(notes.values()), None)
    return notes.get(facts.dense_key)


def dense_notes(storage: optuna.storages.BaseStorage) -> list[DenseNote]:
    """The dense networks of all studies of a database."""
    summaries = optuna.get_all_study_summaries(storage)
    return [note for summary in summaries for note in dense_notes_in(summary.user_attrs)]


def _of_dense(stored: Mapping[str, Any], what: str) -> dict[str, Any]:
    """What is stored of the training of dense networks, by key.

    Earlier versions had one dense network, and noted its key with the checkpoint alone.
    """
    name = f"{_DENSE}_{what}"
    entries = {
        key.removeprefix(f"{name}/"): value
        for key, value in stored.items()
        if key.startswith(f"{name}/") and value is not None
    }
    if (earlier := stored.get(name)) is None:
        return entries
    checkpoint = stored.get(f"{_DENSE}_checkpoint") or {}
    key = checkpoint.get("key") or stored["facts"].get("dense_key") or ""
    value = earlier["digest"] if what == "checkpoint" else earlier
    return {key: value} | entries if f"{name}/{key}" not in stored else entries


def _command(stored: Mapping[str, Any] | None) -> CurrentCommand:
    if stored is None:
        return CurrentCommand()
    return CurrentCommand(Command(stored["order"]), stored["why"], stored["at"])


def _budgets(stored: Sequence[Mapping[str, Any]]) -> tuple[Budget, ...]:
    return tuple(Budget(**limits) for limits in stored)


def _numbered(stored: Mapping[str, Any], prefix: str) -> dict[int, Any]:
    """The values that are stored for trials, each under a prefix and the trial's number."""
    return {
        int(key.removeprefix(prefix)): value
        for key, value in stored.items()
        if key.startswith(prefix) and value is not None
    }


def _facts(stored: Mapping[str, Any]) -> StudyFacts:
    return StudyFacts(
        **{
            **stored,
            "dense_cost": Cost(**stored["dense_cost"]),
            "device_limits": Budget(**stored["device_limits"]),
            "budgets": _budgets(stored["budgets"]),
            "out_of_reach": _budgets(stored.get("out_of_reach", ())),
            "precision": Precision(stored.get("precision", Precision.SIMULATED)),
            "variants": tuple(map(_variant, stored.get("variants", ()))),
        }
    )


def _variant(stored: Mapping[str, Any]) -> VariantFacts:
    return VariantFacts(
        **{
            **stored,
            "dense_cost": Cost(**stored["dense_cost"]),
            "out_of_reach": _budgets(stored["out_of_reach"]),
        }
    )


def _facts_to_json(facts: StudyFacts) -> dict[str, Any]:
    stored: dict[str, Any] = to_json(facts)
    return {**stored, "device_limits": facts.device_limits.limits}

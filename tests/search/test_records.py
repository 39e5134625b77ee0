"""What is stored with studies and trials: keys that stay, records that come back, one codec."""

import ast
from collections.abc import Iterator
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any, get_type_hints

import optuna
import pytest
from optuna.trial import FrozenTrial, TrialState

from pruning.budget import Budget, Cost
from search.config.spec import Spec
from search.errors import StudyError
from search.storage.outcome import Cancelled, Dominated, Failed, Finished, Infeasible
from search.storage.owner import Owner
from search.storage.trial_record import (
    Deaths,
    Progress,
    TrialChanges,
    TrialNotes,
    WarmStart,
    creation_attributes,
    outcome_of,
    result_of,
    trial_attributes,
)
from search.study.command import Command, CurrentCommand
from search.study.study_record import (
    DenseNote,
    Measurement,
    StudyChanges,
    StudyDefinition,
    StudyFacts,
    StudyNotes,
    VariantFacts,
    complete,
    dense_notes_in,
    write_notes,
)

ROOT = Path(__file__).parents[2]
CODECS = {
    "search/storage/trial_record.py",
    "search/study/study_record.py",
    "search/storage/optuna_adapter.py",  # writes what the first encodes
}
ATTRIBUTES = {
    "user_attrs", "system_attrs", "set_user_attr", "set_system_attr", "set_trial_user_attr",
    "set_trial_system_attr", "set_study_user_attr", "set_study_system_attr",
    "get_trial_user_attrs", "get_study_user_attrs", "_cached_frozen_trial",
}  # fmt: skip
COST = Cost(flash_bytes=800, sram_bytes=600, latency_ms=1.5, macs=10)
RESULT = Finished(
    score=0.9, cost=COST, widths={"a": 2}, bottleneck="a", files={"model.safetensors": "d"},
    seconds=1.5, threads=2, planned_sram_bytes=640, copy_of=3,
)  # fmt: skip
CHANGES: TrialChanges = {
    "budget": Budget(flash_bytes=800),
    "attempt": 2,
    "owner": Owner("host", 7, 1.25, "boot/1"),
    "last_seen": 12.5,
    "progress": Progress(3, 9, "prune", 0.5, COST),
    "checkpoint": "c",
    "pending": ("p", "q"),
    "deaths": Deaths("c", (1, 2)),
    "warm_start": WarmStart(None),
    "run": "r",
    "rungs": {0: 0.25, 2: 0.75},
    "result": RESULT,
    "reason": "too tight",
    "infeasible": True,
    "cancelled": True,
}
STORED = {
    "placed": {"flash_bytes": 800, "sram_bytes": None, "latency_ms": None, "macs": None},
    "attempt": 2,
    "owner": {"host": "host", "pid": 7, "started": 1.25, "place": "boot/1"},
    "seen": 12.5,
    "progress": {"epoch": 3, "of": 9, "phase": "prune", "score": 0.5, "cost": asdict(COST)},
    "checkpoint": "c",
    "pending": ["p", "q"],
    "deaths": {"at": "c", "attempts": [1, 2]},
    "parent": None,
    "run": "r",
    "rung/0": 0.25,
    "rung/2": 0.75,
    "result": {
        "score": 0.9, "cost": asdict(COST), "widths": {"a": 2}, "bottleneck": "a",
        "files": {"model.safetensors": "d"}, "seconds": 1.5, "threads": 2,
        "planned_sram_bytes": 640, "copy_of": 3,
    },
    "reason": "too tight",
    "infeasible": True,
    "cancelled": True,
}  # fmt: skip
CREATION = creation_attributes(4, Budget(flash_bytes=900), seed=5, draw=1)


def trial_with(state: TrialState = TrialState.RUNNING, **attributes: Any) -> FrozenTrial:
    values = [0.5] if state is TrialState.COMPLETE else None
    return optuna.create_trial(state=state, values=values, user_attrs={**CREATION, **attributes})


# --- trials


def test_the_keys_of_a_trial_are_those_of_every_version() -> None:
    assert CHANGES.keys() == get_type_hints(TrialChanges).keys()
    assert trial_attributes(**CHANGES) == STORED
    limits = {"flash_bytes": 900, "sram_bytes": None, "latency_ms": None, "macs": None}
    slot = {"number": 4, "budget": limits, "seed": 5, "draw": 1}
    assert {"slot": slot} == CREATION
    assert creation_attributes(0, Budget(), 5)["slot"].keys() == {"number", "budget", "seed"}


def test_what_is_stored_with_a_trial_comes_back() -> None:
    study = optuna.create_study()
    study.enqueue_trial({}, user_attrs=CREATION)
    trial = study.ask()
    for key, value in trial_attributes(**CHANGES).items():
        trial.set_user_attr(key, value)
    created = {"seed": 5, "draw": 1}
    changes = {name: value for name, value in CHANGES.items() if name != "result"}
    notes = TrialNotes(**created, **changes)
    assert TrialNotes.of(trial) == notes
    assert TrialNotes.of(study.trials[0]) == notes
    assert notes.resume_blobs == {"c", "p", "q"}


def test_a_trial_that_nobody_has_claimed_has_no_notes() -> None:
    notes = TrialNotes.of(trial_with())
    assert (notes.attempt, notes.owner, notes.warm_start) == (0, None, None)
    assert notes.resume_blobs == set()


def test_notes_of_earlier_versions_are_read() -> None:
    trial = trial_with(
        TrialState.COMPLETE,
        owner={"host": "h", "pid": 1, "started": 2.0, "boot": "b"},
        progress={"epoch": 1, "of": 2, "phase": "dense", "score": 0.5},
        deaths={"at": None, "count": 2},
        result={key: STORED["result"][key]
                for key in ("score", "cost", "widths", "bottleneck", "files", "seconds")},
    )  # fmt: skip
    notes = TrialNotes.of(trial)
    assert notes.owner == Owner("h", 1, 2.0)
    assert notes.progress == Progress(1, 2, "dense", 0.5, None)
    assert notes.deaths == Deaths("", ())
    assert result_of(trial) == replace(RESULT, threads=0, planned_sram_bytes=None, copy_of=None)


def test_a_trial_of_another_program_is_refused() -> None:
    with pytest.raises(StudyError, match="not added by paring"):
        TrialNotes.of(optuna.create_trial(value=1.0))


@pytest.mark.parametrize(
    ("state", "attributes", "outcome"),
    [
        (TrialState.WAITING, STORED, None),
        (TrialState.RUNNING, STORED, None),
        (TrialState.COMPLETE, STORED, RESULT),
        (TrialState.PRUNED, {"reason": "worse"}, Dominated("worse")),
        (TrialState.PRUNED, {"reason": "too tight", "infeasible": True}, Infeasible("too tight")),
        (TrialState.FAIL, {"reason": "no"}, Failed("no")),
        (TrialState.FAIL, {"result": STORED["result"], "cancelled": True}, Cancelled()),
    ],
)
def test_the_state_decides_what_came_of_a_trial(
    state: TrialState, attributes: dict[str, Any], outcome: object
) -> None:
    assert outcome_of(trial_with(state, **attributes)) == outcome


# --- studies

FACTS = StudyFacts(
    metric="accuracy", rises=True, chance=0.25, best=1.0, dense_cost=COST,
    device_limits=Budget(flash_bytes=1000, sram_bytes=500), budgets=(Budget(flash_bytes=900),),
    data_digest="d", tags={"data": "digits"}, out_of_reach=(Budget(flash_bytes=1),),
    dense_key="k", start_has_network=True, store="s",
    variants=(
        VariantFacts(params={"model": "resnet8"}, dense_key="k", dense_cost=COST, data_digest="d"),
        VariantFacts(params={"model": "ds_cnn"}, dense_key="l", dense_cost=COST, data_digest="d",
                     out_of_reach=(Budget(flash_bytes=900),)),
    ),
)  # fmt: skip
NOTES: StudyChanges = {
    "command": CurrentCommand(Command.PAUSE, "lunch", 2.5),
    "space": {"task.optimizer.lr": [0.1, 0.2]},
    "budgets": (Budget(flash_bytes=900), Budget(flash_bytes=700)),
    "dense": {"k": DenseNote("k", "d", 0.5, 2.5)},
    "dense_checkpoint": {"k": "c"},
    "dense_pending": {"k": ("p",)},
    "dense_progress": {"k": Progress(1, 2, "dense", 0.5, COST)},
    "unreachable": {1: (Budget(flash_bytes=3),)},
    "test_scores": {0: 0.5, 12: 0.75},
    "measured": {
        3: Measurement(
            core="cortex-m4", flash_bytes=1, sram_bytes=2, stack_bytes=3, instructions=4,
            results=5, mismatches=0, samples=6, by_kernel={"a": 4},
        )
    },
    "evaluations": {3: "e"},
    "mirror": "m",
    "runs": {0: "run"},
}  # fmt: skip


def test_the_keys_of_a_study_are_those_of_every_version(tiny_spec: Spec) -> None:
    study = optuna.create_study(study_name="s")
    StudyDefinition(spec=tiny_spec, objectives=("score",), facts=FACTS, key="k").write(study)
    complete(study)
    assert NOTES.keys() == get_type_hints(StudyChanges).keys()
    write_notes(study, **NOTES)
    stored = study.user_attrs
    assert stored["facts"]["device_limits"] == {"flash_bytes": 1000, "sram_bytes": 500}
    assert stored["facts"]["precision"] == "int8-simulated"
    assert stored["order"] == {"order": "pause", "why": "lunch", "at": 2.5}
    assert stored["dense/k"] == {"key": "k", "digest": "d", "score": 0.5, "seconds": 2.5}
    assert stored.keys() == {
        "key", "created", "objectives", "facts", "spec", "format", "order", "space", "budgets",
        "dense/k", "dense_checkpoint/k", "dense_pending/k", "dense_progress/k", "unreachable/1",
        "test/0", "test/12",
        "measured/3", "evaluated/3", "mirror", "runs",
    }  # fmt: skip
    definition = StudyDefinition.of(study)
    assert (definition.facts, definition.key, definition.objectives) == (FACTS, "k", ("score",))
    assert definition.spec == tiny_spec
    assert StudyNotes.of(study) == StudyNotes(**NOTES)


def test_a_study_without_notes_has_those_of_its_beginning() -> None:
    notes = StudyNotes.of(optuna.create_study())
    assert notes.command == CurrentCommand()
    assert (notes.dense, notes.budgets, notes.test_scores, notes.runs) == ({}, None, {}, {})


def test_what_a_study_no_longer_needs_is_not_there() -> None:
    study = optuna.create_study()
    write_notes(study, **NOTES)
    write_notes(study, dense_checkpoint={"k": None}, dense_pending={"k": ()})
    notes = StudyNotes.of(study)
    assert (notes.dense_checkpoint, notes.dense_pending) == ({}, {"k": ()})


def test_the_dense_network_of_an_earlier_version_is_read() -> None:
    study = optuna.create_study()
    study.set_user_attr("facts", {"dense_key": "k"})
    study.set_user_attr("dense", {"key": "k", "digest": "d", "score": 0.5})
    study.set_user_attr("dense_checkpoint", {"key": "k", "digest": "c"})
    study.set_user_attr("dense_pending", ["p"])
    notes = StudyNotes.of(study)
    assert notes.dense == {"k": DenseNote("k", "d", 0.5)}
    assert (notes.dense_checkpoint, notes.dense_pending) == ({"k": "c"}, {"k": ("p",)})
    write_notes(study, dense_checkpoint={"k": None}, dense_pending={"k": ()})
    notes = StudyNotes.of(study)
    assert (notes.dense_checkpoint, notes.dense_pending) == ({}, {"k": ()})


@pytest.mark.parametrize("stored", [{}, {"dense": 3}, {"dense": {"key": "k"}}, {"dense": None}])
def test_the_dense_network_of_another_program_is_none_of_ours(stored: dict[str, Any]) -> None:
    assert dense_notes_in(stored) == []


# --- one codec


def uses(tree: ast.AST) -> Iterator[str]:
    """The ways in which code reads or writes attributes of Optuna's studies and trials."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and node.attr in ATTRIBUTES:
            yield node.attr
        elif isinstance(node, ast.keyword) and node.arg in ATTRIBUTES:
            yield f"{node.arg}="
        elif isinstance(node, ast.Constant) and node.value in ATTRIBUTES:
            yield repr(node.value)


def test_no_other_module_reads_or_writes_stored_attributes() -> None:
    users = {
        path.relative_to(ROOT).as_posix()
        for path in (ROOT / "search").rglob("*.py")
        if any(uses(ast.parse(path.read_text("utf-8"))))
    }
    assert users == CODECS


def test_every_way_to_an_attribute_is_noticed() -> None:
    code = (
        'trial.user_attrs["slot"]\ntrial.set_user_attr("a", 1)\n'
        'study.enqueue_trial({}, user_attrs={})\ngetattr(trial, "system_attrs")'
    )
    assert sorted(uses(ast.parse(code))) == [
        "'system_attrs'", "set_user_attr", "user_attrs", "user_attrs=",
    ]  # fmt: skip

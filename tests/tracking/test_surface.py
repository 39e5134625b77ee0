"""The public surface of tracking, and the doors between its modules."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import tracking

SOURCES = sorted(Path(tracking.__file__).parent.rglob("*.py"))
VALUES = {"RESOURCES", "Evaluation", "Scalar"}
ERRORS = {
    "AddressError", "BusyError", "DamagedError", "DatabaseError", "ForeignError",
    "GoneError", "LockedError", "RegistryError", "ServerError", "TrackingError",
    "UnreachableError",
}  # fmt: skip
RECORDS = {
    "Classification", "Content", "Costs", "Databases", "DenseRecord", "Detection", "DeviceRecord",
    "EpochRow", "Explanation", "Limits", "PickRecord", "Regression", "TrialRecord", "State",
    "StudyRecord", "ChoicesRecord", "OptionRecord",
}  # fmt: skip
DEEDS = {
    "Mirror", "check", "evaluations_to_json", "front_csv", "front_object", "front_page",
    "front_rows", "locate", "lock", "mask", "prepare", "read_evaluations", "read_explanation",
    "register", "serve", "serving", "why_page",
}  # fmt: skip


def test_the_exported_names() -> None:
    assert set(tracking.__all__) == VALUES | ERRORS | RECORDS | DEEDS


@pytest.mark.parametrize("name", sorted(ERRORS | RECORDS | DEEDS))
def test_each_exported_name_says_what_it_is(name: str) -> None:
    said = getattr(tracking, name).__doc__
    assert said
    assert not said.startswith(f"{name}(")  # what dataclasses write by themselves


def test_every_error_is_drawn_in_the_tree() -> None:
    drawn = sys.modules["tracking.errors"].__doc__ or ""
    assert [name for name in ERRORS if f"{name} " not in drawn] == []
    assert all(issubclass(getattr(tracking, name), tracking.TrackingError) for name in ERRORS)


@pytest.mark.parametrize("source", SOURCES, ids=lambda source: source.stem)
def test_nobody_imports_a_private_name(source: Path) -> None:
    imported = [
        alias.name
        for node in ast.walk(ast.parse(source.read_text()))
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
    ]
    assert [name for name in imported if name.startswith("_")] == []


def test_importing_tracking_does_not_load_mlflow() -> None:
    heavy = "mlflow", "torch", "optuna", "hydra", "pandas"
    script = f"import sys, tracking; print([m for m in {heavy} if m in sys.modules])"
    assert subprocess.check_output([sys.executable, "-c", script], text=True) == "[]\n"

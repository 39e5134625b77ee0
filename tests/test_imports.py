"""Tests import what is public, and nothing from one another."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
HIDDEN = ".".join(("pruning", "training", "_run"))
OURS = ("pruning", "search", "tracking", "tests")


def imported(tree: ast.AST) -> Iterator[tuple[str, str]]:
    """Modules of ours that are imported, each with the names from it."""
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.module:
            yield from ((node.module, alias.name) for alias in node.names)
        elif isinstance(node, ast.Import):
            yield from ((alias.name, "") for alias in node.names)


def patched(tree: ast.AST) -> Iterator[str]:
    """Names within our packages that are written as a string, for a monkeypatch."""
    for node in ast.walk(tree):
        text = node.value if isinstance(node, ast.Constant) else None
        if isinstance(text, str) and text.startswith(tuple(f"{name}." for name in OURS)):
            yield text


def faults() -> list[str]:
    found = []
    for path in sorted((ROOT / "tests").rglob("*.py")):
        tree = ast.parse(path.read_text("utf-8"))
        where = path.relative_to(ROOT)
        for module, name in imported(tree):
            parts = [*module.split("."), name]
            if parts[0] not in OURS:
                continue
            if any(part.startswith("_") and not part.startswith("__") for part in parts):
                found.append(f"{where} imports the private {module}.{name}")
            if parts[0] == "tests" and any(part.startswith("test_") for part in parts):
                found.append(f"{where} imports from the tests {module}.{name}")
        found += [
            f"{where} names the private {text}"
            for text in patched(tree)
            if any(part.startswith("_") for part in text.split(".")) and " " not in text
        ]
    return found


@pytest.mark.slow
def test_tests_import_nothing_private_and_nothing_of_other_tests():
    assert faults() == []


def test_what_is_not_allowed_is_found():
    tree = ast.parse(
        "import tests.a.test_b\nfrom pruning.training.branch_selection import _run as run"
    )
    assert list(imported(tree)) == [
        ("tests.a.test_b", ""),
        ("pruning.training.branch_selection", "_run"),
    ]
    assert list(patched(ast.parse(f"patch({HIDDEN!r})"))) == [HIDDEN]

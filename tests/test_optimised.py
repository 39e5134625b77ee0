"""Under `python -O` there are no asserts: the product does without, tests must not."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


def optimised(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-O", "-m", "pytest", "-q", "-p", "no:cacheprovider", *arguments],
        cwd=folder,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.slow
def test_checks_of_tests_and_shared_modules_count_without_asserts(tmp_path):
    """Pytest makes them code that raises; of shared modules, where conftest asks for it."""
    (tmp_path / "tests" / "pruning").mkdir(parents=True)
    (tmp_path / "tests" / "conftest.py").write_text((ROOT / "tests/conftest.py").read_text())
    (tmp_path / "tests" / "pruning" / "checks.py").write_text(
        "def check(n):\n    assert n == 2, 'shared'\n"
    )
    (tmp_path / "tests" / "test_canary.py").write_text(
        "def test_own():\n    assert __debug__, 'own'\n\n"
        "def test_shared():\n    from tests.pruning.checks import check\n    check(1)\n"
    )
    options = ("--import-mode=importlib", "-o", "pythonpath=.", "--rootdir", str(tmp_path))
    done = optimised(tmp_path, *options, "tests")
    assert "2 failed" in done.stdout, done.stdout + done.stderr
    assert "AssertionError: own" in done.stdout
    assert "AssertionError: shared" in done.stdout


@pytest.mark.slow
def test_the_engine_keeps_its_checks_without_asserts():
    """What it refuses, it refuses under -O as well."""
    done = optimised(ROOT, "tests/pruning/test_budget.py", "tests/pruning/test_kinds.py")
    assert done.returncode == 0, done.stdout

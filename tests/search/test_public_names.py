"""The public names of the service: a list, each with a docstring whose example runs."""

import doctest
import inspect
import subprocess
import sys

import pytest

import search

OBJECTS = [name for name in search.__all__ if name != "__version__"]
OPTIONS = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE


def test_the_exported_names() -> None:
    assert search.__all__ == sorted(search.__all__)
    assert set(search.__all__) == {
        "ConfigError", "NothingFitsError", "SearchError", "StoreError", "StudyError", "SweepStudy",
        "TrialModel", "__version__", "calibrate", "collect", "compare", "doctor", "load_study",
        "serve", "sweep", "work",
    }  # fmt: skip
    assert set(search.__all__) <= set(dir(search))


def test_another_name_is_refused() -> None:
    with pytest.raises(AttributeError, match="module 'search' has no attribute 'swep'"):
        _ = search.swep  # type: ignore[attr-defined]


@pytest.mark.parametrize("name", OBJECTS)
def test_each_name_says_what_it_takes(name: str) -> None:
    value = getattr(search, name)
    said = inspect.getdoc(value) or ""
    assert ">>> import search" in said
    if isinstance(value, type) and issubclass(value, Exception):
        return
    taken = [each for each in inspect.signature(value).parameters if each != "self"]
    assert [each for each in taken if f"{each}:" not in said] == []


@pytest.mark.parametrize("name", ["SweepStudy", "TrialModel"])
def test_each_method_says_what_it_does(name: str) -> None:
    kind = getattr(search, name)
    fields = set(kind.__slots__)  # the docstring of the class tells of these
    members = [each for each in inspect.getmembers(kind) if each[0] not in fields]
    public = {key: value for key, value in members if not key.startswith("_")}
    assert len(public) >= 6
    assert [key for key, value in public.items() if not inspect.getdoc(value)] == []


@pytest.mark.parametrize("name", OBJECTS)
def test_each_example_runs(name: str, tmp_path, monkeypatch) -> None:
    """Those that need no study: the others are run by the pages that show them."""
    monkeypatch.chdir(tmp_path)
    (test,) = doctest.DocTestFinder(recurse=False).find(getattr(search, name), name, globs={})
    said: list[str] = []
    doctest.DocTestRunner(verbose=False, optionflags=OPTIONS).run(test, out=said.append)
    assert test.examples
    assert said == []


def test_importing_search_loads_nothing_else() -> None:
    heavy = "torch", "optuna", "hydra", "mlflow", "pandas", "plotly"
    script = f"import sys, search; print([m for m in {heavy} if m in sys.modules])"
    assert subprocess.check_output([sys.executable, "-c", script], text=True) == "[]\n"


@pytest.mark.slow
def test_workers_load_neither_frames_nor_figures_of_the_doors() -> None:
    script = (
        "import sys, search.worker.pool; "
        "print([m for m in sys.modules if m.startswith(('search.api', 'pruning.api'))])"
    )
    assert subprocess.check_output([sys.executable, "-c", script], text=True) == "[]\n"

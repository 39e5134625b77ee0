"""The public names of the engine: a list, each with a docstring whose example runs."""

import doctest
import inspect
import subprocess
import sys
import types

import pytest

import pruning

OBJECTS = [name for name in pruning.__all__ if name != "__version__"]
OPTIONS = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE


def test_the_exported_names() -> None:
    assert pruning.__all__ == sorted(pruning.__all__)
    assert set(pruning.__all__) == {
        "Budget", "BudgetError", "Cost", "DataError", "DeployError", "Device", "DeviceError",
        "Inspection", "OutputError", "PrunedModel", "PruningError", "UnsupportedOperatorError",
        "__version__", "data", "device", "devices", "inspect", "models", "prune", "recipe",
        "tasks",
    }  # fmt: skip
    assert set(pruning.__all__) <= set(dir(pruning))


def test_another_name_is_refused() -> None:
    with pytest.raises(AttributeError, match="module 'pruning' has no attribute 'prun'"):
        _ = pruning.prun  # type: ignore[attr-defined]


def test_the_version_is_that_of_the_installation() -> None:
    import importlib.metadata

    assert pruning.__version__ == importlib.metadata.version("paring")


@pytest.mark.parametrize("name", OBJECTS)
def test_each_name_says_what_it_takes(name: str) -> None:
    value = getattr(pruning, name)
    said = inspect.getdoc(value) or ""
    assert ">>> import pruning" in said
    if isinstance(value, types.ModuleType) or issubclass_of(value, BaseException):
        return
    taken = [each for each in inspect.signature(value).parameters if each != "self"]
    missing = [each for each in taken if f"{each}:" not in said.replace("`", "")]
    assert missing == []


def issubclass_of(value: object, kind: type) -> bool:
    return isinstance(value, type) and issubclass(value, kind)


@pytest.mark.parametrize("name", OBJECTS)
def test_each_example_runs(name: str, tmp_path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    (test,) = doctest.DocTestFinder(recurse=False).find(getattr(pruning, name), name, globs={})
    said: list[str] = []
    doctest.DocTestRunner(verbose=False, optionflags=OPTIONS).run(test, out=said.append)
    assert test.examples
    assert said == []


def test_importing_pruning_loads_nothing_else() -> None:
    heavy = "torch", "numpy", "scipy", "sklearn", "pandas", "yaml"
    script = f"import sys, pruning; print([m for m in {heavy} if m in sys.modules])"
    assert subprocess.check_output([sys.executable, "-c", script], text=True) == "[]\n"

"""What every test shares."""

import logging
import os
import shutil
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch
from hydra.core.global_hydra import GlobalHydra
from hypothesis import settings
from playwright.sync_api import Page, sync_playwright

from search.cli import main

# Shared modules check as tests do: also under python -O, which drops plain asserts.
pytest.register_assert_rewrite("tests.pruning", "tests.search", "tests.tracking")
torch.set_num_threads(1)  # results are equal bit for bit on one thread
settings.register_profile("patient", deadline=None)  # a busy machine is no failure
settings.register_profile("sample", deadline=None, max_examples=5)
settings.load_profile("patient")

SHARED = Path(__file__).resolve().parents[2] / "shared" / "data"


def pytest_addoption(parser: pytest.Parser) -> None:
    """`--sample`, for `make quick`."""
    parser.addoption("--sample", action="store_true", help="one case of every parametrised test")


def pytest_configure(config: pytest.Config) -> None:
    """Fewer examples of properties where a sample is enough."""
    if config.getoption("--sample"):
        settings.load_profile("sample")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Keep the first case of every parametrised test, if a sample is asked for."""
    if not config.getoption("--sample"):
        return
    first: dict[str, pytest.Item] = {}
    for item in items:
        first.setdefault(item.nodeid.partition("[")[0], item)
    sample = {id(item) for item in first.values()}
    config.hook.pytest_deselected(items=[item for item in items if id(item) not in sample])
    items[:] = first.values()


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder with the CIFAR-10 and Speech Commands copies, beside the checkout."""
    if not SHARED.is_dir():
        pytest.skip(f"no shared data: {SHARED} is absent")
    return SHARED


@pytest.fixture
def quiet_process() -> Iterator[None]:
    """Put back what a verb or a worker changes in its process."""
    path, argv, environment = list(sys.path), list(sys.argv), dict(os.environ)
    root = logging.getLogger()
    handlers, level = list(root.handlers), root.level
    yield
    sys.path[:], sys.argv[:] = path, argv
    for key in set(os.environ) - set(environment):
        del os.environ[key]
    root.handlers[:], root.level = handlers, level
    GlobalHydra.instance().clear()


Called = tuple[int, str, str]


@pytest.fixture
def paring(
    capsys: pytest.CaptureFixture[str],
    quiet_process: None,
) -> Callable[..., Called]:
    """`paring VERB ...` in this process: exit code, stdout and stderr."""

    def call(*arguments: str) -> Called:
        GlobalHydra.instance().clear()
        capsys.readouterr()
        with pytest.raises(SystemExit) as ended:
            main.main(arguments)
        printed = capsys.readouterr()
        code = ended.value.code
        return (code if isinstance(code, int) else 0, printed.out, printed.err)

    return call


@pytest.fixture
def browser() -> Iterator[Page]:
    """A page of Chromium, in a window of a person's size; a skip where there is none."""
    program = shutil.which("chromium") or shutil.which("chromium-browser")
    if program is None:
        pytest.skip("chromium is not installed (make system-deps)")
    quiet = ["--disable-background-networking", "--disable-component-update", "--disable-sync"]
    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=program, args=quiet)
        yield chromium.new_page(viewport={"width": 1900, "height": 1200})
        chromium.close()

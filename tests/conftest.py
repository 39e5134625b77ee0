"""What every test shares."""

import logging
import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from hydra.core.global_hydra import GlobalHydra
from hypothesis import settings

# Shared modules check as tests do: also under python -O, which drops plain asserts.
pytest.register_assert_rewrite("tests.pruning", "tests.search", "tests.tracking")
torch.set_num_threads(1)  # results are equal bit for bit on one thread
settings.register_profile("patient", deadline=None)  # a busy machine is no failure
settings.load_profile("patient")

SHARED = Path(__file__).resolve().parents[2] / "shared" / "data"


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

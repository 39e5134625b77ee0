"""What every test shares."""

from pathlib import Path

import pytest
import torch
from hypothesis import settings

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

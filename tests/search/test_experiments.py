"""The experiments beside classification, from the command line to a front, shortened."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

pytestmark = pytest.mark.slow
PARING = str(Path(sys.executable).with_name("paring"))
SHORT = ["workers=1", "trials=2", "shares=[0.5,0.25]", "method.phases.finetune_epochs=2"]


def ran(folder: Path, *arguments: str) -> str:
    done = subprocess.run(
        [PARING, *arguments], cwd=folder, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert "Traceback" not in done.stderr
    return done.stdout


def front(folder: Path, name: str, *overrides: str) -> dict[str, Any]:
    ran(folder, "sweep", f"study={name}", *SHORT, *overrides)
    found: dict[str, Any] = json.loads(ran(folder, "front", f"study={name}", "output=json"))
    assert found["front"]
    return found


def test_angles_are_found(tmp_path: Path) -> None:
    short = ["data.copies=1", "method.phases.dense_epochs=4", "method.phases.prune_epochs=2"]
    found = front(tmp_path, "turned", "experiment=angle", *short)
    for entry in found["front"]:
        assert 0 < entry["score"] < 0.55  # radians; always answering the mean: 0.6
        assert entry["test_score"] == pytest.approx(entry["score"], abs=0.2)


def test_anomalies_are_found(tmp_path: Path) -> None:
    short = ["method.phases.dense_epochs=10", "method.phases.prune_epochs=3"]
    found = front(tmp_path, "odd", "experiment=anomaly", *short)
    for entry in found["front"]:
        assert 0.6 < entry["score"] <= 1
        assert entry["test_score"] == pytest.approx(entry["score"], abs=0.1)


def test_a_task_that_does_not_fit_the_data_is_refused_at_once(tmp_path: Path) -> None:
    for overrides, cure in (
        (["task=regression"], "task=classification"),
        (["data=digits_angle"], "task=regression"),
        (["data=digits_anomaly", "task=reconstruction"], "wanted"),
    ):
        done = subprocess.run(
            [PARING, "sweep", "study=x", *overrides],
            cwd=tmp_path,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 2
        assert cure in done.stderr

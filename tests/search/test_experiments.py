"""The experiments beside classification, from the command line to a front, shortened."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

pytestmark = pytest.mark.slow
SHORT = ["workers=1", "trials=2", "shares=[0.5,0.25]", "method.phases.finetune_epochs=2"]


Paring = Callable[..., tuple[int, str, str]]


@pytest.fixture
def front(
    paring: Paring, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Callable[..., dict[str, Any]]:
    """The front of a sweep with some overrides, as JSON."""
    monkeypatch.chdir(tmp_path)

    def swept(*overrides: str) -> dict[str, Any]:
        code, _, err = paring("sweep", "study=s", *SHORT, *overrides)
        assert code == 0, err
        assert "Traceback" not in err
        code, out, err = paring("front", "study=s", "output=json")
        assert code == 0, err
        found: dict[str, Any] = json.loads(out)
        assert found["front"]
        return found

    return swept


def test_angles_are_found(front: Callable[..., dict[str, Any]]) -> None:
    short = ["data.copies=1", "method.phases.dense_epochs=4", "method.phases.prune_epochs=2"]
    found = front("experiment=angle", *short)
    for entry in found["front"]:
        assert 0 < entry["score"] < 0.55  # radians; always answering the mean: 0.6
        assert entry["test_score"] == pytest.approx(entry["score"], abs=0.2)


def test_anomalies_are_found(front: Callable[..., dict[str, Any]]) -> None:
    short = ["method.phases.dense_epochs=10", "method.phases.prune_epochs=3"]
    found = front("experiment=anomaly", *short)
    for entry in found["front"]:
        assert 0.6 < entry["score"] <= 1
        assert entry["test_score"] == pytest.approx(entry["score"], abs=0.1)


def test_a_task_that_does_not_fit_the_data_is_refused_at_once(
    paring: Paring, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for overrides, cure in (
        (["task=regression"], "task=classification"),
        (["data=digits_angle"], "task=regression"),
        (["data=digits_anomaly", "task=reconstruction"], "wanted"),
    ):
        code, _, err = paring("sweep", "study=x", *overrides)
        assert code == 2
        assert cure in err

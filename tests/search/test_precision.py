"""How scores are found: by the integers that a chip computes, where a network has them."""

import sys
import types
from collections.abc import Callable
from pathlib import Path

import pytest
from torch import nn

from pruning.errors import DeployError
from pruning.training.job import Precision
from search.config.schema import StorageConfig
from search.config.spec import Spec
from search.errors import ConfigError, StudyError
from search.results.compare import compare
from search.results.report import study_record
from search.storage.workspace import Workspace, open_workspace
from search.study import create
from search.study.factory import SweepFactory
from search.study.study import Study

Composed = Callable[..., Spec]


class Doubtful(nn.Sequential):
    """Ends in a softmax, which has no integer kernel."""

    def __init__(self, classes: int) -> None:
        super().__init__(
            nn.Conv2d(1, 4, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(),
            nn.Linear(4, classes), nn.Softmax(1),
        )  # fmt: skip


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    return open_workspace(StorageConfig(folder=str(tmp_path / ".paring")))


@pytest.fixture
def doubtful(monkeypatch: pytest.MonkeyPatch, tiny: list[str]) -> list[str]:
    """The overrides of a network that has no integer form."""
    module = types.ModuleType("doubtful_net")
    module.Doubtful = Doubtful  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "doubtful_net", module)
    kept = [one for one in tiny if not one.startswith("model")]
    return [
        *kept,
        "model=custom",
        "model._target_=doubtful_net.Doubtful",
        "+model.classes=auto",
    ]


def created(workspace: Workspace, name: str, spec: Spec) -> Study:
    return create.prepare(workspace, name, spec, None)


@pytest.mark.slow
def test_a_network_is_scored_exactly_where_it_can_be(
    workspace: Workspace, compose_spec: Composed, tiny: list[str], doubtful: list[str]
) -> None:
    exact = created(workspace, "exact", compose_spec(*tiny))
    other = created(workspace, "other", compose_spec(*doubtful, "shares=[0.9]"))
    for study, precision in ((exact, Precision.EXACT), (other, Precision.SIMULATED)):
        assert study_record(study).precision == precision
        assert SweepFactory(study.spec).dense_job().scoring is precision


@pytest.mark.slow
def test_simulation_can_be_asked_for_and_has_a_start_of_its_own(
    compose_spec: Composed, tiny: list[str]
) -> None:
    exact = SweepFactory(compose_spec(*tiny))
    simulated = SweepFactory(compose_spec(*tiny, "precision=int8-simulated"))
    assert simulated.precision is Precision.SIMULATED
    assert exact.dense_key() != simulated.dense_key()


def test_a_study_from_before_goes_on_as_it_began(compose_spec: Composed, tiny: list[str]) -> None:
    values = dict(compose_spec(*tiny).values)
    del values["precision"]
    assert SweepFactory(Spec(values)).precision is Precision.SIMULATED


def test_exactness_is_refused_with_the_layer_to_blame(
    workspace: Workspace, compose_spec: Composed, doubtful: list[str]
) -> None:
    with pytest.raises(DeployError, match=r"\(softmax\): has no integer kernel"):
        created(workspace, "a", compose_spec(*doubtful, "precision=int8-exact"))


@pytest.mark.slow
def test_another_word_is_refused(
    workspace: Workspace, compose_spec: Composed, tiny: list[str]
) -> None:
    with pytest.raises(ConfigError, match="precision=int4: write auto, int8-exact or int8-"):
        created(workspace, "a", compose_spec(*tiny, "precision=int4"))


@pytest.mark.slow
def test_studies_scored_in_two_ways_are_not_compared(
    workspace: Workspace, compose_spec: Composed, tiny: list[str]
) -> None:
    exact = created(workspace, "a", compose_spec(*tiny))
    simulated = created(workspace, "b", compose_spec(*tiny, "precision=int8-simulated"))
    with pytest.raises(StudyError, match="precision is int8-simulated, but int8-exact in a"):
        compare([exact, simulated])


@pytest.mark.slow
def test_a_target_that_a_network_has_no_form_for_is_refused_at_once(
    workspace: Workspace, compose_spec: Composed, tiny: list[str], doubtful: list[str]
) -> None:
    for target in ("c", "tflite"):
        with pytest.raises(DeployError, match=r"no exact int8 form.*softmax"):
            create.prepare(workspace, "doubtful", compose_spec(*doubtful, f"target={target}"), 1)
        made = create.prepare(workspace, target, compose_spec(*tiny, f"target={target}"), 1)
        assert made.spec["target"] == target
    simulated = compose_spec(*tiny, "target=c", "precision=int8-simulated")
    with pytest.raises(ConfigError, match=r"precision=int8-simulated has no such form"):
        create.prepare(workspace, "both", simulated, 1)
    with pytest.raises(ConfigError, match="target=elf: write one of any, c, tflite"):
        create.prepare(workspace, "elf", compose_spec(*tiny, "target=elf"), 1)


@pytest.mark.slow
def test_what_tensorflow_lite_lacks_is_refused_for_it_alone(
    workspace: Workspace, compose_spec: Composed, tiny: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    module = types.ModuleType("hard_net")
    module.Hard = Hard  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "hard_net", module)
    kept = [one for one in tiny if not one.startswith("model")]
    roomy = ["budget=grid", "budget.flash=[8KiB]"]
    hard = [
        *kept,
        *roomy,
        "model=custom",
        "model._target_=hard_net.Hard",
        "+model.classes=auto",
    ]
    assert create.prepare(workspace, "c", compose_spec(*hard, "target=c"), 1).trials()
    with pytest.raises(DeployError, match="is a table of hardswish; TensorFlow Lite"):
        create.prepare(workspace, "tflite", compose_spec(*hard, "target=tflite"), 1)


class Hard(nn.Sequential):
    """Has C, but no operator of TensorFlow Lite for its activation."""

    def __init__(self, classes: int) -> None:
        super().__init__(
            nn.Conv2d(1, 4, 3), nn.Hardswish(), nn.AdaptiveAvgPool2d(1), nn.Flatten(),
            nn.Linear(4, classes),
        )  # fmt: skip


@pytest.mark.slow
def test_a_study_from_before_is_continued_with_its_command(
    workspace: Workspace, compose_spec: Composed, tiny: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    now = compose_spec(*tiny)
    values = {k: v for k, v in now.values.items() if k not in ("precision", "target")}
    values["device"] = {k: v for k, v in now["device"].items() if not k.endswith("margin")}
    values["device"].pop("loops")
    before = create.prepare(workspace, "before", Spec(values), 1)
    assert before.spec.values.keys() == values.keys()
    assert len(create.prepare(workspace, "before", now, 2).trials()) == 2
    other = compose_spec(*tiny, "device=stm32f103")
    with pytest.raises(StudyError, match="created with other settings: device"):
        create.prepare(workspace, "before", other, 2)


@pytest.mark.slow
def test_no_epoch_to_be_aware_of_int8_in_is_refused(
    workspace: Workspace, compose_spec: Composed, tiny: list[str]
) -> None:
    spec = compose_spec(*tiny, "quantize=qat", "method.phases.finetune_epochs=0")
    with pytest.raises(ConfigError, match=r"finetune_epochs=0.*quantize=ptq"):
        create.prepare(workspace, "qat", spec, 1)

"""Where a study starts: pretrained weights, and what is compared of them."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from pruning import models
from pruning.errors import WeightsError
from search.config.schema import StorageConfig
from search.config.spec import Spec
from search.errors import ConfigError, StudyError
from search.storage.workspace import open_workspace
from search.study import create
from search.study.factory import SweepFactory
from search.study.variants import Variants
from search.worker.dense import ensure_dense
from search.worker.stop_signals import StopMonitor

composed = Callable[..., Spec]


@pytest.fixture
def weights(tmp_path: Path) -> Path:
    """Those of the tiny network, for seven classes instead of four."""
    torch.manual_seed(9)
    state = models.resnet8(classes=7, in_channels=1, filters=4).state_dict()
    save_file(state, path := tmp_path / "w.safetensors")
    return path


@pytest.mark.slow
def test_a_network_starts_from_weights_but_for_its_head(
    compose_spec: composed, tiny: list[str], weights: Path
) -> None:
    given = SweepFactory(compose_spec(*tiny, f"weights={weights}", "reinit=[classifier]")).start
    plain = SweepFactory(compose_spec(*tiny)).start
    torch.manual_seed(9)
    source = models.resnet8(classes=7, in_channels=1, filters=4).state_dict()
    stem = "features.stem.conv.weight"
    assert torch.equal(given.tensors[stem], source[stem])
    assert not torch.equal(plain.tensors[stem], source[stem])
    assert torch.equal(given.tensors["classifier.weight"], plain.tensors["classifier.weight"])
    with pytest.raises(WeightsError, match=r"classifier.weight \[7, 16\] instead of \[4, 16\]"):
        _ = SweepFactory(compose_spec(*tiny, f"weights={weights}")).start


@pytest.mark.slow
def test_weights_and_what_is_fresh_are_part_of_the_dense_key(
    compose_spec: composed, tiny: list[str], weights: Path
) -> None:
    from_file = [*tiny, f"weights={weights}", "reinit=[classifier]"]
    fresher = [*from_file[:-1], "reinit=[classifier,features.stem]"]
    keys = [
        SweepFactory(compose_spec(*overrides)).dense_key()
        for overrides in (tiny, from_file, fresher)
    ]
    assert len(set(keys)) == 3
    copy = weights.with_name("copy.safetensors")
    copy.write_bytes(weights.read_bytes())
    copied = compose_spec(*tiny, f"weights={copy}", "reinit=[classifier]")
    assert SweepFactory(copied).dense_key() == keys[1]


def test_fresh_without_weights_is_refused(compose_spec: composed, tiny: list[str]) -> None:
    with pytest.raises(ConfigError, match="without weights every layer starts anew"):
        _ = SweepFactory(compose_spec(*tiny, "reinit=[classifier]")).start


@pytest.mark.slow
def test_a_weights_file_that_changed_or_went_is_noticed(
    compose_spec: composed, tiny: list[str], weights: Path, tmp_path: Path
) -> None:
    workspace = open_workspace(StorageConfig(folder=str(tmp_path / ".paring")))
    spec = compose_spec(*tiny, f"weights={weights}", "reinit=[classifier]")
    study = create.prepare(workspace, "started", spec, None)
    state = models.resnet8(classes=7, in_channels=1, filters=4).state_dict()
    save_file(state, weights)
    with pytest.raises(StudyError, match="its weights file has changed"):
        ensure_dense(study, Variants(study).first(), StopMonitor(study))
    weights.unlink()
    with pytest.raises(WeightsError, match="there is no such file"):
        ensure_dense(study, Variants(study).first(), StopMonitor(study))

"""Derived seeds: those of every version, since stored runs are resumed and run again."""

import pytest
import torch

from pruning.training.seeds import SEEDS, Draw, hashed_seed, multiplied_seed


def test_derived_seeds_are_those_of_every_version():
    assert hashed_seed(3, 5) == 0x74349651005AA6ED
    assert hashed_seed(3, 5, bits=32) == 0xE8692CA2
    assert multiplied_seed(3, Draw.SAMPLES, 5) == 3 * 1009 + 5
    assert multiplied_seed(3, Draw.CANDIDATE_BATCHES, 5) == 3 * 1013 + 5


@pytest.mark.parametrize("seed", [0, 2**60, 2**63 - 1])
def test_every_derived_seed_is_one_that_torch_takes(seed):
    for derived in (hashed_seed(seed, 1), *(multiplied_seed(seed, draw, 1) for draw in Draw)):
        assert 0 <= derived < SEEDS
        torch.Generator().manual_seed(derived)

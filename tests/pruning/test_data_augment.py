"""Batches, and random changes to them: what may change, and what the chance comes from."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from pruning import data
from pruning.data import Split
from pruning.errors import DataError


def numbers(count: int) -> Split:
    return Split(torch.arange(count).float().view(-1, 1, 1), torch.arange(count))


@given(count=st.integers(1, 40), size=st.integers(1, 12))
def test_evaluation_sees_every_sample_in_order(count, size):
    seen = [targets for _, targets in data.batches(numbers(count), size)]
    assert torch.cat(seen).tolist() == list(range(count))
    assert all(len(targets) == size for targets in seen[:-1])


@given(count=st.integers(1, 40), size=st.integers(1, 12), seed=st.integers(0, 99))
def test_training_batches_shuffle_and_leave_out_a_lone_last_sample(count, size, seed):
    def draw() -> list[torch.Tensor]:
        generator = torch.Generator().manual_seed(seed)
        return [
            targets
            for inputs, targets in data.batches(numbers(count), size, generator)
            if torch.equal(inputs.flatten().long(), targets)
        ]

    seen = torch.cat(draw()).tolist()
    lone = count % size == 1 and count > size > 1
    assert len(seen) == len(set(seen)) == count - lone
    assert set(seen) <= set(range(count))
    assert seen == torch.cat(draw()).tolist()


def test_batch_size_must_be_positive():
    with pytest.raises(DataError, match="batch size is 0"):
        next(data.batches(numbers(3), 0))


images = st.tuples(st.integers(1, 5), st.integers(1, 3), st.integers(1, 9), st.integers(1, 9))
changes = st.builds(
    data.Augment, shift=st.integers(0, 3), flip=st.booleans(), cutout=st.integers(0, 4)
)


@settings(deadline=None)
@given(shape=images, augment=changes, kind=st.sampled_from([torch.uint8, torch.float32]))
def test_augment_keeps_shape_and_type_and_repeats(shape, augment, kind):
    batch = torch.randint(1, 255, shape, dtype=torch.uint8).to(kind)
    before = batch.clone()
    state = torch.get_rng_state()
    first = augment(batch, torch.Generator().manual_seed(5))
    second = augment(batch, torch.Generator().manual_seed(5))
    assert first.shape == batch.shape
    assert first.dtype == kind
    assert torch.equal(first, second)
    assert torch.equal(batch, before)
    assert torch.equal(state, torch.get_rng_state())


@settings(deadline=None, max_examples=50)
@given(shape=images, shift=st.integers(1, 3), flip=st.booleans(), seed=st.integers(0, 99))
def test_every_sample_is_a_shifted_and_perhaps_mirrored_copy(shape, shift, flip, seed):
    batch = torch.randint(1, 255, shape, dtype=torch.uint8)
    out = data.Augment(shift=shift, flip=flip)(batch, torch.Generator().manual_seed(seed))
    padded = torch.nn.functional.pad(batch, (shift,) * 4)
    height, width = shape[2:]
    for sample, source in zip(out, padded, strict=True):
        candidates = [
            source[:, y : y + height, x : x + width]
            for y in range(2 * shift + 1)
            for x in range(2 * shift + 1)
        ]
        mirrored = [
            source.flip(2)[:, y : y + height, x : x + width]
            for y in range(2 * shift + 1)
            for x in range(2 * shift + 1)
        ]
        assert any(torch.equal(sample, c) for c in candidates + (mirrored if flip else []))


def test_samples_move_apart_and_by_every_offset():
    batch = torch.zeros(400, 1, 5, 5)
    batch[:, :, 2, 2] = 1
    out = data.Augment(shift=1)(batch, torch.Generator().manual_seed(0))
    where = {tuple(place) for place in out[:, 0].nonzero()[:, 1:].tolist()}
    assert where == {(y, x) for y in (1, 2, 3) for x in (1, 2, 3)}


def test_half_of_the_samples_are_mirrored():
    batch = torch.arange(3.0).expand(1000, 1, 1, 3)
    out = data.Augment(flip=True)(batch, torch.Generator().manual_seed(0))
    assert 430 < int((out[:, 0, 0, 0] == 2).sum()) < 570


def test_signals_shift_along_time_alone():
    batch = torch.arange(1.0, 9).expand(200, 2, 8).contiguous()
    out = data.Augment(shift=2)(batch, torch.Generator().manual_seed(0))
    padded = torch.nn.functional.pad(torch.arange(1.0, 9), (2, 2))
    windows = {tuple(padded[start : start + 8].tolist()) for start in range(5)}
    assert {tuple(row.tolist()) for row in out.flatten(0, 1)} == windows


def test_cutout_clears_one_square():
    out = data.Augment(cutout=4)(torch.ones(200, 2, 9, 9), torch.Generator().manual_seed(0))
    for sample in out:
        assert torch.equal(sample[0], sample[1])
        hole = (sample[0] == 0).nonzero()
        low, high = hole.min(0).values, hole.max(0).values
        sides = (high - low + 1).tolist()
        assert len(hole) == sides[0] * sides[1]
        assert all(2 <= side <= 4 for side in sides)


def test_noise_has_the_asked_deviation():
    out = data.Augment(noise=0.5)(torch.zeros(50, 1, 20, 20), torch.Generator().manual_seed(0))
    assert out.std().item() == pytest.approx(0.5, rel=0.03)


def test_noise_on_feature_vectors():
    out = data.Augment(noise=0.5)(torch.zeros(400, 20), torch.Generator().manual_seed(0))
    assert out.std().item() == pytest.approx(0.5, rel=0.03)


def test_no_change_by_default_and_no_random_number_used():
    generator = torch.Generator().manual_seed(0)
    batch, state = torch.rand(3, 1, 4, 4), generator.get_state()
    assert torch.equal(data.Augment()(batch, generator), batch)
    assert torch.equal(state, generator.get_state())


@pytest.mark.parametrize(
    ("augment", "batch"),
    [
        (data.Augment(flip=True), torch.zeros(2, 1, 8)),
        (data.Augment(cutout=2), torch.zeros(2, 1, 8)),
        (data.Augment(noise=0.1), torch.zeros(2, 1, 8, 8, dtype=torch.uint8)),
        (data.Augment(shift=1), torch.zeros(2, 8)),
        (data.Augment(cutout=1), torch.zeros(2, 8)),
    ],
)
def test_changes_that_make_no_sense_are_refused(augment, batch):
    with pytest.raises(DataError):
        augment(batch, torch.Generator())


def test_negative_changes_are_refused():
    with pytest.raises(DataError, match="shift is -1"):
        data.Augment(shift=-1)

"""Data sets in memory: what is checked, the held-out samples, the digest; the bundled sets."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from sklearn.datasets import load_digits

from pruning import data
from pruning.data import Split
from pruning.errors import DataError, DataWarning


def random_split(count: int, classes: int = 3, shape=(2, 4, 5), seed: int = 0) -> Split:
    generator = torch.Generator().manual_seed(seed)
    inputs = torch.randint(0, 256, (count, *shape), generator=generator, dtype=torch.uint8)
    return Split(inputs, torch.arange(count) % classes)


def three(**replaced: Split) -> data.Dataset:
    splits = {"train": random_split(9), "validation": random_split(6), "test": random_split(3)}
    return data.assemble("made", **{**splits, **replaced}, classes=["a", "b", "c"])


def rows(split: Split) -> set[bytes]:
    return {row.numpy().tobytes() for row in split.inputs}


@pytest.mark.parametrize("kind", [torch.uint8, torch.float32])
def test_normalised_training_inputs_have_mean_0_and_deviation_1(kind):
    train = random_split(50)
    train = Split(train.inputs.to(kind), train.targets)
    held = Split(train.inputs[:5], train.targets[:5])
    made = three(train=train, validation=held, test=held)
    batch = made.normalise(train.inputs)
    assert batch.dtype == torch.float32
    assert batch.shape == train.inputs.shape
    assert torch.allclose(batch.mean((0, 2, 3)), torch.zeros(2), atol=1e-5)
    assert torch.allclose(batch.std((0, 2, 3), correction=0), torch.ones(2), atol=1e-5)


def test_moments_agree_between_bytes_and_floats():
    split = random_split(40)
    as_floats = Split(split.inputs.float(), split.targets)
    by_bytes = three(train=split, validation=split, test=split)
    by_floats = three(train=as_floats, validation=as_floats, test=as_floats)
    assert by_bytes.mean == pytest.approx(by_floats.mean, rel=1e-12)
    assert by_bytes.std == pytest.approx(by_floats.std, rel=1e-12)


def test_a_constant_channel_is_normalised_to_zero():
    split = random_split(6)
    split.inputs[:, 0] = 7
    batch = three(train=split).normalise(split.inputs)
    assert torch.equal(batch[:, 0], torch.zeros_like(batch[:, 0]))


def test_digest_tells_content_split_and_name_apart():
    base = three()
    other_pixel = random_split(9)
    other_pixel.inputs[0, 0, 0, 0] ^= 1
    other_target = random_split(9)
    other_target.targets[0] = 2
    moved = three(train=random_split(6), validation=random_split(9))
    renamed = data.assemble("other", base.train, base.validation, base.test, classes=base.classes)
    variants = [three(train=other_pixel), three(train=other_target), moved, renamed]
    assert three().digest == base.digest
    assert len({base.digest, *(variant.digest for variant in variants)}) == 5


def test_digest_sees_values_not_memory_layout():
    split = random_split(9)
    turned = split.inputs.contiguous(memory_format=torch.channels_last)
    assert three(train=Split(turned, split.targets)).digest == three().digest


@pytest.mark.parametrize(
    ("replaced", "message"),
    [
        ({"test": Split(torch.zeros(0, 2, 4, 5).byte(), torch.zeros(0).long())}, "is empty"),
        (
            {"train": Split(torch.zeros(4).byte(), torch.zeros(4).long())},
            "expected uint8 or",
        ),
        ({"train": Split(torch.zeros(4, 2, 4, 5).double(), torch.zeros(4).long())}, "float64"),
        (
            {"test": Split(torch.zeros(4, 2, 4, 5).byte(), torch.zeros(4, 3))},
            r"test split of made are numbers \(float32\), but .* train split are classes",
        ),
        (
            {"train": Split(torch.zeros(4, 2, 4, 5).byte(), torch.zeros(4))},
            r"validation split of made are classes \(int64\), but .* train split are numbers",
        ),
        ({"test": Split(torch.zeros(4, 2, 4, 5).byte(), torch.zeros(4, 3, 1))}, "expected int"),
        ({"test": Split(torch.zeros(4, 2, 4, 5).byte(), torch.zeros(4).int())}, "expected int"),
        ({"test": Split(torch.zeros(4, 2, 4, 5).byte(), torch.zeros(3).long())}, r"\[4\], one"),
        ({"test": Split(torch.zeros(4, 2, 5, 4).byte(), torch.zeros(4).long())}, "same way"),
        ({"test": Split(torch.zeros(4, 2, 4, 5), torch.zeros(4).long())}, "same way"),
        ({"test": Split(torch.zeros(4, 2, 4, 5).byte(), torch.full((4,), 3))}, "from 3 to 3"),
        (
            {"test": Split(torch.zeros(4, 2, 4, 5).byte(), torch.full((4,), -1))},
            "from -1 to -1",
        ),
        ({"test": Split(torch.full((1, 2, 4, 5), torch.nan), torch.zeros(1).long())}, "finite"),
    ],
)
def test_impossible_splits_are_refused(replaced, message):
    with pytest.raises(DataError, match=message):
        three(**replaced)


@pytest.mark.parametrize(
    ("targets", "message"),
    [(torch.zeros(4), "3 are named"), (torch.full((4, 3), torch.nan), "not finite")],
)
def test_impossible_numbers_are_refused(targets, message):
    split = Split(torch.zeros(4, 2, 4, 5).byte(), targets)
    with pytest.raises(DataError, match=message):
        three(train=split, validation=split, test=split)


def labelled(*targets: int) -> Split:
    return Split(torch.zeros(len(targets), 2, 4, 5).byte(), torch.tensor(targets))


@pytest.mark.parametrize(
    ("train", "test", "said"),
    [
        ((1, 2, 1, 2), (1, 2), r"of 1 of 3 classes: class 0 \(a\)\..* begin with 1"),
        ((0, 2, 0, 2), (1, 1, 0), r"class 1 \(b\), but 2 test samples"),
    ],
)
def test_a_class_that_training_lacks_is_named(train, test, said):
    with pytest.warns(DataWarning, match=said):
        made = three(train=labelled(*train), validation=labelled(2, 2), test=labelled(*test))
    assert made.classes == ("a", "b", "c")


def test_training_on_one_class_alone_is_for_anomalies(recwarn):
    three(train=labelled(0, 0), validation=labelled(0, 1), test=labelled(0, 2))
    three()
    assert not recwarn.list


def test_names_of_classes_are_text():
    base = three()
    made = data.assemble("made", base.train, base.validation, base.test, classes=[1, 2, 3])
    assert made.classes == ("1", "2", "3")


@given(total=st.integers(2, 200), data_=st.data())
def test_hold_out_is_a_partition_that_never_moves(total, data_):
    count = data_.draw(st.integers(1, total - 1))
    samples = Split(torch.arange(total).view(-1, 1, 1).float(), torch.arange(total))
    torch.manual_seed(total)  # the split must not listen to the global generator
    rest, held = data.hold_out("numbers", samples, count)
    again = data.hold_out("numbers", samples, count)
    assert len(held) == count
    assert sorted(rest.targets.tolist() + held.targets.tolist()) == list(range(total))
    assert torch.equal(held.targets, again[1].targets)
    assert torch.equal(held.inputs.view(-1).long(), held.targets)


def test_hold_out_order_is_frozen():
    samples = Split(torch.zeros(10, 1, 1), torch.arange(10))
    assert data.hold_out("ten", samples, 4)[1].targets.tolist() == [2, 3, 1, 7]


@pytest.mark.parametrize("count", [0, 3, 4])
def test_hold_out_needs_samples_on_both_sides(count):
    with pytest.raises(DataError, match=f"cannot set aside {count} of the 3 samples"):
        data.hold_out("few", random_split(3), count)


@pytest.mark.parametrize("targets", [90, 110])
def test_hold_out_needs_a_target_for_each_input(targets):
    samples = Split(torch.zeros(100, 1, 1), torch.zeros(targets, dtype=torch.long))
    with pytest.raises(DataError, match=f"uneven has 100 inputs but {targets} targets"):
        data.hold_out("uneven", samples, 10)


@given(samples=st.integers(1, 70), size=st.integers(1, 20))
def test_as_many_batches_are_drawn_as_are_counted(samples, size):
    split = Split(torch.zeros(samples, 1), torch.zeros(samples, dtype=torch.long))
    drawn = list(data.batches(split, size, torch.Generator()))
    assert len(drawn) == data.batch_count(samples, size)


def test_digits_are_those_of_scikit_learn():
    made = data.digits()
    assert (len(made.train), len(made.validation), len(made.test)) == (1079, 359, 359)
    assert made.input_shape == (1, 8, 8)
    assert made.classes == tuple("0123456789")
    images, labels = load_digits(return_X_y=True)
    source = sorted((*image, label) for image, label in zip(images, labels, strict=True))
    ours = sorted(
        (*image.flatten().tolist(), target.item())
        for split in (made.train, made.validation, made.test)
        for image, target in zip(split.inputs, split.targets, strict=True)
    )
    assert ours == source


@pytest.mark.parametrize("share", [0.0, 1.0, -0.1])
def test_digits_refuse_impossible_shares(share):
    with pytest.raises(DataError, match="must lie between 0 and 1"):
        data.digits(validation_share=share)


def test_synthetic_is_separable_and_repeats():
    made = data.synthetic(classes=3, shape=(2, 6), train=60, validation=30, test=30)
    centres = torch.stack([made.train.inputs[made.train.targets == c].mean(0) for c in range(3)])
    distance = (made.test.inputs[:, None] - centres).flatten(2).norm(dim=2)
    assert (distance.argmin(1) == made.test.targets).float().mean() > 0.95
    again = data.synthetic(classes=3, shape=(2, 6), train=60, validation=30, test=30)
    other = data.synthetic(classes=3, shape=(2, 6), train=60, validation=30, test=30, seed=1)
    assert made.digest == again.digest != other.digest


def test_vectors_with_several_numbers_as_targets():
    generator = torch.Generator().manual_seed(0)
    parts = [
        Split(torch.randn(n, 5, generator=generator) * 3 + 1, torch.rand(n, 2)) for n in (40, 9, 9)
    ]
    made = data.assemble("vectors", *parts, classes=["height", "width"])
    assert made.input_shape == (5,)
    batch = made.normalise(made.train.inputs)
    assert torch.allclose(batch.mean(0), torch.zeros(5), atol=1e-5)
    assert torch.allclose(batch.std(0, correction=0), torch.ones(5), atol=1e-5)


def test_turned_digits_show_the_angle_they_name():
    made = data.digits_angle(degrees=90, copies=2)
    plain = data.digits()
    assert (len(made.train), len(made.validation)) == (2 * 1079, 359)
    assert made.classes == ("angle_rad",)
    angles = made.validation.targets
    assert 1.4 < angles.abs().max() <= math.pi / 2
    least = angles.abs().argmin()  # almost unturned: as it was, times 15.9
    ours, source = made.validation.inputs[least].float(), plain.validation.inputs[least].float()
    assert (ours / 15.9 - source).abs().max() < 1.0
    most = angles.argmax()  # almost a quarter turn clockwise
    quarter = plain.validation.inputs[most].float().rot90(-1, (1, 2))
    assert (made.validation.inputs[most].float() / 15.9 - quarter).abs().mean() < 1.5
    assert made.digest == data.digits_angle(degrees=90, copies=2).digest
    assert torch.equal(made.test.targets, data.digits_angle(degrees=90, copies=1).test.targets)


def test_anomalies_are_in_validation_and_test_only():
    made, plain = data.digits_anomaly(normal=(0, 6)), data.digits()
    assert not made.train.targets.any()
    for split in (made.validation, made.test):
        assert 0.5 < split.targets.float().mean() < 1
    counts = [len(split) for split in (made.train, made.validation, made.test)]
    assert sum(counts) == 1797
    every = set().union(*(rows(s) for s in (made.train, made.validation, made.test)))
    assert every == set().union(*(rows(s) for s in (plain.train, plain.validation, plain.test)))
    assert made.digest != data.digits_anomaly(normal=(0, 5)).digest


@pytest.mark.parametrize("normal", [(), tuple(range(10)), (0, 10)])
def test_impossible_normals_are_refused(normal):
    with pytest.raises(DataError, match="name some of the digits"):
        data.digits_anomaly(normal=normal)


@pytest.mark.parametrize("options", [{"degrees": 0}, {"degrees": 181}, {"copies": 0}])
def test_impossible_turns_are_refused(options):
    with pytest.raises(DataError, match="degrees="):
        data.digits_angle(**options)


# --- other resolutions


@pytest.mark.parametrize("image_size", [4, 6, 16])
def test_images_are_scaled_and_keep_their_mean(image_size: int) -> None:
    plain, scaled = data.digits(), data.digits(image_size=image_size)
    assert scaled.input_shape == (1, image_size, image_size)
    for part in ("train", "validation", "test"):
        ours, theirs = getattr(plain, part), getattr(scaled, part)
        assert torch.equal(ours.targets, theirs.targets)
        assert theirs.inputs.dtype == torch.uint8
        difference = ours.inputs.double().mean() - theirs.inputs.double().mean()
        assert abs(float(difference)) < 0.2  # of 16 levels
    assert scaled.digest != plain.digest


def test_half_the_size_is_near_the_mean_of_four_pixels() -> None:
    plain, scaled = data.digits(), data.digits(image_size=4)
    means = torch.nn.functional.avg_pool2d(plain.train.inputs.double(), 2)
    assert (scaled.train.inputs - means).abs().mean() < 1.5


def test_the_same_size_changes_nothing() -> None:
    assert data.digits(image_size=8).digest == data.digits().digest


@pytest.mark.parametrize("image_size", [0, -3, 2.5, True])
def test_a_size_that_is_none_is_refused(image_size: float) -> None:
    with pytest.raises(DataError, match="whole number of pixels"):
        data.digits(image_size=image_size)  # type: ignore[arg-type]

"""Data sets that need no file: scikit-learn's digits in three uses, one made up for tests."""

from collections.abc import Sequence
from math import radians

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import affine_grid, grid_sample

from pruning.data.dataset import Dataset, Split, assemble, hold_out, share_of
from pruning.data.resize import resized
from pruning.errors import DataError


def digits(
    validation_share: float = 0.2, test_share: float = 0.2, image_size: int | None = None
) -> Dataset:
    """1,797 handwritten digits of 8x8 pixels (values 0 to 16, one channel), 10 classes.

    `image_size` scales them to so many pixels a side.

    Source: E. Alpaydin and C. Kaynak, UCI repository; it comes inside scikit-learn.

    Raises:
        DataError: the shares leave no sample for a split.
    """
    splits = _parted("digits", _digits(), validation_share, test_share)
    return assemble("digits", *resized(splits, image_size), [str(digit) for digit in range(10)])


def digits_angle(
    degrees: float = 60.0,
    copies: int = 4,
    validation_share: float = 0.2,
    test_share: float = 0.2,
) -> Dataset:
    """The digits, each turned by an angle that is to be found: a regression.

    Angles are drawn evenly from -`degrees` to `degrees` and given in radians, clockwise; what
    is turned in from outside is black. `copies` of every training digit are turned by angles
    of their own. The angles are always the same.

    Raises:
        DataError: an angle or number that makes no sense, or shares that leave no sample.
    """
    if not 0 < degrees <= 180 or copies < 1:
        raise DataError(
            f"degrees={degrees}, copies={copies}: turn by above 0 and up to 180 degrees, and "
            "make at least 1 copy."
        )
    parts = _parted("digits-angle", _digits(), validation_share, test_share)
    parts = (parts[0].select(torch.arange(len(parts[0])).repeat(copies)), *parts[1:])
    train, validation, test = (_turned(part, degrees, n) for n, part in enumerate(parts))
    return assemble("digits-angle", train, validation, test, ["angle_rad"])


def digits_anomaly(
    normal: Sequence[int] = (0, 2, 3, 5, 6, 8, 9),
    validation_share: float = 0.2,
    test_share: float = 0.2,
) -> Dataset:
    """The digits, some of them normal (target 0), all others anomalous (target 1).

    Only normal ones are in the training split. The shares are those of the normal ones; half
    of the anomalous ones are in the validation split, half in the test split.

    Raises:
        DataError: digits that do not exist, none or all, or shares that leave no sample.
    """
    if not set(normal) < set(range(10)) or not normal:
        raise DataError(f"normal={list(normal)}: name some of the digits 0 to 9, but not all.")
    samples = _digits()
    usual = torch.isin(samples.targets, torch.tensor(list(normal)))
    samples = Split(samples.inputs, (~usual).long())
    name = f"digits-anomaly-{'-'.join(map(str, sorted(set(normal))))}"
    normals = samples.select(usual.nonzero()[:, 0])
    train, validation, test = _parted(name, normals, validation_share, test_share)
    odd = samples.select((~usual).nonzero()[:, 0])
    for_validation, for_test = hold_out(name, odd, len(odd) // 2)
    validation, test = _joined(validation, for_validation), _joined(test, for_test)
    return assemble(name, train, validation, test, ["normal", "anomalous"])


def synthetic(
    classes: int = 4,
    shape: tuple[int, ...] = (1, 8, 8),
    *,
    train: int = 256,
    validation: int = 64,
    test: int = 64,
    noise: float = 0.5,
    seed: int = 0,
) -> Dataset:
    """Random patterns, one a class, with normal noise on top: easy to tell apart.

    `shape` is that of one sample, [C, *spatial]; the patterns have deviation 1 and the noise
    `noise`. Classes take turns, so every split is balanced.
    """
    generator = torch.Generator().manual_seed(seed)
    patterns = torch.randn(classes, *shape, generator=generator)

    def draw(count: int) -> Split:
        targets = torch.arange(count) % classes
        blur = torch.randn(count, *shape, generator=generator)
        return Split(patterns[targets] + noise * blur, targets)

    names = [f"pattern {index}" for index in range(classes)]
    return assemble("synthetic", draw(train), draw(validation), draw(test), names)


def _digits() -> Split:
    from sklearn.datasets import load_digits  # a second to import, and only needed here

    images, labels = load_digits(return_X_y=True)
    inputs = torch.from_numpy(images.astype(np.uint8)).view(-1, 1, 8, 8)
    return Split(inputs, torch.from_numpy(labels).long())


def _parted(
    name: str, samples: Split, validation_share: float, test_share: float
) -> tuple[Split, Split, Split]:
    """Train, validation and test split."""
    total = len(samples)
    rest, test = hold_out(name, samples, share_of(name, test_share, total))
    train, validation = hold_out(name, rest, share_of(name, validation_share, total))
    return train, validation, test


def _joined(one: Split, other: Split) -> Split:
    return Split(torch.cat([one.inputs, other.inputs]), torch.cat([one.targets, other.targets]))


def _turned(split: Split, degrees: float, seed: int) -> Split:
    """Images [N, 1, H, W] turned by angles drawn for a seed, which become the targets."""
    drawn = np.random.RandomState(seed).uniform(-1.0, 1.0, len(split)) * radians(degrees)
    angles = torch.from_numpy(drawn)
    zero, cosine, sine = torch.zeros_like(angles), angles.cos(), angles.sin()
    rows = [torch.stack([cosine, sine, zero], 1), torch.stack([-sine, cosine, zero], 1)]
    grid = affine_grid(torch.stack(rows, 1), list(split.inputs.shape), align_corners=False)
    # In double precision and rounded to bytes, the same images on every machine.
    images: Tensor = grid_sample(split.inputs.double(), grid, align_corners=False)
    return Split((images * 15.9).round().byte(), angles.float())

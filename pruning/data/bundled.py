"""Data sets that need no file: scikit-learn's digits, and one made up for tests."""

import numpy as np
import torch

from pruning.data.dataset import Dataset, Split, assemble, hold_out, share_of


def digits(validation_share: float = 0.2, test_share: float = 0.2) -> Dataset:
    """1,797 handwritten digits of 8x8 pixels (values 0 to 16, one channel), 10 classes.

    Source: E. Alpaydin and C. Kaynak, UCI repository; it comes inside scikit-learn.

    Raises:
        DataError: the shares leave no sample for a split.
    """
    from sklearn.datasets import load_digits  # a second to import, and only needed here

    images, labels = load_digits(return_X_y=True)
    inputs = torch.from_numpy(images.astype(np.uint8)).view(-1, 1, 8, 8)
    samples = Split(inputs, torch.from_numpy(labels).long())
    total = len(samples)
    rest, test = hold_out("digits", samples, share_of("digits", test_share, total))
    train, validation = hold_out("digits", rest, share_of("digits", validation_share, total))
    return assemble("digits", train, validation, test, [str(digit) for digit in range(10)])


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

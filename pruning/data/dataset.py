"""What a data set is: three splits in memory, their statistics and their digest.

Small images fit in memory as one tensor, and batches cut from it cost nothing beside
training; so there is no loader with worker processes.
"""

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import final

import numpy as np
import torch
from torch import Tensor

from pruning.errors import DataError, warn_of_data

# Decides which samples are held out, for ever and for every seed: see `permutation`.
_SPLIT_SEED = 20_220_131
_MANY = 5  # classes that a message names


@final
@dataclass(frozen=True, slots=True, eq=False)
class Split:
    """Samples of one purpose.

    Attributes:
        inputs: [N, C, *spatial], uint8 or float32, in the raw units of the source.
        targets: [N] int64, the index of each sample's class; or float32, [N] or [N, K], the
            numbers that a regression is to find.
    """

    inputs: Tensor
    targets: Tensor

    def __len__(self) -> int:
        return int(self.targets.shape[0])

    def select(self, indices: Tensor) -> "Split":
        """The samples at `indices` (int64 [M]), copied."""
        return Split(self.inputs[indices], self.targets[indices])

    def to(self, device: torch.device | str) -> "Split":
        """The same samples on another device."""
        return Split(self.inputs.to(device), self.targets.to(device))


@final
@dataclass(frozen=True, slots=True, eq=False)
class Dataset:
    """Three splits and what is known of them. Build one with `assemble`.

    Attributes:
        name: What reports call it.
        train: For gradients and batch statistics.
        validation: For every decision of a search.
        test: Read once, for a finished network.
        classes: Names, of the classes whose positions are the targets, or of the K numbers.
        mean: Per channel over the training inputs, in raw units.
        std: Per channel over the training inputs, in raw units; 1 for a constant channel.
        digest: SHA-256 in hex over the name and the bytes of all three splits, so it tells
            apart the same samples split in another way.
    """

    name: str
    train: Split
    validation: Split
    test: Split
    classes: tuple[str, ...]
    mean: tuple[float, ...]
    std: tuple[float, ...]
    digest: str

    @property
    def input_shape(self) -> tuple[int, ...]:
        """Shape of one sample, [C, *spatial]."""
        return tuple(self.train.inputs.shape[1:])

    def normalise(self, batch: Tensor) -> Tensor:
        """Raw inputs [N, C, *spatial] to float32 of mean 0 and deviation 1 per channel."""
        return normalised(batch, self.mean, self.std)


def normalised(batch: Tensor, mean: Sequence[float], std: Sequence[float]) -> Tensor:
    """Raw inputs [N, C, *spatial] as float32, less the mean of each channel and divided by its
    deviation.
    """
    shape = (-1, *(1 for _ in batch.shape[2:]))
    means = torch.tensor(mean, device=batch.device).view(shape)
    return (batch.to(torch.float32) - means) / torch.tensor(std, device=batch.device).view(shape)


def assemble(
    name: str, train: Split, validation: Split, test: Split, classes: Sequence[str]
) -> Dataset:
    """Check three splits and make a data set of them.

    A `DataWarning` names classes without a training sample, unless training sees one class
    alone, which others are then told from.

    Raises:
        DataError: a split is empty, its tensors have the wrong type or shape, a value is not
            finite, or the targets do not fit the names.
    """
    splits = {"train": train, "validation": validation, "test": test}
    for part, split in splits.items():
        _check(f"{part} split of {name}", split)
        _require(
            split.inputs.shape[1:] == train.inputs.shape[1:]
            and split.inputs.dtype == train.inputs.dtype,
            f"the {part} split of {name} holds {_described(split.inputs)}, but the train split "
            f"{_described(train.inputs)}. Prepare all splits in the same way.",
        )
        _require(
            split.targets.dtype == train.targets.dtype,
            f"targets of the {part} split of {name} are {_meaning(split.targets)}, but those "
            f"of the train split are {_meaning(train.targets)}. Store all in the same type.",
        )
    check = _check_numbers if train.targets.is_floating_point() else _check_classes
    for part, split in splits.items():
        check(f"{part} split of {name}", split.targets, len(classes))
    names = tuple(map(str, classes))
    if not train.targets.is_floating_point():
        _tell_unlearnt(splits, name, names)
    mean, std = _moments(train.inputs)
    digest = _digest(name, splits.values())
    return Dataset(name, train, validation, test, names, mean, std, digest)


def numbered(name: str, train: Split) -> list[str]:
    """Names 0, 1, ... for the classes of all training samples, or for the numbers of each.

    Raises:
        DataError: there would be more classes than samples, or there is no sample.
    """
    targets = train.targets
    if targets.is_floating_point():
        return [str(place) for place in range(1 if targets.ndim == 1 else targets.shape[1])]
    _require(len(targets) > 0, f"the train split of {name} is empty. Give it samples.")
    low, high = int(targets.min()), int(targets.max())
    _require(
        low >= 0 and high < len(targets),
        f"the {len(targets)} training targets of {name} run from {low} to {high}, which would "
        f"be {high + 1} classes. Number the classes from 0 without gaps.",
    )
    return [str(number) for number in range(high + 1)]


def hold_out(name: str, samples: Split, count: int) -> tuple[Split, Split]:
    """Set aside `count` samples: (the rest, those set aside).

    Which ones depends on nothing but the number of samples and `count`.

    Raises:
        DataError: nothing would be set aside, or nothing left; or some inputs have no target.
    """
    total = len(samples)
    _require(
        len(samples.inputs) == total,
        f"{name} has {len(samples.inputs)} inputs but {total} targets: each input needs its "
        "own. Prepare them again.",
    )
    _require(
        0 < count < total,
        f"cannot set aside {count} of the {total} samples of {name}: at least 1 must be "
        f"taken and 1 be left. Ask for 1 to {total - 1}.",
    )
    order = permutation(total)
    return samples.select(order[count:]), samples.select(order[:count])


def share_of(name: str, share: float, total: int) -> int:
    """`share` of `total` samples as a whole number.

    Raises:
        DataError: the share is not between 0 and 1.
    """
    _require(
        0 < share < 1,
        f"a share of {share} of {name} cannot be set aside: it must lie between 0 and 1. "
        "Use 0.1 or 0.2.",
    )
    return round(share * total)


def permutation(count: int) -> Tensor:
    """A fixed order of 0..count-1, int64.

    RandomState's stream is frozen, so it stays the same with every release of numpy.
    """
    return torch.from_numpy(np.random.RandomState(_SPLIT_SEED).permutation(count)).long()


def _check(what: str, split: Split) -> None:
    inputs, targets = split.inputs, split.targets
    _require(
        inputs.ndim >= 2 and inputs.dtype in (torch.uint8, torch.float32),
        f"inputs of the {what} are {_described(inputs)}; expected uint8 or float32 shaped "
        "[samples, channels, height, width], [samples, channels, length] or [samples, "
        "features]. Convert them.",
    )
    _require(
        targets.dtype in (torch.int64, torch.float32)
        and targets.shape[:1] == inputs.shape[:1]
        and targets.ndim <= (2 if targets.is_floating_point() else 1),
        f"targets of the {what} are {_described(targets)}; expected int64 of shape "
        f"[{inputs.shape[0]}], one for each input, or float32 of that shape or with an axis "
        "more.",
    )
    _require(inputs.numel() > 0, f"the {what} is empty. Give it at least one sample.")
    _require(
        bool(inputs.dtype == torch.uint8 or inputs.isfinite().all()),
        f"inputs of the {what} hold values that are not finite. Remove or replace them.",
    )


def _check_classes(what: str, targets: Tensor, classes: int) -> None:
    low, high = int(targets.min()), int(targets.max())
    _require(
        low >= 0 and high < classes,
        f"targets of the {what} run from {low} to {high}; with {classes} classes they must "
        f"lie in 0 to {classes - 1}. Renumber the targets from 0 and train on every class, or "
        "name every class.",
    )


def _tell_unlearnt(splits: Mapping[str, Split], name: str, classes: Sequence[str]) -> None:
    """Warn of classes that training has no sample of."""
    tallies = {
        part: split.targets.bincount(minlength=len(classes)) for part, split in splits.items()
    }
    unseen = (tallies["train"] == 0).nonzero()[:, 0].tolist()
    if not unseen or len(unseen) == len(classes) - 1:
        return
    found = ", ".join(_told_of(classes[each], each, tallies) for each in unseen[:_MANY])
    more = f" and {len(unseen) - _MANY} more" if len(unseen) > _MANY else ""
    from_one = not any(tally[0] for tally in tallies.values())
    hint = " Labels that begin with 1 need 1 subtracted." if from_one else ""
    warn_of_data(
        f"{name}: no training sample of {len(unseen)} of {len(classes)} classes: {found}"
        f"{more}. The network gets outputs that it never learns. Number the classes from 0 "
        f"without gaps, or bring samples.{hint}"
    )


def _told_of(name: str, number: int, tallies: Mapping[str, Tensor]) -> str:
    others = [f"{int(tally[number])} {part}" for part, tally in tallies.items() if tally[number]]
    named = f"class {number}" if name == str(number) else f"class {number} ({name})"
    return f"{named}, but {' and '.join(others)} samples" if others else named


def _check_numbers(what: str, targets: Tensor, names: int) -> None:
    values = 1 if targets.ndim == 1 else targets.shape[1]
    _require(
        values == names,
        f"targets of the {what} are {values} numbers a sample, but {names} are named. Name "
        "each of them.",
    )
    _require(
        bool(targets.isfinite().all()),
        f"targets of the {what} hold values that are not finite. Remove those samples.",
    )


def _moments(inputs: Tensor) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Mean and deviation per channel, the same with any number of threads."""
    channels = [inputs[:, index].reshape(-1) for index in range(inputs.shape[1])]
    pairs = [_channel_moments(values) for values in channels]
    return tuple(mean for mean, _ in pairs), tuple(std or 1.0 for _, std in pairs)


def _channel_moments(values: Tensor) -> tuple[float, float]:
    if values.dtype != torch.uint8:
        exact = values.numpy().astype(np.float64)
        return float(exact.mean()), float(exact.std())
    counts = torch.bincount(values, minlength=256).numpy()
    levels = np.arange(256)
    mean = float(counts @ levels / counts.sum())
    return mean, float(np.sqrt(counts @ (levels - mean) ** 2 / counts.sum()))


def _digest(name: str, splits: Iterable[Split]) -> str:
    digest = hashlib.sha256(name.encode())
    for split in splits:
        for tensor in (split.inputs, split.targets):
            digest.update(f"|{tensor.dtype} {tuple(tensor.shape)}|".encode())
            digest.update(np.ascontiguousarray(tensor.numpy()).data)
    return digest.hexdigest()


def _described(tensor: Tensor) -> str:
    return f"{_kind(tensor)} of shape {list(tensor.shape)}"


def _meaning(targets: Tensor) -> str:
    return f"{'numbers' if targets.is_floating_point() else 'classes'} ({_kind(targets)})"


def _kind(tensor: Tensor) -> str:
    return str(tensor.dtype).removeprefix("torch.")


def _require(holds: bool, message: str) -> None:
    if not holds:
        raise DataError(message)

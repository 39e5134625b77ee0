"""Random changes to a batch, and the batches themselves; all chance comes from a generator."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import final

import torch
from torch import Generator, Tensor
from torch.nn.functional import pad

from pruning.data.dataset import Split
from pruning.errors import DataError


@final
@dataclass(frozen=True, slots=True)
class Augment:
    """Changes every sample of a batch in its own random way; by default none.

    Called with a batch [N, C, H, W], [N, C, L] or [N, C], it returns one of the same shape
    and type.
    Free space is filled with zeros: the mean after `Dataset.normalise`, black before it.

    Attributes:
        shift: Most pixels (or time steps) to move, along every spatial axis.
        flip: Mirror left and right with probability 1/2. Images only.
        noise: Deviation of normal noise, in the units of the batch. Floats only.
        cutout: Side in pixels of a square set to zero, cut at the border. Images only.
    """

    shift: int = 0
    flip: bool = False
    noise: float = 0.0
    cutout: int = 0

    def __post_init__(self) -> None:
        for name in ("shift", "noise", "cutout"):
            value = getattr(self, name)
            if value < 0:
                raise DataError(f"augmentation {name} is {value}; the least is 0, for none.")
            if name != "noise" and not isinstance(value, int):
                raise DataError(f"augmentation {name} is {value}; write a whole number.")

    def __call__(self, batch: Tensor, generator: Generator) -> Tensor:
        """Augment a batch with the random numbers of `generator`.

        Raises:
            DataError: flip or cutout of a batch without height, or noise on integers.
        """
        self._check(batch)
        if self.shift or self.flip:
            batch = _move(batch, self.shift, self.flip, generator)
        if self.cutout:
            batch = _cut(batch, self.cutout, generator)
        if self.noise:
            drawn = torch.randn(batch.shape, generator=generator, device=generator.device)
            batch = batch + self.noise * drawn.to(batch)
        return batch

    def _check(self, batch: Tensor) -> None:
        images = bool(self.flip or self.cutout)
        least = 4 if images else 3 if self.shift else 2
        if not least <= batch.ndim <= 4:
            raise DataError(
                f"cannot apply {self} to a batch of shape {list(batch.shape)}: flip and cutout "
                "need [N, C, H, W], shift that or [N, C, L], noise any. Switch them off."
            )
        if self.noise and not batch.is_floating_point():
            raise DataError(
                f"noise {self.noise} on a batch of {batch.dtype}: it needs floats. Normalise "
                "the batch first."
            )


def batch_count(samples: int, size: int) -> int:
    """How many batches of `size` an epoch draws from so many samples."""
    return -(-samples // size) - _is_lone(samples, size)


def _is_lone(samples: int, size: int) -> bool:
    """Whether a last batch of one sample would follow others."""
    return samples % size == 1 and samples > size > 1


def batches(
    split: Split, size: int, generator: Generator | None = None
) -> Iterator[tuple[Tensor, Tensor]]:
    """Yield (inputs, targets) of `size` samples each, the last one of what is left.

    With a generator the order is drawn from it (once, when the first batch is asked for) and a
    last batch of a single sample is left out, because batch norm cannot train on it. Without
    one, the samples come in their order and completely, as evaluation wants them.

    Raises:
        DataError: `size` is below 1.
    """
    if size < 1:
        raise DataError(f"batch size is {size}; the least is 1.")
    count = len(split)
    if generator is None:
        for start in range(0, count, size):
            yield split.inputs[start : start + size], split.targets[start : start + size]
        return
    order = torch.randperm(count, generator=generator, device=generator.device)
    if _is_lone(count, size):
        order = order[:-1]
    for chosen in torch.split(order.to(split.targets.device), size):
        yield split.inputs[chosen], split.targets[chosen]


def _move(batch: Tensor, shift: int, flip: bool, generator: Generator) -> Tensor:
    """Shift and mirror by one gather over the padded batch."""
    grid = batch.unsqueeze(2) if batch.ndim == 3 else batch
    count, channels, height, width = grid.shape
    tall = shift if batch.ndim == 4 else 0
    padded = pad(grid, (shift, shift, tall, tall))
    rows = _offsets(count, tall, generator).to(batch.device) + _indices(height, batch)
    columns = _indices(width, batch).expand(count, -1)
    if flip:
        mirrored = _integers(2, (count, 1), generator).bool().to(batch.device)
        columns = torch.where(mirrored, columns.flip(1), columns)
    columns = columns + _offsets(count, shift, generator).to(batch.device)
    where = rows[:, :, None] * padded.shape[3] + columns[:, None, :]
    where = where.view(count, 1, -1).expand(-1, channels, -1)
    return padded.flatten(2).gather(2, where).view(batch.shape)


def _cut(batch: Tensor, side: int, generator: Generator) -> Tensor:
    count, _, height, width = batch.shape
    inside = []
    for length in (height, width):
        start = (_integers(length, (count, 1), generator) - side // 2).to(batch.device)
        position = _indices(length, batch)
        inside.append((position >= start) & (position < start + side))
    hole = inside[0][:, :, None] & inside[1][:, None, :]
    return batch.masked_fill(hole[:, None], 0)


def _offsets(count: int, shift: int, generator: Generator) -> Tensor:
    """Where each sample's window starts in the padded batch: [count, 1], 0 to 2 x shift."""
    return _integers(2 * shift + 1, (count, 1), generator)


def _integers(limit: int, shape: tuple[int, ...], generator: Generator) -> Tensor:
    return torch.randint(limit, shape, generator=generator, device=generator.device)


def _indices(length: int, like: Tensor) -> Tensor:
    return torch.arange(length, device=like.device)

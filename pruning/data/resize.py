"""Images at another resolution: the choice that costs or saves most on a microcontroller."""

import torch
from torch import Tensor
from torch.nn.functional import interpolate

from pruning.data.dataset import Split
from pruning.errors import DataError

_CHUNK = 2048  # images at a time, which bounds the memory taken


Three = tuple[Split, Split, Split]


def resized(splits: Three, image_size: int | None) -> Three:
    """Train, validation and test splits whose images [N, C, H, W] are scaled so that the longer
    side has `image_size` pixels; None leaves them as they are.

    Pixels are weighted means of those that they cover (bilinear with antialiasing, computed in
    double precision and rounded to bytes where inputs are bytes), so that every machine gets the
    same. A device must scale its frames in the same way, or take them at that resolution.

    Raises:
        DataError: the inputs are no images, or the size is no whole number above 0.
    """
    if image_size is None:
        return splits
    if not isinstance(image_size, int) or isinstance(image_size, bool) or image_size < 1:
        raise DataError(f"image_size is {image_size}; write a whole number of pixels above 0.")
    shape = splits[0].inputs.shape
    if len(shape) != 4:
        raise DataError(
            f"image_size={image_size}, but the samples are shaped {list(shape[1:])}: only images "
            "[channels, height, width] can be scaled. Leave image_size out."
        )
    longest = max(shape[2:])
    height, width = (max(1, round(side * image_size / longest)) for side in shape[2:])
    train, validation, test = (
        Split(_scaled(split.inputs, height, width), split.targets) for split in splits
    )
    return train, validation, test


def _scaled(images: Tensor, height: int, width: int) -> Tensor:
    if images.shape[2:] == (height, width):
        return images
    return torch.cat([_chunk(part, height, width) for part in torch.split(images, _CHUNK)])


def _chunk(images: Tensor, height: int, width: int) -> Tensor:
    exact = interpolate(
        images.double(), (height, width), mode="bilinear", antialias=True, align_corners=False
    )
    if images.dtype == torch.uint8:
        return exact.round().clamp(0, 255).byte()
    return exact.to(images.dtype)

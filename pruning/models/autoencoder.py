"""Autoencoders: networks that give back their input, and fail where it is unlike the rest.

Both return one vector [N, values] with as many values as a sample has.
"""

from collections.abc import Sequence
from math import prod

from torch import nn

from pruning.errors import PruningError
from pruning.models.layers import conv_bn, he_init, named, require_positive


def dense_autoencoder(
    shape: Sequence[int] = (640,), hidden: int = 128, code: int = 8, layers: int = 4
) -> nn.Module:
    """The anomaly detection network of MLPerf Tiny, for samples of a shape (C, *spatial).

    `layers` linear layers of `hidden` channels lead to one of `code` channels and as many
    back, each with batch norm and ReLU; the last has none. Published for 640 values: five
    frames of 128 mel bands (after the baseline of Koizumi et al., DCASE 2020).
    """
    require_positive(hidden=hidden, code=code, layers=layers)
    values = prod(shape)
    widths = [*[hidden] * layers, code, *[hidden] * layers]
    blocks = {
        f"layer{number}": _linear_bn(inputs, outputs)
        for number, (inputs, outputs) in enumerate(zip([values, *widths], widths, strict=False), 1)
    }
    return named(flatten=nn.Flatten(), **blocks, output=nn.Linear(hidden, values))


def conv_autoencoder(
    shape: Sequence[int] = (1, 8, 8), filters: int = 16, code: int = 16
) -> nn.Module:
    """Two convolutions of stride 2, a linear layer to the code and one straight back.

    For images (C, H, W). The decoder is linear, as that of a principal component analysis: it
    is what can be drawn from the code without an operator that enlarges images.
    """
    require_positive(filters=filters, code=code)
    if len(shape) != 3:
        raise PruningError(
            f"conv_autoencoder is for images (C, H, W), not for samples of {tuple(shape)}. Use "
            "dense_autoencoder for them."
        )
    channels, height, width = shape
    pixels = -(-height // 4) * -(-width // 4)
    model = named(
        first=conv_bn(channels, filters, 3, stride=2),
        second=conv_bn(filters, 2 * filters, 3, stride=2),
        flatten=nn.Flatten(),
        code=_linear_bn(2 * filters * pixels, code),
        output=nn.Linear(code, prod(shape)),
    )
    he_init(model)
    return model


def _linear_bn(inputs: int, outputs: int) -> nn.Sequential:
    return named(linear=nn.Linear(inputs, outputs), norm=nn.BatchNorm1d(outputs), relu=nn.ReLU())

"""VGG-16 (Simonyan and Zisserman, 2014) for small images: batch norm, one linear layer."""

from typing import Final

from torch import nn

from pruning.models.layers import Classifier, conv_bn, named, require_positive, scaled

# Channels at full width and number of convolutions of each stage.
STAGES: Final = ((64, 2), (128, 2), (256, 3), (512, 3), (512, 3))


def vgg16(classes: int = 10, in_channels: int = 3, side: int = 32, width: float = 1.0) -> nn.Module:
    """VGG-16 for images of `side` x `side`.

    Each stage ends with a 2x2 maximum while there is more than one pixel left, so the linear
    layer reads 512 values at the usual 32x32, and at every smaller `side`.
    """
    require_positive(side=side)
    layers: dict[str, nn.Module] = {}
    channels = in_channels
    for stage, (wide, convolutions) in enumerate(STAGES, 1):
        for number in range(1, convolutions + 1):
            layers[f"conv{stage}_{number}"] = conv_bn(channels, scaled(wide, width), 3)
            channels = scaled(wide, width)
        if side > 1:
            layers[f"pool{stage}"] = nn.MaxPool2d(2)
            side //= 2
    return Classifier(named(**layers), channels * side * side, classes, pool=nn.Identity())

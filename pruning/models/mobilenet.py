"""MobileNets: version 1 as MLPerf Tiny uses it for visual wake words, version 2 for CIFAR."""

from typing import Final, final

from torch import Tensor, nn

from pruning.models.layers import Classifier, conv_bn, named, scaled, separable

# Output channels at full width and stride of each separable block (Howard et al., 2017).
V1_BLOCKS: Final = (
    (64, 1), (128, 2), (128, 1), (256, 2), (256, 1), (512, 2),
    (512, 1), (512, 1), (512, 1), (512, 1), (512, 1), (1024, 2), (1024, 1),
)  # fmt: skip

# Expansion, output channels at full width, blocks, stride (Sandler et al., 2018). The second
# row has stride 1 instead of 2 and so has the stem: CIFAR's images are 32x32.
V2_STAGES: Final = (
    (1, 16, 1, 1), (6, 24, 2, 1), (6, 32, 3, 2), (6, 64, 4, 2),
    (6, 96, 3, 1), (6, 160, 3, 2), (6, 320, 1, 1),
)  # fmt: skip


def mobilenet_v1(classes: int = 2, in_channels: int = 3, width: float = 0.25) -> nn.Module:
    """MobileNetV1 of the given width, made for 96x96; the size is divided by 32."""
    channels = scaled(32, width)
    layers: dict[str, nn.Module] = {"stem": conv_bn(in_channels, channels, 3, stride=2)}
    for number, (outputs, stride) in enumerate(V1_BLOCKS, 1):
        layers[f"block{number}"] = separable(channels, scaled(outputs, width), stride)
        channels = scaled(outputs, width)
    return Classifier(named(**layers), channels, classes)


def mobilenet_v2(classes: int = 10, in_channels: int = 3, width: float = 1.0) -> nn.Module:
    """MobileNetV2 of the given width, made for 32x32; the size is divided by 8.

    The last convolution keeps its 1280 channels where `width` is below one.
    """
    channels = scaled(32, width)
    last = scaled(1280, max(1.0, width))
    layers: dict[str, nn.Module] = {"stem": conv_bn(in_channels, channels, 3, activation=nn.ReLU6)}
    for expansion, wide, repeats, first in V2_STAGES:
        outputs = scaled(wide, width)
        for stride in (first, *[1] * (repeats - 1)):
            block = InvertedResidual(channels, outputs, expansion, stride)
            layers[f"block{len(layers)}"] = block
            channels = outputs
    layers["head"] = conv_bn(channels, last, 1, activation=nn.ReLU6)
    return Classifier(named(**layers), last, classes)


@final
class InvertedResidual(nn.Module):
    """Expand, filter depthwise, project; added to the input where the shapes agree."""

    def __init__(self, inputs: int, outputs: int, expansion: int, stride: int) -> None:
        super().__init__()
        hidden = inputs * expansion
        wide = {"stride": stride, "groups": hidden}
        layers = {
            "expand": conv_bn(inputs, hidden, 1, activation=nn.ReLU6),
            "depthwise": conv_bn(hidden, hidden, 3, activation=nn.ReLU6, **wide),
            "project": conv_bn(hidden, outputs, 1, activation=None),
        }
        if expansion == 1:
            del layers["expand"]
        self.body = named(**layers)
        self.adds = stride == 1 and inputs == outputs

    def forward(self, x: Tensor) -> Tensor:
        """[N, inputs, H, W] to [N, outputs, H/stride, W/stride]."""
        out: Tensor = self.body(x)
        return x + out if self.adds else out

"""Residual networks for small images.

`resnet8` is the image classification network of MLPerf Tiny; `resnet20` is that of He et al.
(2015) with 1x1 convolutions where the shape changes.
"""

from typing import final

from torch import Tensor, nn

from pruning.models.layers import Classifier, conv_bn, named


@final
class Residual(nn.Module):
    """Two 3x3 convolutions beside a shortcut: [N, inputs, H, W] to [N, outputs, H/s, W/s]."""

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.body = named(
            first=conv_bn(inputs, outputs, 3, stride=stride),
            second=conv_bn(outputs, outputs, 3, activation=None),
        )
        changes_shape = stride != 1 or inputs != outputs
        self.shortcut = (
            conv_bn(inputs, outputs, 1, stride=stride, activation=None)
            if changes_shape
            else nn.Identity()
        )
        self.relu = nn.ReLU()

    def forward(self, x: Tensor) -> Tensor:
        """Add the shortcut to the body and rectify."""
        out: Tensor = self.relu(self.body(x) + self.shortcut(x))
        return out


def resnet8(classes: int = 10, in_channels: int = 3, filters: int = 16) -> nn.Module:
    """ResNet-8: one block a stage, `filters` in the first stage, doubled twice."""
    return _resnet(1, classes, in_channels, filters)


def resnet20(classes: int = 10, in_channels: int = 3, filters: int = 16) -> nn.Module:
    """ResNet-20: three blocks a stage, `filters` in the first stage, doubled twice."""
    return _resnet(3, classes, in_channels, filters)


def _resnet(depth: int, classes: int, in_channels: int, filters: int) -> nn.Module:
    stem = conv_bn(in_channels, filters, 3)
    blocks: list[nn.Module] = []
    inputs = filters
    for outputs, stride in ((filters, 1), (2 * filters, 2), (4 * filters, 2)):
        blocks.append(Residual(inputs, outputs, stride))
        blocks += [Residual(outputs, outputs, 1) for _ in range(depth - 1)]
        inputs = outputs
    numbered = {f"block{number}": block for number, block in enumerate(blocks, 1)}
    return Classifier(named(stem=stem, **numbered), inputs, classes)

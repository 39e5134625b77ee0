"""A network of all kinds of kernels that have C, and of windows that the zoo lacks."""

import torch
from torch import Tensor, nn
from torch.nn import functional

FIRST = 4  # channels of its input


class CalibrationNet(nn.Module):
    """Kernels of every kind, with windows of `size` in most convolutions; `plane` is the height
    and width of its input, multiples of four.
    """

    def __init__(self, size: int, plane: tuple[int, int], channels: int = 48) -> None:
        super().__init__()
        around = size // 2
        self.stem = _normed(nn.Conv2d(FIRST, channels, size, padding=around))
        self.wide = nn.Conv2d(channels, channels, size, padding=around, groups=channels)
        self.point = _normed(nn.Conv2d(channels, channels, 1))
        self.first = nn.BatchNorm2d(channels)
        self.slopes = nn.PReLU(channels)
        self.down = nn.Conv2d(channels, 2 * channels, size, stride=2, padding=around)
        self.up = nn.ConvTranspose2d(2 * channels, channels, 2, stride=2)
        self.squeeze = nn.Conv2d(channels, 8, 1)
        self.excite = nn.Conv2d(8, channels, 1)
        self.last = nn.Conv2d(2 * channels, 6, size)
        self.head = nn.LazyLinear(5)
        self(torch.zeros(1, FIRST, *plane))  # gives the head its size

    def forward(self, x: Tensor) -> Tensor:
        """Run the network."""
        x = functional.relu(self.stem(x))
        x = self.point(functional.relu(self.wide(x))) - x
        x = self.slopes(self.first(x))
        deep = functional.hardswish(self.down(x))
        x = x + functional.relu6(self.up(deep))
        weights = self.excite(functional.relu(self.squeeze(x.mean((2, 3), keepdim=True))))
        x = x * torch.sigmoid(weights) * 0.5
        x = torch.cat([functional.interpolate(functional.max_pool2d(x, 2), scale_factor=2), x], 1)
        return self.head(functional.avg_pool2d(self.last(x), 2).flatten(1))  # type: ignore[no-any-return]


def _normed(layer: nn.Conv2d) -> nn.Sequential:
    return nn.Sequential(layer, nn.BatchNorm2d(layer.out_channels))

"""What every network of the zoo is made of.

Every activation, pooling and addition is a module of its own, used once, so that a tensor of
the traced network can be named after the place it comes from.
"""

from collections import OrderedDict
from collections.abc import Callable
from typing import final

from torch import Tensor, flatten, nn

from pruning.errors import PruningError


@final
class Classifier(nn.Module):
    """Features, pooled to one vector, read by one linear layer.

    `forward` takes images [N, C, *spatial] and returns logits [N, classes]. `pool` brings the
    output of `features` to [N, ...] with `inputs` values a sample.
    """

    def __init__(
        self, features: nn.Module, inputs: int, classes: int, pool: nn.Module | None = None
    ) -> None:
        super().__init__()
        require_positive(classes=classes)
        self.features = features
        self.pool = nn.AdaptiveAvgPool2d(1) if pool is None else pool
        self.classifier = nn.Linear(inputs, classes)
        he_init(self)

    def forward(self, images: Tensor) -> Tensor:
        """Images [N, C, *spatial] to logits [N, classes]."""
        vector = flatten(self.pool(self.features(images)), 1)
        logits: Tensor = self.classifier(vector)
        return logits


def conv_bn(
    inputs: int,
    outputs: int,
    kernel: int | tuple[int, int],
    *,
    stride: int = 1,
    padding: int | tuple[int, int] | None = None,
    groups: int = 1,
    activation: Callable[[], nn.Module] | None = nn.ReLU,
) -> nn.Sequential:
    """Convolution without bias, batch norm, activation.

    `padding` defaults to half the kernel, which keeps the size at stride 1 where the kernel
    is odd.
    """
    require_positive(channels=inputs, filters=outputs)
    if padding is None:
        padding = kernel // 2 if isinstance(kernel, int) else (kernel[0] // 2, kernel[1] // 2)
    conv = nn.Conv2d(
        inputs, outputs, kernel, stride=stride, padding=padding, groups=groups, bias=False
    )
    last = {} if activation is None else {"relu": activation()}
    return named(conv=conv, norm=nn.BatchNorm2d(outputs), **last)


def separable(inputs: int, outputs: int, stride: int = 1) -> nn.Sequential:
    """A 3x3 depthwise convolution and a 1x1 convolution, each with batch norm and ReLU."""
    return named(
        depthwise=conv_bn(inputs, inputs, 3, stride=stride, groups=inputs),
        pointwise=conv_bn(inputs, outputs, 1),
    )


def named(**layers: nn.Module) -> nn.Sequential:
    """Layers in a row, each under a name that reports can use."""
    return nn.Sequential(OrderedDict(layers))


def scaled(channels: int, width: float) -> int:
    """`channels` x `width`, rounded to the nearest multiple of eight and at least eight."""
    if width <= 0:
        raise PruningError(f"width is {width}; it must be above 0. Use 1.0 for full width.")
    return max(8, 8 * round(channels * width / 8))


def he_init(model: nn.Module) -> None:
    """Draw weights as He et al. (2015) advise for ReLU; the classifier starts near zero."""
    for layer in model.modules():
        if isinstance(layer, nn.Conv2d):
            nn.init.kaiming_normal_(layer.weight, mode="fan_out", nonlinearity="relu")
        elif isinstance(layer, nn.Linear):
            nn.init.normal_(layer.weight, std=0.01)
            nn.init.zeros_(layer.bias)


def require_positive(**numbers: int) -> None:
    """Refuse a size below one, by its name.

    Raises:
        PruningError: a number is below 1.
    """
    for name, number in numbers.items():
        if number < 1:
            raise PruningError(f"{name} is {number}; the least is 1. Give a larger {name}.")

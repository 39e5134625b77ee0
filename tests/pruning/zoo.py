"""The networks of `pruning.models` with the inputs that they are published for."""

from collections.abc import Callable

from torch import nn

from pruning import models

Zoo = dict[str, tuple[Callable[[], nn.Module], tuple[int, ...]]]

ZOO: Zoo = {
    "resnet8": (models.resnet8, (3, 32, 32)),
    "resnet20": (models.resnet20, (3, 32, 32)),
    "ds_cnn": (models.ds_cnn, (1, 49, 10)),
    "mobilenet_v1": (models.mobilenet_v1, (3, 96, 96)),
    "mobilenet_v2": (models.mobilenet_v2, (3, 32, 32)),
    "vgg16": (models.vgg16, (3, 32, 32)),
}

"""The zoo: small networks as plain torch modules, and starting weights for them.

A factory draws the weights from torch's global generator: seed it first. Networks take
normalised inputs, (samples, channels, *spatial).

Example:
    >>> import pruning, torch
    >>> pruning.models.resnet8(classes=10, in_channels=1)(torch.zeros(2, 1, 8, 8)).shape
    torch.Size([2, 10])
"""

from pruning.models.autoencoder import conv_autoencoder, dense_autoencoder
from pruning.models.ds_cnn import ds_cnn
from pruning.models.mobilenet import mobilenet_v1, mobilenet_v2
from pruning.models.resnet import resnet8, resnet20
from pruning.models.vgg import vgg16
from pruning.models.weights import load_weights, weights_digest

__all__ = [
    "conv_autoencoder",
    "dense_autoencoder",
    "ds_cnn",
    "load_weights",
    "mobilenet_v1",
    "mobilenet_v2",
    "resnet8",
    "resnet20",
    "vgg16",
    "weights_digest",
]

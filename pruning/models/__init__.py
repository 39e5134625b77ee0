"""The zoo: small classifiers as plain torch modules, and starting weights for them.

A factory draws the weights from torch's global generator: seed it first.
"""

from pruning.models.ds_cnn import ds_cnn
from pruning.models.mobilenet import mobilenet_v1, mobilenet_v2
from pruning.models.resnet import resnet8, resnet20
from pruning.models.vgg import vgg16
from pruning.models.weights import load_weights

__all__ = [
    "ds_cnn",
    "load_weights",
    "mobilenet_v1",
    "mobilenet_v2",
    "resnet8",
    "resnet20",
    "vgg16",
]

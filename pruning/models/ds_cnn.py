"""The keyword spotting network of MLPerf Tiny, for 49 frames of 10 cepstral coefficients."""

from torch import nn

from pruning.models.layers import Classifier, conv_bn, named, separable


def ds_cnn(classes: int = 12, in_channels: int = 1, filters: int = 64) -> nn.Module:
    """DS-CNN: a 10x4 convolution with stride 2, then four depthwise separable blocks.

    Inputs are [N, in_channels, frames, coefficients]; 49x10 becomes 25x5. Other sizes work
    too: the features are averaged over whatever is left. Without the dropout of the
    published network: pruning regularises already.
    """
    # (5, 1) gives the 25x5 of TensorFlow's "same" (4 + 5 rows); torch pads both ends alike.
    stem = conv_bn(in_channels, filters, (10, 4), stride=2, padding=(5, 1))
    blocks = {f"block{number}": separable(filters, filters) for number in range(1, 5)}
    return Classifier(named(stem=stem, **blocks), filters, classes)

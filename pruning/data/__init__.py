"""Data sets as tensors in memory, always with train, validation and test splits.

A data set of your own is any function that returns `assemble(...)` of three `Split`s. Inputs are
shaped (samples, channels, *spatial), uint8 or float32; targets are class numbers, or floats.

Example:
    >>> import pruning
    >>> digits = pruning.data.digits()
    >>> digits.input_shape, len(digits.classes)
    ((1, 8, 8), 10)
"""

from pruning.data.arrays import npz
from pruning.data.augment import Augment, batch_count, batches
from pruning.data.bundled import digits, digits_angle, digits_anomaly, synthetic
from pruning.data.cifar import cifar10
from pruning.data.dataset import Dataset, Split, assemble, hold_out, permutation
from pruning.data.idx_files import idx
from pruning.data.speech import speech_commands

__all__ = [
    "Augment",
    "Dataset",
    "Split",
    "assemble",
    "batch_count",
    "batches",
    "cifar10",
    "digits",
    "digits_angle",
    "digits_anomaly",
    "hold_out",
    "idx",
    "npz",
    "permutation",
    "speech_commands",
    "synthetic",
]

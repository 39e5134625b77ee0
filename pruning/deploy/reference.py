"""What an integer network computes, in the plainest way: all others are compared with it.

The arithmetic is that of TensorFlow Lite's reference kernels, in 64-bit integers of numpy.
"""

import numpy as np

from pruning.deploy.integer_ir import Codes, IntegerNetwork
from pruning.deploy.kernels.base import Operands
from pruning.deploy.kernels.registry import family_of
from pruning.ir.operator import INPUT


def reference(network: IntegerNetwork, inputs: Codes) -> dict[str, Codes]:
    """Every buffer's codes for a batch of inputs, (batch, channels, height, width) each.

    `inputs` is (batch, ...) with as many codes a sample as the network reads.
    """
    values = {INPUT: inputs.reshape(-1, *network.shapes[INPUT])}
    for kernel in network.kernels:
        stored = [network.constants.get(name, values.get(name)) for name in kernel.inputs]
        operands = Operands(
            [
                np.asarray(codes, dtype=np.int64).reshape(-1, *shape)
                for codes, shape in zip(stored, kernel.reads, strict=True)
            ],
            [network.codes[name].zero_point for name in kernel.inputs],
            network.codes[kernel.output].zero_point,
        )
        results = family_of(kernel).reference(kernel, operands)
        values[kernel.output] = results.clip(kernel.low, kernel.high).astype(np.int8)
    return values

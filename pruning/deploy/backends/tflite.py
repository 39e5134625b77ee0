"""An integer network as a file of TensorFlow Lite: int8, height and width before channels.

tflite-micro gives the very codes of the reference for it.
"""

from pruning.deploy.backends.flatbuffer import packed
from pruning.deploy.context.tflite_model import TfliteModel
from pruning.deploy.integer_ir import IntegerNetwork
from pruning.deploy.kernels.registry import family_of
from pruning.ir.operator import INPUT


def tflite_file(network: IntegerNetwork) -> bytes:
    """The bytes of a .tflite file.

    Raises:
        DeployError: a kernel has no operator there that gives the same codes.
    """
    model = TfliteModel(network)
    for kernel in network.kernels:
        family_of(kernel).write_tflite(kernel, model)
    outputs = [*map(model.graph_output, network.outputs, network.shown)]
    return packed(model.tensors, model.operators, [model.numbers[INPUT]], outputs)

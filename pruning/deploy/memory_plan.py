"""Where the buffers of an integer network lie."""

from math import prod

from pruning.cost.memory.arena import ArenaPlan, pack
from pruning.cost.memory.overlap import BufferUse
from pruning.deploy.integer_ir import IntegerKernel, IntegerNetwork
from pruning.deploy.kernels.registry import family_of


def plan(network: IntegerNetwork) -> ArenaPlan:
    """The smallest arena that is found, for the kernels in their order."""
    sizes = {name: prod(shape) for name, shape in network.shapes.items()}
    uses = [_buffer_use(kernel, network) for kernel in network.kernels]
    return pack(uses, sizes, network.outputs)


def _buffer_use(kernel: IntegerKernel, network: IntegerNetwork) -> BufferUse:
    family = family_of(kernel)
    return BufferUse(
        inputs=tuple(name for name in kernel.inputs if name not in network.constants),
        output=kernel.output,
        in_place=family.in_place,
        windows=family.windows(kernel),
    )

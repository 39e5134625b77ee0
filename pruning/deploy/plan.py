"""Where the buffers of an integer network lie."""

from math import prod

from pruning.access import Access, Windows
from pruning.arena import Plan, pack
from pruning.deploy.integer import (
    IntegerKernel,
    IntegerNetwork,
    Layer,
    Pool,
    Prelu,
    Product,
    Sum,
    Table,
    Transposed,
)

IN_PLACE = (Sum, Product, Table, Prelu)  # read an element before they write it


def plan(network: IntegerNetwork) -> Plan:
    """The smallest arena that is found, for the kernels in their order."""
    sizes = {name: prod(shape) for name, shape in network.shapes.items()}
    accesses = [_access(kernel, network) for kernel in network.kernels]
    return pack(accesses, sizes, network.outputs)


def _access(kernel: IntegerKernel, network: IntegerNetwork) -> Access:
    return Access(
        inputs=tuple(name for name in kernel.inputs if name not in network.constants),
        output=kernel.output,
        in_place=isinstance(kernel, IN_PLACE),
        windows=_windows(kernel) if isinstance(kernel, (Layer, Pool)) else None,
    )


def _windows(kernel: Layer | Pool) -> Windows:
    read, made = kernel.reads[0][1:], kernel.shape[1:]
    return Windows(read, made, *kernel.window, isinstance(kernel, Transposed))

"""Which networks can be deployed, told from their graph alone."""

from collections.abc import Iterator
from math import prod

from pruning.deploy.integer_ir import Shape3
from pruning.errors import DeployError
from pruning.graph.fusion import fuse
from pruning.graph.graph import Graph
from pruning.ir.kernel import Kernel
from pruning.ir.operator import INPUT, Shape
from pruning.ops import kind_of, routine_of

LARGEST = 255  # setting of a window, as generated C stores it


def plane(shape: Shape) -> Shape3:
    """A shape as (channels, height, width): vectors have one pixel, series one row."""
    channels, *extent = shape
    height, width = [1] * (2 - len(extent)) + extent
    return channels, height, width


def obstacles(graph: Graph) -> list[str]:
    """What in a network cannot be deployed, one sentence each; empty where all can."""
    found = [
        f"{kernel.name} ({kernel.main.label}): {reason}"
        for kernel, reason in _unknown(graph, fuse(graph))
    ]
    return found or _misread(graph)


def require_deployable(graph: Graph) -> None:
    """Refuse a network that cannot be deployed.

    Raises:
        DeployError: the message names every operator that stands in the way.
    """
    if found := obstacles(graph):
        raise DeployError(
            f"this network has no exact int8 form: {'; '.join(found)}. Replace what is named, "
            "or have it scored with precision=int8-simulated"
        )


def _unknown(graph: Graph, kernels: tuple[Kernel, ...]) -> Iterator[tuple[Kernel, str]]:
    for kernel in kernels:
        shapes = [kernel.main.shape, *(graph.shape(name) for name in kernel.main.inputs)]
        if any(len(shape) > 3 for shape in shapes):
            yield kernel, "works on more than two axes beside the channels"
        elif (most := _largest_setting(kernel)) > LARGEST:
            yield (
                kernel,
                f"has a window with a setting of {most}; none may be above {LARGEST}",
            )
        elif reason := _obstacle(kernel):
            yield kernel, reason


def _largest_setting(kernel: Kernel) -> int:
    """The largest setting of a window; 0 where none is stored, as of a mean of whole planes."""
    if kernel.averages_planes:
        return 0
    names = ("kernel", "stride", "padding", "dilation")
    settings = (kernel.main.attributes.get(name, ()) for name in names)
    return max(map(max, filter(None, settings)), default=0)


def _division(kernel: Kernel) -> str:
    return "" if kernel.main.parameters else "divides by a value; only by constants"


def _pooling(kernel: Kernel) -> str:
    read, windows = kernel.plane, kernel.main.attributes
    if kernel.averages_planes or windows["mode"] == "max":
        return ""
    if windows["mode"] == "sum":
        return "adds up windows; only whole planes"
    settings = zip(read, windows["kernel"], windows["stride"], windows["padding"], strict=True)
    odd = any((n + 2 * pad - kernel_) % stride for n, kernel_, stride, pad in settings)
    return "averages windows that hang over (ceil_mode)" if windows["ceil"] and odd else ""


_OBSTACLES = {"div": _division, "pool": _pooling}


def _obstacle(kernel: Kernel) -> str:
    if routine_of(kernel).record_bytes is None:
        return "has no integer kernel"
    return _OBSTACLES[kernel.kind](kernel) if kernel.kind in _OBSTACLES else ""


def _misread(graph: Graph) -> list[str]:
    """Values that are read in another shape than they lie in memory, pixel by pixel.

    Pixels follow each other, the channels of each together. So a feature map that was
    flattened lies in another order than its vector says; a linear layer's weights can follow.
    """
    lies = {INPUT: graph.input_shape}
    found = []
    for operator in graph.operators:
        source = operator.inputs[0]
        if kind_of(operator).kernel is None:
            lies[operator.name] = lies[source]
            continue
        lies[operator.name] = operator.shape
        found += [
            f"{operator.name} ({operator.label}): reads a flattened feature map; only a "
            "linear layer can"
            for name in operator.inputs
            if not in_order(lies[name], graph.shape(name))
            and not (operator.kind == "linear" and len(graph.shape(name)) == 1)
        ]
    found += [
        f"{name}: the output is a flattened feature map; return the map itself"
        for name in graph.outputs
        if not in_order(lies[name], graph.shape(name))
    ]
    if INPUT in graph.outputs:
        found.append("the input is an output")
    return found


def in_order(lies: Shape, read: Shape) -> bool:
    """Whether a value in memory looks the same when it is read in another shape."""
    flat, read_flat = prod(lies[1:]) == 1, prod(read[1:]) == 1
    return (
        lies[0] == read[0] or (flat and (read_flat or read[0] == 1)) or (lies[0] == 1 and read_flat)
    )

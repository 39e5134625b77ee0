"""What kernels of windows share: their settings, and the elements that lie under a window."""

from collections.abc import Iterator, Sequence

import numpy as np
from torch import Tensor
from torch.nn import functional

from pruning.cost.memory.overlap import ConvWindow
from pruning.deploy.fixed_point import Integers
from pruning.deploy.integer_ir import IntegerKernel, Shape3, Window
from pruning.ir.kernel import Kernel, along_two
from pruning.ir.operator import Operator

LARGEST = 255  # setting of a window, as generated C stores it


def window_of(operator: Operator) -> Window:
    """The window of a layer or a pooling."""
    a = operator.attributes
    return Window(
        kernel=along_two(a["kernel"], 1),
        stride=along_two(a["stride"], 1),
        padding=along_two(a["padding"], 0),
        dilation=along_two(a.get("dilation", [1] * len(a["kernel"])), 1),
    )


def window_obstacle(kernel: Kernel) -> str:
    """What is told of a window that generated C cannot store; "" of others."""
    names = ("kernel", "stride", "padding", "dilation")
    settings = (kernel.main.attributes.get(name, ()) for name in names)
    largest = max(map(max, filter(None, settings)), default=0)
    if largest > LARGEST:
        return f"has a window with a setting of {largest}; none may be above {LARGEST}"
    return ""


def memory_windows(kernel: IntegerKernel, window: Window, transposed: bool = False) -> ConvWindow:
    """The windows by which a kernel may write over what it has read."""
    return ConvWindow(kernel.reads[0][1:], kernel.shape[1:], *window, transposed)


def taps(window: Window) -> Iterator[tuple[int, ...]]:
    """The positions of a window, (row, column) each."""
    return iter(np.ndindex(*window.kernel))


def pad(values: Integers, window: Window, shape: Shape3, fill: int) -> Integers:
    """(batch, channels, height, width) with the padding around it, and as much more behind as
    the last windows of an output of `shape` reach.
    """
    pads = ((0, 0), (0, 0), *window.pads(values.shape[2:], shape[1:]))
    return np.pad(values, pads, constant_values=fill)


def pad_tensor(values: Tensor, window: Window, shape: Shape3, fill: float = 0.0) -> Tensor:
    """The same as `pad`, in torch."""
    rows, columns = window.pads(values.shape[2:], shape[1:])
    pads = [*columns, *rows]
    return functional.pad(values, pads, value=fill) if any(pads) else values


def under_tap(values: Integers, window: Window, shape: Shape3, tap: Sequence[int]) -> Integers:
    """The elements of a padded input under one position of every window, as many as the output
    of `shape` has pixels.
    """
    places = (
        slice(t * d, t * d + (n - 1) * s + 1, s)
        for t, d, n, s in zip(tap, window.dilation, shape[1:], window.stride, strict=True)
    )
    return values[:, :, *places]


def c_window(window: Window) -> dict[str, int]:
    """The kernel, stride and padding as fields of a record of generated C."""
    names = (("rows", "columns"), ("stride_y", "stride_x"), ("pad_y", "pad_x"))
    return {
        name: value
        for pair, values in zip(names, window[:3], strict=True)
        for name, value in zip(pair, values, strict=True)
    }

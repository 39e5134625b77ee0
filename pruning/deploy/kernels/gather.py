"""Elements carried to other places: slices, padding, permutations, nearest upsampling."""

from dataclasses import dataclass
from math import prod

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from pruning.deploy.context.c_source import CSource, pixelwise
from pruning.deploy.context.exact_torch import ExactTorch, TorchFunction
from pruning.deploy.context.lowering import LoweringContext
from pruning.deploy.context.tflite_model import TfliteModel, nhwc, no_operator
from pruning.deploy.fixed_point import Integers
from pruning.deploy.integer_ir import IntegerKernel, quantize
from pruning.deploy.kernels.base import KernelFamily, Operands, no_obstacle, no_windows
from pruning.ir.gather import PAD, IndexTables, index_tables, source_indices
from pruning.ir.kernel import Kernel

# The place of a filled element in generated C, in 16 and in 32 bits.
HOLE_16, HOLE_32 = 0xFFFF, 0xFFFFFFFF


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Gather(IntegerKernel):
    """Elements carried to other places: `source` numbers, for every element of the output, the
    one of the input, and is -1 where `fill` goes; `tables` tell the same more briefly.
    """

    source: Integers
    fill: int
    tables: IndexTables | None = None


def _lower(kernel: Kernel, context: LoweringContext) -> Gather:
    main, fields = kernel.main, context.fields(kernel)
    channels, positions = source_indices(main.attributes, main.shape)
    hole = (channels == PAD) | (positions == PAD)
    source = np.where(hole, PAD, channels * prod(fields["reads"][0][1:]) + positions)
    return Gather(
        source=source.reshape(fields["shape"]),
        fill=int(quantize(main.attributes.get("fill", 0.0), context.codes[kernel.output])),
        tables=index_tables(main.attributes, main.shape),
        **fields,
    )


def _reference(kernel: Gather, operands: Operands) -> Integers:
    flat = operands.codes[0].reshape(len(operands.codes[0]), -1)
    moved = flat[:, np.maximum(kernel.source, 0)]
    return np.where(kernel.source == PAD, kernel.fill, moved)


def _torch_function(kernel: Gather, exact: ExactTorch) -> TorchFunction:
    source = exact.tensor(kernel.source)
    hole = source == PAD
    fill = float(kernel.fill - exact.zero_point(kernel.output))

    def run(steps: Tensor) -> Tensor:
        moved = steps.flatten(1)[:, source.clamp(min=0)]
        return moved.masked_fill_(hole, fill)

    return run


def _write_c(kernel: Gather, source: CSource, index: int) -> None:
    """By short tables where they fit into 16 bits, else by the place of every element, counted
    pixel by pixel on both sides.
    """
    channels, *plane = kernel.reads[0]
    pixels = prod(plane)
    if kernel.tables is not None and pixels < HOLE_16 and channels < HOLE_16:
        settings = _record_of_tables(kernel, kernel.tables, source, index)
        source.step(kernel, "gather", settings)
        return
    places = kernel.source % pixels * channels + kernel.source // pixels
    kind, function, hole = "uint16_t", "index", HOLE_16
    if channels * pixels > HOLE_16:
        kind, function, hole = "uint32_t", "index_large", HOLE_32
    places = np.where(kernel.source == PAD, hole, places)
    table = source.array(kind, f"table{index}", pixelwise(places))
    fields = {"places": table, "count": places.size, "fill": kernel.fill}
    source.step(kernel, function, source.record("paring_index_params", f"index{index}", fields))


def _record_of_tables(kernel: Gather, tables: IndexTables, source: CSource, index: int) -> str:
    """Whole pixels, or some channels of them, by short tables."""
    rows, columns, which = (
        np.where(table == PAD, HOLE_16, table)
        for table in (tables.rows, tables.columns, tables.channels)
    )
    fields = {
        "height": len(rows),
        "width": len(columns),
        "channels": kernel.shape[0],
        "channels_in": kernel.reads[0][0],
        "rows": source.array("uint16_t", f"rows{index}", rows),
        "columns": source.array("uint16_t", f"columns{index}", columns),
        "which": source.array("uint16_t", f"which{index}", which) if len(which) else 0,
        "first": tables.first,
        "fill": kernel.fill,
    }
    return source.record("paring_gather_params", f"gather{index}", fields)


def _write_tflite(kernel: Gather, model: TfliteModel) -> None:
    """Along each axis what is picked, and what is filled at its ends."""
    places_by_axis = _places_by_axis(kernel)
    if places_by_axis is None:
        raise no_operator(kernel, "carries elements around in no order of rows and columns")
    channels, rows, columns = places_by_axis
    current, buffer = model.operand(kernel), kernel.inputs[0]
    shape, pads = list(nhwc(kernel.reads[0])), [(0, 0)]
    for axis, places in enumerate((rows, columns, channels), start=1):
        (inside,) = np.nonzero(places != PAD)
        first, end = int(inside[0]), int(inside[-1]) + 1
        pads.append((first, len(places) - end))
        picked = places[first:end]
        if (picked == PAD).any():
            raise no_operator(kernel, "fills in between")
        if not np.array_equal(picked, np.arange(shape[axis])):
            shape[axis] = len(picked)
            inputs = [current, model.int32(picked, [len(picked)])]
            result = model.value(buffer, tuple(shape))
            current = model.operator("GATHER", 2, inputs, result, "GatherOptions", Axis=axis)
    result = model.result(kernel)
    if any(map(any, pads)):
        inputs = [current, model.int32(pads, (4, 2)), model.value(buffer, (1,), [kernel.fill])]
        model.operator("PADV2", 2, inputs, result, "PadV2Options")
    else:
        model.numbers[kernel.output] = current


def _places_by_axis(kernel: Gather) -> tuple[NDArray[np.int64], ...] | None:
    """The places that are read along channels, rows and columns; None where one depends on
    another.
    """
    hole = kernel.source == PAD
    if hole.all():
        return None
    by_axis = []
    for axis, places in enumerate(np.unravel_index(np.maximum(kernel.source, 0), kernel.reads[0])):
        others = tuple(n for n in range(3) if n != axis)
        highest = np.where(hole, PAD, places).max(others)
        shape = [1, 1, 1]
        shape[axis] = -1
        if not np.array_equal(np.where(hole, PAD, places),
                              np.where(hole, PAD, highest.reshape(shape))):  # fmt: skip
            return None
        by_axis.append(highest)
    channels, rows, columns = by_axis
    empty_pixels = (channels == PAD)[:, None, None] | (rows == PAD)[:, None]
    filled = empty_pixels | (columns == PAD)
    return tuple(by_axis) if np.array_equal(filled, hole) else None


FAMILY = KernelFamily(
    record=Gather,
    lowerings={"gather": _lower},
    obstacle=no_obstacle,
    reference=_reference,
    torch_function=_torch_function,
    in_place=False,
    windows=no_windows,
    write_c=_write_c,
    step_per_input=False,
    write_tflite=_write_tflite,
)

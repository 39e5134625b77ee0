"""What kernels of two operands share: their lowering and their record in generated C."""

from math import prod
from typing import Any

from pruning.deploy.context.c_source import CSource, c_factor, c_shape
from pruning.deploy.context.lowering import LoweringContext, as_numpy
from pruning.deploy.fixed_point import FixedPointMultiplier
from pruning.deploy.integer_ir import IntegerKernel, Shape3, channels_last
from pruning.ir.kernel import Kernel

NO_FACTORS = (None, None)  # operands that are not scaled


def binary_fields(
    kernel: Kernel, context: LoweringContext, inverse: bool = False
) -> dict[str, Any]:
    """The fields of a kernel of two operands; a stored operand, or its inverse, becomes a
    constant.
    """
    fields = context.fields(kernel)
    if stored := context.parameters(kernel):
        (tensor,) = stored.values()
        values = as_numpy(tensor).reshape(kernel.main.attributes["shape"])[0]
        name = context.add_constant(kernel, 1 / values if inverse else values)
        order = slice(None, None, -1 if kernel.main.attributes["first"] else 1)
        fields["inputs"] = (*kernel.inputs, name)[order]
        fields["reads"] = (*fields["reads"], context.shapes[name])[order]
    return fields


def binary_record(
    kernel: IntegerKernel,
    source: CSource,
    index: int,
    factors: tuple[FixedPointMultiplier | None, FixedPointMultiplier | None],
    result: FixedPointMultiplier,
) -> str:
    """Define the record of a kernel of two operands, with the factors of the operands and that
    of the result; returns a pointer to it.
    """
    shape, *reads = (kernel.shape, *kernel.reads)
    if set(reads) == {shape}:  # element by element
        shape, *reads = [(prod(shape), 1, 1)] * 3
    operands = zip(("first", "second"), kernel.inputs, reads, factors, strict=True)
    settings: dict[str, Any] = {"out": c_shape(shape)}
    for name, buffer, read, factor in operands:
        settings[name] = _operand(read, factor, source.zero_point(buffer))
    settings |= {"other": source.pointer(kernel.inputs[1]), "factor": c_factor(result)}
    settings |= source.output_params(kernel)
    return source.record("paring_binary_params", f"binary{index}", settings)


def _operand(read: Shape3, factor: FixedPointMultiplier | None, zero: int) -> str:
    """An operand's steps: where it has one pixel, or one channel, it stays where it is."""
    height, width, channels = channels_last(read)
    steps = (
        width * channels if height > 1 else 0,
        channels if width > 1 else 0,
        1 if channels > 1 else 0,
    )
    scale = "{0, 0}" if factor is None else c_factor(factor)
    return f"{{{', '.join(map(str, steps))}, {scale}, {zero}}}"

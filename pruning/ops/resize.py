"""Linear and bilinear upsampling; nearest-neighbour upsampling is a gather."""

# ruff: noqa: ARG001 - the functions of a rule all take the same arguments

from torch import Tensor
from torch.fx import Node
from torch.nn import functional

from pruning.ir.operator import Operator
from pruning.ops.base import Conversion, OperatorKind, Tensors
from pruning.ops.fx_nodes import Arguments, batched_shape
from pruning.ops.rules import (
    CHANNEL_BY_CHANNEL,
    never,
    one_routine,
    window_per_element,
    without_weights,
)


def _resize(node: Node, a: Arguments) -> Conversion:
    sizes, scales = a["output_size"], a["scale_factors"]
    attributes = {
        "kernel": [2] * (len(batched_shape(node)) - 2),  # neighbours between which it lies
        "size": None if sizes is None else [int(s) for s in sizes],
        "scales": None if scales is None else [float(s) for s in scales],
        "align_corners": bool(a["align_corners"]),
    }
    return Conversion("resize", attributes, (a["input"],))


def _compute(o: Operator, inputs: list[Tensor], parameters: Tensors, training: bool) -> Tensor:
    a = o.attributes
    return functional.interpolate(
        inputs[0],
        a["size"],
        a["scales"],
        mode="linear" if len(a["kernel"]) == 1 else "bilinear",
        align_corners=a["align_corners"],
    )


KINDS = (
    OperatorKind(
        name="resize",
        converters=dict.fromkeys(
            ("aten.upsample_linear1d.vec", "aten.upsample_bilinear2d.vec"), _resize
        ),
        channels=CHANNEL_BY_CHANNEL,
        execution=without_weights(_compute, never),
        folds_norm=False,
        clamps=True,
        kernel=one_routine("resize", None, window_per_element),
    ),
)

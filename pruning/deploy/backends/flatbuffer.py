"""Files of TensorFlow Lite: tensors and operators as the bytes of a flatbuffer.

Only what an interpreter reads is written: no names, no descriptions, no signatures.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import flatbuffers
import numpy as np
import tflite
from numpy.typing import NDArray

from pruning.deploy.context.tflite_model import TfliteOperator, TfliteTensor

SCHEMA, IDENTIFIER = 3, b"TFL3"
ALIGNED = 16  # bytes, of every buffer
TYPES = {"int8": tflite.TensorType.INT8, "int32": tflite.TensorType.INT32}


def packed(
    tensors: Sequence[TfliteTensor],
    operators: Sequence[TfliteOperator],
    inputs: Sequence[int],
    outputs: Sequence[int],
) -> bytes:
    """The file."""
    to = flatbuffers.Builder(1 << 16)
    stored = [tensor.data for tensor in tensors if tensor.data is not None]
    buffers = [_buffer(to, None), *(_buffer(to, data) for data in stored)]
    numbers = iter(range(1, len(buffers)))
    tensor_offsets = [_tensor(to, t, 0 if t.data is None else next(numbers)) for t in tensors]
    kinds = list(dict.fromkeys((o.builtin, o.version) for o in operators))
    operator_offsets = [_operator(to, o, kinds.index((o.builtin, o.version))) for o in operators]
    parts = {
        "Tensors": _offsets(to, tflite.SubGraphStartTensorsVector, tensor_offsets),
        "Operators": _offsets(to, tflite.SubGraphStartOperatorsVector, operator_offsets),
        "Inputs": to.CreateNumpyVector(np.array(inputs, np.int32)),
        "Outputs": to.CreateNumpyVector(np.array(outputs, np.int32)),
    }
    graphs = _offsets(to, tflite.ModelStartSubgraphsVector, [_table(to, "SubGraph", parts)])
    codes = [_table(to, "OperatorCode", _code(*kind)) for kind in kinds]
    fields = {
        "Version": SCHEMA,
        "OperatorCodes": _offsets(to, tflite.ModelStartOperatorCodesVector, codes),
        "Subgraphs": graphs,
        "Buffers": _offsets(to, tflite.ModelStartBuffersVector, buffers),
    }
    to.Finish(_table(to, "Model", fields), file_identifier=IDENTIFIER)
    return bytes(to.Output())


def _table(to: flatbuffers.Builder, kind: str, fields: Mapping[str, Any]) -> int:
    """A table of the schema; tables and vectors among its fields must have been made."""
    getattr(tflite, f"{kind}Start")(to)
    for name, value in fields.items():
        getattr(tflite, f"{kind}Add{name}")(to, value)
    offset: int = getattr(tflite, f"{kind}End")(to)
    return offset


def _offsets(
    to: flatbuffers.Builder,
    start: Callable[[flatbuffers.Builder, int], int],
    offsets: Sequence[int],
) -> int:
    start(to, len(offsets))
    for offset in reversed(offsets):
        to.PrependUOffsetTRelative(offset)
    end: int = to.EndVector()
    return end


def _buffer(to: flatbuffers.Builder, data: NDArray[Any] | None) -> int:
    if data is None:
        return _table(to, "Buffer", {})
    content = np.ascontiguousarray(data).tobytes()
    to.StartVector(1, len(content), ALIGNED)
    to.head -= len(content)
    to.Bytes[to.head : to.head + len(content)] = content
    return _table(to, "Buffer", {"Data": to.EndVector()})


def _tensor(to: flatbuffers.Builder, tensor: TfliteTensor, buffer: int) -> int:
    shape = to.CreateNumpyVector(np.array(tensor.shape, np.int32))
    fields = {"Shape": shape, "Type": TYPES[tensor.kind], "Buffer": buffer}
    if tensor.scales:
        code = {
            "Scale": to.CreateNumpyVector(np.array(tensor.scales, np.float32)),
            "ZeroPoint": to.CreateNumpyVector(np.full(len(tensor.scales), tensor.zero, np.int64)),
            "QuantizedDimension": tensor.axis,
        }
        fields["Quantization"] = _table(to, "QuantizationParameters", code)
    return _table(to, "Tensor", fields)


def _operator(to: flatbuffers.Builder, operator: TfliteOperator, kind: int) -> int:
    fields = {
        "OpcodeIndex": kind,
        "Inputs": to.CreateNumpyVector(np.array(operator.inputs, np.int32)),
        "Outputs": to.CreateNumpyVector(np.array(operator.outputs, np.int32)),
    }
    if operator.options:
        fields["BuiltinOptionsType"] = getattr(tflite.BuiltinOptions, operator.options)
        fields["BuiltinOptions"] = _table(to, operator.options, operator.fields)
    return _table(to, "Operator", fields)


def _code(builtin: str, version: int) -> dict[str, int]:
    number = getattr(tflite.BuiltinOperator, builtin)
    return {"DeprecatedBuiltinCode": number, "BuiltinCode": number, "Version": version}

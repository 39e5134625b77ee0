"""From a torch model to a `Graph`, by `torch.export` and a table of the operators we know.

An operator outside the table is refused with its name, type and place: nothing is ever
costed as zero because it was not understood.
"""

import warnings
from collections.abc import Callable, Mapping
from math import prod
from typing import Any

import torch
from torch import Tensor, nn

from pruning.errors import UnsupportedOperatorError
from pruning.graph import INPUT, Graph, Operator

BATCH = 2  # any batch above one, so that a batch axis is not mistaken for a broadcast one
Arguments = dict[str, Any]
Built = tuple[str, dict[str, Any], tuple[str, ...]]  # kind, attributes, argument names of inputs


def trace(model: nn.Module, example: Tensor, keep: tuple[str, ...] = ()) -> Graph:
    """The graph of `model` in inference mode.

    `example` is one input without its batch axis, shaped (channels, *spatial). `keep` names
    modules whose output channels are not pruned (a prefix names all modules below it).

    Raises:
        UnsupportedOperatorError: the model cannot be exported, or holds an unknown operator.
    """
    program = _export(model, torch.stack([example] * BATCH))
    names = _tensor_names(program)
    values: dict[str, str] = {}
    operators: list[Operator] = []
    for node in program.graph.nodes:
        if node.op == "placeholder" and node.name not in names:
            values[node.name] = INPUT
        elif node.op == "call_function":
            operator = _translate(node, values, names, {o.name for o in operators})
            if operator is None:
                values[node.name] = values[node.args[0].name]
                continue
            operators.append(operator)
            if _in_place(node):  # whoever reads the overwritten value from here on reads the result
                old = values[node.args[0].name]
                values = {key: operator.name if v == old else v for key, v in values.items()}
            values[node.name] = operator.name
        elif node.op == "output":
            outputs = tuple(values[out.name] for out in node.args[0] if out is not None)
    kept = tuple(o.name for o in operators if _is_kept(o.name, keep))
    _refuse_unknown_keep(keep, operators)
    live = _alive(operators, outputs)
    return Graph(input_shape=tuple(example.shape), operators=live, outputs=outputs, keep=kept)


def _export(model: nn.Module, batch: Tensor) -> torch.export.ExportedProgram:
    training = model.training
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return torch.export.export(model.eval(), (batch,), strict=False)
    except Exception as error:
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise UnsupportedOperatorError(
            f"{type(model).__name__} cannot be traced for inputs shaped {tuple(batch.shape)}: "
            f"{reason}. A model must be one static graph of tensor operators for one input size."
        ) from error
    finally:
        model.train(training)


def _in_place(node: torch.fx.Node) -> bool:
    return str(node.target).split(".")[1].endswith("_")


def _functional(node: torch.fx.Node) -> str:
    """The operator's name without the underscore of its in-place form."""
    library, name, *overload = str(node.target).split(".")
    return ".".join([library, name.removesuffix("_"), *overload])


def _tensor_names(program: torch.export.ExportedProgram) -> dict[str, str]:
    signature = program.graph_signature
    return {
        **signature.inputs_to_parameters,
        **signature.inputs_to_buffers,
        **signature.inputs_to_lifted_tensor_constants,
    }


def _is_kept(name: str, keep: tuple[str, ...]) -> bool:
    return any(name == entry or name.startswith(f"{entry}.") for entry in keep)


def _refuse_unknown_keep(keep: tuple[str, ...], operators: list[Operator]) -> None:
    for entry in keep:
        if not any(_is_kept(operator.name, (entry,)) for operator in operators):
            known = ", ".join(o.name for o in operators if o.parameters)
            raise UnsupportedOperatorError(f"keep: no layer is named {entry!r}; layers: {known}")


def _alive(operators: list[Operator], outputs: tuple[str, ...]) -> tuple[Operator, ...]:
    """The operators that some output depends on."""
    wanted = set(outputs)
    for operator in reversed(operators):
        if operator.name in wanted:
            wanted.update(operator.inputs)
    return tuple(operator for operator in operators if operator.name in wanted)


def _translate(
    node: torch.fx.Node, values: Mapping[str, str], names: Mapping[str, str], taken: set[str]
) -> Operator | None:
    """One node as an operator, or None where it only renames its first argument."""
    arguments = _arguments(node)
    target = _functional(node)
    if target in TRANSPARENT:
        return None
    if target not in TABLE:
        raise _unsupported(node, "an unknown operator")
    kind, attributes, inputs = TABLE[target](node, arguments)
    operands = [n for role in inputs for n in _nodes(arguments[role])]
    for operand in operands:
        if not isinstance(operand, torch.fx.Node) or operand.name not in values:
            raise _unsupported(node, f"a constant operand ({operand})")
    shape = _shape(node)
    return Operator(
        name=_name(node, arguments, names, taken),
        kind=kind,
        inputs=tuple(values[operand.name] for operand in operands),
        shape=shape,
        attributes=attributes,
        parameters={
            role: names[arguments[argument].name]
            for argument, role in ROLES.items()
            if isinstance(arguments.get(argument), torch.fx.Node)
            and arguments[argument].name in names
        },
    )


ROLES = {
    "weight": "weight",
    "bias": "bias",
    "running_mean": "mean",
    "running_var": "variance",
}

TRANSPARENT = {
    "aten.clone.default",
    "aten.alias.default",
    "aten.contiguous.default",
    "aten.detach.default",
    "aten.lift_fresh_copy.default",
}


def _nodes(argument: Any) -> list[Any]:
    return list(argument) if isinstance(argument, list | tuple) else [argument]


def _arguments(node: torch.fx.Node) -> Arguments:
    """The call's arguments by name, defaults filled in."""
    schema = getattr(node.target, "_schema", None)
    if schema is None:
        raise _unsupported(node, "not a tensor operator")
    named = {a.name: a.default_value for a in schema.arguments if a.has_default_value()}
    named.update(zip((a.name for a in schema.arguments), node.args, strict=False))
    return {**named, **node.kwargs}


def _meta(node: Any) -> Tensor:
    value = node.meta["val"]
    return value[0] if isinstance(value, list | tuple) else value  # type: ignore[no-any-return]


def _shape(node: Any) -> tuple[int, ...]:
    shape = tuple(int(size) for size in _meta(node).shape)
    if len(shape) < 2 or shape[0] != BATCH:
        raise _unsupported(node, f"a result shaped {shape} that does not begin with the batch")
    return shape[1:]


def _place(node: torch.fx.Node) -> str:
    stack = list((node.meta.get("nn_module_stack") or {}).values())
    return str(stack[-1][0]) if stack else ""


def _name(
    node: torch.fx.Node, arguments: Arguments, names: Mapping[str, str], taken: set[str]
) -> str:
    """The module's path for layers with weights, else the path and the operator."""
    weight = arguments.get("weight")
    if isinstance(weight, torch.fx.Node) and weight.name in names:
        name = names[weight.name].removesuffix(".weight")
    else:
        place, kind = _place(node), _functional(node).split(".")[1]
        name = f"{place}.{kind}" if place else kind
    if name not in taken:
        return name
    return next(f"{name}:{n}" for n in range(2, 1 << 16) if f"{name}:{n}" not in taken)


def _unsupported(node: torch.fx.Node, what: str) -> UnsupportedOperatorError:
    place = _place(node) or "the top level"
    return UnsupportedOperatorError(
        f"operator {node.name} of type {node.target} in {place}: {what}. "
        f"Supported: {', '.join(sorted({name.split('.')[1] for name in TABLE}))}."
    )


def _convolution(node: torch.fx.Node, a: Arguments) -> Built:
    dimensions = len(_meta(node).shape) - 2
    weight = _meta(a["weight"]).shape
    stride, dilation = _wide(a["stride"], dimensions), _wide(a["dilation"], dimensions)
    kernel = [int(size) for size in weight[2:]]
    padding = a["padding"]
    if padding == "same":
        total = [d * (k - 1) for d, k in zip(dilation, kernel, strict=True)]
        if any(t % 2 for t in total):
            raise _unsupported(node, f"asymmetric 'same' padding of an even kernel {kernel}")
        padding = [t // 2 for t in total]
    elif padding == "valid":
        padding = [0] * dimensions
    return (
        "conv",
        {
            "kernel": kernel,
            "stride": stride,
            "padding": _wide(padding, dimensions),
            "dilation": dilation,
            "groups": int(a["groups"]),
            "depthwise": int(a["groups"]) > 1 and int(weight[1]) == 1,
        },
        ("input",),
    )


def _wide(value: Any, dimensions: int) -> list[int]:
    values = [int(v) for v in _nodes(value)]
    return values * dimensions if len(values) == 1 else values


def _linear(node: torch.fx.Node, a: Arguments) -> Built:
    if len(_meta(node).shape) != 2:
        raise _unsupported(node, "a linear layer over more than one axis; flatten its input first")
    return "linear", {}, ("input",)


def _batch_norm(node: torch.fx.Node, a: Arguments) -> Built:
    if a.get("weight") is None or a.get("bias") is None:
        raise _unsupported(node, "a batch norm without scale and shift (affine=False)")
    if a.get("running_mean") is None:
        raise _unsupported(node, "a batch norm without running statistics")
    return "batch_norm", {"epsilon": float(a["eps"]), "momentum": float(a["momentum"])}, ("input",)


def _activation(function: str, *settings: str) -> Callable[[torch.fx.Node, Arguments], Built]:
    def build(node: torch.fx.Node, a: Arguments) -> Built:
        return "activation", {"function": function, **{s: float(a[s]) for s in settings}}, ("self",)

    return build


def _hardtanh(node: torch.fx.Node, a: Arguments) -> Built:
    low, high = float(a["min_val"]), float(a["max_val"])
    if (low, high) == (0.0, 6.0):
        return "activation", {"function": "relu6"}, ("self",)
    return "activation", {"function": "hardtanh", "min_val": low, "max_val": high}, ("self",)


def _pool(mode: str) -> Callable[[torch.fx.Node, Arguments], Built]:
    def build(node: torch.fx.Node, a: Arguments) -> Built:
        dimensions = len(_meta(node).shape) - 2
        kernel = _wide(a["kernel_size"], dimensions)
        if any(d != 1 for d in _nodes(a.get("dilation") or 1)):
            raise _unsupported(node, f"a dilated pooling {a['dilation']}")
        if a.get("divisor_override") is not None:
            raise _unsupported(node, "an average with its own divisor")
        attributes = {
            "mode": mode,
            "kernel": kernel,
            "stride": _wide(a["stride"] or kernel, dimensions),
            "padding": _wide(a["padding"], dimensions),
            "ceil": bool(a["ceil_mode"]),
            "count_padding": bool(a.get("count_include_pad", False)),
        }
        return "pool", attributes, (INPUT if "input" in a else "self",)

    return build


def _adaptive(node: torch.fx.Node, a: Arguments) -> Built:
    before, after = _meta(a["self"]).shape[2:], _meta(node).shape[2:]
    if any(b % o for b, o in zip(before, after, strict=True)):
        raise _unsupported(node, f"adaptive pooling from {tuple(before)} to {tuple(after)}")
    return _average([int(b // o) for b, o in zip(before, after, strict=True)])


def _mean(node: torch.fx.Node, a: Arguments) -> Built:
    before = _meta(a["self"]).shape
    axes = sorted(int(d) % len(before) for d in a["dim"])
    if len(before) < 3 or axes != list(range(2, len(before))):
        raise _unsupported(node, f"a mean over axes {a['dim']}; only over all spatial axes")
    kind, attributes, inputs = _average([int(size) for size in before[2:]])
    return kind, {**attributes, "squeeze": not a["keepdim"]}, inputs


def _average(kernel: list[int]) -> Built:
    attributes = {
        "mode": "average",
        "kernel": kernel,
        "stride": kernel,
        "padding": [0] * len(kernel),
        "ceil": False,
        "count_padding": False,
    }
    return "pool", attributes, ("self",)


def _elementwise(kind: str) -> Callable[[torch.fx.Node, Arguments], Built]:
    def build(node: torch.fx.Node, a: Arguments) -> Built:
        if a.get("alpha", 1) != 1:
            raise _unsupported(node, f"an addition scaled by {a['alpha']}")
        return kind, {}, ("self", "other")

    return build


def _concat(node: torch.fx.Node, a: Arguments) -> Built:
    if a["dim"] % len(_meta(node).shape) != 1:
        raise _unsupported(node, f"a concatenation along axis {a['dim']}; only along channels")
    return "concat", {}, ("tensors",)


def _flatten(node: torch.fx.Node, a: Arguments) -> Built:
    before, after = _meta(a["self"]).shape, _meta(node).shape
    if len(after) != 2 or prod(before[1:]) != after[1]:
        raise _unsupported(node, f"a reshape from {tuple(before)} to {tuple(after)}")
    return "flatten", {}, ("self",)


def _softmax(node: torch.fx.Node, a: Arguments) -> Built:
    if a["dim"] % len(_meta(node).shape) != 1:
        raise _unsupported(node, f"a softmax along axis {a['dim']}; only along channels")
    return "softmax", {}, ("self",)


def _dropout(node: torch.fx.Node, a: Arguments) -> Built:
    return "dropout", {"p": float(a["p"])}, ("input",)


TABLE: Mapping[str, Callable[[torch.fx.Node, Arguments], Built]] = {
    "aten.conv1d.default": _convolution,
    "aten.conv1d.padding": _convolution,
    "aten.conv2d.default": _convolution,
    "aten.conv2d.padding": _convolution,
    "aten.linear.default": _linear,
    "aten.batch_norm.default": _batch_norm,
    "aten.relu.default": _activation("relu"),
    "aten.relu6.default": _activation("relu6"),
    "aten.hardtanh.default": _hardtanh,
    "aten.hardswish.default": _activation("hardswish"),
    "aten.hardsigmoid.default": _activation("hardsigmoid"),
    "aten.sigmoid.default": _activation("sigmoid"),
    "aten.silu.default": _activation("silu"),
    "aten.tanh.default": _activation("tanh"),
    "aten.leaky_relu.default": _activation("leaky_relu", "negative_slope"),
    "aten.elu.default": _activation("elu", "alpha"),
    "aten.gelu.default": _activation("gelu"),
    "aten.max_pool1d.default": _pool("max"),
    "aten.max_pool2d.default": _pool("max"),
    "aten.avg_pool1d.default": _pool("average"),
    "aten.avg_pool2d.default": _pool("average"),
    "aten.adaptive_avg_pool1d.default": _adaptive,
    "aten.adaptive_avg_pool2d.default": _adaptive,
    "aten.mean.dim": _mean,
    "aten.add.Tensor": _elementwise("add"),
    "aten.mul.Tensor": _elementwise("multiply"),
    "aten.cat.default": _concat,
    "aten.flatten.using_ints": _flatten,
    "aten.view.default": _flatten,
    "aten.reshape.default": _flatten,
    "aten.squeeze.dims": _flatten,
    "aten.squeeze.dim": _flatten,
    "aten.dropout.default": _dropout,
    "aten.softmax.int": _softmax,
}

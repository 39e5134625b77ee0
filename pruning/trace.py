"""From a torch model to a `Graph`, by `torch.export` and a table of the operators we know.

An operator outside the table is refused with its name, type and place: nothing is ever
costed as zero because it was not understood.
"""

import warnings
from collections.abc import Mapping

import torch
from torch import Tensor, nn
from torch.fx import Node

from pruning.errors import UnsupportedOperatorError
from pruning.graph import Graph
from pruning.operators import (
    BATCH,
    COPIES,
    TABLE,
    VIEWS,
    Arguments,
    arguments_of,
    functional_name,
    is_rename,
    listed,
    place_of,
    shape_of,
    unsupported,
)
from pruning.records import INPUT, Operator

ROLES = {
    "weight": "weight",
    "bias": "bias",
    "running_mean": "mean",
    "running_var": "variance",
}


def trace(model: nn.Module, example: Tensor, keep: tuple[str, ...] = ()) -> Graph:
    """The graph of `model` in inference mode.

    `example` is one input without its batch axis, shaped (channels, *spatial). `keep` names
    modules whose output channels are not pruned (a prefix names all modules below it).

    Raises:
        UnsupportedOperatorError: the model cannot be exported, or holds an unknown operator.
    """
    program = _export(model, torch.stack([example] * BATCH))
    walk = _Walk(_tensor_names(program))
    outputs: tuple[str, ...] = ()
    for node in program.graph.nodes:
        if node.op == "output":
            outputs = walk.outputs(node)
        else:
            walk.visit(node)
    kept = tuple(o.name for o in walk.operators if _is_kept(o.name, keep))
    _refuse_unknown_keep(keep, walk.operators)
    live = _alive(walk.operators, outputs)
    alive = {operator.name for operator in live}
    kept = tuple(name for name in kept if name in alive)
    return Graph(input_shape=tuple(example.shape), operators=live, outputs=outputs, keep=kept)


def _export(model: nn.Module, batch: Tensor) -> torch.export.ExportedProgram:
    modes = {module: module.training for module in model.modules()}
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return torch.export.export(model.eval(), (batch,), strict=False)
    except Exception as error:
        reason = next(iter(str(error).strip().splitlines()), type(error).__name__)
        raise UnsupportedOperatorError(
            f"{type(model).__name__} cannot be traced for inputs shaped {tuple(batch.shape)}: "
            f"{reason}. A model must be one static graph of tensor operators for one input "
            "size."
        ) from error
    finally:
        for module, training in modes.items():
            module.training = training


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
            raise UnsupportedOperatorError(
                f"keep: no layer is named {entry!r}; layers: {known}"
            )


def _alive(operators: list[Operator], outputs: tuple[str, ...]) -> tuple[Operator, ...]:
    """The operators that some output depends on."""
    wanted = set(outputs)
    for operator in reversed(operators):
        if operator.name in wanted:
            wanted.update(operator.inputs)
    return tuple(operator for operator in operators if operator.name in wanted)


class _Walk:
    """The nodes seen so far: which value each of them stands for, and in whose memory.

    An in-place operator changes the value of every node that shares its operand's memory.
    """

    def __init__(self, names: Mapping[str, str]) -> None:
        self.names = names
        self.operators: list[Operator] = []
        self.values: dict[Node, str] = {}
        self.memory: dict[Node, Node] = {}
        self.seen: set[Node] = set()

    def visit(self, node: Node) -> None:
        self.seen.add(node)
        if node.op == "placeholder":
            if node.name not in self.names:
                self.values[node], self.memory[node] = INPUT, node
            return
        if node.op != "call_function":
            raise unsupported(node, "not a tensor operator")
        arguments = arguments_of(node)
        name = functional_name(node)
        source = next((a for a in node.args[:1] if isinstance(a, Node)), node)
        shares = name in VIEWS or _in_place(node)
        self.memory[node] = self.memory.get(source, node) if shares else node
        if name in COPIES or is_rename(node):
            self.values[node] = self._value(node, source)
            return
        operator = self._operator(node, arguments)
        self.operators.append(operator)
        if _in_place(node):
            self._overwrite(node, self.values[source], operator.name)
        self.values[node] = operator.name

    def outputs(self, node: Node) -> tuple[str, ...]:
        made = [out for out in listed(node.args[0]) if out is not None]
        return tuple(self._value(node, out) for out in made)

    def _overwrite(self, node: Node, old: str, result: str) -> None:
        """Whoever reads the overwritten value from here on reads the result."""
        for other, value in self.values.items():
            if self.memory[other] is not self.memory[node]:
                continue
            if value == old:
                self.values[other] = result
            elif not self.seen.issuperset(other.users):
                raise unsupported(node, f"an in-place change of memory that {other} views")

    def _operator(self, node: Node, arguments: Arguments) -> Operator:
        if functional_name(node) not in TABLE:
            raise unsupported(node, "an unknown operator")
        kind, attributes, inputs = TABLE[functional_name(node)](node, arguments)
        operands = [n for role in inputs for n in listed(arguments[role])]
        return Operator(
            name=self._name(node, arguments),
            kind=kind,
            inputs=tuple(self._value(node, operand) for operand in operands),
            shape=shape_of(node),
            attributes=attributes,
            parameters={
                role: self.names[arguments[argument].name]
                for argument, role in ROLES.items()
                if self._is_stored(arguments.get(argument))
            },
        )

    def _is_stored(self, argument: object) -> bool:
        return isinstance(argument, Node) and argument.name in self.names

    def _value(self, node: Node, operand: object) -> str:
        if not isinstance(operand, Node) or operand not in self.values:
            raise unsupported(node, f"a constant operand ({operand})")
        return self.values[operand]

    def _name(self, node: Node, arguments: Arguments) -> str:
        """The module's path for layers with weights, else the path and the operator."""
        weight = arguments.get("weight")
        if isinstance(weight, Node) and weight.name in self.names:
            name = self.names[weight.name].removesuffix(".weight")
        else:
            place, kind = place_of(node), functional_name(node).split(".")[1]
            name = f"{place}.{kind}" if place else kind
        taken = {operator.name for operator in self.operators} | {INPUT}
        if name not in taken:
            return name
        return next(f"{name}:{n}" for n in range(2, 1 << 16) if f"{name}:{n}" not in taken)


def _in_place(node: Node) -> bool:
    return str(node.target).split(".")[1].endswith("_")

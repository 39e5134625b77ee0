"""One pass over an exported program: from its nodes to operators."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import count
from math import prod
from operator import getitem
from typing import Any

import torch
from torch.fx import Node

from pruning.frontend.index_map import (
    DATA_MOVEMENT,
    STACK,
    VIEWS,
    IndexMap,
    apply,
    gather_attributes,
    has_fill_conflict,
)
from pruning.ir.operator import INPUT, Operator, Shape
from pruning.ops import CONVERTERS, OPERATORS
from pruning.ops.base import Conversion
from pruning.ops.elementwise import FUNCTIONS, is_broadcast, is_neutral
from pruning.ops.fx_nodes import (
    Arguments,
    ConstantRef,
    arguments_of,
    as_list,
    batched_shape,
    functional_name,
    in_place,
    is_same_type,
    module_path,
    shape_of,
    unsupported_error,
)

CHECKS = {"aten._assert_tensor_metadata.default"}  # they compute nothing
TRAP = (RuntimeError, TypeError, ValueError, IndexError, NotImplementedError)


class GraphImporter:
    """The nodes seen so far: which value or moved elements each stands for, in whose memory.

    Data movement becomes an operator only where somebody reads its result. An in-place operator
    changes the value of every node that shares its operand's memory.
    """

    def __init__(
        self, program: torch.export.ExportedProgram, shape: Shape, first: Mapping[str, str]
    ) -> None:
        """`first` maps every name of a tensor to the one that the graph uses: tied tensors have
        several.
        """
        signature = program.graph_signature
        lifted = signature.inputs_to_lifted_tensor_constants
        trained = signature.inputs_to_parameters
        inputs = {**trained, **signature.inputs_to_buffers, **lifted}
        self.names = {node: first.get(name, name) for node, name in inputs.items()}
        self.trained, self.lifted = {self.names[n] for n in trained}, set(lifted.values())
        stored = {**program.state_dict, **program.constants}
        self.tensors: dict[str, Any] = {first.get(n, n): t for n, t in stored.items()}
        self.operators: list[Operator] = []
        self.paths: dict[str, str] = {}  # of operators: their names without numbers
        self.shapes: dict[str, Shape] = {INPUT: shape}
        self.values: dict[Node, str] = {}
        self.moves: dict[Node, list[IndexMap]] = {}
        self.memory: dict[Node, Node] = {}
        self.seen: set[Node] = set()

    def visit(self, node: Node) -> None:
        """Take in the next node of the program.

        Raises:
            UnsupportedOperatorError: it cannot be translated.
        """
        self.seen.add(node)
        source = next((a for a in node.args[:1] if isinstance(a, Node)), node)
        name = functional_name(node)
        shares = name in VIEWS or in_place(node) or node.target is getitem or is_same_type(node)
        self.memory[node] = self.memory.get(source, node) if shares else node
        if node.op == "placeholder":
            self._placeholder(node)
        elif node.op == "get_attr":
            raise unsupported_error(node, "a block of its own (no_grad, autocast, cond) in forward")
        elif node.op != "call_function":
            raise unsupported_error(node, "not a tensor operator")
        elif node.target is getitem:
            self._pick(node, source)
        elif name in CHECKS:
            return
        elif is_broadcast(node) or is_same_type(node) or is_neutral(node):
            self._same(node, source)
        elif name in DATA_MOVEMENT:
            self._move(node, source)
        else:
            self._compute(node, source)

    def value(self, node: Node, operand: object) -> str:
        """The value that a node reads; moved data gets its operator here."""
        if not isinstance(operand, Node):
            raise unsupported_error(node, f"a constant operand ({operand})")
        if operand not in self.values:
            moves = self.moves.get(operand, [])
            if len(moves) != 1 or moves[0].stored:
                raise unsupported_error(node, f"a constant operand ({operand})")
            self.values[operand] = self._carried(operand, moves[0])
        return self.values[operand]

    def _placeholder(self, node: Node) -> None:
        if node.name in self.names:
            name = self.names[node.name]
            self.moves[node] = [IndexMap.identity(name, batched_shape(node), stored=True)]
        else:
            self.values[node] = INPUT

    def _same(self, node: Node, source: Node) -> None:
        if source in self.values:
            self.values[node] = self.values[source]
        elif source in self.moves:
            self.moves[node] = self.moves[source]

    # -- moving

    def _pick(self, node: Node, source: Node) -> None:
        """One of several results. Of those that are computed only the first is a value."""
        index = int(node.args[1])  # type: ignore[arg-type]
        if source in self.moves:
            self._moved(node, [self.moves[source][index]])
        elif index == 0 and source in self.values:
            self.values[node] = self.values[source]

    def _move(self, node: Node, source: Node) -> None:
        stacks = functional_name(node) == STACK
        movement = self._stacked(node) if stacks else self._movement(node, source)
        if has_fill_conflict(node, movement):
            name = self.value(node, source)
            movement = IndexMap.identity(name, self.shapes[name])
        others = [self._known(node, argument) for argument in node.args[1:]]
        try:
            self._moved(node, apply(node, movement, others))
        except TRAP as error:
            raise unsupported_error(node, f"data moved in an unknown way ({error})") from error

    def _movement(self, node: Node, source: Node) -> IndexMap:
        """What was moved so far where a node reads."""
        if source in self.moves and source not in self.values:
            return self.moves[source][0]
        name = self.value(node, source)
        return IndexMap.identity(name, self.shapes[name])

    def _stacked(self, node: Node) -> IndexMap:
        """Stacking is moving within a concatenation of what is stacked."""
        parts = tuple(self.value(node, part) for part in as_list(node.args[0]))
        channels, *rest = self.shapes[parts[0]]
        shape = (channels * len(parts), *rest)
        name = self._add(self._name(node, "concat"), "concat", parts, shape)
        return IndexMap.identity(name, shape)

    def _moved(self, node: Node, results: list[IndexMap]) -> None:
        first = results[0]
        if len(results) == 1 and not first.stored and first.is_identity:
            self.values[node] = first.source
        else:
            self.moves[node] = results

    def _known(self, node: Node, argument: Any) -> Any:
        """An argument of a movement with tensors for nodes."""
        if isinstance(argument, list | tuple):
            return [self._known(node, entry) for entry in argument]
        if not isinstance(argument, Node):
            return argument
        moves = self.moves.get(argument)
        if moves and moves[0].stored and not self.tensors[moves[0].source].is_meta:
            numbers = moves[0].numbers.long() - 1
            return (
                self.tensors[moves[0].source]
                .detach()
                .flatten()[numbers.flatten()]
                .reshape(numbers.shape)
            )
        if functional_name(node).endswith("_as.default"):  # only its shape is asked for
            return torch.empty(batched_shape(argument), device="cpu")
        raise unsupported_error(node, f"elements chosen by a computed tensor ({argument})")

    def _carried(self, node: Node, movement: IndexMap, does: str = "") -> str:
        """Elements that were moved, as a value."""
        shape = tuple(movement.numbers.shape[1:])
        if not movement.numbers.numel():
            raise unsupported_error(
                node, f"a result shaped {tuple(movement.numbers.shape)}: nothing"
            )
        if not movement.is_per_sample:
            batched = tuple(movement.numbers.shape)
            raise unsupported_error(
                node, f"a result shaped {batched} that does not begin with the batch"
            )
        vector = len(shape) == 1 or prod(movement.shape[1:]) == 1
        inputs = (movement.source,)
        if movement.is_reshape and (vector or shape[0] == movement.shape[0]):
            return self._add(self._name(node, does), "flatten", inputs, shape)
        return self._add(
            self._name(node, does), "gather", inputs, shape, gather_attributes(movement)
        )

    # -- computing

    def _compute(self, node: Node, source: Node) -> None:
        name = functional_name(node)
        if name not in CONVERTERS:
            supported = ", ".join(sorted({n.split(".")[1] for n in (*CONVERTERS, *DATA_MOVEMENT)}))
            raise unsupported_error(node, f"an unknown operator. Supported: {supported}")
        arguments = {key: self._argument(node, a) for key, a in arguments_of(node).items()}
        if not any(
            isinstance(a, Node) for argument in arguments.values() for a in as_list(argument)
        ):
            raise unsupported_error(
                node, "a constant that is computed; register the result as a buffer"
            )
        conversion = self._turned(CONVERTERS[name](node, arguments))
        attributes = dict(conversion.attributes)
        channels_last = attributes.pop("channels_last", False)
        movements = self._passed(node, source, conversion)
        if movements:
            shape, inputs = movements[0].shape, [movement.source for movement in movements]
        elif channels_last:
            *pixels, channels = shape_of(node)
            shape = (channels, *pixels)
            inputs = [self._channels_first(node, operand) for operand in conversion.inputs]
        else:
            shape = shape_of(node)
            inputs = [self.value(node, operand) for operand in conversion.inputs]
        parameters = {role: stored.name for role, stored in conversion.parameters.items()}
        value = self._add(
            self._layer_name(node, arguments),
            conversion.kind,
            inputs,
            shape,
            attributes,
            parameters,
        )
        if in_place(node) and not movements:
            self._overwrite(node, self.values[source], value)
        if movements:
            self.moves[node] = [replace(movements[0], source=value)]
            if in_place(node):
                self.moves[source] = self.moves[node]
        elif channels_last:
            result = IndexMap.identity(value, shape)
            self.moves[node] = [replace(result, numbers=result.numbers.movedim(1, -1))]
        else:
            self.values[node] = value

    def _passed(self, node: Node, source: Node, built: Conversion) -> list[IndexMap] | None:
        """The movements, all alike, behind a function of each element instead of before."""
        by_element = OPERATORS[built.kind].execution.each_element_alone
        # What drops whole channels, or spreads one over others, has to know which they are.
        by_channel = built.attributes.get("channels") or built.attributes.get("spread")
        if not by_element or built.parameters or by_channel:
            return None
        if in_place(node) and self._is_viewed(node, source):
            return None
        moves = [self._only_moved(operand) for operand in built.inputs]
        movements = [movement for movement in moves if movement is not None]
        if len(movements) < len(moves) or not movements[0].is_permutation:
            return None
        first, *others = movements
        same = (
            other.shape == first.shape and torch.equal(other.numbers, first.numbers)
            for other in others
        )
        return movements if all(same) else None

    def _only_moved(self, node: Node) -> IndexMap | None:
        """How what a node reads was moved, where no operator has moved it yet."""
        return self.moves[node][0] if node in self.moves and node not in self.values else None

    def _is_viewed(self, node: Node, source: Node) -> bool:
        """Whether somebody else may still read the memory that a node overwrites."""
        return any(
            memory is self.memory[node]
            and other not in (node, source)
            and not self.seen.issuperset(other.users)
            for other, memory in self.memory.items()
        )

    def _turned(self, built: Conversion) -> Conversion:
        """A constant along the last axis of channels that were turned there is one of them."""
        movement, constants = self._only_moved(built.inputs[0]), [*built.parameters.values()]
        if built.kind not in FUNCTIONS or movement is None or len(constants) != 1:
            return built
        shape, rank = constants[0].own, movement.numbers.dim()
        turned = replace(movement, numbers=movement.numbers.movedim(-1, 1))
        along_last = prod(shape) == shape[-1] == movement.shape[0]
        if rank < 3 or not along_last or not turned.is_identity:
            return built
        along = {"shape": [1, -1, *[1] * (rank - 2)], "axis": len(shape) - 1, "elements": 1}
        return built._replace(attributes={**built.attributes, **along, "channels_last": True})

    def _channels_first(self, node: Node, operand: Node) -> str:
        """A value whose last axis is to be its channels; often it was just turned that way."""
        movement = self._movement(node, operand)
        turned = replace(movement, numbers=movement.numbers.movedim(-1, 1))
        return turned.source if turned.is_identity else self._carried(node, turned, "move")

    def _argument(self, node: Node, argument: Any) -> Any:
        """An argument as the rules of the table take it."""
        if isinstance(argument, list | tuple):
            return [self._argument(node, entry) for entry in argument]
        if not isinstance(argument, Node):
            return argument
        moves = self.moves.get(argument, [])
        if argument in self.values or (moves and not moves[0].stored):
            return argument
        if not moves:
            raise unsupported_error(node, f"a constant operand ({argument})")
        return self._stored(node, moves[0])

    def _stored(self, node: Node, movement: IndexMap) -> ConstantRef | float:
        name, shape = movement.source, tuple(movement.numbers.shape)
        if name in self.lifted and prod(movement.shape) == 1:
            return float(self.tensors[name])
        if name in self.lifted:
            raise unsupported_error(node, f"a constant operand ({name}): register it as a buffer")
        if not movement.is_reshape:
            raise unsupported_error(node, f"a constant operand ({name}) whose elements are moved")
        return ConstantRef(name=name, shape=shape, own=movement.shape, trained=name in self.trained)

    def _overwrite(self, node: Node, old: str, result: str) -> None:
        """Whoever reads the overwritten value from here on reads the result."""
        for other, memory in self.memory.items():
            if memory is not self.memory[node] or other is node:
                continue
            if self.values.get(other) == old:
                self.values[other] = result
            elif not self.seen.issuperset(other.users):
                raise unsupported_error(node, f"an in-place change of memory that {other} views")

    # -- naming

    def _add(
        self,
        name: str,
        kind: str,
        inputs: Sequence[str],
        shape: Shape,
        attributes: dict[str, Any] | None = None,
        parameters: dict[str, str] | None = None,
    ) -> str:
        operator = Operator(
            name=name,
            kind=kind,
            inputs=tuple(inputs),
            shape=shape,
            attributes=attributes or {},
            parameters=parameters or {},
        )
        self.operators.append(operator)
        self.shapes[name] = shape
        return name

    def _layer_name(self, node: Node, arguments: Arguments) -> str:
        """Layers with weights bear their path."""
        weight = arguments.get("weight")
        if isinstance(weight, ConstantRef):
            return self._free(weight.name.removesuffix(".weight"))
        return self._name(node)

    def _name(self, node: Node, kind: str = "") -> str:
        """The path of the node's module, and what it does."""
        if node.target is getitem:  # one of several results is named after the call
            node = node.all_input_nodes[0]
        place, does = module_path(node), kind or functional_name(node).split(".")[1]
        return self._free(f"{place}.{does}" if place else does)

    def _free(self, path: str) -> str:
        """A path as a name, with a number behind it from its second call on."""
        names_taken = {operator.name for operator in self.operators} | {INPUT}
        names = (path if n == 1 else f"{path}:{n}" for n in count(1))
        name = next(name for name in names if name not in names_taken)
        self.paths[name] = path
        return name

"""From a torch model to a `Graph`, by `torch.export` and a table of the operators we know.

An operator outside the table is refused with its name, type and place: nothing is ever
costed as zero because it was not understood.
"""

import warnings

import torch
from torch import Tensor, nn

from pruning.errors import UnsupportedOperatorError
from pruning.graph import Graph
from pruning.nodes import BATCH, listed
from pruning.records import Operator
from pruning.walk import Walk


def trace(model: nn.Module, example: Tensor, keep: tuple[str, ...] = ()) -> Graph:
    """The graph of `model` in inference mode.

    `example` is one input without its batch axis, shaped (channels, *spatial). `keep` names
    modules whose output channels are not pruned (a prefix names all modules below it).

    Raises:
        UnsupportedOperatorError: the model cannot be exported, or holds an unknown operator.
    """
    program = _export(model, torch.stack([example] * BATCH))
    walk = Walk(program, tuple(example.shape))
    outputs: tuple[str, ...] = ()
    for node in program.graph.nodes:
        if node.op == "output":
            made = [out for out in listed(node.args[0]) if out is not None]
            outputs = tuple(walk.value(node, out) for out in made)
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

"""From a torch model to a `Graph`, by `torch.export` and a table of the operators we know.

An operator outside the table is refused with its name, type and place: nothing is ever
costed as zero because it was not understood.
"""

import contextlib
import logging
import re
import warnings
from collections.abc import Iterator, Mapping

import torch
from torch import Tensor, nn

from pruning.errors import UnsupportedOperatorError
from pruning.execution.network import BUFFERS
from pruning.frontend.importer import GraphImporter
from pruning.graph.graph import Graph
from pruning.ir.operator import Operator
from pruning.ops import kind_of
from pruning.ops.fx_nodes import BATCH, as_list


def trace(
    model: nn.Module,
    example: Tensor,
    ignored_layers: tuple[str, ...] = (),
    min_channels: Mapping[str, int] | None = None,
    round_to: int = 1,
) -> Graph:
    """The graph of `model` in inference mode.

    `example` is one input without its batch axis, shaped (channels, *spatial). `ignored_layers`
    names modules whose output channels are not pruned (a prefix names all modules below it),
    `min_channels` the fewest channels that modules may be pruned to; pruned widths are multiples
    of `round_to`.

    Raises:
        UnsupportedOperatorError: the model cannot be exported, or holds an unknown operator.
    """
    if not example.dim():
        raise UnsupportedOperatorError("a sample is one number; give it an axis of channels")
    program = _export(model, torch.stack([example] * BATCH))
    importer = GraphImporter(program, tuple(example.shape), _first_names(model))
    outputs: tuple[str, ...] = ()
    for node in program.graph.nodes:
        if node.op == "output":
            results = [out for out in as_list(node.args[0]) if out is not None]
            outputs = tuple(importer.value(node, out) for out in results)
        else:
            importer.visit(node)
    _refuse_unwritable(importer.operators)
    min_channels = min_channels or {}
    _refuse_unknown("ignored_layers", ignored_layers, importer)
    _refuse_unknown("min_channels", tuple(min_channels), importer)
    _refuse_below_one({**min_channels, "round_to": round_to})
    live, paths = _alive(importer.operators, outputs), importer.paths
    if all(kind_of(operator).kernel is None for operator in live):
        raise UnsupportedOperatorError(
            f"{type(model).__name__} computes nothing that its outputs depend on"
        )
    return Graph(
        input_shape=tuple(example.shape),
        operators=live,
        outputs=outputs,
        ignored_layers=tuple(o.name for o in live if _is_named(paths[o.name], ignored_layers)),
        min_channels={
            o.name: max(
                n for entry, n in min_channels.items() if _is_named(paths[o.name], (entry,))
            )
            for o in live
            if _is_named(paths[o.name], tuple(min_channels))
        },
        round_to=round_to,
        frozen=_frozen(model, live),
    )


def _frozen(model: nn.Module, operators: tuple[Operator, ...]) -> tuple[str, ...]:
    """The tensors in roles that are trained which the model does not want trained."""
    learnt = {name for name, p in model.named_parameters() if p.requires_grad}
    used = [pair for operator in operators for pair in operator.parameters.items()]
    return tuple(sorted({name for role, name in used if role not in BUFFERS} - learnt))


def tensors_of(model: nn.Module) -> dict[str, Tensor]:
    """Copies of the parameters and buffers of a model, as the operators of its graph name them:
    those that no state dict holds among them.
    """
    named = [*model.named_parameters(), *model.named_buffers()]
    return {name: tensor.detach().clone() for name, tensor in named}


def _first_names(model: nn.Module) -> dict[str, str]:
    """Of every name of a parameter or buffer, the one that `tensors_of` calls it."""
    pairs = [
        *model.named_parameters(remove_duplicate=False),
        *model.named_buffers(remove_duplicate=False),
    ]
    names: dict[int, str] = {}
    return {name: names.setdefault(id(tensor), name) for name, tensor in pairs}


@contextlib.contextmanager
def _silenced(name: str) -> Iterator[None]:
    """Without the lines of a logger: torch prints tracebacks of what it raises all the same."""
    logger = logging.getLogger(name)
    disabled, logger.disabled = logger.disabled, True
    try:
        yield
    finally:
        logger.disabled = disabled


def _export(model: nn.Module, batch: Tensor) -> torch.export.ExportedProgram:
    modes = {module: module.training for module in model.modules()}
    try:
        with warnings.catch_warnings(), _silenced("torch._subclasses.fake_tensor"):
            warnings.simplefilter("ignore")
            return torch.export.export(model.eval(), (batch,), strict=False)
    except Exception as error:
        reason = next(iter(str(error).strip().splitlines()), type(error).__name__)
        raise UnsupportedOperatorError(
            f"{type(model).__name__} cannot be traced for inputs shaped {tuple(batch.shape)}: "
            f"{_explained(tuple(batch.shape), reason)}"
        ) from error
    finally:
        for module, training in modes.items():
            module.training = training


def _explained(shape: tuple[int, ...], reason: str) -> str:
    """What torch says of a network that cannot be run, and the cure: where the first layer
    takes other samples, images of three channels instead of one, say, it is another one.
    """
    complaint = re.search(r"expected input(\[[\d, ]+\]) to have (\d+) channels", reason)
    if complaint and complaint[1] == str(list(shape)):
        wanted = int(complaint[2])
        turned = wanted in shape[2:]  # the channels may be on another axis
        order = "state the order of the axes, such as data.layout=NCHW, " if turned else ""
        return (
            f"the data has {shape[1]} channel{'s' * (shape[1] != 1)}, and the network wants "
            f"{wanted}. Either {order}give the network as many inputs (model.in_channels=auto, if "
            "it takes that), or use other data."
        )
    return (
        f"{reason.rstrip('.')}. A model must be one static graph of tensor operators for one "
        "input size."
    )


def _is_named(path: str, entries: tuple[str, ...]) -> bool:
    """Whether a path is that of one of these modules, or below it."""
    return any(path == entry or path.startswith(f"{entry}.") for entry in entries)


def _refuse_unknown(setting: str, entries: tuple[str, ...], importer: GraphImporter) -> None:
    for entry in entries:
        if not any(_is_named(path, (entry,)) for path in importer.paths.values()):
            layers = ", ".join(o.name for o in importer.operators if o.parameters)
            raise UnsupportedOperatorError(
                f"{setting}: no layer is named {entry!r}; layers: {layers}"
            )


def _refuse_unwritable(operators: list[Operator]) -> None:
    """Refuse the few names that a file of tensors cannot hold."""
    names = {name for o in operators for name in (o.name, *o.parameters.values())}
    for name in names:
        if name == "__metadata__" or any("\ud800" <= letter <= "\udfff" for letter in name):
            raise UnsupportedOperatorError(
                f"name {name!a}: no safetensors file can hold it; rename the module or tensor"
            )


def _refuse_below_one(numbers: Mapping[str, int]) -> None:
    for name, number in numbers.items():
        if number < 1:
            raise UnsupportedOperatorError(f"{name}: {number} channels; the least is 1")


def _alive(operators: list[Operator], outputs: tuple[str, ...]) -> tuple[Operator, ...]:
    """The operators that some output depends on."""
    names = set(outputs)
    for operator in reversed(operators):
        if operator.name in names:
            names.update(operator.inputs)
    return tuple(operator for operator in operators if operator.name in names)

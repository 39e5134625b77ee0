"""Networks and training states as safetensors with a JSON header: no pickle, no code.

A file holds tensors and one JSON text in its header. Reading a file runs no code from it: the
network is a list of known operators.
"""

import hashlib
import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load, save
from torch import Tensor

from pruning.allocation.explain import explanation_from_json, start_from_json
from pruning.allocation.masks import ChannelMasks
from pruning.budget import Budget, Cost
from pruning.errors import CheckpointError, PruningError
from pruning.execution.network import Network
from pruning.graph.graph import Graph
from pruning.migration import MASKS, PHASES, graph_of_format_1
from pruning.training.job import Job
from pruning.training.state import (
    Dense,
    Epoch,
    Masked,
    Pruned,
    Stage,
    TrainState,
    load_optimizer,
    make_optimizer,
    optimizer_tensors,
)

NETWORK = "paring.network/2"
STATE = "paring.state/2"
EARLIER = {NETWORK: "paring.network/1", STATE: "paring.state/1"}  # read, never written


@dataclass(frozen=True, slots=True)
class StoredNetwork:
    """A network as read from a file: its graph, its tensors, and the notes stored with them."""

    graph: Graph
    tensors: dict[str, Tensor]
    notes: Mapping[str, Any]

    def module(self) -> Network:
        """The network ready to run, in inference mode."""
        return Network(self.graph, self.tensors).eval()


def pack_network(graph: Graph, tensors: Mapping[str, Tensor], notes: Mapping[str, Any]) -> bytes:
    """A network as bytes. `notes` are JSON values (normalisation, classes, costs, ...)."""
    header = {"graph": graph.to_json(), "notes": dict(notes)}
    return _pack(tensors, NETWORK, header)


def unpack_network(content: bytes) -> StoredNetwork:
    """The network in a file's bytes.

    Raises:
        CheckpointError: the file is damaged, of another kind, or a tensor does not fit the graph.
    """
    tensors, header = _unpack(content, NETWORK)
    with _blaming(NETWORK):
        graph = Graph.from_json(header["graph"])
        _require_fit(graph, tensors)
        return StoredNetwork(graph, tensors, header["notes"])


def _require_fit(graph: Graph, tensors: Mapping[str, Tensor]) -> None:
    """Refuse tensors that are missing, or with which the graph gives other shapes than its own.

    Nothing is computed: the graph runs once on tensors without content.
    """
    names = {name for operator in graph.operators for name in operator.parameters.values()}
    if missing := sorted(names - set(tensors)):
        raise CheckpointError(f"network file: tensors are missing: {', '.join(missing)}")
    network = Network(graph, {name: tensors[name].to("meta") for name in names}).eval()
    outputs = network(torch.empty(1, *graph.input_shape, device="meta"))
    shapes = [tuple(out.shape[1:]) for out in ([outputs] if len(graph.outputs) == 1 else outputs)]
    if shapes != [graph.shape(name) for name in graph.outputs]:
        raise CheckpointError(f"network file: outputs shaped {shapes} are not those it declares")


def pack_state(state: TrainState) -> bytes:
    """A training state as bytes; `unpack_state` continues it bit for bit."""
    tensors = {f"weight/{name}": t.detach() for name, t in state.network.tensors().items()}
    for name, entries in optimizer_tensors(state.optimizer, state.network).items():
        tensors.update({f"optimizer/{name}/{key}": value for key, value in entries.items()})
    stage = state.stage
    if isinstance(stage, Masked):
        tensors.update({f"gates/{key}": getattr(stage.masks, key) for key in GATES})
    explanation = stage.explanation if isinstance(stage, Pruned) else None
    header = {
        "graph": state.graph.to_json(),
        "epoch": state.epoch,
        "start": None if isinstance(stage, Dense) else asdict(stage.start),
        "explanation": asdict(explanation) if explanation else None,
        "history": [asdict(epoch) for epoch in state.history],
    }
    return _pack(tensors, STATE, header)


COUNTER = "step"  # of an optimizer: stays on the CPU
GATES = ("sizes", "widths", "saliency", "kept", "importance", "sensitivity_runs")


def unpack_state(content: bytes, job: Job) -> TrainState:
    """The training state in a file's bytes, on the job's accelerator.

    Raises:
        CheckpointError: the file is damaged, of another kind, or its parts do not fit together.
    """
    tensors, header = _unpack(content, STATE)
    with _blaming(STATE):
        parts: dict[str, dict[str, Tensor]] = {"weight": {}, "optimizer": {}, "gates": {}}
        for name, tensor in tensors.items():
            part, _, rest = name.partition("/")
            parts[part][MASKS.get(rest, rest) if part == "gates" else rest] = tensor
        network = Network(Graph.from_json(header["graph"]), parts["weight"])
        stage = _stage(parts["gates"], header)
        history = [epoch_from_json(entry) for entry in header["history"]]
        if int(header["epoch"]) != len(history):
            raise CheckpointError(
                f"a state after epoch {header['epoch']} with {len(history)} records; take another "
                "copy"
            )
    network = network.to(job.accelerator.device)
    optimizer = make_optimizer(network, job)
    load_optimizer(optimizer, network, _by_parameter(parts["optimizer"], job))
    with _blaming(STATE):
        return TrainState(network, optimizer, stage, history)


def _stage(masks: Mapping[str, Tensor], header: Mapping[str, Any]) -> Stage:
    start = start_from_json(header["start"]) if header["start"] else None
    if start is None:
        if masks or header["explanation"]:
            raise CheckpointError("a state in pruning that tells no start of it; take another copy")
        return Dense()
    if masks:
        return Masked(ChannelMasks(**masks), start)
    entry = header["explanation"]
    return Pruned(start, explanation_from_json(entry) if entry else None)


def _by_parameter(stored: Mapping[str, Tensor], job: Job) -> dict[str, dict[str, Tensor]]:
    """The stored optimizer's state of each parameter; counters stay on the CPU."""
    entries: dict[str, dict[str, Tensor]] = {}
    for name, tensor in stored.items():
        parameter, _, key = name.rpartition("/")
        on_device = tensor if key == COUNTER else tensor.to(job.accelerator.device)
        entries.setdefault(parameter, {})[key] = on_device
    return entries


def epoch_from_json(entry: Mapping[str, Any]) -> Epoch:
    """An epoch record from `dataclasses.asdict` of one."""
    phase = PHASES.get(entry["phase"], entry["phase"])
    nested = {"cost": Cost(**entry["cost"]), "budget": Budget(**entry["budget"])}
    return Epoch(**{**entry, "phase": phase, **nested})


def _pack(tensors: Mapping[str, Tensor], kind: str, header: Mapping[str, Any]) -> bytes:
    on_cpu = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
    checked = {**header, "sha256": _digest(on_cpu)}
    entry = {"format": kind, "sha256": _checksum(checked), "header": checked}
    # One entry only: safetensors writes several in random order, and equal networks would
    # have unequal bytes.
    return save(on_cpu, metadata={"paring": json.dumps(entry)})


def _checksum(header: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(header).encode()).hexdigest()


def _digest(tensors: Mapping[str, Tensor]) -> str:
    """SHA-256 over names, types, shapes and bytes: safetensors itself has no checksum."""
    digest = hashlib.sha256()
    for name, tensor in sorted(tensors.items()):
        digest.update(f"|{name} {tensor.dtype} {tuple(tensor.shape)}|".encode())
        digest.update(tensor.flatten().view(torch.uint8).numpy().data)
    return digest.hexdigest()


READING = (ValueError, TypeError, LookupError, AttributeError, ArithmeticError, RuntimeError)


@contextmanager
def _blaming(kind: str) -> Iterator[None]:
    """Turn whatever goes wrong while a file is read into a CheckpointError."""
    try:
        yield
    except CheckpointError:
        raise
    except (SafetensorError, PruningError, *READING) as error:
        reason = f"{type(error).__name__}: {error}".splitlines()[0]
        raise CheckpointError(
            f"not a {kind} file, or a damaged one ({reason}); take another copy"
        ) from error


def _header(content: bytes, kind: str) -> dict[str, Any]:
    with _blaming(kind):
        size = int.from_bytes(content[:8], "little")
        metadata = json.loads(content[8 : 8 + size])["__metadata__"]
        entry = json.loads(metadata["paring"])
        if entry["format"] not in (kind, EARLIER[kind]):
            raise CheckpointError(f"a file of format {entry['format']!r}; expected {kind!r}")
        header: dict[str, Any] = entry["header"]
        if _checksum(header) != entry["sha256"]:
            raise CheckpointError(f"a damaged {kind} file (header); take another copy")
    return header if entry["format"] == kind else _migrated(header)


def _migrated(header: Mapping[str, Any]) -> dict[str, Any]:
    """A header of format 1 in today's words."""
    return {**header, "graph": graph_of_format_1(header["graph"])}


def _unpack(content: bytes, kind: str) -> tuple[dict[str, Tensor], dict[str, Any]]:
    header = _header(content, kind)
    with _blaming(kind):
        tensors = load(content)
        if _digest(tensors) != header["sha256"]:
            raise CheckpointError(f"a damaged {kind} file (tensors); take another copy")
    return tensors, header


def read_history(content: bytes) -> list[Epoch]:
    """The epochs of a stored training state, without building its network.

    Raises:
        CheckpointError: the file is damaged, or of another kind.
    """
    header = _header(content, STATE)
    with _blaming(STATE):
        return [epoch_from_json(entry) for entry in header["history"]]

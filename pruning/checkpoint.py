"""Networks and training states as safetensors with a JSON header: no pickle, no code.

A file holds tensors and one JSON text in its header. Reading one runs no code of its maker:
the network is a list of known operators.
"""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import load, save
from torch import Tensor

from pruning.budget import Budget, Cost
from pruning.errors import CheckpointError
from pruning.gates import Gates
from pruning.graph import Graph
from pruning.job import Job
from pruning.network import Network
from pruning.train import Epoch, TrainState, load_optimizer, make_optimizer, optimizer_tensors

NETWORK = "paring.network/1"
STATE = "paring.state/1"


@dataclass(frozen=True, slots=True)
class StoredNetwork:
    """A network as read from a file: its graph, tensors and what was noted beside them."""

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
        CheckpointError: damaged, of another kind, or a tensor does not fit the graph.
    """
    tensors, header = _unpack(content, NETWORK)
    graph = Graph.from_json(header["graph"])
    names = {name for operator in graph.operators for name in operator.parameters.values()}
    if missing := sorted(names - set(tensors)):
        raise CheckpointError(f"network file: tensors are missing: {', '.join(missing)}")
    return StoredNetwork(graph, tensors, header["notes"])


def pack_state(state: TrainState) -> bytes:
    """A training state as bytes; `unpack_state` continues it bit for bit."""
    tensors = {f"weight/{name}": t.detach() for name, t in state.network.tensors().items()}
    for name, entries in optimizer_tensors(state.optimizer, state.network).items():
        tensors.update({f"optimizer/{name}/{key}": value for key, value in entries.items()})
    if state.gates is not None:
        tensors.update({f"gates/{key}": getattr(state.gates, key) for key in GATES})
    header = {
        "graph": state.graph.to_json(),
        "epoch": state.epoch,
        "start": asdict(state.start) if state.start else None,
        "history": [asdict(epoch) for epoch in state.history],
    }
    return _pack(tensors, STATE, header)


GATES = ("sizes", "widths", "salience", "kept")


def unpack_state(content: bytes, job: Job) -> TrainState:
    """The training state in a file's bytes, on the job's accelerator.

    Raises:
        CheckpointError: damaged, or of another kind.
    """
    tensors, header = _unpack(content, STATE)
    parts: dict[str, dict[str, Tensor]] = {"weight": {}, "optimizer": {}, "gates": {}}
    for name, tensor in tensors.items():
        part, _, rest = name.partition("/")
        parts[part][rest] = tensor
    network = Network(Graph.from_json(header["graph"]), parts["weight"])
    network = network.to(job.accelerator.device)
    optimizer = make_optimizer(network, job)
    entries: dict[str, dict[str, Tensor]] = {}
    for name, tensor in parts["optimizer"].items():
        parameter, _, key = name.rpartition("/")
        on_device = tensor if tensor.dim() == 0 else tensor.to(job.accelerator.device)
        entries.setdefault(parameter, {})[key] = on_device
    load_optimizer(optimizer, network, entries)
    return TrainState(
        network=network,
        optimizer=optimizer,
        gates=Gates(**parts["gates"]) if parts["gates"] else None,
        start=Cost(**header["start"]) if header["start"] else None,
        epoch=header["epoch"],
        history=[epoch_from_json(entry) for entry in header["history"]],
    )


def epoch_from_json(entry: Mapping[str, Any]) -> Epoch:
    """An epoch record from `dataclasses.asdict` of one."""
    nested = {"cost": Cost(**entry["cost"]), "budget": Budget(**entry["budget"])}
    return Epoch(**{**entry, **nested})


def _pack(tensors: Mapping[str, Tensor], kind: str, header: Mapping[str, Any]) -> bytes:
    whole = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
    return save(whole, metadata={"format": kind, "paring": json.dumps(header)})


def _unpack(content: bytes, kind: str) -> tuple[dict[str, Tensor], dict[str, Any]]:
    try:
        size = int.from_bytes(content[:8], "little")
        metadata = json.loads(content[8 : 8 + size])["__metadata__"]
        if metadata["format"] != kind:
            raise CheckpointError(f"a file of format {metadata['format']!r}; expected {kind!r}")
        return load(content), json.loads(metadata["paring"])
    except (SafetensorError, ValueError, KeyError, TypeError) as error:
        raise CheckpointError(
            f"not a {kind} file, or a damaged one ({type(error).__name__}: {error}); "
            "take another copy"
        ) from error

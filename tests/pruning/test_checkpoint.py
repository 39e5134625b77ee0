"""Stored networks: equal when read, refused when damaged, and never a pickle."""

import json
import os
import pickle
import random

import numpy as np
import pytest
import torch
from safetensors.torch import save

from pruning.cost.model import CostModel
from pruning.data import synthetic
from pruning.errors import CheckpointError
from pruning.frontend.trace import trace
from pruning.graph.shrink import kept_axes, shrink_graph, shrink_tensors
from pruning.tasks import Task, adamw
from pruning.training.checkpoint import (
    pack_network,
    pack_state,
    read_history,
    unpack_network,
    unpack_state,
)
from pruning.training.job import Job, Phase, PhaseKind
from pruning.training.train import TrainState, train

NOTES = {"classes": ["a", "b"], "mean": [0.5], "score": 0.75, "text": "ü"}


@pytest.fixture(scope="module")
def content(odd, network_of):
    graph, model = odd("excite")
    return pack_network(graph, network_of(graph, model).tensors(), NOTES)


@pytest.fixture(scope="module")
def job(device):
    return Job(
        data=synthetic(train=32, validation=16, test=16),
        task=Task(optimizer=adamw(), batch_size=16),
        recipe=(Phase(kind=PhaseKind.DENSE, epochs=2),),
        seed=0,
        device=device,
    )


@pytest.fixture(scope="module")
def state(job):
    torch.manual_seed(0)
    model = torch.nn.Sequential(
        torch.nn.Conv2d(1, 3, 3),
        torch.nn.BatchNorm2d(3),
        torch.nn.Flatten(),
        torch.nn.Linear(108, 4),
    )
    state = TrainState.begin(trace(model, torch.zeros(1, 8, 8)), model.state_dict(), job)
    next(iter(train(state, job)))
    return state


ODD = ["excite", "stacked", "grouped", "multiplier", "waves", "twice", "overwriting"]


@pytest.mark.parametrize("name", ODD)
def test_a_network_is_read_as_it_was_written(odd, network_of, device, random_mask, name):
    graph, model = odd(name)
    kept = random_mask(graph, 1)
    tensors = shrink_tensors(network_of(graph, model).tensors(), kept_axes(graph, kept))
    smaller = shrink_graph(graph, kept)
    back = unpack_network(pack_network(smaller, tensors, NOTES))
    assert back.graph == smaller
    assert back.notes == NOTES
    assert back.tensors.keys() == tensors.keys()
    assert all(torch.equal(back.tensors[n], t) for n, t in tensors.items())
    assert CostModel(back.graph, device).dense == CostModel(smaller, device).dense
    module = back.module()
    assert not module.training
    assert module(torch.zeros(2, *graph.input_shape)).shape[0] == 2


def test_equal_networks_have_equal_bytes(odd, network_of, content):
    graph, model = odd("excite")
    assert pack_network(graph, network_of(graph, model).tensors(), NOTES) == content


def test_truncated_files_are_refused(content):
    for length in (0, 1, 7, 8, 9, 100, len(content) // 2, len(content) - 1):
        with pytest.raises(CheckpointError):
            unpack_network(content[:length])
    with pytest.raises(CheckpointError):
        unpack_network(content + b"\0")


def flipped(content: bytes, position: int, bit: int) -> bytes:
    damaged = bytearray(content)
    damaged[position] ^= 1 << bit
    return bytes(damaged)


def test_any_altered_bit_is_noticed(content):
    """Header and tensors alike: safetensors itself would not notice the latter."""
    chance = random.Random(0)
    places = [*range(9), len(content) - 1]
    places += [chance.randrange(len(content)) for _ in range(400)]
    for position in places:
        with pytest.raises(CheckpointError):
            unpack_network(flipped(content, position, chance.randrange(8)))


def test_any_altered_bit_of_a_state_is_noticed(state, job):
    packed = pack_state(state)
    chance = random.Random(1)
    for _ in range(150):
        position = chance.randrange(len(packed))
        with pytest.raises(CheckpointError):
            unpack_state(flipped(packed, position, chance.randrange(8)), job)


class Trap:
    """Touches a file when it is unpickled."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return os.mkdir, (self.path,)


def test_pickles_are_refused_and_never_run(tmp_path, job):
    trap = tmp_path / "sprung"
    torch.save({"state": Trap(str(trap))}, tmp_path / "network.pt")
    for content in (pickle.dumps(Trap(str(trap))), (tmp_path / "network.pt").read_bytes()):
        for read in (unpack_network, read_history, lambda c: unpack_state(c, job)):
            with pytest.raises(CheckpointError, match="another copy"):
                read(content)
    assert not trap.exists()
    pickle.loads(pickle.dumps(Trap(str(trap))))
    assert trap.exists()  # the trap works


@pytest.mark.parametrize(
    "foreign",
    [
        save({"weight": torch.ones(2, 2)}),
        save({"weight": torch.ones(2)}, metadata={"format": "pt"}),
        save({}, metadata={"paring": "{}"}),
        save({}, metadata={"paring": "[]"}),
        save({}, metadata={"paring": '{"format": "paring.network/2"}'}),
        save({}, metadata={"paring": '{"format": "paring.network/1", "header": {}}'}),
        b"\x02\0\0\0\0\0\0\0{}",
        b"\x02\0\0\0\0\0\0\0[]",
        b"\xff" * 64,
        b"not a network at all",
    ],
)
def test_foreign_files_are_refused(foreign, job):
    for read in (unpack_network, read_history, lambda c: unpack_state(c, job)):
        with pytest.raises(CheckpointError):
            read(foreign)


def test_one_kind_of_file_is_not_taken_for_the_other(content, state, job):
    with pytest.raises(CheckpointError, match=r"'paring.network/2'; expected 'paring.state/2'"):
        unpack_state(content, job)
    with pytest.raises(CheckpointError, match=r"'paring.state/2'; expected 'paring.network/2'"):
        unpack_network(pack_state(state))


def test_whole_files_with_nonsense_inside_are_refused(odd, network_of):
    """A valid checksum does not make a graph valid."""
    graph, model = odd("excite")
    tensors = network_of(graph, model).tensors()
    missing = {n: t for n, t in tensors.items() if n != "last.weight"}
    with pytest.raises(CheckpointError, match=r"missing: last\.weight"):
        unpack_network(pack_network(graph, missing, {}))
    wrong = {**tensors, "last.weight": tensors["last.weight"][:, :3]}
    with pytest.raises(CheckpointError):
        unpack_network(pack_network(graph, wrong, {}))
    fewer = {**tensors, "last.weight": tensors["last.weight"][:2], "last.bias": torch.zeros(2)}
    with pytest.raises(CheckpointError, match="outputs shaped"):
        unpack_network(pack_network(graph, fewer, {}))


@pytest.mark.parametrize(
    "change",
    [
        lambda g: g["operators"][0].update(kind="evaluate"),
        lambda g: g["operators"][0].update(inputs=["nowhere"]),
        lambda g: g["operators"][0].pop("shape"),
        lambda g: g["operators"][0]["attributes"].pop("stride"),
        lambda g: g.update(operators=None),
        lambda g: g.update(outputs=["nowhere"]),
        lambda g: g.update(input_shape="x"),
    ],
)
def test_graphs_that_make_no_sense_are_refused(odd, network_of, change):
    graph, model = odd("excite")

    class Altered:
        def to_json(self):
            spec = json.loads(json.dumps(graph.to_json()))
            change(spec)
            return spec

    content = pack_network(Altered(), network_of(graph, model).tensors(), {})
    with pytest.raises(CheckpointError):
        unpack_network(content)


def test_a_state_is_read_as_it_was_written(state, job):
    packed = pack_state(state)
    back = unpack_state(packed, job)
    assert pack_state(back) == packed
    assert back.graph == state.graph
    assert (back.epoch, back.history, back.stage) == (state.epoch, state.history, state.stage)
    assert tuple(read_history(packed)) == state.history
    for name, tensor in state.network.tensors().items():
        assert torch.equal(back.network.tensors()[name], tensor)


def test_strange_types_survive(odd, network_of):
    graph, model = odd("grouped")
    tensors = network_of(graph, model).tensors()
    extra = {
        "half": torch.ones(3, dtype=torch.bfloat16), "flags": torch.tensor([True, False]),
        "scalar": torch.tensor(3), "empty": torch.zeros(0, 2),
        "strided": torch.arange(6.0).reshape(2, 3).T,
    }  # fmt: skip
    back = unpack_network(pack_network(graph, {**tensors, **extra}, {})).tensors
    assert all(torch.equal(back[n], t) and back[n].dtype == t.dtype for n, t in extra.items())
    assert np.array_equal(back["strided"].numpy(), np.arange(6.0).reshape(2, 3).T)

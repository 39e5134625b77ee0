"""Every kind of operator has a complete record; an unknown one is refused by name."""

import importlib
import sys
from dataclasses import fields, replace
from types import SimpleNamespace

import pytest
import torch

import pruning.ops
from pruning.cost.cores import core_named
from pruning.cost.forms import flash, macs
from pruning.cost.latency import instruction_count, routine_name
from pruning.cost.memory.peak import MemoryConventions, buffer_uses
from pruning.cost.model import CostModel, Encoding, deployed
from pruning.deploy import obstacles
from pruning.errors import PruningError, UnsupportedOperatorError
from pruning.execution.fake_quant import copies
from pruning.execution.network import Network, mask_points
from pruning.frontend.trace import trace
from pruning.graph.fusion import fuse
from pruning.graph.graph import Graph
from pruning.ir.kernel import Kernel
from pruning.ir.kinds import KindTable
from pruning.ir.operator import INPUT, Operator
from pruning.ops import OPERATORS, ROUTINES, execute, routine_of
from tests.pruning.networks import NETWORKS, build

WARP = Operator(name="fold space", kind="warp", inputs=(INPUT,), shape=(3, 4, 4))
KERNEL = Kernel(main=WARP, inputs=(INPUT,), chain=("fold space",), channels=3, plane=(4, 4))


def unknown_graph() -> Graph:
    """A graph that got past its own check, as one of a later version might."""
    known = replace(WARP, kind="pool", attributes={"mode": "max"})
    graph = Graph(input_shape=(3, 4, 4), operators=(known,), outputs=("fold space",))
    object.__setattr__(graph, "operators", (WARP,))
    return graph


UNKNOWN = {
    "flash": lambda: flash(KERNEL, Encoding.INT8),
    "flash of C": lambda: flash(KERNEL, Encoding.C),
    "macs": lambda: macs(KERNEL),
    "instructions": lambda: instruction_count(KERNEL, core_named("cortex-m4").loops),
    "accesses": lambda: buffer_uses([KERNEL], MemoryConventions(overlap=True)),
    "execute": lambda: execute(WARP, [torch.zeros(1, 3, 4, 4)], {}, False),
    "channels": lambda: Graph(input_shape=(3, 4, 4), operators=(WARP,), outputs=(WARP.name,)),
    "masks": lambda: mask_points(unknown_graph()),
    "network": lambda: Network(unknown_graph(), {}),
    "copies": lambda: copies(WARP),
    "obstacles": lambda: obstacles(unknown_graph()),
}


@pytest.mark.parametrize("what", UNKNOWN)
def test_an_unknown_kind_is_refused_with_its_name(what):
    with pytest.raises(UnsupportedOperatorError, match=r"fold space: .* of kind warp"):
        UNKNOWN[what]()


def test_a_table_that_forgets_a_kind_is_refused_when_it_is_made():
    with pytest.raises(TypeError, match="its colour: undecided: conv; unknown: warp"):
        KindTable("its colour", ("add", "conv"), {"add": 1, "warp": 2})


PRELU = OPERATORS["prelu"]


@pytest.mark.parametrize("record", [PRELU, PRELU.kernel, PRELU.channels, PRELU.execution])
def test_a_kind_with_a_missing_part_is_refused_by_name(record):
    """Every field of every record is mandatory, also for who writes a family of their own."""
    values = {field.name: getattr(record, field.name) for field in fields(record)}
    assert type(record)(**values) == record
    for missing in values:
        rest = {name: value for name, value in values.items() if name != missing}
        name = rest.get("name", type(record).__name__)
        with pytest.raises(TypeError, match=f"{name}: {type(record).__name__} needs {missing}$"):
            type(record)(**rest)


def test_two_records_of_one_kind_are_refused(monkeypatch):
    again = SimpleNamespace(KINDS=(PRELU,))
    monkeypatch.setitem(sys.modules, "pruning.ops.softmax", again)
    with pytest.raises(TypeError, match=r"prelu: two records of one kind, one in pruning\.ops\."):
        importlib.reload(pruning.ops)


def test_an_unknown_core_or_kind_of_its_loops_is_refused(device):
    graph = trace(torch.nn.Sequential(torch.nn.Conv2d(1, 2, 1)), torch.zeros(1, 3, 3))
    with pytest.raises(PruningError, match=r"'z80'; known: cortex-m0\+, cortex-m3"):
        deployed(graph, replace(device, core="z80")).cost(graph.channels.widths)
    with pytest.raises(PruningError, match=r"unknown kinds warp; known: .*conv"):
        core_named("cortex-m4").loop_costs({"warp": (1.0,)})


@pytest.mark.slow
def test_every_kind_is_met_in_the_networks_and_has_a_cost(odd, device):
    """The functions of the tables work, for every kind there is, on traced networks."""
    operators, routines = set(), set()
    graphs = [trace(model, torch.zeros(shape)) for model, shape in map(build, NETWORKS)]
    for graph in (*graphs, odd("multiplier")[0]):
        operators |= {operator.kind for operator in graph.operators}
        for kernel in fuse(graph):
            routines.add(routine_name(kernel))
            told = any(r.startswith(f"{kernel.name} (") for r in obstacles(graph))
            assert told or routine_of(kernel).record_bytes
        cost = CostModel(graph, device, Encoding.INT8, MemoryConventions(overlap=True)).dense
        assert min(cost.flash_bytes, cost.sram_bytes, cost.latency_ms) > 0
    assert operators == set(OPERATORS)
    assert routines == set(ROUTINES)


def test_a_kind_has_c_with_all_its_routines_or_with_none():
    for kind in OPERATORS.values():
        if kind.kernel:
            records = [routine.record_bytes for routine in kind.kernel.routines.values()]
            assert all(record is None for record in records) or all(records)

"""Every kind of operator is decided in every table; an unknown one is refused by name."""

import importlib
import pkgutil
from dataclasses import replace

import pytest
import torch

import pruning
from pruning.cost.cores import core_named
from pruning.cost.forms import RECORD_BYTES, flash, macs
from pruning.cost.latency import instruction_count
from pruning.cost.memory.peak import MemoryConventions, buffer_uses
from pruning.cost.model import CostModel, Encoding, deployed
from pruning.deploy import obstacles
from pruning.deploy.integer_ir import INTEGER_KERNELS
from pruning.errors import PruningError, UnsupportedOperatorError
from pruning.execution.fake_quant import copies
from pruning.execution.network import Network, mask_points
from pruning.execution.operations import execute
from pruning.frontend.trace import trace
from pruning.graph.fusion import Kernel, fuse
from pruning.graph.graph import Graph
from pruning.ir.kinds import KERNELS, OPERATORS, ROUTINES, WITH_C, WITHOUT_C, KindTable, either
from pruning.ir.operator import INPUT, Operator
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
    with pytest.raises(TypeError, match="whether it shines: undecided: add"):
        either("whether it shines", ("add", "conv"), yes=("conv",), no=())
    table = either("whether it shines", ("add", "conv"), yes=("conv",), no=("add",))
    assert (table["conv"], table["add"]) == (True, False)


def tables() -> dict[str, KindTable]:
    """All tables of the engine, by module and name."""
    found = {}
    for info in pkgutil.walk_packages(pruning.__path__, "pruning."):
        if info.name != "pruning.deploy.toolchain.tflm_runner":  # a program
            module = importlib.import_module(info.name)
            own = {n: v for n, v in vars(module).items() if isinstance(v, KindTable)}
            found |= {f"{info.name}.{name}": table for name, table in own.items()}
    return found


def test_tables_are_over_operators_kernels_routines_or_kernels_of_integers():
    known = {frozenset(each) for each in (OPERATORS, KERNELS, ROUTINES, WITH_C, INTEGER_KERNELS)}
    assert {frozenset(table) for table in tables().values()} == known
    decided = {name.rpartition(".")[0] for name in tables()}
    assert decided >= {
        f"pruning.{name}"
        for name in (
            "cost.forms", "cost.latency", "cost.memory.peak", "deploy.backends.tflite",
            "deploy.evaluator", "deploy.lower", "deploy.memory_plan", "deploy.reference",
            "deploy.supported", "execution.calibration", "execution.fake_quant",
            "execution.network", "execution.operations", "frontend.importer",
            "graph.channel_groups", "graph.fusion", "graph.shrink",
        )
    }  # fmt: skip


def test_an_unknown_core_or_kind_of_its_loops_is_refused(device):
    graph = trace(torch.nn.Sequential(torch.nn.Conv2d(1, 2, 1)), torch.zeros(1, 3, 3))
    with pytest.raises(PruningError, match=r"'z80'; known: cortex-m0\+, cortex-m3"):
        deployed(graph, replace(device, core="z80")).cost(graph.channels.widths)
    with pytest.raises(PruningError, match=r"unknown kinds warp; known: .*conv"):
        core_named("cortex-m4").loop_costs({"warp": (1.0,)})


def test_every_kind_is_met_in_the_networks_and_has_a_cost(odd, device):
    """The functions of the tables work, for every kind there is, on traced networks."""
    operators, kernels, routines = set(), set(), set()
    graphs = [trace(model, torch.zeros(shape)) for model, shape in map(build, NETWORKS)]
    for graph in (*graphs, odd("multiplier")[0]):
        operators |= {operator.kind for operator in graph.operators}
        for kernel in fuse(graph):
            kernels.add(kernel.kind)
            routines.add(kernel.routine)
            told = any(r.startswith(f"{kernel.name} (") for r in obstacles(graph))
            assert told or kernel.kind not in WITHOUT_C
        cost = CostModel(graph, device, Encoding.INT8, MemoryConventions(overlap=True)).dense
        assert min(cost.flash_bytes, cost.sram_bytes, cost.latency_ms) > 0
    assert operators == set(OPERATORS)
    assert kernels == set(KERNELS)
    assert routines == set(ROUTINES)


def test_what_has_c_has_a_record_in_it():
    assert {kind for kind in KERNELS if RECORD_BYTES[kind] is None} == set(WITHOUT_C)
    assert all(RECORD_BYTES[kind] > 0 for kind in ROUTINES if kind not in WITHOUT_C)

"""Peak memory against every order there is, counted in another way."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from pruning.cost.memory.partial_schedule import SchedulingProblem
from pruning.cost.memory.peak import MemoryConventions, buffer_uses, schedule
from pruning.cost.memory.scheduler import best_order
from pruning.cost.model import CostModel
from pruning.errors import PeakMemoryWarning
from pruning.frontend.trace import trace
from pruning.graph.fusion import fuse
from pruning.graph.shrink import shrink_graph
from pruning.ir.kernel import Kernel
from pruning.ir.operator import INPUT, Operator
from tests.pruning.orders import ALL, NETS, SWITCHES, brute, made_plane, peak_of, problems


@pytest.fixture(scope="module")
def pruned(random_mask):
    """Each net as it is and with channels removed."""
    nets = {}
    for name, (make, shape) in NETS.items():
        graph = trace(make(), torch.zeros(shape))
        nets[name] = [graph, *(shrink_graph(graph, random_mask(graph, s)) for s in (1, 2))]
    return nets


def sizes_of(graph):
    names = [INPUT, *(k.output for k in fuse(graph))]
    return {n: torch.Size(graph.shape(n)).numel() for n in names}


@pytest.mark.parametrize("name", NETS)
@pytest.mark.parametrize(
    "conventions", ALL, ids=lambda c: "".join("01"[getattr(c, s)] for s in SWITCHES)
)
def test_best_order_of_pruned_nets(pruned, device, name, conventions):
    for graph in pruned[name]:
        kernels = fuse(graph)
        assert len(kernels) <= 9
        model = CostModel(graph, device, conventions=conventions)
        wanted = brute(kernels, sizes_of(graph), graph.outputs, conventions)
        assert model.peak(graph.channels.widths) == wanted
        assert model.dense.sram_bytes == wanted
        lines = model.explain(graph.channels.widths)
        assert max(line.live_bytes for line in lines) == wanted
        order = [kernels[step.kernel] for step in model.schedule(graph.channels.widths)]
        assert peak_of(order, kernels, sizes_of(graph), graph.outputs, conventions) == wanted


@pytest.mark.parametrize(
    ("switch", "name", "widths", "off", "on"),
    [
        # the addition holds three maps of one channel; the stem reads three and writes one
        ("count_input", "mobile", {"stem": 1, "expand": 1}, 36 * (1 + 1 + 1), 36 * (3 + 1)),
        # the addition holds two operands and a result; in place, the projection holds most
        ("in_place_add", "mobile", {"stem": 4, "expand": 1}, 36 * 12, 36 * (4 + 1 + 4)),
        # the depthwise holds the skip, twelve channels in and twelve out, or twelve once
        ("in_place_depthwise", "mobile", {"stem": 1, "expand": 12}, 36 * 25, 36 * 14),
        # the depthwise needs a row and four pixels of 12 more than the skip and one map
        ("overlap", "mobile", {"stem": 1, "expand": 12}, 36 * 25, 36 * (1 + 12) + 12 * 9),
        # the graph makes both wide maps first; one is better read first
        ("search_order", "forks", {"big": 20, "more": 12}, 64 * 32 + 8 + 1, 64 * 20 + 1),
    ],
)  # fmt: skip
def test_each_switch_matters(pruned, device, switch, name, widths, off, on):
    graph = pruned[name][0]
    n = [widths.get(g.name, g.size) for g in graph.channels.groups]
    others = {"count_input": False, "search_order": False}
    found = [
        CostModel(graph, device, conventions=MemoryConventions(**{**others, switch: flag})).peak(n)
        for flag in (False, True)
    ]
    assert found == [off, on]


@pytest.mark.slow
@settings(max_examples=120, deadline=None)
@given(problems(), st.sampled_from(ALL))
def test_random_networks(problem, conventions):
    kernels, sizes, outputs = problem
    steps = schedule(kernels, sizes, outputs, conventions)
    counted = {**sizes, INPUT: sizes[INPUT] if conventions.count_input else 0}
    assert sorted(step.kernel for step in steps) == list(range(len(kernels)))
    found = max(live_bytes(kernels[step.kernel], step, counted) for step in steps)
    assert found == brute(kernels, sizes, outputs, conventions)


def live_bytes(kernel, step, sizes) -> int:
    """What a step says is live, at its worst moment."""
    whole = sum(sizes[name] for name in step.live)
    if not step.overlap_points:
        return whole
    read, made = sizes[kernel.inputs[0]], sizes[kernel.output]
    pixels_in, pixels_out = math.prod(kernel.plane), math.prod(made_plane(kernel))
    return max(
        whole - read - made + unread * read // pixels_in + written * made // pixels_out
        for unread, written in step.overlap_points
    )


def test_a_circle_is_an_error():
    pair = []
    for name, other in (("a", "b"), ("b", "a")):
        main = Operator(name=name, kind="conv", inputs=(other,), shape=(1,))
        pair.append(Kernel(main=main, inputs=(other,), chain=(name,), channels=1))
    with pytest.raises(ValueError, match="circle"):
        schedule(pair, {INPUT: 1, "a": 1, "b": 1}, ("b",), MemoryConventions())


def test_among_equals_the_order_of_the_graph_wins(zoo):
    for name in ("resnet8", "ds_cnn", "vgg16"):
        graph = zoo(name)
        kernels = fuse(graph)
        steps = schedule(kernels, sizes_of(graph), graph.outputs, MemoryConventions())
        assert [s.kernel for s in steps] == list(range(len(kernels)))


# --- graphs that are wide


def kernel(name: str, *inputs: str) -> Kernel:
    main = Operator(name=name, kind="conv", inputs=inputs, shape=(1,))
    return Kernel(main=main, inputs=inputs, chain=(name,), channels=1)


def fan(sizes, stem=5):
    """One value read by branches (a list of sizes each), all read by a last kernel."""
    kernels, bytes_of = [kernel("stem", INPUT)], {INPUT: 1, "stem": stem, "join": 1}
    ends = []
    for number, branch in enumerate(sizes):
        source = "stem"
        for depth, size in enumerate(branch):
            name = f"b{number}.{depth}"
            kernels.append(kernel(name, source))
            bytes_of[name], source = size, name
        ends.append(source)
    return [*kernels, kernel("join", *ends)], bytes_of, ("join",)


def mirrored(kernels, sizes, outputs):
    """The same network run backwards: what was read is made."""
    (last,) = outputs
    name = {k.output: f"~{k.output}" for k in kernels}
    readers = {k.output: [name[r.output] for r in kernels if k.output in r.inputs] for k in kernels}
    turned = [kernel(name[k.output], *(readers[k.output] or [INPUT])) for k in reversed(kernels)]
    bytes_of = {name[k.output]: sum(sizes[n] for n in k.inputs) for k in kernels}
    return turned, {INPUT: sizes[last], **bytes_of}, (name[kernels[0].output],)


def peak_and_order(kernels, sizes, outputs):
    steps = schedule(kernels, sizes, outputs, MemoryConventions())
    return max(sum(sizes[n] for n in s.live) for s in steps), [kernels[s.kernel] for s in steps]


branches = st.lists(st.lists(st.integers(1, 9), min_size=1, max_size=3), min_size=2, max_size=4)


@pytest.mark.slow
@settings(max_examples=60, deadline=None)
@given(branches.filter(lambda sizes: sum(map(len, sizes)) <= 7), st.integers(1, 20))
def test_parallel_branches_either_way_round(sizes, stem):
    for problem in (fan(sizes, stem), mirrored(*fan(sizes, stem))):
        peak, order = peak_and_order(*problem)
        assert peak == brute(*problem, MemoryConventions())
        assert peak == peak_of(order, *problem, MemoryConventions())


@pytest.mark.parametrize("count", [16, 40])
def test_many_equal_branches(count):
    """Each passes through 9; the last one no longer needs the stem of 5 at its second step."""
    peak, _ = peak_and_order(*fan([[9, 2]] * count))
    assert peak == 5 + 2 * (count - 1) + 9


@pytest.mark.parametrize("stem", [5, 60, 1000])
@pytest.mark.parametrize("count", [12, 16])
def test_many_unequal_branches_are_proven(count, stem):
    """A warning would be an error here; the order must need what is said of it."""
    random = np.random.default_rng(count)
    sizes = [random.integers(1, 40, random.integers(1, 4)).tolist() for _ in range(count)]
    for problem in (fan(sizes, stem), mirrored(*fan(sizes, stem))):
        peak, order = peak_and_order(*problem)
        assert peak == peak_of(order, *problem, MemoryConventions())


def test_a_large_stem_by_hand():
    """1000 stay until the last branch has begun; the other has then come down to 1."""
    peak, _ = peak_and_order(*fan([[10, 1], [10, 1]], stem=1000))
    assert peak == 1000 + 10 + 1


def test_a_graph_that_is_too_wide_is_not_passed_off_as_searched(monkeypatch):
    problem = fan([[7, 3], [9, 1], [8, 5], [6, 4]], stem=6)
    best = brute(*problem, MemoryConventions())
    monkeypatch.setattr("pruning.cost.memory.scheduler.MAX_EXPANSIONS", 0)
    with pytest.warns(PeakMemoryWarning, match="10 kernels can run in too many orders"):
        peak, order = peak_and_order(*problem)
    assert peak == peak_of(order, *problem, MemoryConventions()) >= best


@pytest.mark.slow
@settings(max_examples=60, deadline=None)
@given(problems(), st.sampled_from([0, 1, 2]))
def test_what_a_cut_search_proves_is_true(problem, states):
    kernels, sizes, outputs = problem
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("pruning.cost.memory.scheduler.MAX_EXPANSIONS", states)
        found = best_order(
            SchedulingProblem(buffer_uses(kernels, MemoryConventions()), sizes, outputs)
        )
    real = peak_of(
        [kernels[i] for i in found.kernels], kernels, sizes, outputs, MemoryConventions()
    )
    assert found.bound <= brute(kernels, sizes, outputs, MemoryConventions()) <= found.peak == real

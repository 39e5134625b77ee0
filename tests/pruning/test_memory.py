"""Peak memory against every order there is, counted in another way."""

import itertools
import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from pruning.cost import CostModel
from pruning.errors import PeakMemoryWarning
from pruning.gap import Problem
from pruning.kernels import Kernel, fuse
from pruning.memory import Conventions, accesses, schedule
from pruning.order import best_order
from pruning.records import INPUT, Operator
from pruning.shrink import shrink_graph
from pruning.trace import trace

POINTWISE = (
    "add", "subtract", "multiply", "divide", "maximum", "minimum", "activation", "prelu",
)  # fmt: skip
SWITCHES = ("count_input", "in_place_add", "in_place_depthwise", "overlap", "search_order")
ALL = [
    Conventions(**dict(zip(SWITCHES, flags, strict=True)))
    for flags in itertools.product((False, True), repeat=len(SWITCHES))
]


def shared_bytes(kernel, sizes) -> int:
    """Bytes of its input that a kernel with windows can write over, tried pixel by pixel."""
    if kernel.main.kind not in ("conv", "transposed", "pool", "linear", "batch_norm"):
        return 0
    if not 1 <= len(kernel.plane) <= 2:
        return 0
    reads = taps(kernel)
    pixels_in, pixels_out = math.prod(kernel.plane), len(reads)
    per_in, per_out = sizes[kernel.inputs[0]] // pixels_in, sizes[kernel.output] // pixels_out
    together = []
    for order in (reads, [[pixels_in - 1 - t for t in r] for r in reversed(reads)]):
        most = sizes[kernel.inputs[0]]
        for number in range(pixels_out):  # two pixels may be written at a time
            needed = min((t for later in order[number:] for t in later), default=pixels_in)
            written = min(number + 2, pixels_out)
            most = max(most, (pixels_in - needed) * per_in + written * per_out)
        together.append(most)
    return sizes[kernel.inputs[0]] + sizes[kernel.output] - min(together)


def taps(kernel) -> list[list[int]]:
    """The numbers of the input's pixels that each output pixel reads."""
    a, plane = kernel.main.attributes, kernel.plane
    once, none = [1] * len(plane), [0] * len(plane)
    settings = [
        a.get(name, none if name == "padding" else once)
        for name in ("kernel", "stride", "padding", "dilation")
    ]
    along = transposed_taps if kernel.main.kind == "transposed" else window_taps
    reads = []
    for place in itertools.product(*map(range, made_plane(kernel))):
        axes = [along(*axis) for axis in zip(place, *settings, strict=True)]
        inside = [
            [at for at in axis if 0 <= at < size]
            for axis, size in zip(axes, plane, strict=True)
        ]
        numbers = [0]
        for axis, size in zip(inside, plane, strict=True):
            numbers = [n * size + at for n in numbers for at in axis]
        reads.append(numbers)
    return reads


def made_plane(kernel):
    """Height and width of the output; a mean over one axis leaves one pixel of it."""
    if not kernel.main.attributes.get("squeeze"):
        return kernel.main.shape[1:]
    return [n // k for n, k in zip(kernel.plane, kernel.main.attributes["kernel"], strict=True)]


def window_taps(at, kernel, stride, padding, dilation):
    return [at * stride - padding + tap * dilation for tap in range(kernel)]


def transposed_taps(at, kernel, stride, padding, dilation):
    places = [at + padding - tap * dilation for tap in range(kernel)]
    return [place // stride for place in places if place % stride == 0]


def peak_of(order, kernels, sizes, outputs, conventions) -> int:
    """The peak of one order, by keeping a list of what is in memory."""
    waiting = {name: [k.name for k in kernels if name in k.inputs] for name in sizes}
    for name in outputs:
        waiting[name].append("the caller")
    memory = {INPUT} if conventions.count_input else set()
    peak = 0
    for kernel in order:
        for name in kernel.inputs:
            waiting[name].remove(kernel.name) if kernel.name in waiting[name] else None
        dying = [n for n in kernel.inputs if not waiting[n] and n != INPUT]
        same = [n for n in dying if sizes[n] == sizes[kernel.output]]
        allowed = {
            **dict.fromkeys(POINTWISE, conventions.in_place_add),
            "depthwise": conventions.in_place_depthwise,
        }.get(kernel.kind, False)
        saved = sizes[kernel.output] if allowed and same else 0
        read = kernel.inputs[0]
        if conventions.overlap and read in memory and not waiting[read]:
            saved = shared_bytes(kernel, sizes) or saved
        peak = max(peak, sum(sizes[n] for n in memory) + sizes[kernel.output] - saved)
        memory.add(kernel.output)
        memory = {n for n in memory if waiting[n]}
    return peak


def orders(kernels):
    """All orders in which every kernel comes after those that make its inputs."""

    def extend(done, rest):
        if not rest:
            yield done
        made = {INPUT, *(k.output for k in done)}
        for kernel in rest:
            if made.issuperset(kernel.inputs):
                yield from extend([*done, kernel], [k for k in rest if k is not kernel])

    return extend([], list(kernels))


def brute(kernels, sizes, outputs, conventions) -> int:
    candidates = orders(kernels) if conventions.search_order else [list(kernels)]
    return min(peak_of(o, kernels, sizes, outputs, conventions) for o in candidates)


class Branches(nn.Module):
    """Two branches of unequal shape that are concatenated, and a skip over both."""

    def __init__(self):
        super().__init__()
        self.stem = nn.Conv2d(2, 6, 3, padding=1)
        self.wide, self.narrow = nn.Conv2d(6, 16, 3, padding=1), nn.Conv2d(16, 2, 1)
        self.other, self.last = nn.Conv2d(6, 4, 3, padding=1), nn.Conv2d(6, 6, 1)
        self.head = nn.Linear(6, 3)

    def forward(self, x):
        x = self.stem(x)
        side = self.narrow(self.wide(x))
        joined = self.last(torch.cat([self.other(x), side], 1))
        return self.head((joined + x).mean((2, 3)))


class Mobile(nn.Module):
    """An inverted residual: depthwise while the skip is held."""

    def __init__(self):
        super().__init__()
        self.stem, self.expand = nn.Conv2d(3, 4, 3, padding=1), nn.Conv2d(4, 12, 1)
        self.depthwise = nn.Conv2d(12, 12, 3, padding=1, groups=12)
        self.project, self.head = nn.Conv2d(12, 4, 1), nn.Linear(4, 2)

    def forward(self, x):
        x = self.stem(x)
        x = x + self.project(self.depthwise(self.expand(x)).relu())
        return self.head(x.mean((2, 3)))


class Gated(nn.Module):
    """A gate computed beside a branch; the standalone sigmoid is a kernel of its own."""

    def __init__(self):
        super().__init__()
        self.a, self.b = nn.Conv2d(1, 8, 3, padding=1), nn.Conv2d(1, 8, 3, padding=1)
        self.c, self.head = nn.Conv2d(8, 8, 3, stride=2, padding=1), nn.Linear(8, 3)

    def forward(self, x):
        a = self.a(x)
        y = a * torch.sigmoid(self.b(x))
        return self.head((self.c(y) + self.c(a)).mean((2, 3)))


class Forks(nn.Module):
    """Two outputs, one of them read inside as well; the graph's order is not the best."""

    def __init__(self):
        super().__init__()
        self.big, self.small = nn.Conv2d(1, 20, 1), nn.Conv2d(1, 2, 3, stride=4)
        self.shrink, self.more = nn.Conv2d(20, 1, 8), nn.Conv2d(1, 12, 1)
        self.less = nn.Conv2d(12, 1, 8)

    def forward(self, x):
        big, more = self.big(x), self.more(x)
        return self.small(x), self.shrink(big) + self.less(more)


NETS = {
    "branches": (Branches, (2, 6, 6)),
    "mobile": (Mobile, (3, 6, 6)),
    "gated": (Gated, (1, 8, 8)),
    "forks": (Forks, (1, 8, 8)),
}


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
        CostModel(graph, device, conventions=Conventions(**{**others, switch: flag})).peak(n)
        for flag in (False, True)
    ]
    assert found == [off, on]


@st.composite
def problems(draw):
    """Up to nine kernels that read earlier ones, with sizes that often agree."""
    count = draw(st.integers(1, 9))
    kernels, sizes = [], {INPUT: draw(st.integers(1, 6))}
    for index in range(count):
        names = list(sizes)
        kind = draw(st.sampled_from(["conv", "add", "depthwise", "concat", "window"]))
        wanted = 2 if kind in ("add", "concat") else 1
        inputs = tuple(draw(st.sampled_from(names)) for _ in range(wanted))
        same = sizes[inputs[0]]
        attributes = {"depthwise": True} if kind == "depthwise" else {}
        shape, plane = (1,), ()
        size = draw(st.one_of(st.just(same), st.integers(1, 6)))
        if kind == "window":  # over a series of as many pixels as there are bytes
            wide, step = draw(st.integers(1, min(3, same))), draw(st.integers(1, 2))
            padding = draw(st.integers(0, wide // 2))
            attributes = {"kernel": [wide], "stride": [step], "padding": [padding]}
            plane, shape = (same,), (1, (same + 2 * padding - wide) // step + 1)
            size = shape[1] * draw(st.integers(1, 3))
        kinds = {"depthwise": "conv", "window": "conv"}
        main = Operator(
            name=f"k{index}",
            kind=kinds.get(kind, kind),
            inputs=inputs,
            shape=shape,
            attributes=attributes,
        )
        kernels.append(
            Kernel(main=main, inputs=inputs, chain=(main.name,), channels=1, plane=plane)
        )
        sizes[main.name] = size
    read = {n for k in kernels for n in k.inputs}
    unread = [k.output for k in kernels if k.output not in read]
    extra = draw(st.lists(st.sampled_from([k.output for k in kernels]), max_size=1))
    return kernels, sizes, tuple(dict.fromkeys([*unread, *extra]))


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
    if not step.moments:
        return whole
    read, made = sizes[kernel.inputs[0]], sizes[kernel.output]
    pixels_in, pixels_out = math.prod(kernel.plane), math.prod(made_plane(kernel))
    return max(
        whole - read - made + unread * read // pixels_in + written * made // pixels_out
        for unread, written in step.moments
    )


def test_a_circle_is_an_error():
    pair = []
    for name, other in (("a", "b"), ("b", "a")):
        main = Operator(name=name, kind="conv", inputs=(other,), shape=(1,))
        pair.append(Kernel(main=main, inputs=(other,), chain=(name,), channels=1))
    with pytest.raises(ValueError, match="circle"):
        schedule(pair, {INPUT: 1, "a": 1, "b": 1}, ("b",), Conventions())


def test_among_equals_the_order_of_the_graph_wins(zoo):
    for name in ("resnet8", "ds_cnn", "vgg16"):
        graph = zoo(name)
        kernels = fuse(graph)
        steps = schedule(kernels, sizes_of(graph), graph.outputs, Conventions())
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
    readers = {
        k.output: [name[r.output] for r in kernels if k.output in r.inputs] for k in kernels
    }
    turned = [
        kernel(name[k.output], *(readers[k.output] or [INPUT])) for k in reversed(kernels)
    ]
    bytes_of = {name[k.output]: sum(sizes[n] for n in k.inputs) for k in kernels}
    return turned, {INPUT: sizes[last], **bytes_of}, (name[kernels[0].output],)


def peak_and_order(kernels, sizes, outputs):
    steps = schedule(kernels, sizes, outputs, Conventions())
    return max(sum(sizes[n] for n in s.live) for s in steps), [kernels[s.kernel] for s in steps]


branches = st.lists(st.lists(st.integers(1, 9), min_size=1, max_size=3), min_size=2, max_size=4)


@settings(max_examples=60, deadline=None)
@given(branches.filter(lambda sizes: sum(map(len, sizes)) <= 7), st.integers(1, 20))
def test_parallel_branches_either_way_round(sizes, stem):
    for problem in (fan(sizes, stem), mirrored(*fan(sizes, stem))):
        peak, order = peak_and_order(*problem)
        assert peak == brute(*problem, Conventions())
        assert peak == peak_of(order, *problem, Conventions())


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
        assert peak == peak_of(order, *problem, Conventions())


def test_a_large_stem_by_hand():
    """1000 stay until the last branch has begun; the other has then come down to 1."""
    peak, _ = peak_and_order(*fan([[10, 1], [10, 1]], stem=1000))
    assert peak == 1000 + 10 + 1


def test_a_graph_that_is_too_wide_is_not_passed_off_as_searched(monkeypatch):
    problem = fan([[7, 3], [9, 1], [8, 5], [6, 4]], stem=6)
    best = brute(*problem, Conventions())
    monkeypatch.setattr("pruning.order.STATES", 0)
    with pytest.warns(PeakMemoryWarning, match="10 kernels can run in too many orders"):
        peak, order = peak_and_order(*problem)
    assert peak == peak_of(order, *problem, Conventions()) >= best


@settings(max_examples=60, deadline=None)
@given(problems(), st.sampled_from([0, 1, 2]))
def test_what_a_cut_search_proves_is_true(problem, states):
    kernels, sizes, outputs = problem
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("pruning.order.STATES", states)
        found = best_order(Problem(accesses(kernels, Conventions()), sizes, outputs))
    real = peak_of([kernels[i] for i in found.kernels], kernels, sizes, outputs, Conventions())
    assert found.bound <= brute(kernels, sizes, outputs, Conventions()) <= found.peak == real

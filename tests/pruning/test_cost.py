"""Costs: published numbers, two uses of one formula, and what must never happen."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from pruning import models
from pruning.cost.cores import core_named
from pruning.cost.forms import macs
from pruning.cost.latency import instruction_count
from pruning.cost.memory.peak import PUBLISHED, MemoryConventions
from pruning.cost.model import CostModel, Encoding, bottlenecks, deployed, published
from pruning.errors import PruningError
from pruning.frontend.trace import trace
from pruning.graph.fusion import fuse
from pruning.graph.graph import Graph
from pruning.graph.shrink import shrink_graph

SMALL = ["resnet8", "resnet20", "ds_cnn", "mobilenet_v1", "vgg16", "mobilenet_v2"]
ODD = [
    "excite", "excite-linear", "stacked", "grouped", "preactivation", "plain", "multiplier",
    "waves", "twice", "spread", "dense", "overwriting",
]  # fmt: skip

# peak SRAM, bytes of weights, MACs, bottleneck: see "Golden numbers" of the method's notes
GOLDEN = {
    "resnet8": (49_152, 77_706, 12_534_400, "features.block1.body.second.conv"),
    "resnet20": (49_152, 271_690, 40_903_296, "features.block1.body.second.conv"),
    "resnet8-26": (79_872, 203_746, 32_615_440, "features.block1.body.second.conv"),
    "ds_cnn": (16_000, 22_604, 2_664_768, "features.block1.depthwise.conv"),
    "mobilenet_v1": (55_296, 210_850, 7_491_968, "features.block1.pointwise.conv"),
    "vgg16": (131_072, 14_719_818, 313_326_592, "features.conv1_2.conv"),
    "mobilenet_v2": (319_488, 2_219_626, 88_067_584, "features.block3.body.depthwise.conv"),
}


def meta(make, shape) -> Graph:
    with torch.device("meta"):
        return trace(make(), torch.zeros(shape))


@pytest.mark.parametrize("name", GOLDEN)
def test_golden_costs(zoo, device, name):
    graph = zoo(name)
    model = published(graph, device)
    sram, weights, work, bottleneck = GOLDEN[name]
    cost = model.dense
    assert (cost.sram_bytes, cost.flash_bytes, cost.macs) == (sram, weights, work)
    widths = graph.channels.widths
    assert bottlenecks(model, widths)["sram_bytes"] == bottleneck
    if name == "resnet20":  # all blocks of the first stage are alike: the first is named
        peak = [line.name for line in model.explain(widths) if line.live_bytes == sram]
        assert peak == [
            f"features.block{block}.{last}"
            for block in (1, 2, 3)
            for last in ("body.second.conv", "add")
        ]


@pytest.mark.parametrize("name", GOLDEN)
def test_golden_peaks_under_other_conventions(zoo, device, name):
    """Only the in-place depthwise changes a published peak, and only MobileNet-v2's."""
    graph = zoo(name)
    peak = GOLDEN[name][0]

    def under(**switches):
        conventions = MemoryConventions(**{"count_input": False, **switches})
        return CostModel(graph, device, conventions=conventions).dense.sram_bytes

    assert under(count_input=True) == peak
    assert under(in_place_add=True) == peak
    in_place = under(in_place_depthwise=True)
    assert in_place == (196_608 if name == "mobilenet_v2" else peak)


def test_the_bottleneck_of_a_residual_block_holds_input_output_and_skip(zoo, device):
    graph = zoo("resnet8")
    lines = {line.name: line for line in published(graph, device).explain(graph.channels.widths)}
    line = lines["features.block1.body.second.conv"]
    assert line.live_bytes == 3 * 16 * 32 * 32
    assert len(line.live) == 3
    assert line.shape == (16, 32, 32)
    assert line.fused == ("batch_norm",)


@pytest.mark.slow
def test_int8_adds_a_bias_a_multiplier_and_a_shift_per_channel(zoo, device):
    for name in ("resnet8", "ds_cnn", "mobilenet_v2"):
        graph = zoo(name)
        outputs = sum(
            graph.shape(k.output)[0] for k in fuse(graph) if k.main.kind in ("conv", "linear")
        )
        int8 = CostModel(graph, device).dense.flash_bytes
        plain = CostModel(graph, device, Encoding.PUBLISHED).dense.flash_bytes
        assert int8 - plain == 8 * outputs


# -- latency


def counted(graph: Graph, core: str = "cortex-m4") -> float:
    total = 0.0
    for kernel in fuse(graph):
        c_in = sum(graph.shape(name)[0] for name in kernel.main.inputs)
        c_out = graph.shape(kernel.output)[0]
        count = instruction_count(kernel, core_named(core).loops)
        total += float(count(np.array(float(c_in)), np.array(float(c_out))))
    return total


def layer_macs(graph: Graph) -> float:
    """Of convolutions and linear layers alone, as the instruction counts are quoted."""
    total = 0.0
    for kernel in fuse(graph):
        if kernel.main.kind in ("conv", "linear"):
            work, c_out = macs(kernel), graph.shape(kernel.output)[0]
            total += (work.product * graph.shape(kernel.main.inputs[0])[0] + work.output) * c_out
    return total


@pytest.mark.parametrize(
    ("make", "shape", "core", "millions"),
    [
        (models.resnet8, (3, 32, 32), "cortex-m4", 26.61),
        (models.resnet8, (3, 32, 32), "cortex-m3", 42.75),
        (models.resnet8, (3, 32, 32), "cortex-m0+", 114.6),
        (models.ds_cnn, (1, 49, 10), "cortex-m4", 8.426),
        (models.ds_cnn, (1, 49, 10), "cortex-m3", 11.76),
        (models.ds_cnn, (1, 49, 10), "cortex-m0+", 28.95),
        (lambda: models.resnet8(filters=13), (3, 32, 32), "cortex-m4", 20.33),
        (lambda: models.ds_cnn(filters=37), (1, 49, 10), "cortex-m4", 4.504),
    ],
)
def test_instructions_are_those_counted_on_an_emulated_core(make, shape, core, millions):
    assert counted(meta(make, shape), core) / 1e6 == pytest.approx(millions, rel=0.02)


@pytest.mark.slow
def test_instructions_per_mac_grow_as_nets_shrink():
    for make, shape in ((models.resnet8, (3, 32, 32)), (models.ds_cnn, (1, 49, 10))):
        graphs = [meta(lambda: make(filters=width), shape) for width in (32, 16, 8)]  # noqa: B023
        rates = [counted(graph) / layer_macs(graph) for graph in graphs]
        assert rates == sorted(rates)


def test_latency_is_instructions_times_cycles_over_clock(zoo, device):
    graph = zoo("ds_cnn")
    milliseconds = counted(graph) * device.cycles_per_instruction / device.clock_hz * 1e3
    assert CostModel(graph, device).dense.latency_ms == pytest.approx(milliseconds, rel=1e-9)


@pytest.mark.slow
def test_slower_cores_need_more_instructions(zoo):
    for name in GOLDEN:
        m4, m3, m0 = (counted(zoo(name), f"cortex-{c}") for c in ("m4", "m3", "m0+"))
        assert m4 < m3 < m0


def test_an_unknown_core_is_refused(zoo):
    with pytest.raises(PruningError, match=r"'z80'; known: cortex-m0\+"):
        counted(zoo("ds_cnn"), "z80")


# -- explanations


@pytest.mark.slow
@pytest.mark.parametrize("counting", [CostModel, deployed])
def test_explanations_add_up(zoo, odd, device, random_mask, counting):
    for graph in [zoo(n) for n in GOLDEN] + [odd(n)[0] for n in ODD]:
        model = counting(graph, device)
        kept = random_mask(graph, 3)
        widths = [int(kept[g.units].sum()) for g in graph.channels.groups]
        cost, lines = model.cost(widths), model.explain(widths)
        assert sum(line.flash_bytes for line in lines) == cost.flash_bytes
        assert sum(line.macs for line in lines) == cost.macs
        assert sum(line.latency_ms for line in lines) == pytest.approx(cost.latency_ms)
        assert max(line.live_bytes for line in lines) == cost.sram_bytes
        assert sorted(line.name for line in lines) == sorted(k.name for k in model.kernels)


def test_flash_by_hand_counts_every_parameter(odd, device):
    """Weights and biases as stored, where no batch norm is left over after folding."""
    for name in ("excite", "grouped", "plain", "multiplier", "spread"):
        graph, module = odd(name)
        weights = channels = 0
        for layer in module.modules():
            if isinstance(layer, nn.Conv2d | nn.Linear):
                weights += layer.weight.numel()
                channels += layer.weight.shape[0]
        assert published(graph, device).dense.flash_bytes == weights + channels, name


# -- fusion


def test_fusion_by_hand(odd):
    kernels = {k.name: k for k in fuse(odd("preactivation")[0])}
    assert [k for k in kernels if k.startswith("norm")] == ["norm1"]  # norm2 follows a conv
    assert kernels["norm1"].chain == ("norm1", "relu")
    assert kernels["conv1"].chain == ("conv1", "norm2", "relu:2")
    assert kernels["stem"].chain == ("stem",)  # read twice: the norm cannot be folded in
    assert kernels["conv2"].inputs == ("relu:2",)
    plain = {k.name: k for k in fuse(odd("plain")[0])}
    assert plain["hidden"].inputs == ("max_pool2d",)  # a flatten only renames
    assert plain["sigmoid"].kind == "activation"
    multiplier = {k.name: k for k in fuse(odd("multiplier")[0])}
    assert multiplier["depthwise"].kind == "depthwise"
    assert multiplier["stem.0"].chain == ("stem.0", "stem.1", "stem.2.hardtanh")


# -- one formula, two uses


def everything(small, odd):
    return [small(n)[0] for n in SMALL] + [odd(n)[0] for n in ODD]


def test_forms_are_the_cost_at_integers(small, odd, device, random_mask):
    for seed, graph in enumerate(everything(small, odd)):
        model = CostModel(graph, device)
        kept = random_mask(graph, seed)
        widths = [int(kept[g.units].sum()) for g in graph.channels.groups]
        cost, n = model.cost(widths), np.array(widths, dtype=float)
        for name, near in (("flash_bytes", 1e-12), ("latency_ms", 0.25), ("macs", 1e-12)):
            square, line, constant = model.form(name)
            assert (square == square.T).all()
            assert min(square.min(), line.min(), constant) >= 0  # a posynomial
            value = n @ square @ n + line @ n + constant
            assert value == pytest.approx(getattr(cost, name), rel=near)
        live = model.live(model.schedule(widths)).numpy()
        assert (live @ n).max() == cost.sram_bytes


@pytest.mark.parametrize("seed", range(3))
def test_cost_at_widths_is_the_dense_cost_of_the_shrunk_graph(
    small, odd, device, random_mask, seed
):
    for graph in everything(small, odd):
        kept = random_mask(graph, seed)
        widths = [int(kept[g.units].sum()) for g in graph.channels.groups]
        for encoding, conventions in (
            (Encoding.INT8, MemoryConventions()),
            (Encoding.PUBLISHED, PUBLISHED),
            (Encoding.INT8, MemoryConventions(in_place_add=True, in_place_depthwise=True)),
        ):
            wide = CostModel(graph, device, encoding, conventions)
            narrow = CostModel(shrink_graph(graph, kept), device, encoding, conventions)
            assert narrow.dense == wide.cost(widths)


@pytest.mark.slow
def test_cost_at_zoo_sizes(zoo, device, random_mask):
    for name in GOLDEN:
        graph = zoo(name)
        kept = random_mask(graph, 5)
        widths = [int(kept[g.units].sum()) for g in graph.channels.groups]
        narrow = CostModel(shrink_graph(graph, kept), device).dense
        assert narrow == CostModel(graph, device).cost(widths)


@pytest.mark.parametrize(
    ("wide", "narrow", "shape"),
    [
        (models.resnet8, lambda: models.resnet8(filters=9), (3, 32, 32)),
        (models.ds_cnn, lambda: models.ds_cnn(filters=37), (1, 49, 10)),
        pytest.param(
            models.mobilenet_v1,
            lambda: models.mobilenet_v1(width=0.125),
            (3, 64, 64),
            marks=pytest.mark.slow,
        ),
        (models.vgg16, lambda: models.vgg16(width=0.25), (3, 32, 32)),
    ],
)
def test_cost_at_widths_is_that_of_a_net_built_narrow_and_traced(device, wide, narrow, shape):
    graph, small = meta(wide, shape), meta(narrow, shape)
    assert [g.name for g in graph.channels.groups] == [g.name for g in small.channels.groups]
    assert CostModel(graph, device).cost(small.channels.widths) == CostModel(small, device).dense


@pytest.mark.parametrize("counting", [CostModel, deployed])
@settings(max_examples=60, deadline=None)
@given(st.data())
def test_fewer_channels_never_cost_more(small, odd, device, counting, data):
    kind, name = data.draw(
        st.sampled_from([("small", n) for n in SMALL] + [("odd", n) for n in ODD])
    )
    graph = (small if kind == "small" else odd)(name)[0]
    model = counting(graph, device)
    widths, fewer = [], []
    for group in graph.channels.groups:
        width = data.draw(st.integers(1, group.size)) if group.prunable else group.size
        widths.append(width)
        fewer.append(data.draw(st.integers(1, width)) if group.prunable else group.size)
    more, less = model.cost(widths), model.cost(fewer)
    assert less.flash_bytes <= more.flash_bytes
    assert less.sram_bytes <= more.sram_bytes
    assert less.macs <= more.macs


@pytest.mark.parametrize("counting", [CostModel, deployed])
def test_many_widths_at_once_cost_what_each_costs(small, odd, device, random_mask, counting):
    """And for an order of kernels that is not the best at some widths, never less memory."""
    for graph in everything(small, odd):
        model = counting(graph, device)
        table = [
            [int(random_mask(graph, seed)[g.units].sum()) for g in graph.channels.groups]
            for seed in range(5)
        ]
        costs = model.costs(table)
        for row, widths in enumerate(table):
            exact = model.cost(widths)
            assert costs["flash_bytes"][row] == exact.flash_bytes
            assert costs["latency_ms"][row].item() == pytest.approx(exact.latency_ms, rel=1e-12)
            assert costs["sram_bytes"][row] >= exact.sram_bytes
        assert costs["sram_bytes"][0] == model.cost(table[0]).sram_bytes

"""Buffers in their arena: every byte that is read is what was written there."""

import math
from dataclasses import replace
from itertools import product

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from pruning.allocation.allocate import Allocation
from pruning.allocation.feasibility import min_widths
from pruning.allocation.masks import ChannelMasks
from pruning.allocation.project import project
from pruning.budget import Budget
from pruning.cost.memory.arena import WORD, ArenaPlan, pack
from pruning.cost.memory.peak import DEPLOYED, buffer_uses, schedule
from pruning.cost.model import CostModel, Encoding, deployed
from pruning.errors import BudgetError
from pruning.frontend.trace import trace
from pruning.graph.shrink import shrink_graph
from pruning.ir.kernel import Kernel
from pruning.ir.operator import INPUT
from tests.pruning.agreement import masks
from tests.pruning.orders import NETS, problems, taps
from tests.pruning.random_networks import FEW, networks


class Memory:
    """An arena whose bytes know which byte of which buffer they hold."""

    def __init__(self, plan: ArenaPlan, sizes: dict[str, int]) -> None:
        self.plan, self.sizes = plan, sizes
        self.holds = np.full((plan.arena_bytes, 2), -1)
        self.names = list(sizes)

    def write(self, name: str, numbers: np.ndarray) -> None:
        self.holds[self.plan.offsets[name] + numbers] = np.stack(
            [np.full_like(numbers, self.names.index(name)), numbers], 1
        )

    def require(self, name: str, numbers: np.ndarray) -> None:
        held = self.holds[self.plan.offsets[name] + numbers]
        assert (held[:, 0] == self.names.index(name)).all(), f"{name} is overwritten"
        assert (held[:, 1] == numbers).all()


def run(kernels: list[Kernel], sizes: dict[str, int], outputs, plan: ArenaPlan) -> None:
    """As generated code does: pixel by pixel where there are windows, from either end."""
    memory = Memory(plan, sizes)
    everything = {name: np.arange(size) for name, size in sizes.items()}
    memory.write(INPUT, everything[INPUT])
    for kernel, access in zip(kernels, buffer_uses(kernels, DEPLOYED), strict=True):
        if access.windows is not None:
            _by_pixel(memory, kernel, kernel.output in plan.backward)
            continue
        for name in kernel.inputs:
            memory.require(name, everything[name])
        if access.in_place:  # element by element
            memory.write(kernel.output, everything[kernel.output])
            continue
        memory.write(kernel.output, everything[kernel.output])
        for name in kernel.inputs:  # written before it was read
            memory.require(name, everything[name])
    for name in outputs:
        memory.require(name, everything[name])


def _by_pixel(memory: Memory, kernel: Kernel, backward: bool) -> None:
    reads = taps(kernel)
    (read,), made = kernel.inputs, kernel.output
    wide = memory.sizes[read] // math.prod(kernel.plane)
    wide_out = memory.sizes[made] // len(reads)
    pixels = range(len(reads))
    order = list(reversed(pixels)) if backward else list(pixels)
    for place, pixel in enumerate(order):
        for ahead in order[place : place + 2]:  # two at a time
            memory.write(made, ahead * wide_out + np.arange(wide_out))
        needed = [tap * wide + byte for tap, byte in product(reads[pixel], range(wide))]
        memory.require(read, np.array(needed, dtype=np.int64))
    memory.require(made, np.arange(memory.sizes[made]))


def in_order(kernels, sizes, outputs) -> list[Kernel]:
    return [kernels[step.kernel] for step in schedule(kernels, sizes, outputs, DEPLOYED)]


@given(problems())
def test_nothing_is_overwritten_before_it_is_read(problem):
    kernels, sizes, outputs = problem
    ordered = in_order(kernels, sizes, outputs)
    plan = pack(buffer_uses(ordered, DEPLOYED), sizes, outputs)
    assert plan.arena_bytes >= plan.peak_bytes
    run(ordered, sizes, outputs, plan)


def run_graph(graph, device) -> tuple[ArenaPlan, int]:
    """The plan, after a run in it, and the peak that the budget counts."""
    model = deployed(graph, device)
    widths = graph.channels.widths
    sizes = model._sizes(np.array(widths))
    plan = model.arena(widths)
    run(in_order(model.kernels, sizes, model._outputs), sizes, model._outputs, plan)
    return plan, model.dense.sram_bytes


@pytest.mark.slow
@FEW
@given(networks(steps=8), st.integers(0, 9))
def test_random_networks_run_in_their_arena(device, network, seed):
    graph = shrink_graph(network.graph, masks(network.graph, seed))
    plan, peak = run_graph(graph, device)
    assert plan.peak_bytes == peak


@pytest.mark.parametrize("name", NETS)
def test_networks_run_in_an_arena_of_their_peak(device, name):
    make, shape = NETS[name]
    plan, peak = run_graph(trace(make(), torch.zeros(shape)), device)
    assert plan.arena_bytes == peak


@pytest.mark.parametrize("name", ["resnet20", "ds_cnn", "mobilenet_v1", "mobilenet_v2", "vgg16"])
@pytest.mark.parametrize("seed", range(1, 6))
def test_pruned_zoo_models_fill_their_arena(zoo, device, random_mask, name, seed):
    graph = shrink_graph(zoo(name), random_mask(zoo(name), seed))
    model = deployed(graph, device)
    assert model.arena(graph.channels.widths).arena_bytes == model.dense.sram_bytes


@pytest.mark.parametrize("name", ["resnet8", "ds_cnn"])
def test_the_input_begins_with_a_word_for_nothing(zoo, device, name):
    """As low as it may lie beside what is written over it, it would not."""
    model = deployed(zoo(name), device)
    plan = model.arena(zoo(name).channels.widths)
    assert plan.offsets[INPUT] > 0
    assert plan.offsets[INPUT] % WORD == 0
    assert plan.arena_bytes == model.dense.sram_bytes


def test_a_chain_of_equal_layers_goes_to_and_fro(device):
    """Each layer of 8x8x4 lies eleven pixels beside the last one, and back again."""
    chain = torch.nn.Sequential(*(torch.nn.Conv2d(4, 4, 3, padding=1) for _ in range(9)))
    plan, peak = run_graph(trace(chain, torch.zeros(4, 8, 8)), device)
    assert plan.arena_bytes == peak == 4 * (64 + 8 + 3)
    assert len(plan.backward) in (4, 5)


@pytest.mark.slow
def test_a_budget_is_that_of_the_arena(zoo, device, monkeypatch):
    """Where buffers cannot be packed, widths leave room for the gaps."""
    graph = zoo("resnet8")
    model = deployed(graph, device)
    masks = ChannelMasks.open(graph.channels)
    budget = Budget(sram_bytes=20_000)
    tight = project(masks, model, budget, Allocation())

    def with_gaps(kernels, sizes, outputs):
        packed = pack(kernels, sizes, outputs)
        return replace(packed, arena_bytes=packed.arena_bytes + 1_000)

    monkeypatch.setattr("pruning.cost.model.pack", with_gaps)
    roomy = project(masks, model, budget, Allocation())
    assert 19_000 < model.peak(tight) <= 20_000
    assert 18_000 < model.peak(roomy) <= 19_000
    assert model.arena(roomy).arena_bytes <= 20_000
    least = model.peak(min_widths(model))
    small = project(masks, model, Budget(sram_bytes=least + 1_200), Allocation())
    assert model.arena(small).arena_bytes <= least + 1_200
    with pytest.raises(BudgetError, match=f"finds no widths within.*{least + 999}"):
        project(masks, model, Budget(sram_bytes=least + 999), Allocation())
    apart = CostModel(graph, device, Encoding.C)  # an interpreter has no such arena
    assert model.peak(project(masks, apart, budget, Allocation())) <= 20_000


@pytest.mark.parametrize("axis", [2, 3])
@pytest.mark.parametrize("shape", [(1, 4, 16), (1, 16, 4), (1, 9, 12)])
def test_a_mean_over_one_axis_overlaps_too(device, shape, axis):
    """On the way to a series; it is a pooling whose windows are as long as that axis."""

    class Series(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.first = torch.nn.Conv2d(1, 8, 3, padding=1)
            self.last = torch.nn.Conv1d(8, 3, 3)

        def forward(self, x):
            return self.last(self.first(x).mean(axis))

    plan, peak = run_graph(trace(Series(), torch.zeros(shape)), device)
    whole = 8 * shape[1] * shape[2]
    assert plan.arena_bytes == peak < whole + whole // shape[axis - 1]

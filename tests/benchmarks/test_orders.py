"""How long tracing and the exact search for the best order take (make bench).

Nothing is asserted of time: machines differ. The times are printed.
"""

import random
import time
import warnings
from collections.abc import Callable
from functools import partial

import pytest
import torch
from torch import nn

from pruning.cost.memory.peak import MemoryConventions, schedule
from pruning.cost.model import deployed
from pruning.frontend.trace import trace
from pruning.graph.fusion import fuse
from pruning.ir.kernel import Kernel
from pruning.ir.operator import INPUT, Operator
from tests.benchmarks.device import MCU
from tests.pruning.zoo import ZOO, Zoo

GROWTH = 12


class DenseLayer(nn.Module):
    """Batch norm, ReLU and a convolution whose result is appended to what it read."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.norm, self.relu = nn.BatchNorm2d(channels), nn.ReLU()
        self.conv = nn.Conv2d(channels, GROWTH, 3, padding=1, bias=False)

    def forward(self, x):
        return torch.cat([x, self.conv(self.relu(self.norm(x)))], 1)


def densenet(*blocks: int) -> nn.Module:
    """Blocks of so many dense layers, with a convolution and a pooling between them."""
    channels = 16
    layers: list[nn.Module] = [nn.Conv2d(3, channels, 3, padding=1, bias=False)]
    for number, count in enumerate(blocks):
        if number:
            layers += [nn.Conv2d(channels, channels, 1), nn.AvgPool2d(2)]
        for _ in range(count):
            layers.append(DenseLayer(channels))
            channels += GROWTH
    pool = [nn.BatchNorm2d(channels), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten()]
    return nn.Sequential(*layers, *pool, nn.Linear(channels, 10))


NETS: Zoo = {
    **ZOO,
    "densenet40, three blocks": (partial(densenet, 13, 13, 14), (3, 32, 32)),
    "densenet40, one block": (partial(densenet, 40), (3, 32, 32)),
}


class Made:
    """Kernels with random sizes, added one by one."""

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)
        self.kernels: list[Kernel] = []
        self.sizes = {INPUT: 10}

    def add(self, *inputs: str, size: int = 0) -> str:
        name = f"k{len(self.kernels)}"
        main = Operator(name=name, kind="conv", inputs=inputs, shape=(1,))
        self.kernels.append(Kernel(main=main, inputs=inputs, chain=(name,), channels=1))
        self.sizes[name] = size or self.random.randint(1, 40)
        return name

    def chain(self, source: str, length: int) -> str:
        for _ in range(length):
            source = self.add(source)
        return source

    def unread(self) -> tuple[str, ...]:
        read = {name for kernel in self.kernels for name in kernel.inputs}
        return tuple(k.output for k in self.kernels if k.output not in read)


def wide(branches: int, depth: int, modules: int = 1) -> Made:
    """Modules in a row, each of parallel branches that are concatenated."""
    made = Made(branches)
    value = made.add(INPUT)
    for _ in range(modules):
        ends = [made.chain(value, depth) for _ in range(branches)]
        value = made.add(*ends, size=sum(made.sizes[end] for end in ends))
    return made


def equal(branches: int) -> Made:
    made = wide(branches, 3)
    made.sizes = dict.fromkeys(made.sizes, 8)
    return made


def unet(levels: int) -> Made:
    """Down and up again, with a convolution on every skip."""
    made = Made(levels)
    value, skips = INPUT, []
    for level in range(levels):
        value = made.add(made.add(value, size=4096 >> level), size=4096 >> level)
        skips.append(made.add(value, size=4096 >> level))
        value = made.add(value, size=1024 >> level)
    for level in reversed(range(levels)):
        up = made.add(value, size=4096 >> level)
        value = made.add(made.add(up, skips[level], size=8192 >> level), size=4096 >> level)
    return made


def cells(count: int) -> Made:
    """Cells as architecture search makes them: each reads the two before it."""
    made = Made(count)
    before, last = made.add(INPUT), made.add(INPUT)
    for _ in range(count):
        states = [made.add(before), made.add(last)]
        for _ in range(5):
            pair = [made.chain(made.random.choice(states), 2) for _ in range(2)]
            states.append(made.add(*pair))
        loose = set(made.unread()) & set(states)
        before, last = last, made.add(*sorted(loose))
    return made


def tangle(count: int) -> Made:
    """Kernels that read any two of the last five values."""
    made = Made(count)
    for _ in range(count):
        made.add(*made.random.sample(list(made.sizes)[-5:], min(2, len(made.sizes))))
    return made


GRAPHS = {
    **{f"{n} branches of {d}": partial(wide, n, d) for n in (4, 8, 12, 16, 32) for d in (2, 3)},
    **{f"{n} equal branches of 3": partial(equal, n) for n in (16, 32)},
    **{f"{n} modules of 4 branches": partial(wide, 4, 2, n) for n in (4, 9)},
    **{f"U-Net of {n} levels": partial(unet, n) for n in (3, 5)},
    **{f"{n} cells": partial(cells, n) for n in (3, 8)},
    **{f"tangle of {n}": partial(tangle, n) for n in (20, 40, 80, 160)},
}


def timed(work: Callable[[], object]) -> tuple[float, object]:
    began = time.perf_counter()
    result = work()
    return time.perf_counter() - began, result


def searched(kernels, sizes, outputs) -> str:
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        seconds, steps = timed(lambda: schedule(kernels, sizes, outputs, MemoryConventions()))
    peak = max(sum(sizes[name] for name in step.live) for step in steps)
    proven = "not proven the best" if told else "exact"
    return f"{len(kernels)} kernels, order {seconds * 1e3:.1f} ms, peak {peak} ({proven})"


@pytest.mark.bench
@pytest.mark.parametrize("name", NETS)
def test_networks(name, capsys):
    make, shape = NETS[name]
    net, example = make(), torch.zeros(shape)
    trace(nn.Sequential(nn.ReLU()), example)  # the first export of a process imports much
    seconds, graph = timed(lambda: trace(net, example))
    kernels = fuse(graph)
    names = [INPUT, *(kernel.output for kernel in kernels)]
    sizes = {n: torch.Size(graph.shape(n)).numel() for n in names}
    with capsys.disabled():
        print(f"\n{name}: trace {seconds:.2f} s, {searched(kernels, sizes, graph.outputs)}")
    widths, model = graph.channels.widths, deployed(graph, MCU)
    model.peak(widths)  # what depends on the graph alone is known from now on
    seconds, peak = timed(lambda: model.peak(widths))
    arena = model.arena(widths).arena_bytes
    with capsys.disabled():
        print(f"  overlapping: {seconds * 1e3:.1f} ms, peak {peak}, arena {arena}")


@pytest.mark.bench
@pytest.mark.parametrize("name", GRAPHS)
def test_growth_with_width(name, capsys):
    made = GRAPHS[name]()
    with capsys.disabled():
        print(f"\n{name}: {searched(made.kernels, made.sizes, made.unread())}", end="")


@pytest.mark.filterwarnings("ignore::pruning.errors.PeakMemoryWarning")
@pytest.mark.parametrize("name", GRAPHS)
def test_every_kernel_gets_its_place(name):
    made = GRAPHS[name]()
    steps = schedule(made.kernels, made.sizes, made.unread(), MemoryConventions())
    assert sorted(step.kernel for step in steps) == list(range(len(made.kernels)))

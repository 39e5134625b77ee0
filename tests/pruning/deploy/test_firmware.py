"""Firmware on an emulated core computes what the arbiter computes, and is measured there."""

import shutil
from dataclasses import replace
from itertools import pairwise
from math import prod

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from pruning.budget import Device
from pruning.cost.cores import CORES
from pruning.cost.model import deployed
from pruning.deploy import IntegerNetwork, plan, reference
from pruning.deploy.backends.c import run_symbol
from pruning.deploy.toolchain import build
from pruning.deploy.toolchain.build import Firmware, build_firmware
from pruning.deploy.toolchain.emulate import Execution, execute
from pruning.errors import EmulatorError, PruningError, ToolchainError
from pruning.frontend.trace import trace
from pruning.graph.graph import Graph
from pruning.graph.shrink import kept_axes, shrink_graph, shrink_tensors
from tests.pruning.agreement import masks
from tests.pruning.deploy.drawn import deployable
from tests.pruning.deploy.lowered import DEPLOYED, ZOO, drawn, lowered, traced
from tests.pruning.random_networks import FEW
from tests.toolchain import COMPILER

pytestmark = pytest.mark.skipif(
    shutil.which(COMPILER) is None,
    reason=f"{COMPILER} is not installed (make system-deps)",
)


class Heads(nn.Module):
    """A network of 7 channels with some outputs of odd sizes."""

    def __init__(self, outputs: int) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 7, 3)
        self.heads = nn.ModuleList(nn.Linear(7, n + 1) for n in range(outputs))

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        means = self.stem(x).relu().mean((2, 3))
        return tuple(head(means) for head in self.heads)


def heads(outputs: int) -> tuple[Graph, dict[str, Tensor]]:
    model = Heads(outputs)
    return trace(model, torch.zeros(3, 8, 8)), dict(model.state_dict())


def small_network(small, name: str) -> IntegerNetwork:
    graph, model = small(name)
    return lowered(graph, model.state_dict(), drawn(graph, 2))


def estimated(graph: Graph, device: Device, core: str) -> int:
    """Bytes of flash, as the search counts them."""
    return deployed(graph, replace(device, core=core)).dense.flash_bytes


def run(network: IntegerNetwork, core: str, seed: int = 0) -> tuple[Firmware, Execution]:
    """Both, after all results were compared with the arbiter's."""
    shape = network.shapes["input"]
    codes = np.random.default_rng(seed).integers(-128, 128, (2, *shape)).astype(np.int8)
    expected = reference(network, codes)
    linked = build_firmware(network, core)
    done = execute(linked, network, codes)
    for name, output in zip(network.outputs, done.outputs, strict=True):
        np.testing.assert_array_equal(output.reshape(expected[name].shape), expected[name])
    return linked, done


@pytest.mark.slow
@pytest.mark.parametrize("core", CORES)
@pytest.mark.parametrize("name", ["resnet8", "ds_cnn"])
def test_every_core_gives_the_same_codes(small, name, core):
    network = small_network(small, name)
    linked, done = run(network, core)
    assert linked.sram_bytes - plan(network).arena_bytes in range(4)
    weights = sum(prod(k.weight.shape) for k in network.kernels if hasattr(k, "weight"))
    assert weights < linked.flash_bytes < weights + 30_000
    assert done.instructions == sum(done.by_kernel.values())
    assert set(done.by_kernel) == {kernel.name for kernel in network.kernels}
    assert 100 < done.stack_bytes < 1_000


@pytest.mark.slow
@pytest.mark.parametrize("core", CORES)
@pytest.mark.parametrize("outputs", [1, 2, 5])
def test_flash_is_known_to_the_byte(device, outputs, core):
    torch.manual_seed(0)
    graph, tensors = heads(outputs)
    linked = build_firmware(lowered(graph, tensors, drawn(graph, 2)), core)
    assert linked.flash_bytes == estimated(graph, device, core)


@pytest.mark.slow
@pytest.mark.parametrize("name", DEPLOYED)
def test_every_network_gives_the_same_codes(name, device):
    graph, tensors = traced(name)
    linked, _ = run(lowered(graph, tensors, drawn(graph, 4)), "cortex-m4")
    assert linked.flash_bytes == estimated(graph, device, "cortex-m4")


@pytest.mark.slow
@pytest.mark.parametrize("name", ZOO[1:])
def test_zoo_models_give_the_same_codes(small, name):
    run(small_network(small, name), "cortex-m7")


@pytest.mark.slow
@settings(FEW, max_examples=20)
@given(deployable(steps=8), st.integers(1, 9))
def test_odd_networks_give_the_same_codes(device, network, seed):
    kept = masks(network.graph, seed)
    smaller = shrink_graph(network.graph, kept)
    tensors = shrink_tensors(network.tensors(), kept_axes(network.graph, kept))
    core = list(CORES)[seed % len(CORES)]
    linked, _ = run(lowered(smaller, tensors, drawn(smaller, 3, seed)), core, seed)
    assert linked.flash_bytes == estimated(smaller, device, core)


@pytest.mark.slow
def test_kernels_are_told_apart_in_a_long_network():
    torch.manual_seed(0)
    model = nn.Sequential(*(nn.Conv2d(4, 4, 1) for _ in range(90)))
    graph = trace(model, torch.zeros(4, 3, 3))
    _, done = run(lowered(graph, dict(model.state_dict()), drawn(graph, 2)), "cortex-m4")
    counts = list(done.by_kernel.values())[1:-1]  # all of one shape; the last has the end
    assert len(counts) == 88
    assert max(counts) - min(counts) < 0.2 * min(counts)


@pytest.mark.slow
@pytest.mark.parametrize(
    "layer",
    [
        nn.Conv2d(16, 24, 3, padding=1, groups=4),
        nn.Conv2d(12, 24, 3, padding=1, groups=12),
        nn.ConvTranspose2d(12, 8, 3, stride=2),
        nn.ConvTranspose2d(12, 12, 3, stride=2, groups=12),
    ],
    ids=["grouped", "multiplied", "conv_transpose", "transposed-depthwise"],
)
def test_kernels_that_the_zoo_lacks_are_estimated_too(layer, device):
    estimate, counted = instructions_of(layer, device)
    assert estimate == pytest.approx(counted, rel=0.08)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("layers", "near"),
    [
        ([nn.Conv2d(16, n, 3, padding=1) for n in (7, 8, 9)], 0.05),  # channels in pairs
        ([nn.Conv2d(n, 16, 1) for n in (11, 12, 13)], 0.05),  # codes in words
        ([nn.Conv2d(n, 8, 3, padding=1) for n in (6, 7, 8)], 0.08),  # windows are gathered
        ([nn.Conv2d(n, n, 3, padding=1, groups=n) for n in (11, 12, 13)], 0.05),  # in fours
        ([nn.Conv2d(n, n, 3, padding=1, groups=n) for n in (2, 3, 4)], 0.2),  # fewer than four
    ],
    ids=["pairs", "words", "gathered", "fours", "few"],
)
def test_the_estimate_knows_where_another_channel_costs_much_or_little(layers, near, device):
    pairs = [instructions_of(layer, device) for layer in layers]
    for estimate, counted in pairs:
        assert estimate == pytest.approx(counted, rel=0.12)
    for (low, few), (high, more) in pairwise(pairs):
        assert high / low == pytest.approx(more / few, abs=near)


def instructions_of(layer: nn.Module, device: Device) -> tuple[float, int]:
    """Those of a layer on 12 by 12 pixels, as estimated and as counted on an M4."""
    torch.manual_seed(0)
    graph = trace(nn.Sequential(layer), torch.zeros(layer.in_channels, 12, 12))
    tensors = {f"0.{name}": tensor for name, tensor in layer.state_dict().items()}
    _, done = run(lowered(graph, tensors, drawn(graph, 2)), "cortex-m4")
    m4 = replace(device, core="cortex-m4")
    return deployed(graph, m4).dense.latency_ms / m4.milliseconds(1.0), done.instructions


@pytest.mark.slow
def test_a_core_with_simd_takes_fewer_instructions(small):
    network = small_network(small, "resnet8")
    counts = [run(network, core)[1].instructions for core in ("cortex-m4", "cortex-m3")]
    assert counts[0] < 0.8 * counts[1]


def test_a_missing_compiler_names_its_package(small, monkeypatch):
    monkeypatch.setenv("PATH", "")
    with pytest.raises(ToolchainError, match="apt-get install gcc-arm-none-eabi"):
        build_firmware(small_network(small, "resnet8"), "cortex-m4")


def test_a_compiler_error_is_told(small, monkeypatch):
    monkeypatch.setattr(build, "OPTIONS", (*build.OPTIONS, "-include", "nonsense.h"))
    with pytest.raises(ToolchainError, match="nonsense"):
        build_firmware(small_network(small, "resnet8"), "cortex-m4")


def test_an_unknown_core_is_refused(small):
    with pytest.raises(PruningError, match=r"cortex-a53.*cortex-m4"):
        build_firmware(small_network(small, "resnet8"), "cortex-a53")


@pytest.mark.slow
def test_firmware_that_hangs_is_stopped(small):
    network = small_network(small, "resnet8")
    linked = build_firmware(network, "cortex-m4")
    hangs = broken(linked, bytes.fromhex("fee7"))  # b .
    with pytest.raises(EmulatorError, match=r"did not end within 0\.5 s"):
        execute(hangs, network, np.zeros((1, *network.shapes["input"]), np.int8), 0.5)


@pytest.mark.slow
def test_firmware_that_faults_is_told(small):
    network = small_network(small, "resnet8")
    linked = build_firmware(network, "cortex-m4")
    faults = broken(linked, bytes.fromhex("00de"))  # undefined
    with pytest.raises(EmulatorError, match="faulted"):
        execute(faults, network, np.zeros((1, *network.shapes["input"]), np.int8))


@pytest.mark.slow
def test_firmware_of_another_network_is_told(small):
    wanted, other = small_network(small, "resnet8"), small_network(small, "resnet20")
    linked = build_firmware(other, "cortex-m4")
    shape = wanted.shapes["input"]
    with pytest.raises(EmulatorError, match=r"kernels for a network of .*build it anew"):
        execute(linked, wanted, np.zeros((1, *shape), np.int8))


@pytest.mark.slow
def test_a_program_without_symbols_is_told(small, monkeypatch):
    monkeypatch.setattr(build, "LINKING", (*build.LINKING, "-s"))
    with pytest.raises(ToolchainError, match=r"without symbols.*\(-s\)"):
        build_firmware(small_network(small, "resnet8"), "cortex-m4")


def broken(linked: Firmware, instruction: bytes) -> Firmware:
    """With another first instruction in paring_run."""
    place, _ = linked.symbols[run_symbol()]
    segments = dict(linked.segments)
    for start, content in linked.segments.items():
        if start <= place < start + len(content):
            at = place - start
            segments[start] = content[:at] + instruction + content[at + 2 :]
    return replace(linked, segments=segments)

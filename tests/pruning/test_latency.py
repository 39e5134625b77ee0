"""How often loops are passed, against windows laid one by one."""

import re
from importlib.resources import files
from itertools import product

import numpy as np
import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from torch import nn
from torch.nn import functional

from pruning.cost.cores import CORES
from pruning.cost.latency import instruction_count, posynomial, trip_counts
from pruning.frontend.trace import trace
from pruning.graph.fusion import fuse
from pruning.ir.kernel import Kernel
from pruning.ir.loops import TripCounts
from pruning.ops.conv import FEW_TAPS, PATCH


def kernel_of(layer: nn.Module, *shape: int) -> Kernel:
    (kernel,) = fuse(trace(nn.Sequential(layer), torch.zeros(shape)))
    return kernel


def counted(kernel: Kernel, c_in: int, c_out: int) -> TripCounts:
    found = trip_counts(kernel)(np.array(float(c_in)), np.array(float(c_out)))
    return TripCounts(*map(float, found))


windows = st.tuples(
    st.sampled_from([1, 2, 3, 5]), st.integers(1, 3), st.integers(0, 2), st.integers(5, 9)
).filter(lambda drawn: drawn[2] * 2 <= drawn[0])


@pytest.mark.slow
@settings(max_examples=60, deadline=None)
@given(windows)
def test_windows_of_depthwise_layers_that_lie_inside(drawn):
    taps, stride, padding, extent = drawn
    layer = nn.Conv2d(8, 8, taps, stride, padding, groups=8)
    inside = torch.ones(1, 1, extent, extent)
    ones = torch.ones(1, 1, taps, taps)
    met = functional.conv2d(inside, ones, stride=stride, padding=padding)
    whole = int((met == taps**2).sum())
    found = counted(kernel_of(layer, 8, extent, extent), 8, 8)
    assert found.mac == whole * taps**2 * 8
    assert found.cut_tap == (met.numel() - whole) * taps**2 * 8


@pytest.mark.slow
@settings(max_examples=60, deadline=None)
@given(windows, st.integers(8, 12), st.integers(1, 9))
def test_convolutions_take_two_pixels_two_channels_and_words(drawn, c_in, c_out):
    taps, stride, padding, extent = drawn
    kernel = kernel_of(nn.Conv2d(c_in, c_out, taps, stride, padding), c_in, extent, extent)
    assume(taps < extent and (taps == 1 or c_in * taps**2 > 64))  # gathered ones: see below
    _, height, width = kernel.main.shape
    runs = cut = tail = 0
    for _, first in product(range(height), range(0, width, 2)):
        columns = [c for c in (first, first + 1) if c < width]
        starts = [c * stride - padding for c in columns]
        if taps == 1 or all(s >= 0 and s + taps <= extent for s in starts):
            runs += taps * len(columns)
            tail += len(columns) * taps * (taps * c_in % 4)
        else:
            cut += 2 * taps**2
            tail += 2 * taps**2 * (c_in % 4)
    made = c_out + c_out % 2
    found = counted(kernel, c_in, c_out)
    assert found.run == runs * made
    assert found.mac == runs * taps * c_in * made
    assert (found.cut_mac, found.cut_tap) == (cut * c_in * made, cut * made)
    assert found.tail == tail * made
    assert found.element == height * width * c_out


def test_limits_are_those_of_the_kernels():
    source = (files("pruning.deploy") / "c" / "kernels.c").read_text("utf-8")
    for name, value in (("PATCH", PATCH), ("FEW_TAPS", FEW_TAPS)):
        assert re.search(rf"^#define {name} {value}\b", source, re.MULTILINE)


def test_small_windows_are_gathered_once_for_all_channels():
    kernel = kernel_of(nn.Conv2d(7, 10, 3, padding=1), 7, 6, 6)
    few, many = counted(kernel, 7, 10), counted(kernel, 8, 10)
    assert few.copy == 36 * 9 * 7
    assert few.run == 36 * 10
    assert few.cut_mac == 0
    assert many.copy == many.tap == 0
    assert many.cut_mac > 0


def test_a_window_over_the_whole_plane_is_one_run():
    found = counted(kernel_of(nn.Conv2d(6, 4, 5), 6, 5, 5), 6, 4)
    assert (found.run, found.mac) == (4, 5 * 5 * 6 * 4)
    assert found.tail == (5 * 5 * 6 % 4) * 4


@pytest.mark.slow
@settings(max_examples=40, deadline=None)
@given(windows)
def test_transposed_layers_count_the_taps_that_meet_an_input(drawn):
    taps, stride, padding, extent = drawn
    kernel = kernel_of(nn.ConvTranspose2d(3, 5, taps, stride, padding), 3, extent, extent)
    met = functional.conv_transpose2d(
        torch.ones(1, 1, extent, extent), torch.ones(1, 1, taps, taps), None, stride, padding
    )
    found = counted(kernel, 3, 5)
    assert found.run == met.sum() * 5
    assert found.cut_mac == met.sum() * 3 * 5
    assert found.cut_tap == met.numel() * taps**2 * 5


def test_channels_of_a_depthwise_layer_come_in_fours():
    kernel = kernel_of(nn.Conv2d(9, 9, 3, groups=9), 9, 5, 5)
    assert [counted(kernel, n, n).element for n in (3, 4, 5, 8, 9)] == [27, 36, 72, 72, 108]
    assert counted(kernel, 3, 3).copy == 9 * 9 * 3


@pytest.mark.parametrize("core", CORES)
@pytest.mark.parametrize(
    "layer",
    [
        nn.Conv2d(40, 24, 3, padding=1),
        nn.Conv2d(40, 40, 3, padding=1, groups=40),
        nn.Conv2d(40, 24, 1),
        nn.ConvTranspose2d(40, 24, 3, stride=2),
    ],
    ids=["conv", "depthwise", "pointwise", "conv_transpose"],
)
def test_a_form_without_negative_coefficients_is_near(layer, core):
    count = instruction_count(kernel_of(layer, 40, 10, 10), CORES[core].loops)
    form = posynomial(count, (10.0, 10.0), (40.0, 24.0))
    assert min(form) >= 0
    for c_in, c_out in product((10, 17, 26, 40), (10, 13, 24)):
        exact = float(count(np.array(float(c_in)), np.array(float(c_out))))
        assert form.at(c_in, c_out) == pytest.approx(exact, rel=0.12)


def test_many_widths_at_once_are_each_alone():
    count = instruction_count(kernel_of(nn.Conv2d(16, 16, 3), 16, 8, 8), CORES["cortex-m4"].loops)
    c_in, c_out = np.arange(1.0, 17), np.arange(16.0, 0, -1)
    together = count(c_in, c_out)
    alone = [float(count(np.array(a), np.array(b))) for a, b in zip(c_in, c_out, strict=True)]
    assert together.tolist() == pytest.approx(alone)

"""How much of its input a kernel may write over, against windows laid pixel by pixel."""

import math

from hypothesis import assume, given
from hypothesis import strategies as st

from pruning.cost.memory.overlap import ConvWindow, best_direction, overlap_points, overlapped
from pruning.ir.kernel import Kernel
from pruning.ir.operator import INPUT, Operator
from tests.pruning.orders import shared_bytes


@st.composite
def windows(draw):
    axes = []
    transposed = draw(st.booleans())
    for _ in range(2):
        read, kernel = draw(st.integers(1, 7)), draw(st.integers(1, 4))
        stride, dilation = draw(st.integers(1, 3)), draw(st.integers(1, 2))
        padding = draw(st.integers(0, kernel // 2))
        if transposed:
            more = draw(st.integers(0, stride - 1))
            made = (read - 1) * stride - 2 * padding + dilation * (kernel - 1) + 1 + more
        else:
            made = (read + 2 * padding - dilation * (kernel - 1) - 1) // stride + 1
        assume(made > 0)
        axes.append((read, made, kernel, stride, padding, dilation))
    return ConvWindow(*zip(*axes, strict=True), transposed)


@given(windows(), st.integers(1, 9), st.integers(1, 9))
def test_what_overlaps_is_what_windows_no_longer_need(given_windows, channels, filters):
    a = given_windows
    names = ("kernel", "stride", "padding", "dilation")
    main = Operator(
        name="k",
        kind="conv_transpose" if a.transposed else "conv",
        inputs=(INPUT,),
        shape=(filters, *a.made),
        attributes={name: list(getattr(a, name)) for name in names},
    )
    kernel = Kernel(main=main, inputs=(INPUT,), chain=("k",), channels=channels, plane=a.read)
    read, made = channels * math.prod(a.read), filters * math.prod(a.made)
    together = overlapped(best_direction(a, read, made), read, made)
    assert max(read, made) <= together <= read + made
    assert read + made - together == shared_bytes(kernel, {INPUT: read, "k": made})


@given(windows())
def test_backward_twice_is_forward(given_windows):
    assert given_windows.backward.backward == given_windows


def test_a_convolution_of_3_by_3_by_hand():
    """While pixel n and the next are written, all from a row and a pixel before n is needed."""
    same = ConvWindow((32, 32), (32, 32), (3, 3), (1, 1), (1, 1))
    assert (1024, 35) in overlap_points(same)  # row 1, column 1 still reads the first pixel
    assert overlapped(same, 1024, 1024) == 1024 + 35
    pixel = ConvWindow((32, 32), (32, 32), (1, 1), (1, 1), (0, 0))
    assert overlapped(pixel, 1024, 4096) == 4096 + 2


def test_a_window_over_everything_overlaps_nothing():
    whole = ConvWindow((8, 8), (1, 1), (8, 8), (8, 8), (0, 0))
    assert overlapped(whole, 64 * 5, 7) == 64 * 5 + 7

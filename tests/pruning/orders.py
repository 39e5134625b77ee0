"""Peak memory by trying every order, and the networks that it is tried on."""

import itertools
import math

import torch
from hypothesis import strategies as st
from torch import nn

from pruning.cost.memory.peak import MemoryConventions
from pruning.ir.kernel import Kernel
from pruning.ir.operator import INPUT, Operator

POINTWISE = (
    "add", "sub", "mul", "div", "maximum", "minimum", "activation", "prelu",
)  # fmt: skip
SWITCHES = ("count_input", "in_place_add", "in_place_depthwise", "overlap", "search_order")
ALL = [
    MemoryConventions(**dict(zip(SWITCHES, flags, strict=True)))
    for flags in itertools.product((False, True), repeat=len(SWITCHES))
]


def shared_bytes(kernel, sizes) -> int:
    """Bytes of its input that a kernel with windows can write over, tried pixel by pixel."""
    if kernel.main.kind not in ("conv", "conv_transpose", "pool", "linear", "batch_norm"):
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
    along = transposed_taps if kernel.main.kind == "conv_transpose" else window_taps
    reads = []
    for place in itertools.product(*map(range, made_plane(kernel))):
        axes = [along(*axis) for axis in zip(place, *settings, strict=True)]
        inside = [
            [at for at in axis if 0 <= at < size] for axis, size in zip(axes, plane, strict=True)
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

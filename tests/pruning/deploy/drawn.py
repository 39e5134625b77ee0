"""Random networks of everything that can be deployed, odd in every way."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import torch
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.nn import functional

from pruning.execution.network import Network
from pruning.frontend.trace import trace
from tests.pruning.networks import randomised
from tests.pruning.random_networks import Constant, Random

FUNCTIONS: tuple[Callable[[Tensor], Tensor], ...] = (
    functional.relu, functional.relu6, functional.hardswish, torch.sigmoid, torch.tanh,
    lambda x: functional.leaky_relu(x, 0.2), lambda x: x * 0.5, lambda x: 1 - x,
)  # fmt: skip
MOVES: tuple[Callable[[Tensor], Tensor], ...] = (
    lambda x: x.flip(1), lambda x: x[:, :, :, 1:] if x.shape[3] > 1 else x,
    lambda x: functional.pad(x, (1, 0, 0, 2)), lambda x: functional.pad(x, (1, 1), value=-0.5),
    lambda x: functional.interpolate(x, scale_factor=2), lambda x: x.transpose(2, 3),
    lambda x: functional.channel_shuffle(x, 2) if x.shape[1] % 2 == 0 else x.flip(2),
)  # fmt: skip
KINDS = ("conv", "conv", "conv", "depthwise", "depthwise", "pointwise", "conv_transpose", "pool",
         "function", "pair", "pair", "concat", "gather", "constant", "prelu")  # fmt: skip
LARGEST = 900  # elements of a value


@dataclass
class Program:
    """Steps of a network, and the value of each."""

    draw: Callable[[st.SearchStrategy], int]
    values: list[Tensor]
    steps: list[tuple[Callable[..., Tensor], tuple[int, ...]]] = field(default_factory=list)

    def number(self, low: int, high: int) -> int:
        return self.draw(st.integers(low, high))

    def one_of(self, options: Sequence):
        return options[self.number(0, len(options) - 1)]

    def add(self, step: Callable[..., Tensor], *reads: int) -> None:
        result = step(*(self.values[index] for index in reads))
        if 0 < result[0].numel() <= LARGEST:
            self.steps.append((step, reads))
            self.values.append(result)

    def extend(self) -> None:
        """One more step, on one of the latest values."""
        index = max(0, len(self.values) - 1 - self.number(0, 2))
        channels = self.values[index].shape[1]
        match self.one_of(KINDS):
            case "conv":
                groups = self.one_of([g for g in (1, 1, 2, 3) if channels % g == 0])
                self.window(index, nn.Conv2d, groups * self.number(1, 9 // groups), groups)
            case "depthwise":
                self.window(index, nn.Conv2d, channels * self.number(1, 2), channels)
            case "pointwise":
                self.add(nn.Conv2d(channels, self.number(1, 18), 1), index)
            case "conv_transpose":
                self.window(index, nn.ConvTranspose2d, self.number(1, 5), 1)
            case "pool":
                self.pool(index)
            case "function":
                self.add(self.one_of(FUNCTIONS), index)
            case "pair":
                self.pair(index)
            case "concat":
                same = [i for i, v in enumerate(self.values) if self.alike(v, index)]
                parts = [index, self.one_of(same), self.one_of(same)][: self.number(2, 3)]
                self.add(lambda *x: torch.cat(x, 1), *parts)
            case "gather":
                self.add(self.one_of(MOVES), index)
            case "prelu":
                self.add(nn.PReLU(self.one_of((1, channels))), index)
            case _:
                self.add(Constant((channels, 1, 1)), index)

    def alike(self, value: Tensor, index: int) -> bool:
        return value.shape[2:] == self.values[index].shape[2:]

    def window(self, index: int, make: type[nn.Module], outputs: int, groups: int) -> None:
        """A convolution with any kernel, stride, padding and dilation that fits."""
        channels, *extent = self.values[index].shape[1:]
        kernel, stride, padding, dilation = [], [], [], []
        for size in extent:
            kernel.append(self.number(1, 4))
            dilation.append(self.number(1, 2) if kernel[-1] > 1 else 1)
            padding.append(self.number(0, kernel[-1] - 1))
            if size + 2 * padding[-1] <= dilation[-1] * (kernel[-1] - 1):
                kernel[-1] = dilation[-1] = 1
                padding[-1] = 0
            stride.append(self.number(1, 3))
        layer = make(
            channels, outputs, tuple(kernel), tuple(stride), tuple(padding), groups=groups,
            dilation=tuple(dilation), bias=bool(self.number(0, 1)),
        )  # fmt: skip
        try:
            self.add(nn.Sequential(layer, nn.ReLU()) if self.number(0, 1) else layer, index)
        except RuntimeError:  # a transposed one whose padding leaves nothing
            self.add(torch.tanh, index)

    def pool(self, index: int) -> None:
        height, width = self.values[index].shape[2:]
        kernel = (self.number(1, min(3, height)), self.number(1, min(3, width)))
        padding = tuple(self.number(0, size // 2) for size in kernel)
        stride, mode = self.number(1, 2), self.number(0, 2)
        if mode == 0:
            self.add(lambda x: functional.max_pool2d(x, kernel, stride, padding), index)
        elif mode == 1:
            counted = bool(self.number(0, 1))
            self.add(
                lambda x: functional.avg_pool2d(x, kernel, stride, padding, False, counted),
                index,
            )
        else:
            self.add(lambda x: x.mean((2, 3), keepdim=True), index)

    def pair(self, index: int) -> None:
        """With a value of the same size, or with one channel of it, or one pixel."""
        own = self.values[index].shape
        fits = [
            i
            for i, v in enumerate(self.values)
            if all(m in (n, 1) for m, n in zip(v.shape[1:], own[1:], strict=True))
        ]
        function = self.one_of((torch.add, torch.sub, torch.mul))
        reads = (index, self.one_of(fits))
        self.add(function, *(reads if self.number(0, 1) else reversed(reads)))


@st.composite
def deployable(draw: Callable, steps: int = 6) -> Network:
    """A random network that can be deployed, traced, with random weights."""
    torch.manual_seed(draw(st.integers(0, 3)))
    shape = [draw(st.integers(1, 4)), draw(st.integers(1, 9)), draw(st.integers(1, 9))]
    program = Program(draw, [torch.zeros(2, *shape)])
    with torch.no_grad():
        program.add(nn.Conv2d(shape[0], program.number(1, 17), 3, padding=1), 0)
        for _ in range(program.number(2, steps)):
            program.extend()
    model = randomised(Random(program))
    graph = trace(model, torch.zeros(shape))
    tensors = dict(model.named_parameters()) | dict(model.named_buffers())
    return Network(graph, tensors).eval()

"""Random networks out of everything that is supported."""

from collections.abc import Callable
from dataclasses import dataclass, field

import torch
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.nn import functional

from pruning.execution.network import Network
from pruning.frontend.trace import trace
from tests.pruning.agreement import close
from tests.pruning.networks import randomised

SHAPE = (2, 4, 6)
CHECKS = [HealthCheck.function_scoped_fixture, HealthCheck.too_slow, HealthCheck.data_too_large]
FEW = settings(
    max_examples=30,
    deadline=None,
    derandomize=True,
    database=None,
    suppress_health_check=CHECKS,
    phases=(Phase.generate,),  # to look for a smaller network that fails takes minutes
)
FUNCTIONS: tuple[Callable[[Tensor], Tensor], ...] = (
    functional.relu, functional.relu6, functional.hardswish, functional.softplus, torch.sigmoid,
    torch.abs, torch.neg, functional.mish, torch.tanh,
    lambda x: functional.leaky_relu(x, 0.2), lambda x: x.clamp(0.1, 2.0), lambda x: x * 0.5,
    lambda x: x + 1, lambda x: 1 - x, lambda x: x / 3, lambda x: (0.1 * x).exp(),
)  # fmt: skip
KINDS = (
    "conv", "conv", "conv", "conv_transpose", "norm", "function", "pair", "pair", "concat",
    "gather", "gather", "pool", "split", "constant",
)  # fmt: skip
PAIRS = (torch.add, torch.sub, torch.mul, torch.maximum, torch.minimum)
MOVES: tuple[Callable[[Tensor], Tensor], ...] = (
    lambda x: x.flip(1), lambda x: x.roll(1, 1), lambda x: x[:, :, :, 1:],
    lambda x: x[:, :: 2], lambda x: x[:, 1:] if x.shape[1] > 1 else x,
    lambda x: functional.pad(x, (1, 0, 0, 1)), lambda x: functional.pad(x, (1, 1), value=0.5),
    lambda x: functional.pad(x, (0, 0, 0, 0, 1, 2)), lambda x: x.transpose(2, 3),
    lambda x: functional.interpolate(x, scale_factor=2), lambda x: x.repeat(1, 2, 1, 1),
    lambda x: functional.channel_shuffle(x, 2) if x.shape[1] % 2 == 0 else x.flip(2),
    lambda x: functional.pixel_shuffle(x, 2) if x.shape[1] % 4 == 0 else x.flip(3),
    lambda x: functional.pixel_unshuffle(functional.pad(x, (1, 1, 1, 1))[:, :, :2, :2], 2),
    lambda x: x.permute(0, 2, 3, 1).flatten(1).unflatten(1, (x.shape[2], -1, 1)),
    lambda x: x.flatten(1).unflatten(1, (x.shape[1], x.shape[2], -1)),
)  # fmt: skip
POOLS = (
    lambda x: functional.avg_pool2d(x, 3, 1, 1), lambda x: functional.max_pool2d(x, 2, 1),
    lambda x: x.sum(1, keepdim=True), lambda x: x.mean((2, 3), keepdim=True),
    lambda x: torch.tanh(x.amax(1, keepdim=True)), lambda x: x.amax(3, keepdim=True),
    lambda x: functional.interpolate(x, size=(5, 4), mode="bilinear"),
)  # fmt: skip


@dataclass
class Program:
    """Steps of a random network: a module or function, and which earlier values it reads."""

    draw: Callable[[st.SearchStrategy], int]
    steps: list[tuple[Callable[..., Tensor], tuple[int, ...]]] = field(default_factory=list)
    values: list[Tensor] = field(default_factory=lambda: [torch.zeros(2, *SHAPE)])

    def number(self, low: int, high: int) -> int:
        return self.draw(st.integers(low, high))

    def one_of(self, options):
        return options[self.number(0, len(options) - 1)]

    def add(self, step: Callable[..., Tensor], *reads: int) -> None:
        result = step(*(self.values[index] for index in reads))
        if 0 < result[0].numel() <= 400:
            self.steps.append((step, reads))
            self.values.append(result)

    def extend(self) -> None:
        """One more step, mostly on one of the latest values."""
        index = max(0, len(self.values) - 1 - self.number(0, 2))
        channels, height, width = self.values[index].shape[1:]
        match self.one_of(KINDS):
            case "conv":
                self.add(self.convolution(channels, min(height, width)), index)
            case "conv_transpose":
                groups = self.one_of([g for g in (1, 2, channels) if channels % g == 0])
                outputs = groups * self.number(1, 3)
                layer = nn.ConvTranspose2d(
                    channels, outputs, self.number(1, 3), self.number(1, 2), groups=groups
                )
                self.add(layer, index)
            case "norm":
                groups = self.one_of([g for g in (1, 2, channels) if channels % g == 0])
                norms = (nn.BatchNorm2d(channels), nn.GroupNorm(groups, channels),
                         nn.PReLU(channels), nn.PReLU())  # fmt: skip
                self.add(self.one_of(norms), index)
            case "function":
                self.add(self.one_of(FUNCTIONS), index)
            case "pair":
                self.pair(index)
            case "concat":
                same = self.like(index, lambda a, b: a[1:] == b[1:])
                self.add(lambda a, b: torch.cat([a, b], 1), index, self.one_of(same))
            case "gather":
                self.add(self.one_of(MOVES), index)
            case "pool":
                self.add(self.one_of(POOLS) if min(height, width) > 1 else torch.tanh, index)
            case "split":
                at = self.number(1, channels - 1) if channels > 1 else 1
                part = self.number(0, 1) if channels > 1 else 0
                self.add(lambda x: torch.split(x, [at, x.shape[1] - at], 1)[part], index)
            case _:
                self.add(Constant(self.one_of(((channels, 1, 1), (1, height, width), (1,)))), index)

    def convolution(self, channels: int, size: int) -> nn.Module:
        groups = self.one_of([g for g in (1, 1, 2, channels) if channels % g == 0])
        kernel = 3 if size > 2 and self.number(0, 1) else 1
        outputs = groups * self.number(1, 2) if groups > 1 else self.number(1, 6)
        layer = nn.Conv2d(
            channels, outputs, kernel, self.number(1, 2), padding=self.number(0, kernel // 2),
            groups=groups, bias=bool(self.number(0, 1)),
        )  # fmt: skip
        return nn.Sequential(layer, nn.BatchNorm2d(outputs)) if self.number(0, 1) else layer

    def like(self, index: int, fits: Callable[[torch.Size, torch.Size], bool]) -> list[int]:
        own = self.values[index].shape[1:]
        return [i for i, v in enumerate(self.values) if i == index or fits(v.shape[1:], own)]

    def pair(self, index: int) -> None:
        """With a value of the same size, or with one channel of it, or one pixel."""
        fits = self.like(index, lambda a, b: all(m in (n, 1) for m, n in zip(a, b, strict=True)))
        reads = (index, self.one_of(fits))
        self.add(self.one_of(PAIRS), *(reads if self.number(0, 1) else reversed(reads)))


class Constant(nn.Module):
    def __init__(self, shape: tuple[int, ...]) -> None:
        super().__init__()
        self.gamma = nn.Parameter(torch.rand(shape) + 0.5)

    def forward(self, x):
        return x * self.gamma + self.gamma


class Random(nn.Module):
    """The steps, and a linear layer over the means of all that nobody read."""

    def __init__(self, program: Program) -> None:
        super().__init__()
        self.steps = program.steps
        self.layers = nn.ModuleList(s for s, _ in self.steps if isinstance(s, nn.Module))
        read = {index for _, reads in self.steps for index in reads}
        self.last = [i for i in range(len(program.values)) if i not in read]
        self.head = nn.Linear(sum(program.values[i].shape[1] for i in self.last), 3)

    def forward(self, x):
        values = [x]
        for step, reads in self.steps:
            values.append(step(*(values[index] for index in reads)))
        return self.head(torch.cat([values[i].mean((2, 3)) for i in self.last], 1))


@st.composite
def networks(draw, steps: int = 9) -> Network:
    """A random network, traced, with random weights."""
    torch.manual_seed(draw(st.integers(0, 3)))
    program = Program(draw)
    with torch.no_grad():
        program.add(nn.Conv2d(SHAPE[0], program.number(2, 8), 3, padding=1), 0)
        for _ in range(program.number(2, steps)):
            program.extend()
    model = randomised(Random(program))
    graph = trace(model, torch.zeros(SHAPE))
    network = Network(graph, dict(model.named_parameters()) | dict(model.named_buffers())).eval()
    inputs = torch.randn(2, *SHAPE)
    with torch.no_grad():
        close(network(inputs), model(inputs))
    return network

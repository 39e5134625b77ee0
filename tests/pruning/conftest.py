"""Networks, devices and masks that the engine's tests share."""

from collections.abc import Callable
from functools import cache

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional

from pruning import models
from pruning.budget import Device
from pruning.execution.network import Network
from pruning.frontend.trace import trace
from pruning.graph.graph import Graph
from tests.pruning.networks import randomised
from tests.pruning.zoo import ZOO, Zoo

WIDE: Zoo = {"resnet8-26": (lambda: models.resnet8(filters=26), (3, 32, 32))}

# The same families, small enough to run.
SMALL: Zoo = {
    "resnet8": (lambda: models.resnet8(filters=8), (3, 16, 16)),
    "resnet20": (lambda: models.resnet20(filters=4), (3, 16, 16)),
    "ds_cnn": (lambda: models.ds_cnn(filters=12), (1, 49, 10)),
    "mobilenet_v1": (models.mobilenet_v1, (3, 64, 64)),
    "vgg16": (lambda: models.vgg16(width=0.125), (3, 32, 32)),
    "mobilenet_v2": (lambda: models.mobilenet_v2(width=0.25), (3, 16, 16)),
}


class SqueezeExcite(nn.Module):
    """A gate of convolutions, (C, 1, 1), or of linear layers reshaped and expanded."""

    def __init__(self, convolutions: bool) -> None:
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(3, 8, 3, bias=False), nn.BatchNorm2d(8), nn.ReLU())
        self.convolutions = convolutions
        layer = (lambda a, b: nn.Conv2d(a, b, 1)) if convolutions else nn.Linear
        self.gate = nn.Sequential(layer(8, 4), nn.ReLU(), layer(4, 8), nn.Sigmoid())
        self.pool = nn.AdaptiveAvgPool2d(1)
        self.last = nn.Conv2d(8, 5, 3)

    def forward(self, x):
        x = self.stem(x)
        batch, channels = x.shape[:2]
        if self.convolutions:
            x = x * self.gate(self.pool(x))
        else:
            gate = self.gate(self.pool(x).view(batch, channels))
            x = x * gate.view(batch, channels, 1, 1).expand_as(x)
        return self.last(x).mean((2, 3))


class Stacked(nn.Module):
    """A concatenation added to another tensor, and read whole by a third."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.b = nn.Conv2d(3, 6, 3, padding=1), nn.Conv2d(3, 4, 1)
        self.whole = nn.Conv2d(3, 10, 3, padding=1, bias=False)
        self.norm, self.last = nn.BatchNorm2d(10), nn.Linear(20, 3)

    def forward(self, x):
        stack = torch.cat([self.a(x), self.b(x)], 1)
        total = functional.relu(self.norm(stack + self.whole(x)))
        return self.last(functional.adaptive_avg_pool2d(torch.cat([total, stack], 1), 1).flatten(1))


class Grouped(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(2, 12, 3), nn.BatchNorm2d(12), nn.ReLU())
        self.grouped = nn.Conv2d(12, 6, 3, groups=3)
        self.last = nn.Linear(6 * 4 * 4, 4)

    def forward(self, x):
        return self.last(self.grouped(self.stem(x)).relu().flatten(1))


class PreActivation(nn.Module):
    """Batch norm and ReLU come before the convolution; the skip passes both by."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 6, 3, padding=1)
        self.norm1, self.conv1 = nn.BatchNorm2d(6), nn.Conv2d(6, 8, 3, padding=1, bias=False)
        self.norm2, self.conv2 = nn.BatchNorm2d(8), nn.Conv2d(8, 6, 3, padding=1, bias=False)
        self.last, self.head = nn.BatchNorm2d(6), nn.Linear(6, 3)

    def forward(self, x):
        x = self.stem(x)
        y = self.conv1(functional.relu(self.norm1(x)))
        x = x + self.conv2(functional.relu(self.norm2(y)))
        return self.head(functional.relu(self.last(x)).mean([2, 3]))


class Plain(nn.Module):
    """Biases without batch norm, odd activations, flatten to a linear layer."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.b = nn.Conv2d(1, 5, 3, padding=1), nn.Conv2d(5, 7, 3, stride=2)
        self.c = nn.Conv2d(7, 6, 1)
        self.hidden, self.last = nn.Linear(6 * 2 * 2, 9), nn.Linear(9, 3)

    def forward(self, x):
        x = functional.avg_pool2d(torch.sigmoid(self.a(x)), 3, 1, 1)
        x = functional.hardtanh(self.b(x), 0.25, 1.0)
        x = functional.max_pool2d(functional.hardsigmoid(self.c(x)), 2, 2, ceil_mode=True)
        return self.last(torch.tanh(self.hidden(x.flatten(1))))


class Multiplier(nn.Module):
    """A depthwise convolution with two filters a channel."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(2, 5, 3), nn.BatchNorm2d(5), nn.ReLU6())
        self.depthwise = nn.Conv2d(5, 10, 3, groups=5, bias=False)
        self.norm, self.point = nn.BatchNorm2d(10), nn.Conv2d(10, 4, 1)
        self.last = nn.Linear(4, 3)

    def forward(self, x):
        x = functional.hardswish(self.norm(self.depthwise(self.stem(x))))
        return self.last(self.point(x).mean((2, 3)))


class Waves(nn.Module):
    """One-dimensional: convolutions, pooling, a block with a skip."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Sequential(nn.Conv1d(2, 6, 5), nn.BatchNorm1d(6), nn.ReLU())
        self.pool = nn.MaxPool1d(2)
        self.inner = nn.Sequential(nn.Conv1d(6, 6, 3, padding=1), nn.BatchNorm1d(6))
        self.mean, self.last = nn.AvgPool1d(2), nn.Linear(6 * 7, 4)

    def forward(self, x):
        x = self.pool(self.stem(x))
        return self.last(torch.flatten(self.mean(functional.elu(x + self.inner(x))), 1))


class Twice(nn.Module):
    """One convolution and its batch norm used two times."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(1, 6, 3, padding=1)
        self.shared, self.norm = nn.Conv2d(6, 6, 3, padding=1, bias=False), nn.BatchNorm2d(6)
        self.last = nn.Linear(6, 3)

    def forward(self, x):
        x = functional.relu(self.stem(x))
        x = functional.relu(self.norm(self.shared(x)))
        x = functional.relu(self.norm(self.shared(x)))
        return self.last(x.mean((2, 3)))


class Spread(nn.Module):
    """One-channel maps that scale, and are added to, all channels."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(2, 6, 3), nn.BatchNorm2d(6), nn.ReLU())
        self.map, self.offset = nn.Conv2d(6, 1, 1), nn.Conv2d(6, 1, 1)
        self.mix, self.last = nn.Conv2d(6, 5, 3), nn.Linear(5, 3)

    def forward(self, x):
        x = self.stem(x)
        x = self.offset(x) + x * torch.sigmoid(self.map(x))
        return self.last(functional.leaky_relu(self.mix(x), 0.2).mean((2, 3)))


class Dense(nn.Module):
    """Every layer reads all that came before, through a batch norm of its own."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(2, 4, 3, padding=1)
        self.norms = nn.ModuleList(nn.BatchNorm2d(4 + 3 * i) for i in range(3))
        self.convs = nn.ModuleList(nn.Conv2d(4 + 3 * i, 3, 3, padding=1) for i in range(2))
        self.last = nn.Linear(10, 3)

    def forward(self, x):
        x = self.stem(x)
        for norm, conv in zip(self.norms[:2], self.convs, strict=True):
            x = torch.cat([x, conv(functional.silu(norm(x)))], 1)
        return self.last(functional.gelu(self.norms[2](x)).mean((2, 3)))


class Overwriting(nn.Module):
    """In-place operators, a clone that must keep the old value, dropout."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(2, 6, 3, padding=1), nn.BatchNorm2d(6))
        self.relu, self.drop = nn.ReLU(inplace=True), nn.Dropout2d(0.2)
        self.inner, self.last = nn.Conv2d(6, 6, 3, padding=1), nn.Linear(6, 3)

    def forward(self, x):
        x = self.stem(x)
        before = x.clone()
        x = self.relu(x)
        y = self.drop(self.inner(x))
        y += x
        y *= before
        return self.last(y.mean((2, 3)))


ODD: dict[str, tuple[Callable[[], nn.Module], tuple[int, ...]]] = {
    "excite": (lambda: SqueezeExcite(True), (3, 8, 8)),
    "excite-linear": (lambda: SqueezeExcite(False), (3, 8, 8)),
    "stacked": (Stacked, (3, 6, 6)),
    "grouped": (Grouped, (2, 8, 8)),
    "preactivation": (PreActivation, (3, 6, 6)),
    "plain": (Plain, (1, 8, 8)),
    "multiplier": (Multiplier, (2, 8, 8)),
    "waves": (Waves, (2, 32)),
    "twice": (Twice, (1, 6, 6)),
    "spread": (Spread, (2, 8, 8)),
    "dense": (Dense, (2, 5, 5)),
    "overwriting": (Overwriting, (2, 6, 6)),
}


@cache
def _traced(kind: str, name: str) -> tuple[Graph, nn.Module | None]:
    make, shape = {"zoo": ZOO | WIDE, "small": SMALL, "odd": ODD}[kind][name]
    if kind == "zoo":  # only the graph is wanted: no memory for weights
        with torch.device("meta"):
            return trace(make(), torch.zeros(shape)), None
    torch.manual_seed(0)
    model = randomised(make())
    return trace(model, torch.zeros(shape)), model


@pytest.fixture(scope="session")
def zoo() -> Callable[[str], Graph]:
    """The graph of a network at its published size."""
    return lambda name: _traced("zoo", name)[0]


@pytest.fixture(scope="session")
def small() -> Callable[[str], tuple[Graph, nn.Module]]:
    """A small member of a family, with its graph."""
    return lambda name: _traced("small", name)


@pytest.fixture(scope="session")
def odd() -> Callable[[str], tuple[Graph, nn.Module]]:
    """A net with a peculiarity, with its graph."""
    return lambda name: _traced("odd", name)


@pytest.fixture(scope="session")
def network_of() -> Callable[[Graph, nn.Module], Network]:
    """A traced network in inference mode, with the module's tensors."""
    return lambda graph, model: Network(graph, model.state_dict()).eval()


@pytest.fixture(scope="session")
def device() -> Device:
    return Device(
        name="test",
        core="cortex-m4",
        clock_hz=80e6,
        cycles_per_instruction=1.5,
        flash_bytes=1 << 20,
        sram_bytes=128 << 10,
        reserved_flash_bytes=40_000,
        reserved_sram_bytes=8_000,
    )


@pytest.fixture(scope="session")
def random_mask() -> Callable[[Graph, int], np.ndarray]:
    """Units to keep: at least one of a group, in every third group exactly one."""

    def draw(graph: Graph, seed: int) -> np.ndarray:
        random = np.random.default_rng(seed)
        kept = np.ones(graph.channels.units, dtype=bool)
        for index, group in enumerate(g for g in graph.channels.groups if g.prunable):
            count = 1 if (index + seed) % 3 == 0 else int(random.integers(1, group.size + 1))
            kept[group.units] = False
            kept[group.start + random.choice(group.size, count, replace=False)] = True
        return kept

    return draw
